"""Takes out of files' urls and names what opens them: path and name stay readable."""

import re

from adapters.contract.masking.urls import LONGEST, is_encoded, stream_url
from adapters.contract.masking.words import is_host

_SCHEMES = ("http://", "https://", "cos://", "tos://", "s3://", "oss://")
_KINDS = "mp4|m3u8|ts|flv|mp3|aac|m4a|m4s|hls|wav|mkv|mov|webm|jpg|jpeg|png|json"
_FILE = re.compile(rf"[^?#]+\.({_KINDS})", re.IGNORECASE)
_MARK = re.compile("[?#]")


def file_url(url: str) -> str:
    """A url without its user and its query, which opens the file. What is no file's is taken for a stream's."""
    plain = url[:LONGEST]
    if plain.lower().startswith(_SCHEMES):
        scheme, _, rest = plain.partition("://")
        authority, slash, path = _MARK.split(rest)[0].partition("/")
        return f"{scheme}://{authority.rpartition('@')[2]}{slash}{path}"
    return _MARK.split(plain)[0] if _is_path(plain) else stream_url(url)


def file_name(name: str) -> str:
    """A file's name, or its path. Where a vendor told a url instead, its user and query go, or its stream key."""
    if name.lower().startswith(_SCHEMES) or not _is_path(name):
        return file_url(name)
    return _MARK.split(name)[0]


def _is_path(name: str) -> bool:
    """Whether it is a path of a file and nothing of a url: no scheme, no host, no user, nothing encoded."""
    bare = _MARK.split(name)[0]
    if name.startswith(("//", "\\\\")) or any(mark in bare for mark in ("://", ":/", "\\", "@")) or is_encoded(bare):
        return False
    if _FILE.fullmatch(bare):
        return True
    leads_to_host = "/" in bare and is_host(bare.partition("/")[0])
    is_word = "=" not in bare and not any(each.isspace() for each in bare)
    return bare == name and is_word and not leads_to_host and not bare.startswith("/") and "//" not in bare
