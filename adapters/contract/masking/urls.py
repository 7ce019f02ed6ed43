"""Masks stream keys in urls in any notation: with or without a scheme, escaped for JSON, percent-encoded, with blanks.

Scheme, host and the first of several path segments (the application's name) of a stream url stay readable. If the query carries
the key (`txSecret=...`), the rest of the path stays readable too, and the query is masked. Users, passwords, segments that look
like keys instead of names, and texts that cannot be parsed as a url are masked.
"""

import html
import re
from urllib.parse import unquote

from adapters.contract.masking.plain_words import HIDDEN, is_host, is_plain_name, mask_host
from adapters.contract.masking.secret_names import is_secret

#: Characters of a url that are examined; vendors accept urls of at most 2,083.
MAX_URL = 4_096
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,30}:/{2,}")
_ENCODED = re.compile(r"%(25)*(2f|3a|3f|3d|40|5c)", re.IGNORECASE)
_ESCAPES = re.compile(r"\\+(?:(/)|u00([0-9a-fA-F]{2})|x([0-9a-fA-F]{2}))?")
_SLASHES = re.compile(r"[/\\]+")
_AUTHORITY_ENDS = re.compile(r"[/\\?#]")
_MAX_PARAMETERS = 32
#: Minimum length of a stream's name that is shown, characters; a shorter one is of no use to a reader.
_MIN_STREAM_NAME = 3


def is_encoded(text: str) -> bool:
    """Returns whether a delimiter of urls is percent-encoded in the text."""
    return _ENCODED.search(text) is not None


def decode_url_marks(text: str) -> str:
    """Returns the text without escapes of url delimiters: those of JSON and HTML, and up to three layers of percent-encoding."""
    for _ in range(3):
        if not _ENCODED.search(text):
            break
        text = unquote(text)
    if "\\" in text:
        text = _ESCAPES.sub(_unescape_match, text)
    if "&#" in text or "&sol;" in text or "&colon;" in text:
        text = html.unescape(text)
    return text


def _unescape_match(match: re.Match[str]) -> str:
    if match[1]:
        return "/"
    code = match[2] or match[3]
    return chr(int(code, 16)) if code else match[0]


def mask_stream_url(url: str) -> str:
    """Returns a url without its stream key.

    `rtmp://push.example.com/live/s1` -> `rtmp://push.example.com/live/***`
    `rtmp://push.example.com/live/show-42?txSecret=abc` -> `rtmp://push.example.com/live/show-42?***`
    """
    plain = decode_url_marks(url[:MAX_URL]).strip()
    scheme, rest = _split_scheme(plain)
    end = _AUTHORITY_ENDS.search(rest)
    authority, behind = (rest, "") if end is None else (rest[: end.start()], rest[end.start() :])
    authority = authority.rstrip()
    host = authority.rpartition("@")[2]
    if not scheme and not is_host(host):
        return HIDDEN
    # A password may contain a slash: then the apparent host is the user.
    shown = HIDDEN if "@" in behind.partition("?")[0] and "@" not in authority else mask_host(host)
    return f"{scheme}{shown}{_mask_after_host(behind, cut=len(url) > MAX_URL)}"


def _split_scheme(plain: str) -> tuple[str, str]:
    scheme = _SCHEME.match(plain)
    if scheme:
        return scheme[0].rstrip("/") + "//", plain[scheme.end() :]
    begin = _SLASHES.match(plain)
    return ("//", plain[begin.end() :]) if begin and len(begin[0]) > 1 else ("", plain)


def _mask_after_host(behind: str, *, cut: bool) -> str:
    """Masks what follows the host: path, query and fragment."""
    mark = min((at for at in (behind.find("?"), behind.find("#")) if at >= 0), default=len(behind))
    segments = [segment.strip() for segment in _SLASHES.split(behind[:mark]) if segment.strip()]
    query = behind[mark:]
    if not segments:
        return f"/{HIDDEN}" if query or cut else ""
    readable = not cut and len(segments[-1]) >= _MIN_STREAM_NAME and all(is_plain_name(segment) for segment in segments)
    if readable and _carries_key(query, segments):
        return f"/{'/'.join(segments)}?{HIDDEN}"
    application = [segments[0] if is_plain_name(segments[0]) else HIDDEN] if len(segments) > 1 else []
    return "/" + "/".join([*application, HIDDEN])


def _carries_key(query: str, segments: list[str]) -> bool:
    """Returns whether the key is in the query, and not in the path as well."""
    pairs = [pair.partition("=") for pair in re.split("[&;]", query[1:], maxsplit=_MAX_PARAMETERS)]
    values = [value for name, _, value in pairs if value and is_secret(name)]
    return bool(values) and not any(value in segment or segment in value for value in values for segment in segments[-1:])
