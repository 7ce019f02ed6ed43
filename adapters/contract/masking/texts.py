"""Takes keys out of sentences: of what vendors say, and of texts of which nobody knows what they are."""

import re
from collections.abc import Iterator

from adapters.contract.masking.names import is_secret
from adapters.contract.masking.urls import decoded, stream_url
from adapters.contract.masking.words import HIDDEN, is_harmless, is_host, is_number, is_plain_name, is_step

#: So much of a text is looked at; what follows is hidden.
_LONGEST = 4_096
_TOKEN = re.compile(r'[^\s"<>]+')
#: Nothing of this: no url, no pair, no word that may announce a key, no long word.
_MARKS = re.compile(
    r"[/\\?=@%&:]|[A-Za-z0-9_+-]{16}|key|secret|token|pass|pwd|auth|cookie|sig|jwt|bearer|credential", re.IGNORECASE
)
_LOOKS_LIKE_URL = re.compile(r":[/\\]|%(25)*(3a|2f)|&#", re.IGNORECASE)
#: A time as RFC 3339 writes it, or a part of one: our own answers are full of them, and no key is.
_TIME = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2}([Tt][0-9]{2}:[0-9]{2}:[0-9]{2})?|[0-9]{2}:[0-9]{2}(:[0-9]{2})?)(\.[0-9]{1,9})?([Zz]|[+-][0-9]{2}:[0-9]{2})?"
)
_OPENING, _CLOSING = "([{'`,;", ")]}'`,;.!\\"
_SCHEME_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+.-")
_SCHEME_LONGEST = 31
_BETWEEN = re.compile("[&;,]")
_NAME_LONGEST = 100
#: Words with which a sentence goes on after a url or a key; anything else may be what a blank cut off from it.
_WORDS = """
    a after again already an and are as at back because been before broken but by cannot cdn close closed code connect connected
    connecting connection could disconnected does down due error expired fail failed fails failure for forbidden found from gone
    had has have host http in invalid is it its lost missing name no not of off ok on one or out peer publish push pushed
    reconnect reconnecting refused rejected reset resolve response retry rtmp server since so started status stop stopped stream
    that the then there this timed timeout to too try trying unavailable unknown unreachable up url was went were when while will
    with wrong yet
"""
_GOING_ON = frozenset(_WORDS.split())


def text(value: str) -> str:
    """Any text: keys go out of its urls and pairs, and with them words that may have been cut off from them by a blank."""
    if not _MARKS.search(value):
        return value
    begin, rest = value[:_LONGEST], value[_LONGEST:]
    if rest:  # not within a word: half of a key may not look like one
        begin = begin[: max(begin.rfind(blank) for blank in " \t\n") + 1] or begin
    return "".join(_shown(begin)) + (f" {HIDDEN}" if rest else "")


def identifier(value: str) -> str:
    """An id or a name of which a vendor or an operator says that it is one: shown, unless it is a url or the like."""
    begin = value[:_LONGEST]
    if _LOOKS_LIKE_URL.search(begin) or begin.startswith(("//", "\\\\")) or is_host(begin.partition("/")[0].rpartition("@")[2]):
        return text(value)
    name, equals, _ = begin.rpartition("?")[2].partition("=")
    return text(value) if equals and is_secret(name) else value


def _shown(value: str) -> Iterator[str]:
    at, hot = 0, False
    for match in _TOKEN.finditer(value):
        between, token = value[at : match.start()], match[0]
        delimited = '"' in between or "<" in between or ">" in between
        at = match.end()
        if hot and not delimited and not _goes_on(token):
            if is_url(token) or "=" in token:
                yield between + _masked(token)[0]
            continue
        shown, hot = _masked(token)
        yield between + shown
    yield value[at:]


def _goes_on(token: str) -> bool:
    """Whether the sentence goes on with this word; a script without blanks needs none."""
    bare = token.strip(_OPENING + _CLOSING + ":")
    return not bare or bare.lower() in _GOING_ON or not bare[0].isascii()


def _masked(token: str) -> tuple[str, bool]:
    """(the word without keys, whether what follows it may be a key or a part of it)"""
    core = token.lstrip(_OPENING)
    prefix, core = token[: len(token) - len(core)], core.rstrip(_CLOSING)
    suffix = token[len(prefix) + len(core) :]
    if _TIME.fullmatch(core):
        return token, False
    if is_url(core):
        return prefix + _url_in(core), True
    if "=" in core:
        shown = "&".join(_pair(each) for each in _BETWEEN.split(core))
        return prefix + shown + suffix, HIDDEN in shown
    return _word(prefix, core, suffix)


def is_url(core: str) -> bool:
    """Whether it is a url, or may be one without its scheme."""
    plain = decoded(core)
    if "//" in plain or (plain != core and "/" in plain) or "\\" in plain:
        return True
    first = plain.partition("/")[0].partition("?")[0].rpartition("@")[2]
    return ("/" in plain or "?" in plain) and ("?" in plain or is_host(first))


def _url_in(core: str) -> str:
    """What stands before the scheme is a name, or the end of a word, and no url."""
    plain = decoded(core)
    at = plain.find("://")
    begin = at
    while begin > 0 and at - begin < _SCHEME_LONGEST and plain[begin - 1] in _SCHEME_LETTERS:
        begin -= 1
    before = plain[: max(begin, 0)]
    if at < 0 and "=" in plain.partition("?")[0]:
        before, _, _ = plain.partition("=")
        before += "="
    name = before.rstrip("=:([{'")
    marks = before[len(name) :]
    return f"{name if not name or is_plain_name(name) else HIDDEN}{marks}{stream_url(plain[len(before) :])}"


def _pair(pair: str) -> str:
    """`code=3` stays; of a secret and of what is no plain word the value goes."""
    name, equals, value = pair.partition("=")
    if not equals:
        return pair if is_harmless(pair) else HIDDEN
    shown = name if len(name) <= _NAME_LONGEST and is_harmless(name) else HIDDEN
    return f"{shown}={value if not value or (not is_secret(name) and _is_plain(value)) else HIDDEN}"


def _is_plain(value: str) -> bool:
    return is_number(value) or (is_plain_name(value) and not value.isupper())


def _word(prefix: str, core: str, suffix: str) -> tuple[str, bool]:
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
            part if not part.rstrip(":") or is_step(part.rstrip(":")) else HIDDEN for part in parts
        ) + suffix, False
    bare = core.rstrip(":")
    announces = len(bare) <= _NAME_LONGEST and is_secret(bare) and (bare.isascii())
    return prefix + (core if not bare or is_harmless(bare) else HIDDEN) + suffix, announces
