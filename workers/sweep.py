"""The sweep: finds what is due and what waits, without any hint. Alone it suffices; hints only make it sooner."""

import threading
from collections.abc import Callable
from contextlib import suppress

from adapters.clock import monotonic_s
from adapters.ledger import ConflictError, Ledger, LedgerUnavailableError, deadlines, inbox, stats
from adapters.ledger.migrate import make_room
from adapters.ledger.shards import Shards
from adapters.logs import logger
from adapters.supervision import Health, SupervisedThread
from workers.apply.applier import Applier
from workers.clock_setback import Judge

#: Deadlines taken at once.
_DUE = 500
#: The longest pause while the ledger is away, s.
_LAST_PAUSE_S = 5.0
#: What was wiped may lie on in the write-ahead log for so long, ms.
_CHECKPOINT_MS = 60_000

log = logger(__name__)


def _asked(due: deadlines.Due) -> inbox.Posting:
    payload = {"task_id": due.task_id, "kind": due.kind, "due_at": due.due_at}
    return inbox.Posting(key=(due.task_id, due.kind, str(due.due_at)), payload=payload, shard=due.shard)


class Sweep:
    """`interval_s`: from the beginning of a sweep to that of the next, which begins at once if the first took longer.

    `shards`: which part of the work is this process's. `health`: where it registers.
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
        self._judge = Judge(ledger)
        self._stop = threading.Event()
        health = health or Health()
        self._part = health.part("sweep")
        self._thread = SupervisedThread(health, self._part, self._run, self._stop)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Ends after the sweep that is under way."""
        self._stop.set()
        self._thread.join(timeout=30)

    def once(self) -> None:
        """Passes what is due, applies what waits. Raises LedgerUnavailableError."""
        self._judge_times()
        self._apply()
        while self._post_due() == _DUE and not self._stop.is_set():
            self._apply()
        self._apply()
        self._tidy()

    def _judge_times(self) -> None:
        with suppress(ConflictError):  # another worker mends the same; the next sweep looks again
            self._judge.judge_if_due(self._clock())

    def _apply(self) -> None:
        """May take as long as there is something to apply; the applier's own part tells whether it makes progress."""
        self._part.rest()
        self._applier.apply_waiting()
        self._part.beat()

    def _post_due(self) -> int:
        """Puts due deadlines into the inbox, where each waits once; how many are there now that were not."""
        now = self._clock()
        with self._ledger.read() as connection:
            due = deadlines.due(connection, now, _DUE, self._shards.mine())
        if not due:
            return 0
        with self._ledger.write() as connection:
            return inbox.post_all(connection, inbox.DEADLINE, [_asked(each) for each in due], now)

    def _tidy(self) -> None:
        now = self._clock()
        with self._ledger.read() as connection:
            untidy = stats.untidy(connection, now)
        if untidy:
            with self._ledger.write() as connection:
                stats.tidy(connection, now)
        if not 0 <= now - self._checkpointed_at < _CHECKPOINT_MS:
            self._checkpointed_at = now
            self._ledger.checkpoint()
            make_room(self._ledger, now)

    def _run(self) -> None:
        begun = monotonic_s()
        pause_s = self._interval_s
        while not self._stop.wait(max(0.0, begun + pause_s - monotonic_s())):
            begun = monotonic_s()
            try:
                with self._part.at_work():
                    self.once()
                pause_s = self._interval_s
            except LedgerUnavailableError as error:
                log.error("sweep.failed", error=str(error))
                pause_s = min(_LAST_PAUSE_S, pause_s * 2)
            except Exception as error:
                self._part.failed_with(error)
                log.error("sweep.failed", exc_info=error)
