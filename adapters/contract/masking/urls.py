"""Takes keys out of urls, however they are written: with or without a scheme, escaped for JSON, percent-encoded, with blanks.

Of a stream url stay the scheme, the host and the first of several path segments, which is the application's name. Where a query
carries the key (`txSecret=...`) the rest of the path is readable too, and the query goes. Users, passwords, whatever looks like a
key instead of a name, and what cannot be read as a url, are hidden.
"""

import html
import re
from urllib.parse import unquote

from adapters.contract.masking.names import is_secret
from adapters.contract.masking.words import HIDDEN, is_host, is_plain_name, shown_host

#: Of what is longer the beginning counts; a url that a vendor takes has at most 2,083.
LONGEST = 4_096
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,30}:/{2,}")
_ENCODED = re.compile(r"%(25)*(2f|3a|3f|3d|40|5c)", re.IGNORECASE)
_ESCAPES = re.compile(r"\\+(?:(/)|u00([0-9a-fA-F]{2})|x([0-9a-fA-F]{2}))?")
_SLASHES = re.compile(r"[/\\]+")
_AUTHORITY_ENDS = re.compile(r"[/\\?#]")
_MOST_PARAMETERS = 32
#: A stream's name that is shorter tells nobody anything, characters.
_SHORTEST = 3


def is_encoded(text: str) -> bool:
    """Whether a mark of a url is percent-encoded in it."""
    return _ENCODED.search(text) is not None


def decoded(text: str) -> str:
    """The text without the escapes that hide the marks of a url: of JSON, of HTML, and percent-encoding up to three times over."""
    for _ in range(3):
        if not _ENCODED.search(text):
            break
        text = unquote(text)
    if "\\" in text:
        text = _ESCAPES.sub(_unescaped, text)
    if "&#" in text or "&sol;" in text or "&colon;" in text:
        text = html.unescape(text)
    return text


def _unescaped(match: re.Match[str]) -> str:
    if match[1]:
        return "/"
    code = match[2] or match[3]
    return chr(int(code, 16)) if code else match[0]


def stream_url(url: str) -> str:
    """A url without its stream key.

    `rtmp://push.example.com/live/s1` -> `rtmp://push.example.com/live/***`
    `rtmp://push.example.com/live/show-42?txSecret=abc` -> `rtmp://push.example.com/live/show-42?***`
    """
    plain = decoded(url[:LONGEST]).strip()
    scheme, rest = _split_scheme(plain)
    end = _AUTHORITY_ENDS.search(rest)
    authority, behind = (rest, "") if end is None else (rest[: end.start()], rest[end.start() :])
    authority = authority.rstrip()
    host = authority.rpartition("@")[2]
    if not scheme and not is_host(host):
        return HIDDEN
    # A password may hold a slash: then what seemed to be the host is the user.
    shown = HIDDEN if "@" in behind.partition("?")[0] and "@" not in authority else shown_host(host)
    return f"{scheme}{shown}{_shown_behind(behind, cut=len(url) > LONGEST)}"


def _split_scheme(plain: str) -> tuple[str, str]:
    found = _SCHEME.match(plain)
    if found:
        return found[0].rstrip("/") + "//", plain[found.end() :]
    begin = _SLASHES.match(plain)
    return ("//", plain[begin.end() :]) if begin and len(begin[0]) > 1 else ("", plain)


def _shown_behind(behind: str, *, cut: bool) -> str:
    """What follows the host: path, query and fragment."""
    mark = min((at for at in (behind.find("?"), behind.find("#")) if at >= 0), default=len(behind))
    segments = [segment.strip() for segment in _SLASHES.split(behind[:mark]) if segment.strip()]
    query = behind[mark:]
    if not segments:
        return f"/{HIDDEN}" if query or cut else ""
    readable = not cut and len(segments[-1]) >= _SHORTEST and all(is_plain_name(segment) for segment in segments)
    if readable and _carries_key(query, segments):
        return f"/{'/'.join(segments)}?{HIDDEN}"
    application = [segments[0] if is_plain_name(segments[0]) else HIDDEN] if len(segments) > 1 else []
    return "/" + "/".join([*application, HIDDEN])


def _carries_key(query: str, segments: list[str]) -> bool:
    """Whether the key stands in the query, and not in the path as well."""
    found = [pair.partition("=") for pair in re.split("[&;]", query[1:], maxsplit=_MOST_PARAMETERS)]
    values = [value for name, _, value in found if value and is_secret(name)]
    return bool(values) and not any(value in segment or segment in value for value in values for segment in segments[-1:])
