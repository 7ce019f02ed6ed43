"""Requests, answers, callbacks and deadlines in any order: invariants of calls and tasks after each step."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from hypothesis import given, note
from hypothesis import strategies as st

from statemachine.calls import CallOutcome, Inspection, Operation, Sign, pending_call_from_doc, pending_call_to_doc
from statemachine.commands import CancelCall, MakeCall
from statemachine.decide import decide
from statemachine.decision import Change, Decision
from statemachine.events import (
    CallAnswered,
    CallbackReceived,
    DeadlinePassed,
    Event,
    OperatorMarked,
    RetryRequested,
    StartRequested,
    StopRequested,
    TasksAdopted,
    UpdateRequested,
)
from statemachine.facts import Fact, File, FilesDelivered
from statemachine.rules import Rules
from statemachine.states import FINAL, LIVE, Anomaly, Deadline, Kind, Reason, State
from statemachine.tasks import Lineage, Task, TaskKey
from tests.support.hypothesis_effort import effort
from tests.support.times import T0
from tests.unit.statemachine.managed_lineage import ending
from tests.unit.statemachine.strategies import (
    INGEST_SIGNS,
    ONE_RUN_RECORD_SIGNS,
    OUTPUT_SIGNS,
    PUSH_SIGNS,
    RECORD_SIGNS,
    RELAY_SIGNS,
    S,
)

START, UPDATE, STOP, INSPECT = Operation
T = TypeVar("T")
OURS = {"intent", "accepted", "stop_asked", "stop_accepted"}


@dataclass(frozen=True)
class Setting:
    """A kind of task at a vendor: its rules, and the facts that its callbacks can have."""

    kind: Kind
    rules: Rules
    signs: list[dict]

    @property
    def minted(self) -> bool:
        return self.rules.single_run


def _make_setting(kind: Kind, signs: list[dict], **rules: object) -> Setting:
    kept = [sign for sign in signs if sign["kind"].value not in OURS]
    return Setting(kind, Rules(callable=True, **rules), kept)  # type: ignore[arg-type]


#: By name, so that a failing example is short to read.
SETTINGS = {
    "push": _make_setting(Kind.PUSH, PUSH_SIGNS, single_output=True, idle_s=180, reach_s=72 * 3600, askable=True, repeatable=True),
    "ingest": _make_setting(
        Kind.INGEST, RELAY_SIGNS, life_s=72 * 3600, life_margin_s=300, idle_s=300, askable=True, repeatable=True
    ),
    "ingest that cannot be asked": _make_setting(Kind.INGEST, RELAY_SIGNS, life_s=3600, idle_s=300, repeatable=True),
    "record": _make_setting(Kind.RECORD, RECORD_SIGNS, finish_unheard_s=600, reach_s=7200, askable=True, repeatable=True),
    "push of a minted id": _make_setting(Kind.PUSH, OUTPUT_SIGNS, single_run=True, idle_s=86_400, reach_s=30 * 24 * 3600),
    "ingest of a minted id": _make_setting(
        Kind.INGEST, INGEST_SIGNS, single_run=True, life_s=3600, life_margin_s=60, meets_s=60, askable=True
    ),
    "record of a minted id": _make_setting(
        Kind.RECORD, ONE_RUN_RECORD_SIGNS, single_run=True, idle_s=30, reach_s=72 * 3600, askable=True, repeatable=True
    ),
    "page of a minted id": _make_setting(
        Kind.PAGE, ONE_RUN_RECORD_SIGNS, single_run=True, life_s=3600, askable=True, askable_unnamed=True, repeatable=True
    ),
}
POLICIES = [
    {},
    {"start": {"max_attempts": 2, "max_elapsed_s": 60}},
    {"recovery": {"stop": True, "max_s": 200}, "reach": "stop", "stop_zombies": True},
    {"restart": {"on": ["failed", "stopped", "lost"], "pause_s": 0}},
    {"renew": {"params": {"TaskId": "other"}}},
]
LEASE_MS = 30_000
PAUSES_S = [0, 0, 0.001, 1, 10, 60, 61, 600, 3600, 86_400, 73 * 3600]
ENDINGS = [
    None,
    ending(State.STOPPED, Reason.UNSTATED, 4),
    ending(State.STOPPED, Reason.STOP_REQUESTED),
    ending(State.IDLE_TIMEOUT, Reason.MAX_IDLE_TIME),
]


@dataclass
class World:
    """One lineage, the calls on their way to the vendor, and the time. A provisional key is replaced once the vendor's is known."""

    setting: Setting
    lineage: Lineage
    now: int = T0
    #: The lineage of the vendor's id, before the two are matched.
    other: Lineage | None = None
    #: (task id, serial) -> the call: made, and neither answered nor cancelled.
    out: dict[tuple[str, int], MakeCall] = field(default_factory=dict)
    #: Calls that were cancelled or whose lease expired: one answer may still arrive.
    late: dict[tuple[str, int], MakeCall] = field(default_factory=dict)
    #: Answers that arrived.
    told: list[CallAnswered] = field(default_factory=list)
    #: Answers may contradict each other, and prove nothing.
    wild: bool = False
    events: int = 0

    def apply_event(self, event: Event) -> Decision:
        self.events += 1
        note(f"at {(self.now - T0) / 1000} s: {event}")
        decision = decide(self.lineage, event, self.now, lambda kind, params: self.setting.rules, kind=self.setting.kind)
        self.lineage = decision.lineage
        self.take(decision)
        self._check(decision)
        return decision

    def take(self, decision: Decision) -> None:
        """Takes over the commands: new calls are on their way, cancelled ones may be."""
        for command in decision.commands:
            attempt = (command.task_id, command.serial) if isinstance(command, MakeCall | CancelCall) else None
            if isinstance(command, MakeCall):
                assert attempt not in self.out
                self.out[attempt] = command
            elif attempt in self.out:
                cancelled = self.out.pop(attempt)
                if not command.unsent:
                    self.late[attempt] = cancelled

    # Invariants.

    def _check(self, decision: Decision) -> None:
        for change in decision.changes:
            final_only_corrects(change)
            no_call_for_what_is_followed(change)
        for task in self.lineage.tasks:
            one_call_at_a_time([make.operation for (of, _), make in self.out.items() if of == task.id])
            looked_after(task)
            assert self.wild or is_pursued(task), "the stop is not pursued any more"
            written_and_read(task)

    def pass_all(self) -> int:
        """Passes all deadlines that are due; returns how many."""
        count = 0
        while (due := self._next_due()) is not None:
            self.apply_event(due)
            count += 1
            assert count < 60, f"a deadline that passed is due again and again: {due}"
        return count

    def _next_due(self) -> DeadlinePassed | None:
        due = [(at, kind, task.id) for task in self.lineage.tasks for kind, at in task.deadlines.items() if at <= self.now]
        if not due:
            return None
        at, kind, task_id = min(due)
        return DeadlinePassed(task_id=task_id, kind=kind, due_at=at)


def final_only_corrects(change: Change) -> None:
    before, after = change.before, change.after
    if before is None or before.view.state not in FINAL or after.merged_into is not None:
        return
    if (before.view.state, before.view.reason) != (after.view.state, after.view.reason):
        assert change.move is not None
        assert change.move.corrects


def no_call_for_what_is_followed(change: Change) -> None:
    if change.after.view.followed:
        assert [command for command in change.commands if isinstance(command, MakeCall)] == []


def one_call_at_a_time(operations: list[Operation]) -> None:
    assert operations.count(START) + operations.count(STOP) <= 1
    assert operations.count(UPDATE) <= 1
    assert operations.count(INSPECT) <= 1


def looked_after(task: Task) -> None:
    state, kinds = task.view.state, set(task.deadlines)
    if state in LIVE:
        assert kinds
    elif not task.calls:
        assert kinds <= {Deadline.RESTART}
    waits = {call.retry_at for call in task.calls.values()} - {None}
    assert bool(waits) == bool(kinds & {Deadline.START_RETRY, Deadline.CALL_RETRY})


def is_pursued(task: Task) -> bool:
    """A requested stop is called until it is confirmed; if the vendor rejects it, the task is marked."""
    if task.view.state is not State.STOPPING or task.view.followed:
        return True
    wanted = {START, STOP, INSPECT} & set(task.calls) or Deadline.STOP_CONFIRM in task.deadlines
    return bool(wanted) or Anomaly.STOP_UNCONFIRMED in task.anomalies


def written_and_read(task: Task) -> None:
    for call in task.calls.values():
        assert pending_call_from_doc(pending_call_to_doc(call)) == call


# Possible events.


def some(data: st.DataObject, items: Sequence[T]) -> T:
    return items[data.draw(st.integers(0, len(items) - 1))]


def start(world: World, data: st.DataObject) -> None:
    """At most one task of a key is live, apart from those that wait for files; a vendor-assigned id has only one task."""
    live_ones = [task for task in world.lineage.tasks if task.view.state in LIVE - {State.FINISHING}]
    if live_ones or (world.setting.minted and world.lineage.tasks):
        return
    number = f"task{world.events}"
    key = world.lineage.key.provisional_key(number) if world.setting.minted else world.lineage.key
    world.lineage = replace(world.lineage, key=key)
    world.apply_event(
        StartRequested(
            task_id=number,
            kind=world.setting.kind,
            action="Start",
            api_version=None,
            params={},
            policy=data.draw(st.sampled_from(POLICIES)),
            scheduled_at=data.draw(st.sampled_from([None, None, None, world.now + 7_200_000])),
            key=f"start {number}",
        )
    )


def stop(world: World, data: st.DataObject) -> None:
    """A task whose end the vendor reported cannot be stopped, unless it shows signs of life."""
    task = some(data, world.lineage.tasks)
    if task.view.state in FINAL and not task.view.inferred and Anomaly.ZOMBIE not in task.anomalies:
        return
    on_the_wire = {serial for of, serial in world.out if of == task.id} if data.draw(st.booleans()) else set()
    world.apply_event(StopRequested(task_id=task.id, claimed=frozenset(on_the_wire), key=f"stop {world.events}"))


def update(world: World, data: st.DataObject) -> None:
    world.apply_event(UpdateRequested(task_id=some(data, world.lineage.tasks).id, params={"n": world.events}))


def retry(world: World, data: st.DataObject) -> None:
    world.apply_event(RetryRequested(task_id=some(data, world.lineage.tasks).id))


def mark(world: World, data: st.DataObject) -> None:
    """An operator's mark. An operator who clears `stop_unconfirmed` is responsible for the stop."""
    task = some(data, world.lineage.tasks)
    state = data.draw(st.sampled_from([None, State.STOPPED, State.FAILED, State.LOST]))
    clear = tuple(anomaly for anomaly in task.anomalies if anomaly is not Anomaly.STOP_UNCONFIRMED)
    world.apply_event(OperatorMarked(task_id=task.id, state=state, clear=clear, key=f"mark {world.events}"))


@st.composite
def inspections(draw: st.DrawFn, now: int) -> Inspection:
    sign = draw(st.sampled_from(Sign))
    ended = sign in (Sign.ENDED, Sign.CAPTURE_ENDED)
    files = (File(name="a.mp4"),) if sign is Sign.CAPTURE_ENDED and draw(st.booleans()) else ()
    return Inspection(
        sign=sign,
        ending=draw(st.sampled_from(ENDINGS)) if ended else None,
        started_at=draw(st.sampled_from([None, None, T0, now - 1000, T0 - 3_600_000])) if sign is not Sign.GONE else None,
        ended_at=draw(st.sampled_from([None, now - 500])) if ended else None,
        files=files,
        delivery=FilesDelivered.OVER if sign is Sign.CAPTURE_ENDED and not files and draw(st.booleans()) else None,
    )


#: Outcomes of each call; in a wild world any outcome is possible.
OUTCOMES = {
    START: [o for o in CallOutcome if o is not CallOutcome.ALREADY_GONE],
    STOP: [
        CallOutcome.ACCEPTED,
        CallOutcome.ALREADY_GONE,
        CallOutcome.RETRY,
        CallOutcome.THROTTLED,
        CallOutcome.REFUSED,
        CallOutcome.NOT_MADE,
    ],
    UPDATE: [CallOutcome.ACCEPTED, CallOutcome.ALREADY_GONE, CallOutcome.RETRY, CallOutcome.REFUSED],
    INSPECT: [
        CallOutcome.ACCEPTED,
        CallOutcome.ACCEPTED,
        CallOutcome.ALREADY_GONE,
        CallOutcome.RETRY,
        CallOutcome.REFUSED,
        CallOutcome.NOT_MADE,
    ],
}


def answer(world: World, data: st.DataObject) -> None:
    """An answer to a call on its way, a late one, or a repeated one."""
    attempts = [*world.out, *world.late]
    if not attempts:
        return
    attempt = some(data, attempts)
    make = world.out.pop(attempt, None) or world.late.pop(attempt)
    if world.wild:
        world.late[attempt] = make
    outcome = data.draw(st.sampled_from(list(CallOutcome) if world.wild else OUTCOMES[make.operation]))
    says, named = None, make.operation is START and outcome in (CallOutcome.ACCEPTED, CallOutcome.ALREADY_THERE)
    if make.operation is INSPECT and outcome in (CallOutcome.ACCEPTED, CallOutcome.ALREADY_GONE):
        gone = Inspection(sign=Sign.GONE)
        says = gone if outcome is CallOutcome.ALREADY_GONE else data.draw(inspections(world.now))
        named = outcome is CallOutcome.ACCEPTED
    named = named and world.setting.minted and (outcome is not CallOutcome.ALREADY_THERE or data.draw(st.booleans()))
    if named and world.lineage.key.is_provisional:
        name(world, told=True)
    event = CallAnswered(
        task_id=make.task_id,
        operation=make.operation,
        serial=make.serial,
        outcome=outcome,
        vendor_task_id="t" if named else None,
        inspection=says,
        retry_after_s=data.draw(st.sampled_from([None, None, 30.0])),
        sent_at=world.now - data.draw(st.sampled_from([0, 1, 2_000, 40_000])),
        code="code",
    )
    world.told.append(event)
    world.apply_event(event)


def end_leases(world: World) -> None:
    """Leases expire after half a minute without an answer; it may still arrive."""
    world.now += LEASE_MS
    for attempt, make in list(world.out.items()):
        if attempt not in world.out:
            continue  # the end of another one cancelled it
        world.late[attempt] = world.out.pop(attempt)
        outcome = CallOutcome.AMBIGUOUS if make.operation is START else CallOutcome.RETRY
        task_id, serial = attempt
        lost = CallAnswered(
            task_id=task_id, operation=make.operation, serial=serial, outcome=outcome, sent_at=world.now - LEASE_MS, lease=True
        )
        world.apply_event(lost)


def ask_further(world: World, data: st.DataObject) -> None:
    """A query that needs one more call."""
    for attempt, make in list(world.out.items()):
        if make.operation is INSPECT:
            del world.out[attempt]
            step = {"index": world.events}
            answered = CallAnswered(
                task_id=attempt[0], operation=INSPECT, serial=attempt[1], outcome=CallOutcome.ACCEPTED, step=step, sent_at=world.now
            )
            world.apply_event(answered)
            return


def answer_again(world: World, data: st.DataObject) -> None:
    if world.told:
        world.apply_event(some(data, world.told))


def name(world: World, *, told: bool) -> None:
    """The vendor's id becomes known: by an answer, or because callbacks match the start."""
    leaving, world.lineage = world.lineage, world.other or Lineage(key=KEY)
    world.other = None
    world.apply_event(TasksAdopted(facts=leaving.facts, tasks=leaving.tasks, named_by_answer=told))


def hear(world: World, data: st.DataObject) -> None:
    sign = some(data, world.setting.signs)
    at = world.now - round(data.draw(st.sampled_from([-2, 0, 0, 0.5, 3, 90, 4000])) * S)
    created = data.draw(st.sampled_from([None, None, None, at - 2 * S])) if world.setting.rules.single_output else None
    fact = Fact(at=at, received_at=world.now, key=f"k{world.events}", source=f"s{world.events}", started_at=created, **sign)
    if not world.lineage.key.is_provisional:
        world.apply_event(CallbackReceived(fact=fact))
        return
    rules = world.setting.rules
    seen = decide(
        world.other or Lineage(key=KEY), CallbackReceived(fact=fact), world.now, lambda k, p: rules, kind=world.setting.kind
    )
    world.other = seen.lineage
    world.events += 1
    world.take(seen)


def adopt(world: World, data: st.DataObject) -> None:
    if world.lineage.key.is_provisional and world.other is not None:
        name(world, told=False)


def pass_time(world: World, data: st.DataObject) -> None:
    let_pass(world, round(data.draw(st.sampled_from(PAUSES_S)) * S))


def pass_at_its_time(world: World, data: st.DataObject) -> None:
    """The next deadline passes exactly when it is due."""
    due = [at for task in world.lineage.tasks for at in task.deadlines.values()]
    if due:
        let_pass(world, max(0, min(due) - world.now))


def let_pass(world: World, pause_ms: int) -> None:
    until = world.now + pause_ms
    if pause_ms > LEASE_MS:
        end_leases(world)
    world.now = max(world.now, until)
    world.pass_all()


Step = Callable[[World, st.DataObject], None]
STEPS: list[Step] = [
    *[answer] * 6,
    answer_again,
    ask_further,
    *[hear] * 4,
    *[pass_time] * 2,
    *[pass_at_its_time] * 3,
    *[stop] * 2,
    start,
    update,
    retry,
    mark,
    adopt,
]
KEY = TaskKey(vendor="v", app_id="a", room_id="", vendor_task_id="t", family="f")


@effort(350)
@given(st.sampled_from(list(SETTINGS)), st.data())
def test_what_holds_of_a_task_holds_after_every_step(kind, data):
    live(World(SETTINGS[kind], Lineage(key=KEY)), data)


@effort(100)
@given(st.sampled_from(list(SETTINGS)), st.data())
def test_answers_that_contradict_each_other_break_nothing(kind, data):
    live(World(SETTINGS[kind], Lineage(key=KEY), wild=True), data)


def live(world: World, data: st.DataObject) -> None:
    if data.draw(st.integers(0, 9)) == 9 and not world.setting.minted:
        hear(world, data)
    start(world, data)
    for step in data.draw(st.lists(st.sampled_from(STEPS), max_size=14)):
        step(world, data)
    let_pass(world, 100 * 86_400 * S)


@effort(75)
@given(st.sampled_from([name for name, setting in SETTINGS.items() if not setting.minted]), st.data())
def test_the_order_in_which_callbacks_come_between_calls_does_not_matter(kind, data):
    """Callbacks about the time after the start request."""
    setting = SETTINGS[kind]
    heard = data.draw(st.lists(facts(setting), min_size=1, max_size=6, unique_by=lambda fact: fact.key))
    outcomes = []
    for _ in range(2):
        between = [CallbackReceived(fact=fact) for fact in data.draw(st.permutations(heard))]
        for call in calls_of("one"):
            between.insert(data.draw(st.integers(after(between), len(between))), call)
        lineage = Lineage(key=KEY)
        for n, event in enumerate([start_of("one", setting.kind), *between]):
            now = FIXED.get(type(event), T0 + 60 * S + n)
            lineage = decide(lineage, event, now, lambda kind, params: setting.rules, kind=setting.kind).lineage
        outcomes.append(outcome(lineage))
    assert outcomes[0] == outcomes[1]


#: Times of the requests, ms: their facts have them.
FIXED = {StartRequested: T0 - S, StopRequested: T0 + 20 * S}


def start_of(task_id: str, kind: Kind) -> StartRequested:
    return StartRequested(task_id=task_id, kind=kind, action="a", api_version=None, params={}, policy={}, key="start")


def calls_of(task_id: str) -> list[Event]:
    """Returns an accepted start, an accepted stop, and a query that shows the task running, in this order."""
    accepted = CallOutcome.ACCEPTED
    return [
        CallAnswered(task_id=task_id, operation=START, serial=1, outcome=accepted, sent_at=T0 - S + 1),
        StopRequested(task_id=task_id, key="stop"),
        CallAnswered(task_id=task_id, operation=STOP, serial=2, outcome=accepted, sent_at=T0 + 21 * S),
        CallAnswered(
            task_id=task_id,
            operation=INSPECT,
            serial=3,
            outcome=accepted,
            inspection=Inspection(sign=Sign.RUNNING),
            sent_at=T0 + 22 * S,
        ),
    ]


def after(events: list) -> int:
    """Returns the position after the last event that is no callback."""
    return max((n + 1 for n, event in enumerate(events) if not isinstance(event, CallbackReceived)), default=0)


@st.composite
def facts(draw: st.DrawFn, setting: Setting) -> Fact:
    number = draw(st.integers(0, 999))
    at = T0 + draw(st.integers(0, 40)) * S
    return Fact(at=at, received_at=T0 + 50 * S, key=f"k{number}", source=f"s{number}", **draw(st.sampled_from(setting.signs)))


def outcome(lineage: Lineage) -> list[tuple]:
    words = ("state", "reason", "inferred", "files", "outputs", "running_at", "ended_at", "vendor_code", "zombie_at")
    return [(task.run, *(getattr(task.view, word) for word in words)) for task in lineage.tasks]
