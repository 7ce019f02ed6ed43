"""The sweep: periodically finds due deadlines and waiting inbox rows, without hints.

The sweep alone would do all the work; hints only make it sooner.
"""

import threading
from collections.abc import Callable
from contextlib import suppress

from adapters.clock import monotonic_s
from adapters.ledger import ConflictError, Ledger, LedgerUnavailableError, deadlines, inbox, stats
from adapters.ledger.migrate import make_partitions
from adapters.ledger.shards import Shards
from adapters.logs import logger
from adapters.supervision import Health, SupervisedThread
from workers.apply.applier import Applier
from workers.clock_setback import ClockRepairer

#: Due deadlines posted per transaction at most.
_DEADLINES_PER_PASS = 500
#: Longest pause while the ledger is unavailable, s.
_MAX_BACKOFF_S = 5.0
#: Interval between two checkpoints, ms; for this long, wiped secrets may stay in the write-ahead log.
_CHECKPOINT_INTERVAL_MS = 60_000

log = logger(__name__)


def _deadline_posting(due: deadlines.DueDeadline) -> inbox.Posting:
    payload = {"task_id": due.task_id, "kind": due.kind, "due_at": due.due_at}
    return inbox.Posting(key=(due.task_id, due.kind, str(due.due_at)), payload=payload, shard=due.shard)


class Sweep:
    """Sweeps from a thread of its own (`start`, `stop`), or within the caller's thread (`run_once`).

    clock: ms. shards: the part of the deadlines and the inbox that this process handles. interval_s: time from the start of one
    sweep to the start of the next, which begins at once if the former took longer. health: where the sweep registers.
    """

    def __init__(
        self,
        ledger: Ledger,
        applier: Applier,
        clock: Callable[[], int],
        shards: Shards,
        *,
        interval_s: float = 0.5,
        health: Health | None = None,
    ) -> None:
        self._ledger = ledger
        self._applier = applier
        self._clock = clock
        self._shards = shards
        self._interval_s = interval_s
        self._checkpointed_at = 0
        self._clock_repairer = ClockRepairer(ledger)
        self._stop = threading.Event()
        health = health or Health()
        self._part = health.part("sweep")
        self._thread = SupervisedThread(health, self._part, self._run, self._stop)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Stops after the current sweep."""
        self._stop.set()
        self._thread.join(timeout=30)

    def run_once(self) -> None:
        """Posts due deadlines, applies waiting rows, and does maintenance. Raises LedgerUnavailableError."""
        self._repair_times()
        self._apply_inbox()
        while self._post_due_deadlines() == _DEADLINES_PER_PASS and not self._stop.is_set():
            self._apply_inbox()
        self._apply_inbox()
        self._run_maintenance()

    def _repair_times(self) -> None:
        with suppress(ConflictError):  # another worker repairs the same rows; the next sweep checks again
            self._clock_repairer.repair_if_due(self._clock())

    def _apply_inbox(self) -> None:
        """Applies all rows, however long it takes: whether the applier makes progress is watched as a part of its own."""
        self._part.rest()
        self._applier.apply_waiting()
        self._part.beat()

    def _post_due_deadlines(self) -> int:
        """Posts due deadlines to the inbox, each once; returns how many are new there."""
        now = self._clock()
        with self._ledger.read() as connection:
            due = deadlines.due(connection, now, _DEADLINES_PER_PASS, self._shards.owned())
        if not due:
            return 0
        with self._ledger.write() as connection:
            return inbox.post_all(connection, inbox.DEADLINE, [_deadline_posting(deadline) for deadline in due], now)

    def _run_maintenance(self) -> None:
        now = self._clock()
        with self._ledger.read() as connection:
            has_old_seconds = stats.has_old_seconds(connection, now)
        if has_old_seconds:
            with self._ledger.write() as connection:
                stats.fold_old_seconds(connection, now)
        if not 0 <= now - self._checkpointed_at < _CHECKPOINT_INTERVAL_MS:
            self._checkpointed_at = now
            self._ledger.checkpoint()
            make_partitions(self._ledger, now)

    def _run(self) -> None:
        begun = monotonic_s()
        pause_s = self._interval_s
        while not self._stop.wait(max(0.0, begun + pause_s - monotonic_s())):
            begun = monotonic_s()
            try:
                with self._part.at_work():
                    self.run_once()
                pause_s = self._interval_s
            except LedgerUnavailableError as error:
                log.error("sweep.failed", error=str(error))
                pause_s = min(_MAX_BACKOFF_S, pause_s * 2)
            except Exception as error:
                self._part.failed_with(error)
                log.error("sweep.failed", exc_info=error)
