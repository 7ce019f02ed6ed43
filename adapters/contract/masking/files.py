"""Masks credentials in urls and names of files; path and name stay readable."""

import re

from adapters.contract.masking.plain_words import is_host
from adapters.contract.masking.urls import MAX_URL, is_encoded, mask_stream_url

_SCHEMES = ("http://", "https://", "cos://", "tos://", "s3://", "oss://")
_EXTENSIONS = "mp4|m3u8|ts|flv|mp3|aac|m4a|m4s|hls|wav|mkv|mov|webm|jpg|jpeg|png|json"
_FILE = re.compile(rf"[^?#]+\.({_EXTENSIONS})", re.IGNORECASE)
_QUERY_MARK = re.compile("[?#]")


def mask_file_url(url: str) -> str:
    """Returns the url without its user and its query, which grant access to the file. Any other url is masked as a stream url."""
    plain = url[:MAX_URL]
    if plain.lower().startswith(_SCHEMES):
        scheme, _, rest = plain.partition("://")
        authority, slash, path = _QUERY_MARK.split(rest)[0].partition("/")
        return f"{scheme}://{authority.rpartition('@')[2]}{slash}{path}"
    return _QUERY_MARK.split(plain)[0] if _is_path(plain) else mask_stream_url(url)


def mask_file_name(name: str) -> str:
    """Returns a file's name or path. If a vendor sent a url instead, it is masked as `mask_file_url` does."""
    if name.lower().startswith(_SCHEMES) or not _is_path(name):
        return mask_file_url(name)
    return _QUERY_MARK.split(name)[0]


def _is_path(name: str) -> bool:
    """Returns whether it is a file's path without any part of a url: no scheme, no host, no user, no percent-encoding."""
    bare = _QUERY_MARK.split(name)[0]
    if name.startswith(("//", "\\\\")) or any(mark in bare for mark in ("://", ":/", "\\", "@")) or is_encoded(bare):
        return False
    if _FILE.fullmatch(bare):
        return True
    leads_to_host = "/" in bare and is_host(bare.partition("/")[0])
    is_word = "=" not in bare and not any(character.isspace() for character in bare)
    return bare == name and is_word and not leads_to_host and not bare.startswith("/") and "//" not in bare
