"""Tells stories of tasks that we start: what is asked for, what the vendor answers, what passes, and which calls are made."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from adapters.vendors import DIALECTS
from statemachine.calls import CallOutcome, Inspection, Operation, PendingCall, Sign
from statemachine.commands import CancelCall, MakeCall, PostEvent
from statemachine.decide import decide
from statemachine.decision import Decision
from statemachine.events import (
    CallAnswered,
    Event,
    RetryRequested,
    StartRequested,
    StopRequested,
    SuccessorReported,
    SurplusTaskFound,
    TasksAdopted,
    UpdateRequested,
)
from statemachine.facts import Ending
from statemachine.rules import Rules
from statemachine.states import Deadline, Kind, Reason, State
from statemachine.tasks import Lineage, Task, TaskKey
from tests.unit.statemachine.lineage_scenario import T0, LineageScenario, ms, words

START, UPDATE, STOP, INSPECT = Operation.START, Operation.UPDATE, Operation.STOP, Operation.INSPECT

ACTIONS = {
    "volcengine": {
        Kind.PUSH: "StartPushMixedStreamToCDN",
        Kind.INGEST: "StartRelayStream",
        Kind.RECORD: "StartRecord",
        Kind.PAGE: "StartWebcast",
    },
    "tencent": {
        Kind.PUSH: "StartPublishCdnStream",
        Kind.INGEST: "StartStreamIngest",
        Kind.RECORD: "CreateCloudRecording",
        Kind.PAGE: "StartWebRecord",
    },
}


class ManagedLineage(LineageScenario):
    """A story that calls are made in. The vendor's own rules hold; `rules` overrides fields of them.

    calls: those that are made and not answered yet, by (task id, serial). made: all that were ever made. posted, dropped: the
    other effects, in order.
    """

    def __init__(self, vendor: str = "volcengine", kind: Kind = Kind.PUSH, rules: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        self.vendor, self.kind = vendor, kind
        self._overrides = dict(rules or {})
        self.calls: dict[tuple[str, int], MakeCall] = {}
        self.made: list[MakeCall] = []
        self.dropped: list[CancelCall] = []
        self.posted: list[PostEvent] = []
        self._asked = 0

    # What happens.

    def start(self, at: float = 0, *, policy: Mapping[str, Any] | None = None, task: str | None = None, **more: Any) -> Decision:
        """Somebody wants the task. Where the vendor mints ids, it is known under our own until then."""
        self._wait(at)
        self._asked += 1
        task_id = task or f"task-{self._asked}"
        more = {"params": {}, "room_id": "r"} | more
        event = StartRequested(
            task_id=task_id,
            kind=self.kind,
            action=ACTIONS[self.vendor][self.kind],
            api_version=None,
            policy=policy or {},
            key=f"start {task_id}",
            **more,
        )
        return self.ask(event, self._key_of_start(task_id))

    def _key_of_start(self, task_id: str) -> TaskKey:
        return named(self.vendor, self.kind).provisional_key(task_id) if self.vendor == "tencent" else named(self.vendor, self.kind)

    def stop(self, at: float, *, taken: bool = False, run: int | None = None) -> Decision:
        """Somebody wants it stopped. taken: what is made is on the wire already."""
        self._wait(at)
        self._asked += 1
        task = self._of(run)
        serials = frozenset(serial for of, serial in self.calls if of == task.id) if taken else frozenset()
        return self.ask(StopRequested(task_id=task.id, claimed=serials, key=f"stop {self._asked}"))

    def update(self, at: float, **params: Any) -> Decision:
        self._wait(at)
        return self.ask(UpdateRequested(task_id=self._of(None).id, params=params))

    def retry(self, at: float) -> Decision:
        self._wait(at)
        return self.ask(RetryRequested(task_id=self._of(None).id))

    def succeeded(self, at: float, *, runs: bool, successor: str | None = None) -> Decision:
        """The successor runs, or failed."""
        self._wait(at)
        task = self._of(None)
        successor = successor or task.renewed_by or ""
        return self.ask(SuccessorReported(task_id=task.id, successor=successor, runs=runs, key=f"succession {successor} {runs}"))

    def answer(
        self,
        operation: Operation,
        outcome: CallOutcome = CallOutcome.ACCEPTED,
        at: float | None = None,
        *,
        serial: int | None = None,
        sent: float | None = None,
        task: str | None = None,
        says: Inspection | Sign | None = None,
        run: int | None = None,
        **more: Any,
    ) -> Decision:
        """What became of the newest call of this sort. task: the id that the vendor minted, which it then goes by."""
        if at is not None:
            self._wait(at)
        of, serial = self._attempt(operation, serial, run)
        self.calls.pop((of, serial), None)
        event = CallAnswered(
            task_id=of,
            operation=operation,
            serial=serial,
            outcome=outcome,
            vendor_task_id=task,
            inspection=Inspection(sign=says) if isinstance(says, Sign) else says,
            sent_at=self._now if sent is None else ms(sent),
            **more,
        )
        if task is not None and self._lineage.key.is_provisional:
            self.name(task, told=True)
        return self.ask(event)

    def lose(self, operation: Operation, at: float, **more: Any) -> Decision:
        """Nobody brought an answer to this call; its real one may yet come."""
        outcome = CallOutcome.AMBIGUOUS if operation is START else CallOutcome.RETRY
        return self.answer(operation, outcome, at, lease=True, code="no_answer", **more)

    def inspected(self, sign: Sign | Inspection, at: float | None = None, **more: Any) -> Decision:
        """The vendor answers the query that is under way."""
        gone = sign is Sign.GONE or (isinstance(sign, Inspection) and sign.sign is Sign.GONE)
        return self.answer(INSPECT, CallOutcome.ALREADY_GONE if gone else CallOutcome.ACCEPTED, at, says=sign, **more)

    def name(self, vendor_task_id: str = "t", *, told: bool = False, into: LineageScenario | None = None) -> Decision:
        """The vendor's id became known. into: what was heard under it before."""
        key = named(self.vendor, self.kind, vendor_task_id)
        leaving = self._lineage
        self.lineage = into.lineage if into is not None else Lineage(key=key)
        if isinstance(into, ManagedLineage):
            self.calls |= into.calls
        return self.ask(TasksAdopted(facts=leaving.facts, tasks=leaving.tasks, named_by_answer=told))

    def surplus(self, of: Task, at: float, *, sent: float, vendor_task_id: str = "u") -> Decision:
        """One more start of this task was answered with an id of its own: the story of that one."""
        self._wait(at)
        return self.ask(SurplusTaskFound(of=of, sent_at=ms(sent), key="surplus-1"), named(self.vendor, self.kind, vendor_task_id))

    def go(self, at: float) -> list[Deadline]:
        """Time goes on until then, and everything that falls due passes at its own time. Which kinds did."""
        passed: list[Deadline] = []
        while (due := self._next_due()) is not None and due <= ms(at):
            passed += self.pass_due((due - T0) / 1000)
            assert len(passed) < 2_000, "what passes is due again and again"
        self._wait(at)
        return passed

    def go_to(self, kind: Deadline) -> float:
        """Passes the armed deadline of this kind of the only task at its time, and what is due before; that time, s."""
        at = self.due[kind]
        assert kind in self.go(at)
        return at

    def _next_due(self) -> int | None:
        return min((max(at, self._now) for task in self.tasks for at in task.deadlines.values()), default=None)

    def ask(self, event: Event, key: TaskKey | None = None) -> Decision:
        lineage = self.lineage or Lineage(key=key or named(self.vendor, self.kind))
        dialect = DIALECTS[self.vendor]
        kinds = [kind for kind in Kind if dialect.family_of(kind) == lineage.key.final_family]
        decision = decide(lineage, event, self._now, self.rules, kind=kinds[0] if len(kinds) == 1 else None)
        self.lineage = decision.lineage
        self.changes += decision.changes
        for effect in decision.commands:
            if isinstance(effect, MakeCall):
                self.made.append(effect)
                self.calls[effect.task_id, effect.serial] = effect
            elif isinstance(effect, CancelCall):
                self.dropped.append(effect)
                del self.calls[effect.task_id, effect.serial]
            else:
                self.posted.append(effect)
        return decision

    def rules(self, kind: Kind, params: Mapping[str, Any]) -> Rules:
        return replace(DIALECTS[self.vendor].rules(kind, params, callable=True), **self._overrides)

    # What is known.

    def _of(self, run: int | None) -> Task:
        return self.task if run is None else self.run(run)

    def _attempt(self, operation: Operation, serial: int | None, run: int | None) -> tuple[str, int]:
        if serial is not None:
            return self._of(run).id, serial
        if run is None:
            return next(attempt for attempt, make in reversed(self.calls.items()) if make.operation is operation)
        of = self.run(run).id
        return next(a for a, make in reversed(self.calls.items()) if make.operation is operation and a[0] == of)

    @property
    def under_way(self) -> list[Operation]:
        """The calls that are made and not answered, in the order in which they were made."""
        return [make.operation for make in self.calls.values()]

    def times(self, operation: Operation) -> int:
        """How often this call was made."""
        return sum(make.operation is operation for make in self.made)

    def pursuit(self, operation: Operation) -> PendingCall:
        return self.task.calls[operation]

    @property
    def end(self) -> str:
        """How the only task stands, in words."""
        return words(self.task)


def named(vendor: str, kind: Kind, vendor_task_id: str = "t") -> TaskKey:
    """The key of a task by the vendor's own id, as its callbacks have it."""
    room_id = "r" if vendor == "volcengine" else ""
    family = DIALECTS[vendor].family_of(kind)
    return TaskKey(vendor=vendor, app_id="app", room_id=room_id, vendor_task_id=vendor_task_id, family=family)


def accepted(
    vendor: str = "volcengine", kind: Kind = Kind.PUSH, rules: Mapping[str, Any] | None = None, **start: Any
) -> ManagedLineage:
    """A task whose start was asked for at 0 s and accepted at 1 s."""
    story = ManagedLineage(vendor, kind, rules)
    story.start(0, **start)
    story.answer(START, CallOutcome.ACCEPTED, 1, task="t" if vendor == "tencent" else None)
    return story


def running(
    vendor: str = "volcengine", kind: Kind = Kind.PUSH, rules: Mapping[str, Any] | None = None, **start: Any
) -> ManagedLineage:
    """The same, of which media is shown at 2 s."""
    story = accepted(vendor, kind, rules, **start)
    hear_media(story, 2)
    return story


def hear_media(story: ManagedLineage, at: float) -> Decision:
    """The vendor's callback that says that media flows."""
    match story.vendor, story.kind:
        case "volcengine", Kind.PUSH:
            return story.volc("TranscodeStateChanged", at, TaskState=3, Code=0)
        case "volcengine", Kind.INGEST:
            return story.volc("RelayStreamStateChanged", at, Status=3)
        case "volcengine", Kind.RECORD:
            return story.volc("RecordStarted", at, Code=0)
        case "volcengine", Kind.PAGE:
            return story.volc("Webcast", at, Status=1)
        case "tencent", Kind.PUSH:
            return story.tencent(401, at, Url="u", Status=2)
        case "tencent", Kind.INGEST:
            return story.tencent(701, at, Status=0)
        case "tencent", Kind.RECORD:
            return story.tencent(301, at, Status=0)
        case _:
            return story.tencent(801, at, Status=1)


def how(state: State, reason: Reason, rank: int = 2) -> Ending:
    """How a query says that a task ended."""
    return Ending(state=state, reason=reason, rank=rank)
