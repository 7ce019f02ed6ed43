"""Records which parts of a process work, which do not, and since when."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from adapters import logs
from adapters.clock import monotonic_s, now_ms
from adapters.logs import logger

#: If the monitor did not run for this time, the whole process stood still, s: it was suspended, or one call kept all threads from
#: running. That time counts against no part.
_STANDSTILL_S = 3.0
#: The part that reports whether the ledger can be read. While it fails, a part that needs the ledger may hang without a fault of
#: its own.
LEDGER = "ledger"

log = logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A part that does not work. since: ms since the epoch. vital: whether the process is not ready because of it."""

    part: str
    since: int
    detail: str
    vital: bool


class Part:
    """A part of a process: its own thread reports its state, any thread may read it. Created by `Health.part`."""

    def __init__(self, name: str, patience_s: float, *, vital: bool, needs_ledger: bool, elapsed_s: Callable[[], float]) -> None:
        self.name = name
        self.patience_s = patience_s
        self._vital = vital
        self._needs_ledger = needs_ledger
        self._elapsed_s = elapsed_s
        #: Each is set by one assignment, so that no reader needs a lock.
        self._busy_since: float | None = None
        self._failing: tuple[int, str] | None = None

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Runs a block that must end, or call `beat`, within the patience. If it raises nothing, the part works."""
        self.beat()
        try:
            yield
            self.worked()
        finally:
            self.rest()

    def beat(self) -> None:
        """Reports progress: the patience begins anew."""
        self._busy_since = self._elapsed_s()

    def rest(self) -> None:
        """Reports that there is nothing to do: the part may wait for any time."""
        self._busy_since = None

    def worked(self) -> None:
        """Reports that the part did its work: an earlier failure is over."""
        self._failing = None

    def failed(self, detail: str) -> None:
        """Reports that the part could not do its work. detail: is public, so no secret and no text of an exception."""
        failing = self._failing
        self._failing = (now_ms() if failing is None else failing[0], detail)

    def failed_with(self, error: BaseException | None) -> None:
        """Reports a failure by the type of an error. None: the thread returned although it should have gone on."""
        self.failed(f"it failed: {'it returned' if error is None else type(error).__name__}")

    def report(self, does_work: bool, detail: str) -> None:
        """Reports success or failure; see `worked` and `failed`."""
        if does_work:
            self.worked()
        else:
            self.failed(detail)

    def stalled_s(self) -> float:
        """Returns how long it has made no progress, s; 0 within its patience."""
        busy_since = self._busy_since
        quiet_s = 0.0 if busy_since is None else self._elapsed_s() - busy_since
        return quiet_s if quiet_s > self.patience_s else 0.0

    def fault(self, *, ledger_away: bool) -> Fault | None:
        """Returns the fault of the part; None if it works, as far as is known."""
        if (failing := self._failing) is not None:
            return Fault(part=self.name, since=failing[0], detail=failing[1], vital=self._vital)
        if hangs_s := self.stalled_s():
            detail = f"it has made no progress for {hangs_s:.0f} s"
            vital = self._vital and not (self._needs_ledger and ledger_away)
            return Fault(part=self.name, since=now_ms() - round(hangs_s * 1_000), detail=detail, vital=vital)
        return None


class MonitoredThread(Protocol):
    """A thread, or several, that the monitor restarts."""

    @property
    def ended(self) -> bool:
        """True if it ended because it was told to: it is not monitored any more."""
        ...

    def revive(self) -> None:
        """Replaces a thread that is gone. Waits a few seconds at most."""
        ...


class Health:
    """The parts of one process. every_s: interval of the monitor's checks.

    give_up_s: the process ends if a vital part hangs for this time. on_end: called once, in the monitor's thread, when only a new
    process helps. clock_s: a clock that nobody sets, s.
    """

    def __init__(
        self,
        *,
        every_s: float = 1.0,
        give_up_s: float = 600.0,
        on_end: Callable[[], None] = lambda: None,
        clock_s: Callable[[], float] = monotonic_s,
    ) -> None:
        self._clock_s = clock_s
        self._every_s = every_s
        self._give_up_s = give_up_s
        self._parts: dict[str, Part] = {}
        self._monitored: list[MonitoredThread] = []
        self._reported: dict[str, Fault] = {}
        self._checked_s = self._clock_s()
        #: Total time in which the process stood still, s.
        self._standstill_s = 0.0
        self._stopping = threading.Event()
        self._on_end = on_end
        self._log_part: Part | None = None
        #: The fault because of which the process ends; None: it goes on.
        self.end_reason: Fault | None = None
        self._monitor_thread = threading.Thread(target=self._run_monitor, name="monitor", daemon=True)

    def part(self, name: str, *, patience_s: float = 60.0, vital: bool = True, needs_ledger: bool = True) -> Part:
        """Registers a part. patience_s: it hangs if it makes no progress for this time. vital: without it the process is not ready.

        A part of the same name is replaced.
        """
        part = Part(name, patience_s, vital=vital, needs_ledger=needs_ledger, elapsed_s=self._elapsed_s)
        self._parts[name] = part
        return part

    def faults(self) -> list[Fault]:
        """Returns the faults, in the order in which the parts were registered. Never waits."""
        return [fault for fault in self.parts().values() if fault is not None]

    def parts(self) -> dict[str, Fault | None]:
        """Returns the fault of each part by its name; None if it works."""
        ledger = self._parts.get(LEDGER)
        away = ledger is not None and ledger.fault(ledger_away=False) is not None
        faults = {name: part.fault(ledger_away=away) for name, part in tuple(self._parts.items())}
        return faults | ({"monitor": self._own_fault()} if self._monitor_thread.ident is not None else {})

    def start(self) -> None:
        self._checked_s = self._clock_s()
        self._log_part = self.part("log", vital=False, needs_ledger=False)
        self._monitor_thread.start()

    def stop(self) -> None:
        """Stops the monitor: threads that end are not restarted any more."""
        self._stopping.set()
        if self._monitor_thread.ident is not None and self._monitor_thread is not threading.current_thread():
            self._monitor_thread.join(timeout=5)

    def monitor(self, thread: MonitoredThread) -> None:
        """Adds a thread that the monitor restarts if it is gone."""
        self._monitored.append(thread)

    def check(self) -> None:
        """Restarts threads that are gone, logs what has changed, and ends the process if it cannot recover."""
        self._discount_standstill()
        if self._log_part is not None:
            self._log_part.report(not logs.is_stuck(), "lines wait: the reader does not read them, or the disk is full")
        for thread in tuple(self._monitored):
            if thread.ended:
                self._monitored.remove(thread)
            else:
                thread.revive()
        faults = {fault.part: fault for fault in self.faults()}
        for name, fault in faults.items():
            if name not in self._reported:
                log.error("part.failed", part=name, detail=fault.detail)
        for name in self._reported.keys() - faults.keys():
            log.info("part.recovered", part=name)
        self._reported = faults
        self._end_if_hanging(faults)

    def _run_monitor(self) -> None:
        while not self._stopping.wait(self._every_s):
            try:
                self.check()
            except Exception as error:
                log.error("thread.failed", part="monitor", exc_info=error)

    def _own_fault(self) -> Fault | None:
        quiet_s = self._clock_s() - self._checked_s
        if self._stopping.is_set() or quiet_s < 10 * self._every_s + _STANDSTILL_S:
            return None
        since = now_ms() - round(quiet_s * 1_000)
        return Fault(part="monitor", since=since, detail=f"it has made no check for {quiet_s:.0f} s", vital=True)

    def _elapsed_s(self) -> float:
        """Returns a monotonic time, s, that does not count the time in which the process stood still."""
        return min(self._clock_s(), self._checked_s + _STANDSTILL_S) - self._standstill_s

    def _discount_standstill(self) -> None:
        now = self._clock_s()
        gap_s, self._checked_s = now - self._checked_s, now
        if gap_s > _STANDSTILL_S + self._every_s:
            log.warning("process.stood_still", seconds=round(gap_s, 1))
        self._standstill_s += max(0.0, gap_s - _STANDSTILL_S)

    def _end_if_hanging(self, faults: dict[str, Fault]) -> None:
        for name, fault in faults.items():
            part = self._parts.get(name)
            if fault.vital and part is not None and part.stalled_s() > part.patience_s + self._give_up_s:
                self.end(fault)

    def end(self, fault: Fault) -> None:
        """Ends the process, because only a new one helps."""
        if self.end_reason is None:
            self.end_reason = fault
            log.critical("process.ends", part=fault.part, detail=fault.detail)
            self._on_end()
