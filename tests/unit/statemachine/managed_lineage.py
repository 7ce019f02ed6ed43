"""Drives the state machine with requests, answers and deadlines of tasks that we start, and records the calls."""

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
from tests.support.times import T0
from tests.unit.statemachine.lineage_scenario import LineageScenario, ms, state_in_words

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
    """A lineage scenario with calls. The rules are the vendor's own; `rules` overrides fields of them.

    calls: the calls without an answer, by (task id, serial). made_calls: all calls ever made. cancelled_calls, posted_events: the
    other commands, in order.
    """

    def __init__(self, vendor: str = "volcengine", kind: Kind = Kind.PUSH, rules: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        self.vendor, self.kind = vendor, kind
        self._overrides = dict(rules or {})
        self.calls: dict[tuple[str, int], MakeCall] = {}
        self.made_calls: list[MakeCall] = []
        self.cancelled_calls: list[CancelCall] = []
        self.posted_events: list[PostEvent] = []
        self._request_count = 0

    # Events.

    def start(self, at: float = 0, *, policy: Mapping[str, Any] | None = None, task: str | None = None, **more: Any) -> Decision:
        """Requests a start. If the vendor assigns ids, the task has a provisional key until its id is known."""
        self._advance_clock(at)
        self._request_count += 1
        task_id = task or f"task-{self._request_count}"
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
        return self.apply_event(event, self._key_of_start(task_id))

    def _key_of_start(self, task_id: str) -> TaskKey:
        return (
            key_of(self.vendor, self.kind).provisional_key(task_id) if self.vendor == "tencent" else key_of(self.vendor, self.kind)
        )

    def stop(self, at: float, *, taken: bool = False, run: int | None = None) -> Decision:
        """Requests a stop. taken: a worker has claimed the task's calls."""
        self._advance_clock(at)
        self._request_count += 1
        task = self._task_of_run(run)
        serials = frozenset(serial for of, serial in self.calls if of == task.id) if taken else frozenset()
        return self.apply_event(StopRequested(task_id=task.id, claimed=serials, key=f"stop {self._request_count}"))

    def update(self, at: float, **params: Any) -> Decision:
        self._advance_clock(at)
        return self.apply_event(UpdateRequested(task_id=self._task_of_run(None).id, params=params))

    def retry(self, at: float) -> Decision:
        self._advance_clock(at)
        return self.apply_event(RetryRequested(task_id=self._task_of_run(None).id))

    def succeeded(self, at: float, *, runs: bool, successor: str | None = None) -> Decision:
        """Reports that the successor runs, or failed."""
        self._advance_clock(at)
        task = self._task_of_run(None)
        successor = successor or task.renewed_by or ""
        return self.apply_event(
            SuccessorReported(task_id=task.id, successor=successor, runs=runs, key=f"succession {successor} {runs}")
        )

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
        """Answers the newest call of this operation. task: the id that the vendor assigned; from then on it is the task's key."""
        if at is not None:
            self._advance_clock(at)
        of, serial = self._find_attempt(operation, serial, run)
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
        if task is not None and self._known_lineage.key.is_provisional:
            self.name(task, told=True)
        return self.apply_event(event)

    def lose_answer(self, operation: Operation, at: float, **more: Any) -> Decision:
        """Lets the lease of this call expire; its real answer may still arrive."""
        outcome = CallOutcome.AMBIGUOUS if operation is START else CallOutcome.RETRY
        return self.answer(operation, outcome, at, lease=True, code="no_answer", **more)

    def inspected(self, sign: Sign | Inspection, at: float | None = None, **more: Any) -> Decision:
        """Answers the query that is under way."""
        gone = sign is Sign.GONE or (isinstance(sign, Inspection) and sign.sign is Sign.GONE)
        return self.answer(INSPECT, CallOutcome.ALREADY_GONE if gone else CallOutcome.ACCEPTED, at, says=sign, **more)

    def name(self, vendor_task_id: str = "t", *, told: bool = False, into: LineageScenario | None = None) -> Decision:
        """Makes the vendor's id known. into: the lineage of that id, if callbacks came before."""
        key = key_of(self.vendor, self.kind, vendor_task_id)
        leaving = self._known_lineage
        self.lineage = into.lineage if into is not None else Lineage(key=key)
        if isinstance(into, ManagedLineage):
            self.calls |= into.calls
        return self.apply_event(TasksAdopted(facts=leaving.facts, tasks=leaving.tasks, named_by_answer=told))

    def surplus(self, of: Task, at: float, *, sent: float, vendor_task_id: str = "u") -> Decision:
        """Finds a surplus task: one more start of this task was answered with an id of its own."""
        self._advance_clock(at)
        return self.apply_event(
            SurplusTaskFound(of=of, sent_at=ms(sent), key="surplus-1"), key_of(self.vendor, self.kind, vendor_task_id)
        )

    def advance(self, at: float) -> list[Deadline]:
        """Advances the clock; each deadline passes at its due time. Returns their kinds."""
        passed: list[Deadline] = []
        while (due := self._next_due()) is not None and due <= ms(at):
            passed += self.pass_due((due - T0) / 1000)
            assert len(passed) < 2_000, "a deadline that passed is due again and again"
        self._advance_clock(at)
        return passed

    def advance_to(self, kind: Deadline) -> float:
        """Advances the clock to the only task's deadline of this kind, and passes it; returns that time, s."""
        at = self.due[kind]
        assert kind in self.advance(at)
        return at

    def _next_due(self) -> int | None:
        return min((max(at, self._now) for task in self.tasks for at in task.deadlines.values()), default=None)

    def apply_event(self, event: Event, key: TaskKey | None = None) -> Decision:
        lineage = self.lineage or Lineage(key=key or key_of(self.vendor, self.kind))
        dialect = DIALECTS[self.vendor]
        kinds = [kind for kind in Kind if dialect.family_of(kind) == lineage.key.final_family]
        decision = decide(lineage, event, self._now, self.rules, kind=kinds[0] if len(kinds) == 1 else None)
        self.lineage = decision.lineage
        self.changes += decision.changes
        for command in decision.commands:
            if isinstance(command, MakeCall):
                self.made_calls.append(command)
                self.calls[command.task_id, command.serial] = command
            elif isinstance(command, CancelCall):
                self.cancelled_calls.append(command)
                del self.calls[command.task_id, command.serial]
            else:
                self.posted_events.append(command)
        return decision

    def rules(self, kind: Kind, params: Mapping[str, Any]) -> Rules:
        return replace(DIALECTS[self.vendor].rules(kind, params, callable=True), **self._overrides)

    # State.

    def _task_of_run(self, run: int | None) -> Task:
        return self.task if run is None else self.run(run)

    def _find_attempt(self, operation: Operation, serial: int | None, run: int | None) -> tuple[str, int]:
        if serial is not None:
            return self._task_of_run(run).id, serial
        if run is None:
            return next(attempt for attempt, make in reversed(self.calls.items()) if make.operation is operation)
        of = self.run(run).id
        return next(a for a, make in reversed(self.calls.items()) if make.operation is operation and a[0] == of)

    @property
    def under_way(self) -> list[Operation]:
        """The calls without an answer, in the order in which they were made."""
        return [make.operation for make in self.calls.values()]

    def call_count(self, operation: Operation) -> int:
        """Returns how many calls of this operation were made."""
        return sum(make.operation is operation for make in self.made_calls)

    def pending_call(self, operation: Operation) -> PendingCall:
        return self.task.calls[operation]

    @property
    def end(self) -> str:
        """State and reason of the only task."""
        return state_in_words(self.task)


def key_of(vendor: str, kind: Kind, vendor_task_id: str = "t") -> TaskKey:
    """Returns the key of a task with the vendor's own id, as its callbacks have it."""
    room_id = "r" if vendor == "volcengine" else ""
    family = DIALECTS[vendor].family_of(kind)
    return TaskKey(vendor=vendor, app_id="app", room_id=room_id, vendor_task_id=vendor_task_id, family=family)


def accepted(
    vendor: str = "volcengine", kind: Kind = Kind.PUSH, rules: Mapping[str, Any] | None = None, **start: Any
) -> ManagedLineage:
    """Returns a task whose start was requested at 0 s and accepted at 1 s."""
    story = ManagedLineage(vendor, kind, rules)
    story.start(0, **start)
    story.answer(START, CallOutcome.ACCEPTED, 1, task="t" if vendor == "tencent" else None)
    return story


def running(
    vendor: str = "volcengine", kind: Kind = Kind.PUSH, rules: Mapping[str, Any] | None = None, **start: Any
) -> ManagedLineage:
    """Returns the same, with media at 2 s."""
    story = accepted(vendor, kind, rules, **start)
    receive_media_sign(story, 2)
    return story


def receive_media_sign(story: ManagedLineage, at: float) -> Decision:
    """Receives the vendor's callback for "media flows"."""
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


def ending(state: State, reason: Reason, rank: int = 2) -> Ending:
    """Returns the ending that a query reports."""
    return Ending(state=state, reason=reason, rank=rank)
