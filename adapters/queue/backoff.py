"""Backoff while the queue is unavailable: growing pauses, and a report once in a while."""

import random
from collections.abc import Callable

from adapters.clock import monotonic_s

#: First and longest pause, s; each pause is twice the one before.
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.05, 1.0
#: Minimum time between two reports, s, even if the queue recovers in between.
_REPORT_INTERVAL_S = 30.0


class Outage:
    """Failures of one thread's broker calls in a row. report: called with the newest error, at most every `report_interval_s`."""

    def __init__(self, report: Callable[[Exception], None], *, report_interval_s: float = _REPORT_INTERVAL_S) -> None:
        self._report = report
        self._report_interval_s = report_interval_s
        self._reported_at: float | None = None
        self._failures = 0

    def record_failure(self, error: Exception) -> float:
        """Records one more failure and reports it if a report is due. Returns the pause before the next attempt, s."""
        now = monotonic_s()
        if self._reported_at is None or now - self._reported_at >= self._report_interval_s:
            self._reported_at = now
            self._report(error)
        pause_s = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2.0 ** min(self._failures, 10))
        self._failures += 1
        return pause_s * random.uniform(0.5, 1)  # noqa: S311 - jitter, so that not all workers retry at the same moment

    @property
    def is_ongoing(self) -> bool:
        """True if the last attempt failed."""
        return self._failures > 0

    def record_success(self) -> None:
        """Ends the outage."""
        self._failures = 0
