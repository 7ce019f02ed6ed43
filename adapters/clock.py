"""Reads the clocks: no other module does. Times are whole milliseconds since the Unix epoch; text is RFC 3339, in UTC."""

import re
import time
from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)
_RFC3339 = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt ]([0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]+))?([Zz]|[+-][0-9]{2}:[0-9]{2})")


def now_ms() -> int:
    """Returns the current time, ms since the epoch."""
    return time.time_ns() // 1_000_000


def monotonic_s() -> float:
    """Returns seconds since some moment, for measuring waits: this clock cannot be set."""
    return time.monotonic()


def to_rfc3339(ms: int) -> str:
    """Returns the text of a time, as in `2026-11-21T13:00:00.123Z`. ms: since the epoch.

    Raises OverflowError outside the years 1 to 9999.
    """
    return (_EPOCH + timedelta(milliseconds=ms)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse_rfc3339(text: str) -> int:
    """Parses a time with Z or an offset; returns ms since the epoch, rounded down.

    Raises ValueError, with a message that says what would be right.
    """
    try:
        ms = rfc3339_ms(text)
        to_rfc3339(ms)
    except (ValueError, OverflowError):
        raise ValueError("must be a time with Z or an offset, such as 2026-11-21T13:00:00.123Z") from None
    return ms


def rfc3339_ms(text: str) -> int:
    """Returns the same as `parse_rfc3339`, also for times that in UTC lie just outside the years 1 to 9999. Raises ValueError."""
    match = _RFC3339.fullmatch(text)
    if match is None:
        raise ValueError("not an RFC 3339 time with Z or an offset")
    date, clock, fraction, offset = match.groups()
    whole = datetime.fromisoformat(f"{date}T{clock}{offset.upper().replace('Z', '+00:00')}")
    return (whole - _EPOCH) // _MS + int((fraction or "").ljust(3, "0")[:3])
