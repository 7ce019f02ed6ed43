"""What works in a process, what does not, and since when."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from adapters import logs
from adapters.clock import monotonic_s, now_ms
from adapters.logs import logger

#: A monitor that was not there for so long says that the whole process stood still, s: it was suspended, or one call kept all
#: threads from running. That time counts against no part.
_STILL_S = 3.0
#: The part that tells whether the ledger can be read. While it fails, who needs the ledger may hang: that is no fault of its own.
LEDGER = "ledger"

log = logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What does not work. `since`: ms since the epoch. `vital`: whether the process is not ready because of it."""

    part: str
    since: int
    detail: str
    vital: bool


class Part:
    """Told by whoever does the work, asked by any thread. Made by `Health.part`."""

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
        """Runs a block that must end, or `beat`, within the patience. If it raises nothing, the part works."""
        self.beat()
        try:
            yield
            self.worked()
        finally:
            self.rest()

    def beat(self) -> None:
        """There is progress: the patience begins anew."""
        self._busy_since = self._elapsed_s()

    def rest(self) -> None:
        """Nothing is to be done: it may wait for as long as it likes."""
        self._busy_since = None

    def worked(self) -> None:
        """It did its work: whatever failed before is over."""
        self._failing = None

    def failed(self, detail: str) -> None:
        """It could not do its work. `detail` is shown to everybody: no secret, no text of an exception."""
        failing = self._failing
        self._failing = (now_ms() if failing is None else failing[0], detail)

    def failed_with(self, error: BaseException | None) -> None:
        """As `failed`; its kind is all that is shown of an error. None: it returned where it should have gone on."""
        self.failed(f"it failed: {'it returned' if error is None else type(error).__name__}")

    def works_if(self, does_work: bool, detail: str) -> None:
        """`worked` or `failed`."""
        if does_work:
            self.worked()
        else:
            self.failed(detail)

    def hangs_s(self) -> float:
        """For how long it has made no progress, s; 0 within its patience."""
        busy_since = self._busy_since
        quiet_s = 0.0 if busy_since is None else self._elapsed_s() - busy_since
        return quiet_s if quiet_s > self.patience_s else 0.0

    def fault(self, *, ledger_away: bool) -> Fault | None:
        """None: it works, as far as is known."""
        if (failing := self._failing) is not None:
            return Fault(part=self.name, since=failing[0], detail=failing[1], vital=self._vital)
        if hangs_s := self.hangs_s():
            detail = f"it has made no progress for {hangs_s:.0f} s"
            vital = self._vital and not (self._needs_ledger and ledger_away)
            return Fault(part=self.name, since=now_ms() - round(hangs_s * 1_000), detail=detail, vital=vital)
        return None


class Watched(Protocol):
    """What the monitor looks after."""

    @property
    def ended(self) -> bool:
        """It was told to end, and did: it is looked after no longer."""
        ...

    def revive(self) -> None:
        """Puts something new in the place of what is gone. Waits for a few seconds at the most."""
        ...


class Health:
    """The parts of one process. every_s: how often the monitor looks.

    give_up_s: the process ends if a vital part hangs for so long. on_end: called once, in the monitor's thread, when nothing but a
    new process helps.
    """

    def __init__(self, *, every_s: float = 1.0, give_up_s: float = 600.0, on_end: Callable[[], None] = lambda: None) -> None:
        self._every_s = every_s
        self._give_up_s = give_up_s
        self._parts: dict[str, Part] = {}
        self._watched: list[Watched] = []
        self._told: dict[str, Fault] = {}
        self._looked_s = monotonic_s()
        #: In which the process stood still, s.
        self._still_s = 0.0
        self._stopping = threading.Event()
        self._on_end = on_end
        self._log_part: Part | None = None
        #: Why the process ends; None: it goes on.
        self.ends_because: Fault | None = None
        self._monitor = threading.Thread(target=self._watch, name="monitor", daemon=True)

    def part(self, name: str, *, patience_s: float = 60.0, vital: bool = True, needs_ledger: bool = True) -> Part:
        """Registers a part. patience_s: it hangs if it makes no progress for so long. vital: without it the process is not ready.

        A name that is taken is replaced: the newest owner speaks for it.
        """
        made = Part(name, patience_s, vital=vital, needs_ledger=needs_ledger, elapsed_s=self._elapsed_s)
        self._parts[name] = made
        return made

    def faults(self) -> list[Fault]:
        """What does not work now, in the order in which the parts were registered. Waits for nothing."""
        return [fault for fault in self.parts().values() if fault is not None]

    def parts(self) -> dict[str, Fault | None]:
        """All parts by name; None: it works."""
        ledger = self._parts.get(LEDGER)
        away = ledger is not None and ledger.fault(ledger_away=False) is not None
        found = {name: part.fault(ledger_away=away) for name, part in tuple(self._parts.items())}
        return found | ({"monitor": self._own_fault()} if self._monitor.ident is not None else {})

    def start(self) -> None:
        self._looked_s = monotonic_s()
        self._log_part = self.part("log", vital=False, needs_ledger=False)
        self._monitor.start()

    def stop(self) -> None:
        """Threads that end are no longer run again by the monitor."""
        self._stopping.set()
        if self._monitor.ident is not None and self._monitor is not threading.current_thread():
            self._monitor.join(timeout=5)

    def watch(self, watched: Watched) -> None:
        """From now on the monitor revives it if it is gone."""
        self._watched.append(watched)

    def look(self) -> None:
        """Revives threads that are gone, tells what has changed, and ends the process if it cannot recover."""
        self._forgive_standstill()
        if self._log_part is not None:
            self._log_part.works_if(not logs.is_stuck(), "lines wait: nobody reads them, or the disk is full")
        for watched in tuple(self._watched):
            if watched.ended:
                self._watched.remove(watched)
            else:
                watched.revive()
        found = {fault.part: fault for fault in self.faults()}
        for name, fault in found.items():
            if name not in self._told:
                log.error("part.failed", part=name, detail=fault.detail)
        for name in self._told.keys() - found.keys():
            log.info("part.recovered", part=name)
        self._told = found
        self._give_up(found)

    def _watch(self) -> None:
        while not self._stopping.wait(self._every_s):
            try:
                self.look()
            except Exception as error:
                log.error("thread.failed", part="monitor", exc_info=error)

    def _own_fault(self) -> Fault | None:
        quiet_s = monotonic_s() - self._looked_s
        if self._stopping.is_set() or quiet_s < 10 * self._every_s + _STILL_S:
            return None
        since = now_ms() - round(quiet_s * 1_000)
        return Fault(part="monitor", since=since, detail=f"it has not looked for {quiet_s:.0f} s", vital=True)

    def _elapsed_s(self) -> float:
        """Seconds in which the process could work."""
        return min(monotonic_s(), self._looked_s + _STILL_S) - self._still_s

    def _forgive_standstill(self) -> None:
        now = monotonic_s()
        gap_s, self._looked_s = now - self._looked_s, now
        if gap_s > _STILL_S + self._every_s:
            log.warning("process.stood_still", seconds=round(gap_s, 1))
        self._still_s += max(0.0, gap_s - _STILL_S)

    def _give_up(self, found: dict[str, Fault]) -> None:
        for name, fault in found.items():
            part = self._parts.get(name)
            if fault.vital and part is not None and part.hangs_s() > part.patience_s + self._give_up_s:
                self.end(fault)

    def end(self, fault: Fault) -> None:
        """Nothing but a new process helps."""
        if self.ends_because is None:
            self.ends_because = fault
            log.critical("process.ends", part=fault.part, detail=fault.detail)
            self._on_end()
