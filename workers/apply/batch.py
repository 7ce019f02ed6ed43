"""Decides a batch of inbox rows in memory, and saves the result in one transaction.

What to save is known before the first row is written, so that the transaction is short.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace

from adapters.ledger import Connection, deadlines, events, inbox, lineages, stats, timeline
from adapters.ledger.documents import TaskTexts
from adapters.ledger.events import TaskEvent
from adapters.ledger.inbox import CALLBACK, REPLAY, AppliedRow
from adapters.ledger.lineages import LineageSave, StoredLineage, shard_of_key
from adapters.ledger.stats import BatchCounts
from adapters.ledger.timeline import TimelineRow
from adapters.vendors.accounts import Accounts
from statemachine import tasks
from statemachine.calls import Operation
from statemachine.decide import RUN_ARCHIVED, UNCHANGED, decide
from statemachine.decision import Change, Decision
from statemachine.events import (
    CallAnswered,
    CallbackReceived,
    CallbackWithdrawn,
    DeadlinePassed,
    Event,
    SurplusTaskFound,
    TasksAdopted,
)
from statemachine.states import Verdict
from statemachine.tasks import Lineage, Task, TaskKey
from workers.apply.domain_events import events_of
from workers.apply.effects import EffectWriter
from workers.apply.inbox_decoder import DecodedRow, LineageEvent, kind_of_key
from workers.apply.rules import Rulebook
from workers.apply.secret_wiping import wipe_if_done

#: Events that are decided besides the event of the row: their verdict is not the row's.
_SIDE_EVENTS = (CallbackWithdrawn, TasksAdopted, SurplusTaskFound)


@dataclass(slots=True)
class _OpenLineage:
    """A lineage while a batch is decided."""

    stored: StoredLineage
    lineage: Lineage
    #: task id -> (task as it was loaded, task as it is now)
    changed: dict[str, tuple[Task | None, Task]] = field(default_factory=dict)

    def apply(self, decision: Decision) -> None:
        self.lineage = decision.lineage
        for change in decision.changes:
            first = self.changed[change.after.id][0] if change.after.id in self.changed else change.before
            clean = wipe_if_done(change.after)
            self.changed[change.after.id] = (first, clean)
            if clean is not change.after:
                kept = tuple(clean if task.id == clean.id else task for task in self.lineage.tasks)
                self.lineage = replace(self.lineage, tasks=kept)

    def move_out(self, *, named_by_answer: bool) -> TasksAdopted:
        """Empties the lineage; returns the event by which another one adopts its contents."""
        leaving = TasksAdopted(facts=self.lineage.facts, tasks=self.lineage.tasks, named_by_answer=named_by_answer)
        self.lineage = replace(self.lineage, facts=(), tasks=())
        return leaving

    @property
    def is_touched(self) -> bool:
        """True if the lineage must be saved."""
        return bool(self.changed) or self.lineage.facts != self.stored.lineage.facts


class Batch:
    """Inbox rows that are decided together and saved together.

    stored: the lineages of all keys of the rows (`keys_of`). accounts: their quotas limit the new calls. now: ms.
    deferred: row id -> time until which it is deferred, ms; these rows are not decided. epoch: the ledger's.
    """

    def __init__(
        self,
        stored: Mapping[TaskKey, StoredLineage],
        rulebook: Rulebook,
        accounts: Accounts,
        now: int,
        *,
        deferred: Mapping[int, int],
        epoch: int,
    ) -> None:
        self._now = now
        self._epoch = epoch
        self._rulebook = rulebook
        self._deferred = deferred
        self._lineages = {key: _OpenLineage(item, item.lineage) for key, item in stored.items()}
        #: Key -> key of the lineage that has adopted everything of the former.
        self._moved_to: dict[TaskKey, TaskKey] = {}
        #: Results of callbacks that are applied for the first time, and of replayed ones.
        self._applied: list[AppliedRow] = []
        self._reapplied: list[AppliedRow] = []
        #: Ids of rows that are no callbacks: they are deleted once applied.
        self._finished: list[int] = []
        self._timeline: list[TimelineRow] = []
        self._events: list[TaskEvent] = []
        self._effects = EffectWriter(accounts, now)
        #: id of a task with a deadline that was due -> its key.
        self._found_due: dict[str, TaskKey] = {}
        self._verdicts: Counter[str] = Counter()
        self._passed: Counter[str] = Counter()
        self._calls: Counter[str] = Counter()
        self.changes: list[Change] = []

    @property
    def keys(self) -> Set[TaskKey]:
        """The keys of all lineages of the batch."""
        return self._lineages.keys()

    @property
    def has_calls(self) -> bool:
        """True if there are new calls to be made."""
        return self._effects.has_calls

    @property
    def has_events(self) -> bool:
        """True if there are new events for subscribers."""
        return bool(self._events)

    # Deciding.

    def decide(self, decoded: DecodedRow) -> None:
        """Decides the events of one row. Raises what the state machine raises; the batch is unusable afterwards."""
        own_decision: Decision | None = None
        for lineage_event in decoded.events:
            for key, event in self._ordered_events(lineage_event):
                opened = self._lineages[key]
                rules = self._rulebook.rules_for(key)
                decision = decide(opened.lineage, event, self._now, rules, kind=kind_of_key(key), epoch=self._epoch)
                opened.apply(decision)
                self._record_decision(decoded, key, event, decision)
                if not isinstance(event, _SIDE_EVENTS):
                    own_decision = decision
        self._record_result(decoded, own_decision)

    def _ordered_events(self, item: LineageEvent) -> Iterator[tuple[TaskKey, Event]]:
        """Yields (key, event) in the order in which they are decided: lineages that are one task are joined first."""
        key = self._current_key(item.key)
        if item.assigned_key is not None and item.assigned_key != key:
            replaced = self._is_replaced(key, item)
            if key.is_provisional and not replaced:
                yield from self._adoption_events(key, item.assigned_key, named_by_answer=True)
                key = item.assigned_key
            elif isinstance(item.event, CallAnswered):
                yield from self._surplus_events(key, item.assigned_key, item.event)
            if replaced:
                return  # the answer is about a task that is replaced
        if item.adopts is not None:
            yield from self._adoption_events(self._current_key(item.adopts), key)
        if item.event is not None:
            yield key, item.event

    def _current_key(self, key: TaskKey) -> TaskKey:
        return self._moved_to.get(key, key)

    def _adoption_events(
        self, source: TaskKey, target: TaskKey, *, named_by_answer: bool = False
    ) -> Iterator[tuple[TaskKey, Event]]:
        leaving, joined = self._lineages[source], self._lineages[target]
        if not source.is_provisional or not leaving.lineage.tasks:
            return
        joined.changed.update(leaving.changed)
        leaving.changed.clear()
        self._moved_to[source] = target
        yield target, leaving.move_out(named_by_answer=named_by_answer)

    def _surplus_events(self, key: TaskKey, assigned_key: TaskKey, answer: CallAnswered) -> Iterator[tuple[TaskKey, Event]]:
        """Yields the event for a second task that a start of this task created beside the one that serves it."""
        task = next((task for task in self._lineages[key].lineage.tasks if task.id == answer.task_id), None)
        if task is not None and answer.operation is Operation.START:
            surplus_id = tasks.task_id(assigned_key, f"surplus of {task.id} {answer.serial}", self._now)
            yield assigned_key, SurplusTaskFound(of=task, sent_at=answer.sent_at, key=surplus_id)

    def _is_replaced(self, key: TaskKey, item: LineageEvent) -> bool:
        """Returns whether a newer start in flight replaces the task that this answer is about."""
        event = item.event
        if not key.is_provisional or not isinstance(event, CallAnswered) or event.operation is not Operation.START:
            return False
        task = next((task for task in self._lineages[key].lineage.tasks if task.id == event.task_id), None)
        start = task.calls.get(Operation.START) if task is not None else None
        if task is None or start is None or start.serial is None or start.serial <= event.serial:
            return False
        if start.serial not in item.in_flight:
            return False
        return self._rulebook.rules_for(key)(task.kind, task.params).replaces

    def _record_decision(self, decoded: DecodedRow, key: TaskKey, event: Event, decision: Decision) -> None:
        self.changes += decision.changes
        self._events += events_of(decision.changes, decoded.row, self._now, self._epoch)
        if decision.commands:
            self._effects.add(decision.commands, {change.after.id: change.after for change in decision.changes})
        if isinstance(event, CallAnswered):
            self._effects.add_answer(event, key)
            if event.action:
                self._calls[f"{key.vendor}/{event.action}/{event.outcome.value}"] += 1
        entries = {change.after.id: list(change.entries) for change in decision.changes}
        if decision.task_id is not None and decoded.reading is not None and isinstance(event, CallbackReceived):
            entries.setdefault(decision.task_id, []).insert(0, _callback_entry(decoded, decision))
        for task_id, lines in entries.items():
            self._timeline.append(TimelineRow(task_id=task_id, at=self._now, inbox_id=decoded.row.id, entries=lines))
        if isinstance(event, DeadlinePassed):
            if decision.verdict is Verdict.APPLIED:
                self._passed[event.kind.value] += 1
            self._found_due[event.task_id] = key

    def _record_result(self, decoded: DecodedRow, decision: Decision | None) -> None:
        row = decoded.row
        if row.kind != CALLBACK:
            self._finished.append(row.id)
        if decoded.callback_id is None or decoded.reading is None:
            return
        if row.kind == REPLAY and decision is not None and decision.reason in (RUN_ARCHIVED, UNCHANGED):
            return  # its first result still holds
        verdict = decision.verdict if decision else decoded.reading.verdict
        assert verdict is not None, "a reading without a fact says why"
        if row.kind == CALLBACK:
            self._verdicts[f"{row.vendor}/{verdict}"] += 1
        results = self._applied if row.kind == CALLBACK else self._reapplied
        results.append(
            AppliedRow(
                id=decoded.callback_id,
                applied_at=self._now,
                event_at=decoded.reading.event_at,
                verdict=verdict.value,
                reason=decision.reason if decision else decoded.reading.reason,
                task_id=decision.task_id if decision else None,
            )
        )

    # Saving.

    def save(self, connection: Connection) -> dict[TaskKey, StoredLineage]:
        """Saves everything that the batch decided; returns the saved lineages.

        Raises ConflictError if another worker has applied one of the rows or saved one of the lineages meanwhile.
        """
        inbox.mark_applied(connection, self._applied, self._finished)
        inbox.write_results(connection, self._reapplied)
        for row_id, until in self._deferred.items():
            inbox.defer(connection, [row_id], until)
        timeline.append(connection, self._timeline)
        texts = TaskTexts()
        self._effects.save(connection)
        # Sums and positions come last: all workers write the same few rows, and wait for each other from here to the end.
        lineages.require_unchanged(connection, self._unchanged_lineages())
        saved = lineages.save_if_version(connection, self._lineage_saves(), texts)
        deadlines.rearm(connection, self._rearmed_deadlines())
        stats.add_batch(connection, self._batch_counts())
        events.append(connection, self._events, texts)
        return saved

    def _lineage_saves(self) -> list[LineageSave]:
        return [
            LineageSave(stored=item.stored, lineage=item.lineage, changed=list(item.changed.values()))
            for item in self._lineages.values()
            if item.is_touched
        ]

    def _unchanged_lineages(self) -> list[StoredLineage]:
        return [item.stored for item in self._lineages.values() if not item.is_touched]

    def _rearmed_deadlines(self) -> dict[str, dict[str, tuple[int, int]]]:
        """Returns task id -> kind -> (due at, shard) after the batch, for all tasks with a deadline that was due."""
        armed: dict[str, dict[str, tuple[int, int]]] = {}
        for task_id, key in self._found_due.items():
            current = self._lineages[self._current_key(key)].lineage.tasks
            task = next((task for task in current if task.id == task_id), None)
            armed[task_id] = {kind.value: (at, shard_of_key(task.key)) for kind, at in task.deadlines.items()} if task else {}
        return armed

    def _batch_counts(self) -> BatchCounts:
        moved = Counter(
            f"{change.after.key.vendor}/{change.after.kind}/{change.after.view.state}"
            for change in self.changes
            if change.move is not None
        )
        return BatchCounts(verdicts=self._verdicts, moves=moved, passed=self._passed, calls=self._calls)


def _callback_entry(decoded: DecodedRow, decision: Decision) -> dict[str, object]:
    """Returns the timeline entry of a callback, as stored JSON."""
    reading = decoded.reading
    assert reading is not None
    entry: dict[str, object] = {
        "kind": "callback" if decoded.row.kind == CALLBACK else "replay",
        "callback_id": str(decoded.callback_id),
        "event_at": reading.event_at,
        "verdict": decision.verdict.value,
    }
    fact = reading.fact
    optional = {
        "reason": decision.reason,
        "says": fact.kind.value if fact else None,
        "output": {"url": fact.output.url, "state": fact.output.state.value} if fact and fact.output else None,
        "code": fact.code if fact else None,
        "message": fact.message if fact else None,
        "progress": fact.progress / 10_000 if fact and fact.progress is not None else None,
    }
    return {**entry, **{name: value for name, value in optional.items() if value is not None}}


def keys_of(rows: Sequence[DecodedRow]) -> set[TaskKey]:
    """Returns the keys of all lineages that are needed to decide these rows."""
    return {
        key
        for decoded in rows
        for event in decoded.events
        for key in (event.key, event.adopts, event.assigned_key)
        if key is not None
    }
