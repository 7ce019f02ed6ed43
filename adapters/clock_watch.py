"""Notices when somebody sets the wall clock: compares it once a second with a clock that nobody can set, and tells of each step."""

import threading
from collections.abc import Callable
from dataclasses import dataclass

from adapters.clock import monotonic_s, now_ms
from adapters.logs import logger
from adapters.supervision import Health, SupervisedThread

#: Between two looks, s.
_EVERY_S = 1.0
#: What is set right little by little (NTP slews by at most 0.5 ms a second) is no step; this is, s.
STEP_S = 2.0
#: Both clocks are read within so long, s, or the process stood still in between and they cannot be compared.
_AT_ONCE_S = 0.5

log = logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """The wall clock was set. at: when by the new time, ms. by_s: how far ahead; less than 0: it was set back."""

    at: int
    by_s: float


class ClockWatch:
    """Thread-safe. wall: ms since the epoch. elapsed_s: s, of a clock that nobody can set."""

    def __init__(
        self, health: Health | None = None, *, wall: Callable[[], int] = now_ms, elapsed_s: Callable[[], float] = monotonic_s
    ) -> None:
        self._wall = wall
        self._elapsed_s = elapsed_s
        self._seen: tuple[int, float] | None = None
        self._told: list[Callable[[Step], object]] = []
        #: How often the clock was set since the process began, and when last.
        self.steps = 0
        self.last: Step | None = None
        self._stopping = threading.Event()
        health = health or Health()
        self._part = health.part("clock", vital=False, needs_ledger=False)
        self._thread = SupervisedThread(health, self._part, self._run, self._stopping)

    def tell(self, told: Callable[[Step], object]) -> None:
        """Calls this at each step, in the watch's own thread; it must not wait."""
        self._told.append(told)

    def start(self) -> None:
        self.look()
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join(timeout=_EVERY_S)

    def look(self) -> Step | None:
        """The step since the last look, if there was one."""
        before_s, wall, after_s = self._elapsed_s(), self._wall(), self._elapsed_s()
        if after_s - before_s > _AT_ONCE_S:
            return None
        seen, self._seen = self._seen, (wall, after_s)
        by_s = 0.0 if seen is None else (wall - seen[0]) / 1_000 - (after_s - seen[1])
        if abs(by_s) < STEP_S:
            return None
        step = Step(at=wall, by_s=round(by_s, 3))
        self.last, self.steps = step, self.steps + 1
        log.warning("clock.stepped", by_s=step.by_s)
        for told in self._told:
            told(step)
        return step

    def _run(self) -> None:
        while not self._stopping.wait(_EVERY_S):
            with self._part.at_work():
                self.look()
