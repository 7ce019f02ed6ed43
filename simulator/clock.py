"""The world's time, made from real time."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class WorldClock:
    """Runs `speed` times as fast as `real`, from `start_ms` on, when both show the same. Times in ms since the epoch."""

    real: Callable[[], int]
    start_ms: int
    speed: int

    def __call__(self) -> int:
        return self.start_ms + (self.real() - self.start_ms) * self.speed

    def real_s_until(self, ms: int) -> float:
        """How many real seconds it takes until then; 0 where it is past."""
        return max(0, ms - self()) / self.speed / 1000
