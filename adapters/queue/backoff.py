"""What to do while the queue is away: rest longer and longer, and say so once in a while."""

import random
from collections.abc import Callable

from adapters.clock import monotonic_s

#: Rests while it lasts, s: the first, doubled up to the last.
_FIRST_REST_S, _LAST_REST_S = 0.05, 1.0
#: Between two words about it, s; a queue that comes and goes gets no more of them.
_WORDS_S = 30.0


class Outage:
    """For one thread. tell: what says it; the error is the newest one."""

    def __init__(self, tell: Callable[[Exception], None], *, words_s: float = _WORDS_S) -> None:
        self._tell = tell
        self._words_s = words_s
        self._told_at: float | None = None
        self._failures = 0

    def begun(self, error: Exception) -> float:
        """Or it goes on; how long to rest, s."""
        now = monotonic_s()
        if self._told_at is None or now - self._told_at >= self._words_s:
            self._told_at = now
            self._tell(error)
        rest_s = min(_LAST_REST_S, _FIRST_REST_S * 2.0 ** min(self._failures, 10))
        self._failures += 1
        return rest_s * random.uniform(0.5, 1)  # noqa: S311 - so that not all workers come back at the same moment

    @property
    def lasts(self) -> bool:
        return self._failures > 0

    def over(self) -> None:
        self._failures = 0
