"""Which of a vendor's times are believed. All are whole ms since the Unix epoch, UTC."""

#: 2015-01-01: before it none of these services existed, so an earlier time is a zero, or seconds taken for milliseconds.
EARLIEST_MS = 1_420_070_400_000
#: How far ahead of our clock a vendor's clock may be.
AHEAD_MS = 10 * 60 * 1000
#: How far ahead a start may be planned.
PLANNED_AHEAD_MS = 366 * 24 * 3600 * 1000


def believed(ms: int | None, received_at: int, *, ahead_ms: int = AHEAD_MS) -> int | None:
    """The time, or None where there is none or it cannot be true."""
    if ms is None or not EARLIEST_MS <= ms <= received_at + ahead_ms:
        return None
    return ms
