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
from tests.unit.statemachine.lineage_scenario import T0, LineageScenario, ms, state_in_words

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
        self.made_calls: list[MakeCall] = []
        self.cancelled_calls: list[CancelCall] = []
        self.posted_events: list[PostEvent] = []
        self._request_count = 0

    # What happens.

    def start(self, at: float = 0, *, policy: Mapping[str, Any] | None = None, task: str | None = None, **more: Any) -> Decision:
        """Somebody wants the task. Where the vendor mints ids, it is known under our own until then."""
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
        """Somebody wants it stopped. taken: what is made is on the wire already."""
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
        """The successor runs, or failed."""
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
        """What became of the newest call of this sort. task: the id that the vendor minted, which it then goes by."""
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
        """Nobody brought an answer to this call; its real one may yet come."""
        outcome = CallOutcome.AMBIGUOUS if operation is START else CallOutcome.RETRY
        return self.answer(operation, outcome, at, lease=True, code="no_answer", **more)

    def inspected(self, sign: Sign | Inspection, at: float | None = None, **more: Any) -> Decision:
        """The vendor answers the query that is under way."""
        gone = sign is Sign.GONE or (isinstance(sign, Inspection) and sign.sign is Sign.GONE)
        return self.answer(INSPECT, CallOutcome.ALREADY_GONE if gone else CallOutcome.ACCEPTED, at, says=sign, **more)

    def name(self, vendor_task_id: str = "t", *, told: bool = False, into: LineageScenario | None = None) -> Decision:
        """The vendor's id became known. into: what was heard under it before."""
        key = key_of(self.vendor, self.kind, vendor_task_id)
        leaving = self._known_lineage
        self.lineage = into.lineage if into is not None else Lineage(key=key)
        if isinstance(into, ManagedLineage):
            self.calls |= into.calls
        return self.apply_event(TasksAdopted(facts=leaving.facts, tasks=leaving.tasks, named_by_answer=told))

    def surplus(self, of: Task, at: float, *, sent: float, vendor_task_id: str = "u") -> Decision:
        """One more start of this task was answered with an id of its own: the story of that one."""
        self._advance_clock(at)
        return self.apply_event(
            SurplusTaskFound(of=of, sent_at=ms(sent), key="surplus-1"), key_of(self.vendor, self.kind, vendor_task_id)
        )

    def advance(self, at: float) -> list[Deadline]:
        """Time goes on until then, and everything that falls due passes at its own time. Which kinds did."""
        passed: list[Deadline] = []
        while (due := self._next_due()) is not None and due <= ms(at):
            passed += self.pass_due((due - T0) / 1000)
            assert len(passed) < 2_000, "what passes is due again and again"
        self._advance_clock(at)
        return passed

    def advance_to(self, kind: Deadline) -> float:
        """Passes the armed deadline of this kind of the only task at its time, and what is due before; that time, s."""
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
        for effect in decision.commands:
            if isinstance(effect, MakeCall):
                self.made_calls.append(effect)
                self.calls[effect.task_id, effect.serial] = effect
            elif isinstance(effect, CancelCall):
                self.cancelled_calls.append(effect)
                del self.calls[effect.task_id, effect.serial]
            else:
                self.posted_events.append(effect)
        return decision

    def rules(self, kind: Kind, params: Mapping[str, Any]) -> Rules:
        return replace(DIALECTS[self.vendor].rules(kind, params, callable=True), **self._overrides)

    # What is known.

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
        """The calls that are made and not answered, in the order in which they were made."""
        return [make.operation for make in self.calls.values()]

    def call_count(self, operation: Operation) -> int:
        """How often this call was made."""
        return sum(make.operation is operation for make in self.made_calls)

    def pending_call(self, operation: Operation) -> PendingCall:
        return self.task.calls[operation]

    @property
    def end(self) -> str:
        """How the only task stands, in words."""
        return state_in_words(self.task)


def key_of(vendor: str, kind: Kind, vendor_task_id: str = "t") -> TaskKey:
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
    receive_media_sign(story, 2)
    return story


def receive_media_sign(story: ManagedLineage, at: float) -> Decision:
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


def ending(state: State, reason: Reason, rank: int = 2) -> Ending:
    """How a query says that a task ended."""
    return Ending(state=state, reason=reason, rank=rank)
