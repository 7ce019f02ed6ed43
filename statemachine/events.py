"""Events: the inputs of the state machine. All of them are frozen values. Times in ms since the Unix epoch."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from statemachine.calls import CallOutcome, Inspection, Operation
from statemachine.facts import Fact
from statemachine.states import Anomaly, Deadline, Kind, State
from statemachine.tasks import Task


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackReceived:
    """A callback arrived, or was replayed."""

    fact: Fact
    #: Of a replay: the inbox row whose facts this fact replaces.
    replaces: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackWithdrawn:
    """A replay found that a callback does not concern this lineage."""

    #: The inbox row of the callback.
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadlinePassed:
    """A deadline of a task is due."""

    task_id: str
    kind: Deadline
    due_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorMarked:
    """An operator set a task's end, cleared anomalies, or left a note."""

    task_id: str
    #: STOPPED, FAILED or LOST; counts as inferred.
    state: State | None = None
    clear: tuple[Anomaly, ...] = ()
    note: str = ""
    #: The name of the operator's token.
    by: str = ""
    #: Unique per mark.
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StartRequested:
    """A new task is to be started: by an API request, a renewal or a restart."""

    task_id: str
    kind: Kind
    action: str
    #: None: the newest.
    api_version: str | None
    params: Mapping[str, Any] = field(repr=False)
    policy: Mapping[str, Any] = field(repr=False)
    room_id: str | None = None
    #: The user id under which the vendor will enter the room.
    robot: str | None = None
    #: The planned start, if it is later than the call.
    scheduled_at: int | None = None
    #: The time of the request; None: now.
    requested_at: int | None = None
    #: The requester: a token's name, or `policy.renew`, `policy.restart`.
    by: str = ""
    #: The request waited in a backup that has been restored: its call may have been made since the backup.
    doubted: bool = False
    #: The task that this one is to succeed, by a renewal.
    renews: str | None = None
    #: The task that this one repeats, by a restart.
    restarts: str | None = None
    restart_count: int = 0
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StopRequested:
    """A task is to be stopped."""

    task_id: str
    by: str = ""
    #: See `StartRequested.doubted`.
    doubted: bool = False
    #: Serial numbers of the task's calls that a worker has claimed: they are on the wire, or about to be sent.
    claimed: frozenset[int] = frozenset()
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateRequested:
    """A running task is to get new parameters."""

    task_id: str
    params: Mapping[str, Any] = field(repr=False)
    by: str = ""
    #: See `StartRequested.doubted`.
    doubted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryRequested:
    """The calls that wait for their next attempt are to be made now."""

    task_id: str
    by: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallAnswered:
    """One attempt of a call has an outcome. The fields are the members of the inbox row's payload."""

    task_id: str
    operation: Operation
    serial: int
    outcome: CallOutcome
    action: str = ""
    code: str | None = None
    message: str | None = None
    request_id: str | None = None
    #: The id that the vendor assigned.
    vendor_task_id: str | None = None
    #: The pause that the vendor asks for before the next attempt, s.
    retry_after_s: float | None = None
    inspection: Inspection | None = None
    #: The next call of this query, if it takes more than one; the query is complete when that one is answered too.
    step: Mapping[str, Any] | None = None
    sent_at: int
    duration_ms: int | None = None
    #: The call's lease expired without an answer; the real answer may still arrive.
    lease: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TasksAdopted:
    """Facts and tasks of a provisional key belong to this key: the vendor's id became known."""

    facts: tuple[Fact, ...]
    tasks: tuple[Task, ...]
    #: True: the answer to the start call contains the id. False: callbacks of the id match the start.
    named_by_answer: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SurplusTaskFound:
    """The vendor runs a second task for one start request; it is to be stopped."""

    #: The task that serves the request.
    of: Task
    sent_at: int
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SuccessorReported:
    """The successor of a task runs, or ended before it ran."""

    task_id: str
    successor: str
    #: True: it runs. False: it ended before it ran.
    runs: bool
    #: See `StartRequested.doubted`.
    doubted: bool = False
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerRestored:
    """The ledger was restored from a backup in which this task was live or had pending calls."""

    task_id: str
    #: The beginning of the new epoch.
    at: int
    #: When its start was sent, or was due to be sent, if a start was under way.
    sent_at: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockCorrected:
    """The clock was ahead and was corrected: times that this task waits for may lie too far in the future."""

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
