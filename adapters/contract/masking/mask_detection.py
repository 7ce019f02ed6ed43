"""Finds our own mask in what a client sends: masked parameters of a task, posted again, would be taken for real ones."""

from collections.abc import Iterator, Mapping
from typing import Any

from adapters.contract.masking.plain_words import HIDDEN
from adapters.contract.masking.secret_names import is_secret

#: Characters of a url next to which the mask is part of it.
_URL_MARKS = "/?=&#:@."
_ENCODED_MASK = "%2a%2a%2a"


def masked_paths(value: Any, path: str = "") -> Iterator[str]:
    """Yields the paths of values that are our mask or contain it: `Control.StreamUrl`, `Outs[1]`, `renew.params.Token`.

    A value contains the mask if a part of its url, pair or JSON is masked. A text with `***` within a word or a sentence (`s***p`,
    `*** live ***`) does not count.
    """
    pending: list[tuple[str, Any]] = [(path, value)]
    while pending:
        item_path, item = pending.pop()
        if isinstance(item, Mapping):
            pending.extend((f"{item_path}.{name}" if item_path else str(name), inner) for name, inner in item.items())
        elif isinstance(item, list):
            pending.extend((f"{item_path}[{number}]", inner) for number, inner in enumerate(item))
        elif isinstance(item, str) and is_masked(item):
            yield item_path


def is_masked(text: str) -> bool:
    """Returns whether the text is our mask, or a part of it is masked in our way."""
    text = text.replace(_ENCODED_MASK, HIDDEN).replace(_ENCODED_MASK.upper(), HIDDEN)
    if HIDDEN not in text:
        return False
    if text.strip() == HIDDEN or f'"{HIDDEN}"' in text:
        return True
    pieces = text.split(HIDDEN)
    if "/" in text or "?" in text:
        before_any = any(before[-1:] in _URL_MARKS for before in pieces[:-1] if before)
        return before_any or any(after[:1] in _URL_MARKS for after in pieces[1:] if after)
    return any(_names_secret(before) for before in pieces[:-1])


def _names_secret(before: str) -> bool:
    """Returns whether a text ends with the name of a secret and a separator, as `Authorization: ` does."""
    bare = before.rstrip()
    words = bare[:-1].split() if bare[-1:] in ("=", ":") else []
    return bool(words) and is_secret(words[-1])
