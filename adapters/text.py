"""Helpers for texts that come from outside and go into the ledger, into answers and into error messages."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches

#: Characters that no ledger can store: PostgreSQL text takes no NUL, and UTF-8 has no lone surrogates.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
#: Characters of a word that are compared with known words; `difflib` is slow with long texts.
_COMPARED = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldProblem:
    """One wrong field of a request."""

    #: The path of the field (`Control.MaxIdleTime`, `sink.url`), or `action`, `version`, `params`.
    field: str
    #: The value that would be right, or the reason why it is wrong; read after the field: "must be ...".
    message: str


def storable(text: str) -> str:
    """Returns the text with each NUL and lone surrogate replaced by U+FFFD."""
    if text.isascii() and "\x00" not in text:  # nearly every text is; this check takes a fifth of the substitution's time
        return text
    return _UNSTORABLE.sub("\ufffd", text)


def is_storable(text: str) -> bool:
    """Returns whether every ledger can store the text unchanged."""
    return storable(text) == text


def closest_word(word: str, known: Iterable[str]) -> str | None:
    """Returns the known word that a misspelt word most likely means; None if no known word is similar."""
    near = get_close_matches(word[:_COMPARED], list(known), n=1)
    return near[0] if near else None
