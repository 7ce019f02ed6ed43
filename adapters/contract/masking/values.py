"""Goes through JSON and hides what must not be seen, at whatever depth it stands."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from adapters.contract.masking.names import is_secret
from adapters.contract.masking.texts import identifier, text
from adapters.contract.masking.urls import stream_url
from adapters.contract.masking.words import HIDDEN, is_plain_name

#: How objects say that a member's name stands in one of their values: `{"Key": "Authorization", "Value": "..."}`.
_NAMING = ("key", "name", "header", "field")
_NAMED = ("value", "val", "content")
_HEADER = re.compile(r"\s*([A-Za-z][A-Za-z0-9_-]{0,99})\s*[:=]")
#: Names under which an id, or a word of ours, stands in a task and in its timeline.
_OURS = "kind|from|to|verdict|reason|says|state|operation|outcome|action|deadline|by"
_IDS = re.compile(rf"([a-z]+_)?ids?|[A-Za-z]*(Id|ID)s?|([a-z]+_)?code|{_OURS}")
#: The same of parameters; a stream's id may be its key.
_PARAMETER_IDS = re.compile(
    r"((sdk|sub)?app|(str)?room|user|task|business|account|robot|layout|region|file|event)_?ids?", re.IGNORECASE
)
#: JSON within a text that is longer is not read.
_JSON_LONGEST = 64 * 1024


def without_secrets(value: Any, name: str = "") -> Any:
    """The same JSON value; what stands under the name of a secret is hidden. JSON within a text counts too."""
    if isinstance(value, Mapping):
        named = _named_by_value(value)
        return {
            each: HIDDEN if _hides(each, item) or each in named else without_secrets(item, each) for each, item in value.items()
        }
    if _is_list(value):
        return [without_secrets(item, name) for item in value]
    return _without_secrets_in(value) if isinstance(value, str) else value


def _hides(name: str, value: Any) -> bool:
    return (
        value not in (None, "") and isinstance(name, str) and is_secret(name) and not (name.lower() == "key" and _is_label(value))
    )


def _is_label(value: Any) -> bool:
    """A bare `Key` may be what something is called."""
    return isinstance(value, str) and (is_plain_name(value) or is_secret(value))


def _named_by_value(value: Mapping[str, Any]) -> set[str]:
    """Members whose name is told by the value of another one, and is that of a secret."""
    names = [item for each, item in value.items() if str(each).lower() in _NAMING and isinstance(item, str)]
    if not any(is_secret(name) for name in names):
        return set()
    return {each for each, item in value.items() if str(each).lower() in _NAMED and item not in (None, "")}


def _without_secrets_in(value: str) -> str:
    if value[:1] in "{[" and len(value) <= _JSON_LONGEST and (inner := _parsed(value)) is not None:
        clean = without_secrets(inner)
        return value if clean == inner else json.dumps(clean, ensure_ascii=False, separators=(",", ":"))
    header = _HEADER.match(value)
    if header and is_secret(header[1]) and value[header.end() :].strip():
        return f"{value[: header.end()]} {HIDDEN}"
    return value


def _parsed(value: str) -> Any:
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return None


def at_path(value: Any, path: str, mask: Callable[[Any], Any]) -> Any:
    """The same JSON value; what stands at a path is masked.

    path: as in `AgentParams.UserSig` or `PublishCdnParams[].PublishCdnUrl`.
    """
    return _masked(value, path.replace("[]", ".[]").split("."), mask)


def _masked(value: Any, steps: Sequence[str], mask: Callable[[Any], Any]) -> Any:
    if not steps:
        return value if value in (None, "") else mask(value)
    step, rest = steps[0], steps[1:]
    if step == "[]":
        return [_masked(item, rest, mask) for item in value] if _is_list(value) else value
    if isinstance(value, Mapping) and step in value:
        return {**value, step: _masked(value[step], rest, mask)}
    return value


def hidden(value: Any) -> str:
    """Whatever it is."""
    return HIDDEN


def keyed_url(value: Any) -> str:
    """A url without its stream key; hidden where it is none."""
    return stream_url(value) if isinstance(value, str) else HIDDEN


def without_keys(value: Any, name: str = "") -> Any:
    """The same JSON value without stream keys: what stands under the name of an id is one, all else is a sentence."""
    if isinstance(value, Mapping):
        return {each: without_keys(item, each) for each, item in value.items()}
    if _is_list(value):
        return [without_keys(item, name) for item in value]
    if not isinstance(value, str):
        return value
    if name == "url":
        return keyed_url(value) if value else value
    return identifier(value) if _IDS.fullmatch(name[-60:]) else text(value)


def harmless(value: Any, documented: frozenset[str], masked: frozenset[str] = frozenset(), path: str = "", name: str = "") -> Any:
    """The same JSON value without secrets and keys; of what is not documented only what is plainly harmless.

    documented: paths of values that are no secrets, as in `at_path`; masked: of those that are masked already. path: where this is.
    """
    if path in masked or value == HIDDEN:
        return value
    if isinstance(value, Mapping):
        named = _named_by_value(value)
        inner = f"{path}." if path else ""
        return {
            each: HIDDEN if _hides(each, item) or each in named else harmless(item, documented, masked, f"{inner}{each}", each)
            for each, item in value.items()
        }
    if _is_list(value):
        return [harmless(item, documented, masked, f"{path}[]", name) for item in value]
    if not isinstance(value, str):
        return value
    return identifier(value) if path in documented or _PARAMETER_IDS.fullmatch(name[-60:]) else _of_unknown(value)


def _of_unknown(value: str) -> str:
    """A text of which nobody knows what it is: one word stays if it is plain, several are a sentence."""
    clean = text(_without_secrets_in(value))
    if clean != value or any(each.isspace() for each in value.strip()):
        return clean
    return value if not value or is_plain_name(value) or not value.isascii() else _shown_pieces(value)


def _shown_pieces(value: str) -> str:
    """A masked url, a path, a mark such as `#ff0000`: what has no long word in it."""
    return value if len(value) <= 8 and not value.isupper() and not any(each in value for each in "=@") else HIDDEN


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)
