"""Applies inbox rows: loads lineages, decides, and saves tasks, timeline, sums and the applied rows in one transaction.

Deciding happens outside the write transaction, so that the door does not wait for it; the save succeeds only if no other worker
saved in between. After a crash at any line either all of a batch is saved or nothing. A row that cannot be applied is set aside and
holds up no other row.
"""

import threading
from collections.abc import Callable, Sequence, Set
from contextlib import suppress

from adapters.ledger import (
    ConflictError,
    Connection,
    Ledger,
    LedgerUnavailableError,
    callbacks,
    effects,
    epochs,
    fair_order,
    inbox,
    lineages,
)
from adapters.ledger.inbox import ANSWER, CALLBACK, DEADLINE, REPLAY, START, STOP, AppliedRow, InboxRow
from adapters.ledger.lineages import StoredLineage
from adapters.ledger.shards import Shards
from adapters.ledger.starts import request_of
from adapters.logs import logger
from adapters.supervision import Health
from adapters.vendors.accounts import Accounts
from statemachine.states import State
from statemachine.tasks import TaskKey
from workers.apply.adoption import rows_to_defer, with_adoptions
from workers.apply.batch import Batch, keys_of
from workers.apply.inbox_decoder import TASK_ROW_KINDS, Lookups, decode
from workers.apply.lineage_cache import LineageCache
from workers.apply.rules import Rulebook

#: Rows per transaction at most. The rows share the fixed cost of a transaction: in batches of 20 a row takes 390 us of our own
#: time, in batches of 50 rows 260, of 100 rows 200, of 200 rows 180, of 400 rows 165.
_ROWS_PER_BATCH = 400
#: Times that a batch is decided at most, if other workers save in between.
_MAX_TRIES = 5
#: Delay after which a row is tried again that could not be saved all those times, ms.
_RETRY_DELAY_MS = 1_000

log = logger(__name__)


class Applier:
    """Applies inbox rows. Any number of threads may call it: one of them applies, also the rows that the others were called for.

    clock: ms. accounts: show which apps can be called, and their quotas. shards: the part of the inbox that this process applies.
    on_calls, on_events: called when there are new calls to be made and new events for subscribers; must not block.
    gather_s: pause after a small batch in which rows gather, so that the next one is worth its transaction; an idle applier begins
    at once. health: where the applier registers.
    """

    def __init__(
        self,
        ledger: Ledger,
        clock: Callable[[], int],
        accounts: Accounts,
        shards: Shards,
        on_calls: Callable[[], None] = lambda: None,
        on_events: Callable[[], None] = lambda: None,
        *,
        gather_s: float = 0.0,
        health: Health | None = None,
    ) -> None:
        self._ledger = ledger
        self._clock = clock
        self._accounts = accounts
        self._shards = shards
        self._rulebook = Rulebook(accounts)
        self._cache = LineageCache()
        self._on_calls = on_calls
        self._on_events = on_events
        self._gather_s = gather_s
        self._part = (health or Health()).part("applying")
        self._applying = threading.Lock()
        self._again = threading.Event()
        self._stopping = threading.Event()

    def stop(self) -> None:
        """Makes the thread that applies end after its current batch; the other rows wait for the next start."""
        self._stopping.set()

    def apply_waiting(self) -> int:
        """Applies rows until none waits; returns how many. Raises LedgerUnavailableError."""
        self._again.set()
        applied = 0
        while self._again.is_set() and not self._stopping.is_set() and self._applying.acquire(blocking=False):
            try:
                self._again.clear()
                with self._part.at_work():
                    applied += self._apply_all()
            except LedgerUnavailableError:
                raise
            except Exception as error:
                self._part.failed_with(error)
                raise
            finally:
                self._applying.release()
        return applied

    def _apply_all(self) -> int:
        applied = 0
        while not self._stopping.is_set():
            rows, more = self._next_rows()
            if not rows:
                break
            self._apply_rows(rows)
            self._part.beat()
            applied += len(rows)
            if len(rows) < _ROWS_PER_BATCH // 2 and not more:
                self._stopping.wait(self._gather_s)
        return applied

    def _next_rows(self) -> tuple[list[InboxRow], bool]:
        """Returns (the rows to apply next, whether more may wait behind them)."""
        shards = self._shards.owned()
        with self._ledger.read() as connection:
            now = self._clock()
            self._rulebook.recount_live_tasks(connection, now)
            return fair_order.next_rows(connection, _ROWS_PER_BATCH, now, shards)

    def _apply_rows(self, rows: Sequence[InboxRow]) -> None:
        try:
            self._apply_together(rows)
        except LedgerUnavailableError:
            raise
        except Exception as error:  # noqa: BLE001 - the actor's edge: whatever a row raises, the others are applied
            log.warning("inbox.failed", rows=len(rows), error=repr(error))
            for row in rows:
                self._apply_alone(row)

    def _apply_alone(self, row: InboxRow) -> None:
        try:
            self._apply_together([row])
        except LedgerUnavailableError:
            raise
        except ConflictError:  # other workers save this key faster than this one decides: later, and alone
            with self._ledger.write() as connection:
                inbox.defer(connection, [row.id], self._clock() + _RETRY_DELAY_MS)
        except Exception as error:
            log.error("callback.set_aside", inbox_id=row.id, kind=row.kind, exc_info=error)
            aside = AppliedRow(id=row.id, applied_at=self._clock(), error=repr(error)[:500])
            with suppress(ConflictError), self._ledger.write() as connection:  # another worker may have applied it after all
                inbox.mark_applied(connection, [aside], [])

    def _apply_together(self, rows: Sequence[InboxRow]) -> None:
        for last in (False,) * (_MAX_TRIES - 1) + (True,):
            batch = self._decide_rows(rows)
            try:
                self._save_batch(batch)
            except ConflictError:
                self._cache.remove(batch.keys)
                if last:
                    raise
                with self._ledger.read() as connection:
                    waiting = inbox.still_waiting(connection, [row.id for row in rows])
                rows = [row for row in rows if row.id in waiting]
            else:
                self._log_changes(batch, rows)
                if batch.has_calls:
                    self._on_calls()
                if batch.has_events:
                    self._on_events()
                return

    def _decide_rows(self, rows: Sequence[InboxRow]) -> Batch:
        now = self._clock()
        with self._ledger.read() as connection:
            epoch = epochs.current(connection)
            lookups = self._look_up(connection, rows)
            decoded = [decode(row, lookups) for row in rows]
            stored = self._load_lineages(connection, keys_of(decoded))
            deferred = rows_to_defer(connection, decoded, stored, self._rulebook, now)
            rest = [item for item in decoded if item.row.id not in deferred]
            rest = with_adoptions(connection, rest, stored, self._rulebook, now)
            stored |= self._load_lineages(connection, keys_of(rest) - stored.keys())
        batch = Batch(stored, self._rulebook, self._accounts, now, deferred=deferred, epoch=epoch)
        for item in rest:
            batch.decide(item)
        return batch

    def _load_lineages(self, connection: Connection, keys: Set[TaskKey]) -> dict[TaskKey, StoredLineage]:
        cached = self._cache.get_many(keys)
        missing = keys - cached.keys()
        return cached | (lineages.load(connection, missing) if missing else {})

    @staticmethod
    def _look_up(connection: Connection, rows: Sequence[InboxRow]) -> Lookups:
        replayed = [int(row.payload["callback_id"]) for row in rows if row.kind == REPLAY]
        task_ids = [str(row.payload["task_id"]) for row in rows if row.kind in TASK_ROW_KINDS]
        new = {start.task_id: start.key for start in (request_of(row.payload) for row in rows if row.kind == START)}
        task_of_callback = callbacks.tasks_of(connection, replayed) if replayed else {}
        task_ids += task_of_callback.values()
        stored = lineages.keys_of_tasks(connection, task_ids) if task_ids else {}
        called = [str(row.payload["task_id"]) for row in rows if row.kind in (STOP, ANSWER)]
        return Lookups(
            callbacks=inbox.callback_rows(connection, replayed) if replayed else {},
            task_of_callback=task_of_callback,
            keys={**new, **stored},
            claimed=frozenset(effects.claimed(connection, called)),
        )

    def _save_batch(self, batch: Batch) -> None:
        with self._ledger.write() as connection:
            saved = batch.save(connection)
        self._cache.remove(batch.keys)  # tasks may have moved to another key
        self._cache.add(saved)

    def _log_changes(self, batch: Batch, rows: Sequence[InboxRow]) -> None:
        for change in batch.changes:
            for entry in change.entries:
                if entry["kind"] == "anomaly_raised":
                    about = {"task_id": change.after.id, "vendor": change.after.key.vendor, "kind": change.after.kind.value}
                    log.warning("anomaly.raised", anomaly=entry["anomaly"], **about)
            if change.move is not None:
                write = log.warning if change.after.view.state in (State.FAILED, State.LOST) else log.info
                write(
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
