"""What is put before `decide`, and what it answers. All values are frozen."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from statemachine.calls import CallOutcome, Inspection, Operation, PendingCall
from statemachine.facts import Fact
from statemachine.states import Anomaly, Deadline, Kind, State, Verdict
from statemachine.tasks import DeadlinePass, Lineage, Task
from statemachine.transition_table import Move


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackReceived:
    """A callback, or a callback read again."""

    fact: Fact
    #: Facts of this inbox row are replaced (a replay).
    replaces: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackWithdrawn:
    """A callback read again does not concern this lineage any more."""

    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadlinePassed:
    """A deadline's time has come."""

    task_id: str
    kind: Deadline
    due_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorMarked:
    """An operator's own word. Names the task, whoever said it, and why."""

    task_id: str
    #: STOPPED, FAILED or LOST: counts as inferred.
    state: State | None = None
    clear: tuple[Anomaly, ...] = ()
    note: str = ""
    by: str = ""
    #: Tells this word from every other one.
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StartRequested:
    """Somebody wants this task: a request, a renewal or a restart."""

    task_id: str
    kind: Kind
    action: str
    api_version: str | None
    params: Mapping[str, Any] = field(repr=False)
    policy: Mapping[str, Any] = field(repr=False)
    room_id: str | None = None
    robot: str | None = None
    #: A start planned for later, ms.
    scheduled_at: int | None = None
    #: When it was asked for, ms; None: now.
    asked_at: int | None = None
    #: Who asked: a token's name, or what made it.
    by: str = ""
    #: It waited when a backup was made that was restored: nobody knows whether it was made since.
    doubted: bool = False
    renews: str | None = None
    restarts: str | None = None
    restart_count: int = 0
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StopRequested:
    task_id: str
    by: str = ""
    #: As of `StartAsked`.
    doubted: bool = False
    #: Attempts of its calls that are on the wire, or were taken to be sent.
    taken: frozenset[int] = frozenset()
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateRequested:
    task_id: str
    params: Mapping[str, Any] = field(repr=False)
    by: str = ""
    #: As of `StartAsked`.
    doubted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryRequested:
    """The call that waits is to be tried now."""

    task_id: str
    by: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallAnswered:
    """What became of one attempt of a call. Times in ms."""

    task_id: str
    operation: Operation
    serial: int
    outcome: CallOutcome
    action: str = ""
    code: str | None = None
    message: str | None = None
    request_id: str | None = None
    #: The id that the vendor minted.
    vendor_task_id: str | None = None
    retry_after_s: float | None = None
    inspection: Inspection | None = None
    #: The call to make next: nothing is settled before it is answered too.
    step: Mapping[str, Any] | None = None
    sent_at: int
    duration_ms: int | None = None
    #: Nobody brought an answer in time; one may yet come.
    lease: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TasksAdopted:
    """What was known under another key turned out to be this key's: the vendor's id became known."""

    facts: tuple[Fact, ...]
    tasks: tuple[Task, ...]
    #: The vendor's answer told its id; else its callbacks showed whose they are.
    told: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SurplusTaskFound:
    """The vendor runs this task for an intent that another task serves: it is to be stopped."""

    of: Task
    sent_at: int
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SuccessorReported:
    """How the successor of this task does."""

    task_id: str
    successor: str
    #: It runs; else it ended before it ran.
    runs: bool
    #: As of `StartAsked`.
    doubted: bool = False
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerRestored:
    """The ledger was restored from a backup in which this task lived, or wanted something. Times in ms."""

    task_id: str
    #: When the new epoch began.
    at: int
    #: When its start was sent, or was to be, if one was under way.
    sent_at: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockCorrected:
    """The clock was ahead and was set right: what this task waits for may lie too far ahead."""

    task_id: str


Event = (
    CallbackReceived
    | CallbackWithdrawn
    | DeadlinePassed
    | OperatorMarked
    | StartRequested
    | StopRequested
    | UpdateRequested
    | RetryRequested
    | CallAnswered
    | TasksAdopted
    | SurplusTaskFound
    | SuccessorReported
    | LedgerRestored
    | ClockCorrected
)


@dataclass(frozen=True, slots=True, kw_only=True)
class MakeCall:
    """Make this call to the vendor."""

    task_id: str
    operation: Operation
    serial: int
    #: Where not the usual call is to be made.
    step: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelCall:
    """This call is not wanted any more; if it is under way, its answer will tell."""

    task_id: str
    serial: int
    #: It must not have been taken to be sent: if it was, all is to be decided anew.
    unsent: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PostEvent:
    """Something happened to another task, or begins one: an event to be decided like any other."""

    #: None of them is for a lineage that is being decided.
    event: StartRequested | SuccessorReported
    #: The vendor of the task that is to begin.
    vendor: str = ""


Command = MakeCall | CancelCall | PostEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What an event did to one task."""

    before: Task | None
    after: Task
    move: Move | None = None
    #: Lines for the timeline: each a mapping with `kind` and what belongs to it.
    entries: tuple[Mapping[str, Any], ...] = ()
    #: What is to be called or dropped for it.
    commands: tuple[Command, ...] = ()

    @property
    def visible(self) -> bool:
        """Whether the task as its users see it changed: only then it has a new version."""
        return self.before is None or self.after.version != self.before.version


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    lineage: Lineage
    #: Only tasks of which anything changed, in the order of their runs.
    changes: tuple[Change, ...] = ()
    commands: tuple[Command, ...] = ()
    verdict: Verdict
    #: One stable word beside the verdict, where there is something to say.
    reason: str | None = None
    #: The task that the event concerned.
    task_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Touch:
    """What an event does to one task beside its facts."""

    task_id: str
    passed: Mapping[Deadline, DeadlinePass] | None = None
    calls: Mapping[Operation, PendingCall] | None = None
    #: Fields of the task that change.
    changes: Mapping[str, Any] = field(default_factory=dict)
    raise_: Anomaly | None = None
    clear: tuple[Anomaly, ...] = ()
    entries: tuple[Mapping[str, Any], ...] = ()
