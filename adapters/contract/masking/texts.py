"""Masks keys in sentences: in messages of vendors, and in texts of unknown content."""

import re
from collections.abc import Iterator

from adapters.contract.masking.plain_words import HIDDEN, is_harmless, is_host, is_number, is_plain_name, is_plain_step
from adapters.contract.masking.secret_names import is_secret
from adapters.contract.masking.urls import decode_url_marks, mask_stream_url

#: Characters of a text that are examined; the rest is hidden.
_MAX_TEXT = 4_096
_TOKEN = re.compile(r'[^\s"<>]+')
#: Without a match a text has no url, no pair, no word that may announce a key and no long word.
_SUSPICIOUS = re.compile(
    r"[/\\?=@%&:]|[A-Za-z0-9_+-]{16}|key|secret|token|pass|pwd|auth|cookie|sig|jwt|bearer|credential", re.IGNORECASE
)
_LOOKS_LIKE_URL = re.compile(r":[/\\]|%(25)*(3a|2f)|&#", re.IGNORECASE)
#: A time in RFC 3339, or a part of one: they are frequent in our own answers, and no key looks so.
_TIME = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2}([Tt][0-9]{2}:[0-9]{2}:[0-9]{2})?|[0-9]{2}:[0-9]{2}(:[0-9]{2})?)(\.[0-9]{1,9})?([Zz]|[+-][0-9]{2}:[0-9]{2})?"
)
_OPENING, _CLOSING = "([{'`,;", ")]}'`,;.!\\"
_SCHEME_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+.-")
_MAX_SCHEME = 31
_PAIR_SEPARATOR = re.compile("[&;,]")
_MAX_NAME = 100
#: Words that continue a sentence after a url or a key; any other word may be a part of the key that a blank cut off.
_WORDS = """
    a after again already an and are as at back because been before broken but by cannot cdn close closed code connect connected
    connecting connection could disconnected does down due error expired fail failed fails failure for forbidden found from gone
    had has have host http in invalid is it its lost missing name no not of off ok on one or out peer publish push pushed
    reconnect reconnecting refused rejected reset resolve response retry rtmp server since so started status stop stopped stream
    that the then there this timed timeout to too try trying unavailable unknown unreachable up url was went were when while will
    with wrong yet
"""
_CONTINUATIONS = frozenset(_WORDS.split())


def mask_text(value: str) -> str:
    """Returns a text with the keys in its urls and pairs masked, and words after them that a blank may have cut off."""
    if not _SUSPICIOUS.search(value):
        return value
    begin, rest = value[:_MAX_TEXT], value[_MAX_TEXT:]
    if rest:  # cut between words: half of a key might not look like a key
        begin = begin[: max(begin.rfind(blank) for blank in " \t\n") + 1] or begin
    return "".join(_mask_tokens(begin)) + (f" {HIDDEN}" if rest else "")


def mask_identifier(value: str) -> str:
    """Returns a value documented as an id or a name unchanged, unless it looks like a url or a pair."""
    begin = value[:_MAX_TEXT]
    if _LOOKS_LIKE_URL.search(begin) or begin.startswith(("//", "\\\\")) or is_host(begin.partition("/")[0].rpartition("@")[2]):
        return mask_text(value)
    name, equals, _ = begin.rpartition("?")[2].partition("=")
    return mask_text(value) if equals and is_secret(name) else value


def _mask_tokens(value: str) -> Iterator[str]:
    at, may_be_key = 0, False
    for match in _TOKEN.finditer(value):
        between, token = value[at : match.start()], match[0]
        delimited = '"' in between or "<" in between or ">" in between
        at = match.end()
        if may_be_key and not delimited and not _continues_sentence(token):
            if is_url(token) or "=" in token:
                yield between + _mask_token(token)[0]
            continue
        shown, may_be_key = _mask_token(token)
        yield between + shown
    yield value[at:]


def _continues_sentence(token: str) -> bool:
    """Returns whether the sentence continues with this word; scripts without blanks always do."""
    bare = token.strip(_OPENING + _CLOSING + ":")
    return not bare or bare.lower() in _CONTINUATIONS or not bare[0].isascii()


def _mask_token(token: str) -> tuple[str, bool]:
    """Returns (the masked word, whether the next word may be a key or a part of one)."""
    core = token.lstrip(_OPENING)
    prefix, core = token[: len(token) - len(core)], core.rstrip(_CLOSING)
    suffix = token[len(prefix) + len(core) :]
    if _TIME.fullmatch(core):
        return token, False
    if is_url(core):
        return prefix + _mask_url_token(core), True
    if "=" in core:
        shown = "&".join(_mask_pair(pair) for pair in _PAIR_SEPARATOR.split(core))
        return prefix + shown + suffix, HIDDEN in shown
    return _mask_word(prefix, core, suffix)


def is_url(core: str) -> bool:
    """Returns whether it is a url, or may be one without its scheme."""
    plain = decode_url_marks(core)
    if "//" in plain or (plain != core and "/" in plain) or "\\" in plain:
        return True
    first = plain.partition("/")[0].partition("?")[0].rpartition("@")[2]
    return ("/" in plain or "?" in plain) and ("?" in plain or is_host(first))


def _mask_url_token(core: str) -> str:
    """Masks a url within a word; the text before the scheme is a name or the end of a word."""
    plain = decode_url_marks(core)
    at = plain.find("://")
    begin = at
    while begin > 0 and at - begin < _MAX_SCHEME and plain[begin - 1] in _SCHEME_LETTERS:
        begin -= 1
    before = plain[: max(begin, 0)]
    if at < 0 and "=" in plain.partition("?")[0]:
        before, _, _ = plain.partition("=")
        before += "="
    name = before.rstrip("=:([{'")
    marks = before[len(name) :]
    return f"{name if not name or is_plain_name(name) else HIDDEN}{marks}{mask_stream_url(plain[len(before) :])}"


def _mask_pair(pair: str) -> str:
    """Masks the value of a pair if its name is a secret's or its value is no plain word; `code=3` stays."""
    name, equals, value = pair.partition("=")
    if not equals:
        return pair if is_harmless(pair) else HIDDEN
    shown = name if len(name) <= _MAX_NAME and is_harmless(name) else HIDDEN
    return f"{shown}={value if not value or (not is_secret(name) and _is_plain(value)) else HIDDEN}"


def _is_plain(value: str) -> bool:
    return is_number(value) or (is_plain_name(value) and not value.isupper())


def _mask_word(prefix: str, core: str, suffix: str) -> tuple[str, bool]:
    name, colon, value = core.partition(":")
    if colon and value:
        if is_host(core):
            return prefix + core + suffix, False
        if is_secret(name) or not all(is_harmless(part) for part in core.split(":") if part):
            return f"{prefix}{name if is_harmless(name) else HIDDEN}:{HIDDEN}{suffix}", True
        return prefix + core + suffix, False
    if "/" in core:
        parts = core.split("/")
        return prefix + "/".join(
            part if not part.rstrip(":") or is_plain_step(part.rstrip(":")) else HIDDEN for part in parts
        ) + suffix, False
    bare = core.rstrip(":")
    announces = len(bare) <= _MAX_NAME and is_secret(bare) and (bare.isascii())
    return prefix + (core if not bare or is_harmless(bare) else HIDDEN) + suffix, announces
