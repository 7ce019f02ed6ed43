"""Encodes cursors: the position where a page ended, as URL-safe text.

They name an item, not a number of items, so pages stay correct while rows arrive.
"""

import base64
import binascii
import json
from collections.abc import Sequence
from typing import Any

#: The range of the ledger's ids and times.
_MAX_INT = 2**63


class BadCursorError(ValueError):
    """The text is no cursor of this list."""


def encode(*position: int | str) -> str:
    """Returns the cursor for a position."""
    return base64.urlsafe_b64encode(json.dumps(position, separators=(",", ":")).encode()).decode().rstrip("=")


def decode(text: str, *shape: type[int] | type[str]) -> tuple[Any, ...]:
    """Returns the position in a cursor of this shape. Raises BadCursorError."""
    try:
        raw = text.encode("ascii")
        position = json.loads(base64.b64decode(raw + b"=" * (-len(raw) % 4), altchars=b"-_", validate=True))
    except (ValueError, binascii.Error, RecursionError) as error:
        raise BadCursorError from error
    if not isinstance(position, list) or not _has_shape(position, shape):
        raise BadCursorError
    return tuple(position)


def _has_shape(position: Sequence[Any], shape: Sequence[type]) -> bool:
    if len(position) != len(shape) or any(type(part) is not wanted for part, wanted in zip(position, shape, strict=True)):
        return False
    return all(part.isalnum() and part.isascii() if isinstance(part, str) else abs(part) < _MAX_INT for part in position)
