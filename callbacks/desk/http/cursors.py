"""Cursors: where a page ended, as URL-safe text. They name the last thing shown, so pages stay right while rows arrive."""

import base64
import binascii
import json
from collections.abc import Sequence
from typing import Any

#: Fits the ledger's ids and times.
_MAX_INT = 2**63


class BadCursorError(ValueError):
    """It was not made by this service, or for another list."""


def encode(*position: int | str) -> str:
    return base64.urlsafe_b64encode(json.dumps(position, separators=(",", ":")).encode()).decode().rstrip("=")


def decode(text: str, *shape: type[int] | type[str]) -> tuple[Any, ...]:
    """The position in a cursor of this shape. Raises BadCursorError."""
    try:
        raw = text.encode("ascii")
        position = json.loads(base64.b64decode(raw + b"=" * (-len(raw) % 4), altchars=b"-_", validate=True))
    except (ValueError, binascii.Error, RecursionError) as error:
        raise BadCursorError from error
    if not isinstance(position, list) or not _fits(position, shape):
        raise BadCursorError
    return tuple(position)


def _fits(position: Sequence[Any], shape: Sequence[type]) -> bool:
    if len(position) != len(shape) or any(type(part) is not wanted for part, wanted in zip(position, shape, strict=True)):
        return False
    return all(part.isalnum() and part.isascii() if isinstance(part, str) else abs(part) < _MAX_INT for part in position)
