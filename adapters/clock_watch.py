"""Detects when the wall clock is set: compares it once a second with the monotonic clock, and reports each step."""

import threading
from collections.abc import Callable
from dataclasses import dataclass

from adapters.clock import monotonic_s, now_ms
from adapters.logs import logger
from adapters.supervision import Health, SupervisedThread

#: Interval of the checks, s.
_INTERVAL_S = 1.0
#: Smallest change that counts as a step, s. A slow correction (NTP slews by at most 0.5 ms a second) is none.
STEP_S = 2.0
#: Both clocks must be read within this time, s; else the process stood still in between and they cannot be compared.
_MAX_READ_S = 0.5

log = logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockStep:
    """A change of the wall clock. at: the new time, ms. by_s: how far it was set ahead; less than 0: it was set back."""

    at: int
    by_s: float


class ClockWatch:
    """Thread-safe. wall: returns ms since the epoch. elapsed_s: returns s of the monotonic clock."""

    def __init__(
        self, health: Health | None = None, *, wall: Callable[[], int] = now_ms, elapsed_s: Callable[[], float] = monotonic_s
    ) -> None:
        self._wall = wall
        self._elapsed_s = elapsed_s
        self._last_reading: tuple[int, float] | None = None
        self._listeners: list[Callable[[ClockStep], object]] = []
        #: Steps since the process began, and the last one.
        self.step_count = 0
        self.last_step: ClockStep | None = None
        self._stopping = threading.Event()
        health = health or Health()
        self._part = health.part("clock", vital=False, needs_ledger=False)
        self._thread = SupervisedThread(health, self._part, self._run, self._stopping)

    def add_listener(self, listener: Callable[[ClockStep], object]) -> None:
        """Adds a function that is called at each step, in the thread of this watch; it must not wait."""
        self._listeners.append(listener)

    def start(self) -> None:
        self.check()
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join(timeout=_INTERVAL_S)

    def check(self) -> ClockStep | None:
        """Returns the step since the last check, None if there was none; calls the listeners."""
        before_s, wall, after_s = self._elapsed_s(), self._wall(), self._elapsed_s()
        if after_s - before_s > _MAX_READ_S:
            return None
        last, self._last_reading = self._last_reading, (wall, after_s)
        by_s = 0.0 if last is None else (wall - last[0]) / 1_000 - (after_s - last[1])
        if abs(by_s) < STEP_S:
            return None
        step = ClockStep(at=wall, by_s=round(by_s, 3))
        self.last_step, self.step_count = step, self.step_count + 1
        log.warning("clock.stepped", by_s=step.by_s)
        for listener in self._listeners:
            listener(step)
        return step

    def _run(self) -> None:
        while not self._stopping.wait(_INTERVAL_S):
            with self._part.at_work():
                self.check()
