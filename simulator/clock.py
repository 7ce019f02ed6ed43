"""The clock of a world, derived from real time."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class WorldClock:
    """A clock that runs `speed` times as fast as `real`; at `start_ms` both show the same. Times in ms since the epoch."""

    real: Callable[[], int]
    start_ms: int
    speed: int

    def __call__(self) -> int:
        return self.start_ms + (self.real() - self.start_ms) * self.speed

    def real_s_until(self, ms: int) -> float:
        """Returns the real seconds until this time; 0 if it is past."""
        return max(0, ms - self()) / self.speed / 1000
