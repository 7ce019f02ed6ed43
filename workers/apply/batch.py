"""Decides a batch of inbox rows in memory: what to save is known before the first byte is written."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace

from adapters.ledger.events import Told
from adapters.ledger.inbox import CALLBACK, REPLAY, Settled
from adapters.ledger.lineages import Save, Stored, shard_of_key
from adapters.ledger.stats import Tally
from adapters.ledger.timeline import Line
from statemachine import tasks
from statemachine.calls import Operation
from statemachine.decide import SEALED, UNCHANGED, decide
from statemachine.events import Adopted, Answered, Change, Decision, Event, Heard, Passed, Surplus, Withdrawn
from statemachine.facts import TaskKey
from statemachine.states import Verdict
from statemachine.tasks import Lineage, Task
from workers.apply.domain_events import events_of
from workers.apply.effects import Outgoing
from workers.apply.inbox_decoder import Asked, Question, kind_of_key
from workers.apply.rules import Rulebook
from workers.apply.secret_wiping import wiped

#: What is decided beside what a row asks: it says nothing of what became of the row.
_ASIDE = (Withdrawn, Adopted, Surplus)


@dataclass(slots=True)
class _Open:
    """A lineage while a batch is decided."""

    stored: Stored
    lineage: Lineage
    #: task id -> (as it was read, as it is now)
    changed: dict[str, tuple[Task | None, Task]] = field(default_factory=dict)

    def take(self, decision: Decision) -> None:
        self.lineage = decision.lineage
        for change in decision.changes:
            first = self.changed[change.after.id][0] if change.after.id in self.changed else change.before
            clean = wiped(change.after)
            self.changed[change.after.id] = (first, clean)
            if clean is not change.after:
                kept = tuple(clean if task.id == clean.id else task for task in self.lineage.tasks)
                self.lineage = replace(self.lineage, tasks=kept)

    def give_up(self, told: bool) -> Adopted:
        """Everything that stands here is to stand under another key. told: because the vendor's answer said so."""
        leaving = Adopted(facts=self.lineage.facts, tasks=self.lineage.tasks, told=told)
        self.lineage = replace(self.lineage, facts=(), tasks=())
        return leaving

    @property
    def touched(self) -> bool:
        return bool(self.changed) or self.lineage.facts != self.stored.lineage.facts


class Batch:
    """Rows in, and what is to be saved out. `now`: ms. `epoch`: the ledger's."""

    def __init__(
        self, stored: Mapping[TaskKey, Stored], now: int, rulebook: Rulebook, outgoing: Outgoing, *, epoch: int = 0
    ) -> None:
        self._now = now
        self._epoch = epoch
        self._rulebook = rulebook
        self._open = {key: _Open(item, item.lineage) for key, item in stored.items()}
        #: Keys of which everything stands under another one since.
        self._moved: dict[TaskKey, TaskKey] = {}
        #: What became of callbacks that waited, and of such as were read again.
        self.settled: list[Settled] = []
        self.settled_again: list[Settled] = []
        #: Rows that are not decided yet -> until when, ms.
        self.held: Mapping[int, int] = {}
        #: Rows that are no callbacks: once applied they have said all they had to say.
        self.done: list[int] = []
        self.lines: list[Line] = []
        self.changes: list[Change] = []
        self.events: list[Told] = []
        #: What is to be called, and told to other tasks.
        self.outgoing = outgoing
        #: Tasks of which a deadline was found due, and where they stand.
        self._found_due: dict[str, TaskKey] = {}
        self._verdicts: Counter[str] = Counter()
        self._passed: Counter[str] = Counter()
        self._calls: Counter[str] = Counter()

    def decide(self, asked: Asked) -> None:
        """Takes in what one row asks. Raises whatever the state machine raises; then the batch is of no use any more."""
        saying: Decision | None = None
        for question in asked.questions:
            for key, event in self._events(question):
                opened = self._open[key]
                decision = decide(
                    opened.lineage, event, self._now, self._rulebook.of(key), kind=kind_of_key(key), epoch=self._epoch
                )
                opened.take(decision)
                self._note(asked, key, event, decision)
                if not isinstance(event, _ASIDE):
                    saying = decision
        self._settle(asked, saying)

    def _events(self, question: Question) -> Iterator[tuple[TaskKey, Event]]:
        """(key, event) of a question, in the order in which they are to be decided: what is one task is joined first."""
        key = self._standing(question.key)
        if question.named is not None and question.named != key:
            replaced = self._replaced(key, question)
            if key.pending and not replaced:
                yield from self._joining(key, question.named, told=True)
                key = question.named
            elif isinstance(question.event, Answered):
                yield from self._surplus(key, question.named, question.event)
            if replaced:
                return  # it says nothing of what the task is now
        if question.adopts is not None:
            yield from self._joining(self._standing(question.adopts), key)
        if question.event is not None:
            yield key, question.event

    def _standing(self, key: TaskKey) -> TaskKey:
        return self._moved.get(key, key)

    def _joining(self, source: TaskKey, target: TaskKey, *, told: bool = False) -> Iterator[tuple[TaskKey, Event]]:
        leaving, joined = self._open[source], self._open[target]
        if not source.pending or not leaving.lineage.tasks:
            return
        joined.changed.update(leaving.changed)
        leaving.changed.clear()
        self._moved[source] = target
        yield target, leaving.give_up(told)

    def _surplus(self, key: TaskKey, named: TaskKey, answer: Answered) -> Iterator[tuple[TaskKey, Event]]:
        """A start of this task made another one beside the one that serves it."""
        task = next((task for task in self._open[key].lineage.tasks if task.id == answer.task_id), None)
        if task is not None and answer.operation is Operation.START:
            made = tasks.task_id(named, f"surplus of {task.id} {answer.serial}", self._now)
            yield named, Surplus(of=task, sent_at=answer.sent_at, key=made)

    def _replaced(self, key: TaskKey, question: Question) -> bool:
        """A newer start is on the wire that throws out what this answer is about."""
        event = question.event
        if not key.pending or not isinstance(event, Answered) or event.operation is not Operation.START:
            return False
        task = next((task for task in self._open[key].lineage.tasks if task.id == event.task_id), None)
        start = task.calls.get(Operation.START) if task is not None else None
        if task is None or start is None or start.serial is None or start.serial <= event.serial:
            return False
        if start.serial not in question.on_the_wire:
            return False
        return self._rulebook.of(key)(task.kind, task.params).replaces

    def _note(self, asked: Asked, key: TaskKey, event: Event, decision: Decision) -> None:
        self.changes += decision.changes
        self.events += events_of(decision.changes, asked.row, self._now, self._epoch)
        if decision.effects:
            self.outgoing.take(decision.effects, {change.after.id: change.after for change in decision.changes})
        if isinstance(event, Answered):
            self.outgoing.answered(event, key)
            if event.action:
                self._calls[f"{key.vendor}/{event.action}/{event.outcome.value}"] += 1
        entries = {change.after.id: list(change.entries) for change in decision.changes}
        if decision.task_id is not None and asked.reading is not None and isinstance(event, Heard):
            entries.setdefault(decision.task_id, []).insert(0, _callback_entry(asked, decision))
        for task_id, lines in entries.items():
            self.lines.append(Line(task_id=task_id, at=self._now, inbox_id=asked.row.id, entries=lines))
        if isinstance(event, Passed):
            if decision.verdict is Verdict.APPLIED:
                self._passed[event.kind.value] += 1
            self._found_due[event.task_id] = key

    def _settle(self, asked: Asked, decision: Decision | None) -> None:
        row = asked.row
        if row.kind != CALLBACK:
            self.done.append(row.id)
        if asked.callback_id is None or asked.reading is None:
            return
        if row.kind == REPLAY and decision is not None and decision.reason in (SEALED, UNCHANGED):
            return  # what it did at its time still stands
        verdict = decision.verdict if decision else asked.reading.verdict
        assert verdict is not None, "a reading without a fact says why"
        if row.kind == CALLBACK:
            self._verdicts[f"{row.vendor}/{verdict}"] += 1
        settled = self.settled if row.kind == CALLBACK else self.settled_again
        settled.append(
            Settled(
                id=asked.callback_id,
                applied_at=self._now,
                event_at=asked.reading.event_at,
                verdict=verdict.value,
                reason=decision.reason if decision else asked.reading.reason,
                task_id=decision.task_id if decision else None,
            )
        )

    def saves(self) -> list[Save]:
        return [
            Save(stored=item.stored, lineage=item.lineage, changed=list(item.changed.values()))
            for item in self._open.values()
            if item.touched
        ]

    @property
    def keys(self) -> Set[TaskKey]:
        """Those of all lineages that were decided upon."""
        return self._open.keys()

    def only_read(self) -> list[Stored]:
        """What was decided upon and stays as it is."""
        return [item.stored for item in self._open.values() if not item.touched]

    def rearmed(self) -> dict[str, dict[str, tuple[int, int]]]:
        """task id -> kind -> (due at, shard) at the end of the batch, of all tasks of which one was found due: made anew."""
        armed: dict[str, dict[str, tuple[int, int]]] = {}
        for task_id, key in self._found_due.items():
            standing = self._open[self._standing(key)].lineage.tasks
            task = next((task for task in standing if task.id == task_id), None)
            armed[task_id] = {kind.value: (at, shard_of_key(task.key)) for kind, at in task.deadlines.items()} if task else {}
        return armed

    def tally(self) -> Tally:
        moved = Counter(
            f"{change.after.key.vendor}/{change.after.kind}/{change.after.view.state}"
            for change in self.changes
            if change.move is not None
        )
        return Tally(verdicts=self._verdicts, moves=moved, passed=self._passed, calls=self._calls)


def _callback_entry(asked: Asked, decision: Decision) -> dict[str, object]:
    reading = asked.reading
    assert reading is not None
    entry: dict[str, object] = {
        "kind": "callback" if asked.row.kind == CALLBACK else "replay",
        "callback_id": str(asked.callback_id),
        "event_at": reading.event_at,
        "verdict": decision.verdict.value,
    }
    fact = reading.fact
    told = {
        "reason": decision.reason,
        "says": fact.kind.value if fact else None,
        "output": {"url": fact.output.url, "state": fact.output.state.value} if fact and fact.output else None,
        "code": fact.code if fact else None,
        "message": fact.message if fact else None,
        "progress": fact.progress / 10_000 if fact and fact.progress is not None else None,
    }
    return {**entry, **{name: value for name, value in told.items() if value is not None}}


def keys_of(asked: Sequence[Asked]) -> set[TaskKey]:
    questions = [question for item in asked for question in item.questions]
    return {key for q in questions for key in (q.key, q.adopts, q.named) if key is not None}
