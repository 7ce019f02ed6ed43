"""Applies the inbox: load, decide, save task, timeline and sums, mark the rows, all in one transaction.

What is loaded is decided outside the write transaction, so that the door is not kept waiting by our thinking; the save goes
through only if nobody saved in between. A crash between any two lines leaves either all of it or nothing. A row that cannot be
applied is set aside and holds up nobody.
"""

import threading
from collections.abc import Callable, Sequence

from adapters.ledger import Connection, Ledger, LedgerUnavailableError, callbacks, deadlines, inbox, lineages, stats, timeline
from adapters.ledger.inbox import CALLBACK, DEADLINE, MARK, REPLAY, Row, Settled
from adapters.logs import logger
from workers.batch import Batch, keys_of
from workers.reading import Known, ask

#: Rows per transaction: measured to move most rows a second without long transactions.
_BATCH = 200
#: How often a batch is decided anew because somebody saved in between.
_TRIES = 5

log = logger(__name__)


class Applier:
    """Safe to call from any number of threads: one of them applies, and what the others were called for is not missed."""

    def __init__(self, ledger: Ledger, clock: Callable[[], int]) -> None:
        self._ledger = ledger
        self._clock = clock
        self._applying = threading.Lock()
        self._again = threading.Event()
        self._stopping = threading.Event()

    def stop(self) -> None:
        """Whoever applies ends after the batch that is under way; the rest waits for the next start."""
        self._stopping.set()

    def apply_waiting(self) -> int:
        """Applies until nothing waits; how many rows. Raises LedgerUnavailableError."""
        self._again.set()
        applied = 0
        while self._again.is_set() and not self._stopping.is_set() and self._applying.acquire(blocking=False):
            try:
                self._again.clear()
                while not self._stopping.is_set() and (rows := self._waiting()):
                    self._apply(rows)
                    applied += len(rows)
            finally:
                self._applying.release()
        return applied

    def _waiting(self) -> list[Row]:
        with self._ledger.read() as connection:
            return inbox.unapplied(connection, _BATCH)

    def _apply(self, rows: Sequence[Row]) -> None:
        try:
            self._apply_together(rows)
        except LedgerUnavailableError:
            raise
        except Exception as error:  # noqa: BLE001 - the actor's edge: whatever a row does, the others go on
            log.warning("inbox.failed", rows=len(rows), error=repr(error))
            for row in rows:
                self._apply_alone(row)

    def _apply_alone(self, row: Row) -> None:
        try:
            self._apply_together([row])
        except LedgerUnavailableError:
            raise
        except Exception as error:
            log.error("callback.set_aside", inbox_id=row.id, kind=row.kind, exc_info=error)
            with self._ledger.write() as connection:
                inbox.settle(connection, [Settled(id=row.id, applied_at=self._clock(), error=repr(error)[:500])])

    def _apply_together(self, rows: Sequence[Row]) -> None:
        for last in (False,) * (_TRIES - 1) + (True,):
            batch = self._decided(rows)
            try:
                self._save(batch)
            except lineages.ConflictError:
                if last:
                    raise
            else:
                self._tell(batch, rows)
                return

    def _decided(self, rows: Sequence[Row]) -> Batch:
        with self._ledger.read() as connection:
            known = self._known(connection, rows)
            asked = [ask(row, known) for row in rows]
            stored = lineages.load(connection, keys_of(asked))
        batch = Batch(stored, self._clock())
        for item in asked:
            batch.decide(item)
        return batch

    @staticmethod
    def _known(connection: Connection, rows: Sequence[Row]) -> Known:
        replayed = [int(row.payload["callback_id"]) for row in rows if row.kind == REPLAY]
        tasks = [str(row.payload["task_id"]) for row in rows if row.kind in (DEADLINE, MARK)]
        given = callbacks.tasks_of(connection, replayed) if replayed else {}
        return Known(
            callbacks=inbox.callback_rows(connection, replayed) if replayed else {},
            task_of_callback=given,
            keys=lineages.keys_of_tasks(connection, [*tasks, *given.values()]) if tasks or given else {},
        )

    def _save(self, batch: Batch) -> None:
        with self._ledger.write() as connection:
            lineages.save_if_version(connection, batch.saves())
            timeline.append(connection, batch.lines)
            for task_id, armed in batch.rearmed().items():
                deadlines.rearm(connection, task_id, armed)
            stats.count(connection, batch.tally())
            inbox.settle(connection, batch.settled)
            inbox.forget(connection, batch.done)

    def _tell(self, batch: Batch, rows: Sequence[Row]) -> None:
        for change in batch.changes:
            if change.move is not None:
                log.info(
                    "task.moved",
                    task_id=change.after.id,
                    vendor=change.after.key.vendor,
                    kind=change.after.kind.value,
                    before=change.move.before.value if change.move.before else None,
                    after=change.move.after.value,
                    reason=change.after.view.reason.value if change.after.view.reason else None,
                )
        for row in rows:
            if row.kind == DEADLINE:
                log.info("deadline.passed", task_id=row.payload["task_id"], kind=row.payload["kind"])
        log.debug("inbox.applied", rows=len(rows), callbacks=sum(row.kind == CALLBACK for row in rows))
