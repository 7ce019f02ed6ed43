"""Hides what must not be seen: secrets from everybody, stream keys from those who may only look.

A stream url is a password: whoever knows it can publish under it. Of it stay the scheme, the host and the first of several
path segments, which is the application's name; the stream's name and the query go.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

HIDDEN = "***"

#: What a key's name has in it when its value is a secret: without case, underscores and dashes.
_SECRET = re.compile(r"secret|token|usersig|privatemapkey|accesskey|password|passwd|credential|apikey|signkey|encryptionkey")
_URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<authority>[^/?#\\\s]*)(?P<path>[^?#\s]*)(?P<rest>\S*)")
_URL_IN_TEXT = re.compile(r'[A-Za-z][A-Za-z0-9+.-]*://[^\s"<>]*')


def without_secrets(value: Any) -> Any:
    """The same JSON value; what stands under the name of a secret is hidden."""
    if isinstance(value, Mapping):
        return {name: HIDDEN if _is_secret(name, item) else without_secrets(item) for name, item in value.items()}
    if _is_list(value):
        return [without_secrets(item) for item in value]
    return value


def _is_secret(name: str, value: Any) -> bool:
    return value not in (None, "") and _SECRET.search(re.sub("[-_]", "", name.lower())) is not None


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


def stream_url(url: str) -> str:
    """A url without its stream key: `rtmp://push.example.com/live/s1?txSecret=abc` -> `rtmp://push.example.com/live/***`."""
    match = _URL.match(url)
    if match is None:
        return HIDDEN
    segments = [segment for segment in re.split(r"[/\\]+", match["path"]) if segment]
    application = f"/{segments[0]}" if len(segments) > 1 else ""
    hides = segments or match["rest"]
    return f"{_origin(match)}{application}/{HIDDEN}" if hides else _origin(match)


def file_url(url: str) -> str:
    """A url without its query, which holds the signature that opens the file."""
    match = _URL.match(url)
    return f"{_origin(match)}{match['path']}" if match else re.split("[?#]", url)[0]


def _origin(match: re.Match[str]) -> str:
    return f"{match['scheme']}://{match['authority'].rpartition('@')[2]}"


def text(value: str) -> str:
    """Any text; the urls in it lose their stream keys. A text that begins as a url is taken as one, blanks and all."""
    if "://" not in value:
        return value
    if _URL.match(value):
        return stream_url(value)
    return _URL_IN_TEXT.sub(lambda match: stream_url(match[0]), value)


def without_keys(value: Any) -> Any:
    """The same JSON value; every url in it loses its stream key."""
    if isinstance(value, Mapping):
        return {name: without_keys(item) for name, item in value.items()}
    if _is_list(value):
        return [without_keys(item) for item in value]
    return text(value) if isinstance(value, str) else value


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)
