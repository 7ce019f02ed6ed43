"""Finds our own mask in what somebody gives: a task's masked parameters, posted again, would be taken for real ones."""

from collections.abc import Iterator, Mapping
from typing import Any

from adapters.contract.masking.names import is_secret
from adapters.contract.masking.words import HIDDEN

#: Beside one of these the mask is a part of a url.
_MARKS = "/?=&#:@."
_ENCODED = "%2a%2a%2a"


def masked_paths(value: Any, path: str = "") -> Iterator[str]:
    """Where a value is our mask, or a url, a pair or JSON of which a part is: `Control.StreamUrl`, `Outs[1]`, `renew.params.Token`.

    A text with `***` within a word or a sentence (`s***p`, `*** live ***`) is none.
    """
    rest: list[tuple[str, Any]] = [(path, value)]
    while rest:
        at, one = rest.pop()
        if isinstance(one, Mapping):
            rest.extend((f"{at}.{name}" if at else str(name), item) for name, item in one.items())
        elif isinstance(one, list):
            rest.extend((f"{at}[{number}]", item) for number, item in enumerate(one))
        elif isinstance(one, str) and is_masked(one):
            yield at


def is_masked(text: str) -> bool:
    """Whether it is our mask, or something of which a part is masked as we do it."""
    text = text.replace(_ENCODED, HIDDEN).replace(_ENCODED.upper(), HIDDEN)
    if HIDDEN not in text:
        return False
    if text.strip() == HIDDEN or f'"{HIDDEN}"' in text:
        return True
    pieces = text.split(HIDDEN)
    if "/" in text or "?" in text:
        before_any = any(before[-1:] in _MARKS for before in pieces[:-1] if before)
        return before_any or any(after[:1] in _MARKS for after in pieces[1:] if after)
    return any(_names_secret(before) for before in pieces[:-1])


def _names_secret(before: str) -> bool:
    """Whether a text ends as `Authorization: ` does."""
    bare = before.rstrip()
    words = bare[:-1].split() if bare[-1:] in ("=", ":") else []
    return bool(words) and is_secret(words[-1])
