"""Walks through JSON values and masks secrets and stream keys at any depth."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from adapters.contract.masking.plain_words import HIDDEN, is_plain_name
from adapters.contract.masking.secret_names import is_secret
from adapters.contract.masking.texts import mask_identifier, mask_text
from adapters.contract.masking.urls import mask_stream_url

#: Members of objects that contain a name and its value as values: `{"Key": "Authorization", "Value": "..."}`.
_NAMING = ("key", "name", "header", "field")
_NAMED = ("value", "val", "content")
_HEADER = re.compile(r"\s*([A-Za-z][A-Za-z0-9_-]{0,99})\s*[:=]")
#: Names whose values are ids, or terms of our own, in a task and in its timeline.
_OWN_TERMS = "kind|from|to|verdict|reason|says|state|operation|outcome|action|deadline|by"
_IDS = re.compile(rf"([a-z]+_)?ids?|[A-Za-z]*(Id|ID)s?|([a-z]+_)?code|{_OWN_TERMS}")
#: Names of parameters whose values are ids; a stream's id is not included, since it may be its key.
_PARAMETER_IDS = re.compile(
    r"((sdk|sub)?app|(str)?room|user|task|business|account|robot|layout|region|file|event)_?ids?", re.IGNORECASE
)
#: Characters of a text that is parsed as JSON at most.
_MAX_JSON = 64 * 1024


def without_secrets(value: Any, name: str = "") -> Any:
    """Returns the JSON value with values masked whose name is a secret's; JSON inside of texts included."""
    if isinstance(value, Mapping):
        named = _named_by_value(value)
        return {
            member: HIDDEN if _must_hide(member, item) or member in named else without_secrets(item, member)
            for member, item in value.items()
        }
    if _is_list(value):
        return [without_secrets(item, name) for item in value]
    return _without_secrets_in(value) if isinstance(value, str) else value


def _must_hide(name: str, value: Any) -> bool:
    return (
        value not in (None, "") and isinstance(name, str) and is_secret(name) and not (name.lower() == "key" and _is_label(value))
    )


def _is_label(value: Any) -> bool:
    """Returns whether the value of a bare `Key` is the name of something instead of a key."""
    return isinstance(value, str) and (is_plain_name(value) or is_secret(value))


def _named_by_value(value: Mapping[str, Any]) -> set[str]:
    """Returns the members that hold the value of a secret whose name is the value of another member."""
    names = [item for member, item in value.items() if str(member).lower() in _NAMING and isinstance(item, str)]
    if not any(is_secret(name) for name in names):
        return set()
    return {member for member, item in value.items() if str(member).lower() in _NAMED and item not in (None, "")}


def _without_secrets_in(value: str) -> str:
    if value[:1] in "{[" and len(value) <= _MAX_JSON and (inner := _parse_json(value)) is not None:
        clean = without_secrets(inner)
        return value if clean == inner else json.dumps(clean, ensure_ascii=False, separators=(",", ":"))
    header = _HEADER.match(value)
    if header and is_secret(header[1]) and value[header.end() :].strip():
        return f"{value[: header.end()]} {HIDDEN}"
    return value


def _parse_json(value: str) -> Any:
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return None


def mask_at_path(value: Any, path: str, mask: Callable[[Any], Any]) -> Any:
    """Returns the JSON value with the values at a path masked.

    path: as in `AgentParams.UserSig` or `PublishCdnParams[].PublishCdnUrl`.
    """
    return _mask_steps(value, path.replace("[]", ".[]").split("."), mask)


def _mask_steps(value: Any, steps: Sequence[str], mask: Callable[[Any], Any]) -> Any:
    if not steps:
        return value if value in (None, "") else mask(value)
    step, rest = steps[0], steps[1:]
    if step == "[]":
        return [_mask_steps(item, rest, mask) for item in value] if _is_list(value) else value
    if isinstance(value, Mapping) and step in value:
        return {**value, step: _mask_steps(value[step], rest, mask)}
    return value


def hide_value(value: Any) -> str:
    """Returns the mask, whatever the value."""
    return HIDDEN


def mask_url_value(value: Any) -> str:
    """Returns a url without its stream key; the mask if the value is no text."""
    return mask_stream_url(value) if isinstance(value, str) else HIDDEN


def without_keys(value: Any, name: str = "") -> Any:
    """Returns the JSON value without stream keys. Values with the name of an id are treated as ids, all others as sentences."""
    if isinstance(value, Mapping):
        return {member: without_keys(item, member) for member, item in value.items()}
    if _is_list(value):
        return [without_keys(item, name) for item in value]
    if not isinstance(value, str):
        return value
    if name == "url":
        return mask_url_value(value) if value else value
    return mask_identifier(value) if _IDS.fullmatch(name[-60:]) else mask_text(value)


def mask_undocumented(
    value: Any, documented: frozenset[str], masked: frozenset[str] = frozenset(), path: str = "", name: str = ""
) -> Any:
    """Returns the JSON value without secrets and keys; undocumented values stay only if they are plainly harmless.

    documented: paths of values that are no secrets, as in `mask_at_path`. masked: paths that are masked already.
    """
    if path in masked or value == HIDDEN:
        return value
    if isinstance(value, Mapping):
        named = _named_by_value(value)
        inner = f"{path}." if path else ""
        return {
            member: HIDDEN
            if _must_hide(member, item) or member in named
            else mask_undocumented(item, documented, masked, f"{inner}{member}", member)
            for member, item in value.items()
        }
    if _is_list(value):
        return [mask_undocumented(item, documented, masked, f"{path}[]", name) for item in value]
    if not isinstance(value, str):
        return value
    return mask_identifier(value) if path in documented or _PARAMETER_IDS.fullmatch(name[-60:]) else _mask_unknown_text(value)


def _mask_unknown_text(value: str) -> str:
    """Masks a text of unknown content: a single word stays if it is plain, several words are treated as a sentence."""
    clean = mask_text(_without_secrets_in(value))
    if clean != value or any(character.isspace() for character in value.strip()):
        return clean
    return value if not value or is_plain_name(value) or not value.isascii() else _mask_pieces(value)


def _mask_pieces(value: str) -> str:
    """Returns a short text without long words, such as `#ff0000`, and the mask for any other text."""
    return value if len(value) <= 8 and not value.isupper() and not any(mark in value for mark in "=@") else HIDDEN


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)
