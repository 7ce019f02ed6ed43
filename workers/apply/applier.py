"""Applies the inbox: load, decide, save task, timeline and sums, mark the rows, all in one transaction.

What is loaded is decided outside the write transaction, so that the door is not kept waiting by our thinking; the save goes
through only if nobody saved in between. A crash between any two lines leaves either all of it or nothing. A row that cannot be
applied is set aside and holds up nobody.
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
    deadlines,
    effects,
    epochs,
    events,
    fair_order,
    inbox,
    lineages,
    stats,
    timeline,
)
from adapters.ledger.documents import Texts
from adapters.ledger.inbox import ANSWER, CALLBACK, DEADLINE, REPLAY, START, STOP, Row, Settled
from adapters.ledger.lineages import Stored
from adapters.ledger.shards import Shards
from adapters.ledger.starts import start_of
from adapters.logs import logger
from adapters.supervision import Health
from adapters.vendors.accounts import Accounts
from statemachine.facts import TaskKey
from statemachine.states import State
from workers.apply.adoption import adopting, held
from workers.apply.batch import Batch, keys_of
from workers.apply.effects import Outgoing
from workers.apply.inbox_decoder import OF_A_TASK, Known, ask
from workers.apply.lineage_cache import Recent
from workers.apply.rules import Rulebook

#: Rows per transaction at the most. What a transaction costs besides its rows is shared by them: 20 rows cost 390 us each (of our
#: own time), 50 rows 260, 100 rows 200, 200 rows 180, 400 rows 165.
_BATCH = 400
#: How often a batch is decided anew because somebody saved in between.
_TRIES = 5
#: When a row is tried again that could not be saved all those times, ms.
_LATER_MS = 1_000

log = logger(__name__)


class Applier:
    """Safe to call from any number of threads: one of them applies, and what the others were called for is not missed.

    accounts: who calls the vendors. shards: which part of the work is this process's. on_calls, on_events: told when there are
    calls to be made, and news to be told; must not wait. gather_s: after a small batch so long is waited for more, so that the next
    one is worth its transaction; who was idle begins at once. health: where it registers.
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
        self._recent = Recent()
        self._on_calls = on_calls
        self._on_events = on_events
        self._gather_s = gather_s
        self._part = (health or Health()).part("applying")
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
            rows, more = self._waiting()
            if not rows:
                break
            self._apply(rows)
            self._part.beat()
            applied += len(rows)
            if len(rows) < _BATCH // 2 and not more:
                self._stopping.wait(self._gather_s)
        return applied

    def _waiting(self) -> tuple[list[Row], bool]:
        """(the rows to be applied next, whether more may wait behind them)"""
        shards = self._shards.mine()
        with self._ledger.read() as connection:
            now = self._clock()
            self._rulebook.recount(connection, now)
            return fair_order.next_rows(connection, _BATCH, now, shards)

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
        except ConflictError:  # others save this key faster than we decide: later, and alone
            with self._ledger.write() as connection:
                inbox.hold(connection, [row.id], self._clock() + _LATER_MS)
        except Exception as error:
            log.error("callback.set_aside", inbox_id=row.id, kind=row.kind, exc_info=error)
            aside = Settled(id=row.id, applied_at=self._clock(), error=repr(error)[:500])
            with suppress(ConflictError), self._ledger.write() as connection:  # another worker may have applied it after all
                inbox.apply(connection, [aside], [])

    def _apply_together(self, rows: Sequence[Row]) -> None:
        for last in (False,) * (_TRIES - 1) + (True,):
            batch = self._decided(rows)
            try:
                self._save(batch)
            except ConflictError:
                self._recent.forget(batch.keys)
                if last:
                    raise
                with self._ledger.read() as connection:
                    waiting = inbox.waiting_of(connection, [row.id for row in rows])
                rows = [row for row in rows if row.id in waiting]
            else:
                self._tell(batch, rows)
                if batch.outgoing.calls:
                    self._on_calls()
                if batch.events:
                    self._on_events()
                return

    def _decided(self, rows: Sequence[Row]) -> Batch:
        now = self._clock()
        with self._ledger.read() as connection:
            epoch = epochs.current(connection)
            known = self._known(connection, rows)
            asked = [ask(row, known) for row in rows]
            stored = self._load(connection, keys_of(asked))
            waiting = held(connection, asked, stored, self._rulebook, now)
            asked = adopting(connection, [item for item in asked if item.row.id not in waiting], stored, self._rulebook, now)
            more = keys_of(asked) - stored.keys()
            stored |= self._load(connection, more)
        batch = Batch(stored, now, self._rulebook, Outgoing(self._accounts, now), epoch=epoch)
        batch.held = waiting
        for item in asked:
            batch.decide(item)
        return batch

    def _load(self, connection: Connection, keys: Set[TaskKey]) -> dict[TaskKey, Stored]:
        known = self._recent.among(keys)
        unknown = keys - known.keys()
        return known | (lineages.load(connection, unknown) if unknown else {})

    @staticmethod
    def _known(connection: Connection, rows: Sequence[Row]) -> Known:
        replayed = [int(row.payload["callback_id"]) for row in rows if row.kind == REPLAY]
        tasks = [str(row.payload["task_id"]) for row in rows if row.kind in OF_A_TASK]
        begun = {start.task_id: start.key for start in (start_of(row.payload) for row in rows if row.kind == START)}
        given = callbacks.tasks_of(connection, replayed) if replayed else {}
        standing = lineages.keys_of_tasks(connection, [*tasks, *given.values()]) if tasks or given else {}
        called = [str(row.payload["task_id"]) for row in rows if row.kind in (STOP, ANSWER)]
        return Known(
            callbacks=inbox.callback_rows(connection, replayed) if replayed else {},
            task_of_callback=given,
            keys={**begun, **standing},
            taken=frozenset(effects.taken(connection, called)),
        )

    def _save(self, batch: Batch) -> None:
        with self._ledger.write() as connection:
            inbox.apply(connection, batch.settled, batch.done)  # fails if another worker has applied some of them
            inbox.settle(connection, batch.settled_again)
            for row_id, until in batch.held.items():
                inbox.hold(connection, [row_id], until)
            timeline.append(connection, batch.lines)
            texts = Texts()
            batch.outgoing.save(connection)
            # Sums and positions come last: all workers write the same few rows, and wait for each other from here to the end.
            lineages.require_unchanged(connection, batch.only_read())
            saved = lineages.save_if_version(connection, batch.saves(), texts)
            deadlines.rearm(connection, batch.rearmed())
            stats.count(connection, batch.tally())
            events.append(connection, batch.events, texts)
        self._recent.forget(batch.keys)  # some stand under other keys now
        self._recent.remember(saved)

    def _tell(self, batch: Batch, rows: Sequence[Row]) -> None:
        for change in batch.changes:
            for entry in change.entries:
                if entry["kind"] == "anomaly_raised":
                    about = {"task_id": change.after.id, "vendor": change.after.key.vendor, "kind": change.after.kind.value}
                    log.warning("anomaly.raised", anomaly=entry["anomaly"], **about)
            if change.move is not None:
                say = log.warning if change.after.view.state in (State.FAILED, State.LOST) else log.info
                say(
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
