"""Decides a batch of inbox rows in memory: what to save is known before the first byte is written."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from adapters.ledger.inbox import CALLBACK, REPLAY, Settled
from adapters.ledger.lineages import Save, Stored
from adapters.ledger.stats import Tally
from adapters.ledger.timeline import Line
from statemachine.decide import SEALED, UNCHANGED, decide
from statemachine.events import Change, Decision, Passed, Withdrawn
from statemachine.facts import TaskKey
from statemachine.states import Verdict
from statemachine.tasks import Lineage, Task
from workers.reading import Asked, Question, kind_of_key, rules_of


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
            self.changed[change.after.id] = (first, change.after)

    @property
    def touched(self) -> bool:
        return bool(self.changed) or self.lineage.facts != self.stored.lineage.facts


class Batch:
    """Rows in, and what is to be saved out. `now`: ms."""

    def __init__(self, stored: Mapping[TaskKey, Stored], now: int) -> None:
        self._now = now
        self._open = {key: _Open(item, item.lineage) for key, item in stored.items()}
        self.settled: list[Settled] = []
        #: Rows that are no callbacks: once applied they have said all they had to say.
        self.done: list[int] = []
        self.lines: list[Line] = []
        self.changes: list[Change] = []
        #: Tasks of which a deadline was found due, and where they stand.
        self._found_due: dict[str, TaskKey] = {}
        self._verdicts: Counter[str] = Counter()
        self._passed: Counter[str] = Counter()

    def decide(self, asked: Asked) -> None:
        """Takes in what one row asks. Raises whatever the state machine raises; then nothing was taken in."""
        decisions = []
        before = {question.key: self._open[question.key].lineage for question in asked.questions}
        for question in asked.questions:
            decisions.append((question, self._decision(question, before[question.key])))
        for question, decision in decisions:
            self._open[question.key].take(decision)
            self._note(asked, question, decision)
        saying = [decision for question, decision in decisions if not isinstance(question.event, Withdrawn)]
        self._settle(asked, saying[-1] if saying else None)

    def _decision(self, question: Question, lineage: Lineage) -> Decision:
        vendor = question.key.vendor
        return decide(lineage, question.event, self._now, rules_of(vendor), kind=kind_of_key(question.key))

    def _note(self, asked: Asked, question: Question, decision: Decision) -> None:
        self.changes += decision.changes
        entries = {change.after.id: list(change.entries) for change in decision.changes}
        if decision.task_id is not None and asked.reading is not None:
            entries.setdefault(decision.task_id, []).insert(0, _callback_entry(asked, decision))
        for task_id, lines in entries.items():
            self.lines.append(Line(task_id=task_id, at=self._now, inbox_id=asked.row.id, entries=lines))
        if isinstance(question.event, Passed):
            if decision.verdict is Verdict.APPLIED:
                self._passed[question.event.kind.value] += 1
            self._found_due[question.event.task_id] = question.key

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
            self._verdicts[f"{row.vendor}/{verdict.value}"] += 1
        self.settled.append(
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

    def rearmed(self) -> dict[str, dict[str, int]]:
        """task id -> its deadlines at the end of the batch, of all tasks of which one was found due: their rows are made anew."""
        armed: dict[str, dict[str, int]] = {}
        for task_id, key in self._found_due.items():
            task = next((task for task in self._open[key].lineage.tasks if task.id == task_id), None)
            armed[task_id] = {kind.value: at for kind, at in task.deadlines.items()} if task else {}
        return armed

    def tally(self) -> Tally:
        moved = Counter(
            f"{change.after.key.vendor}/{change.after.kind.value}/{change.after.view.state.value}"
            for change in self.changes
            if change.move is not None
        )
        return Tally(verdicts=self._verdicts, moves=moved, passed=self._passed)


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
    return {question.key for item in asked for question in item.questions}
