"""Calls to a vendor's API and their answers, in no vendor's words. All frozen values; times are ms since the epoch, UTC."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from statemachine.calls import CallOutcome, Inspection, Operation, Sign
from statemachine.states import Kind
from statemachine.tasks import Task

__all__ = [
    "Account",
    "Answer",
    "Call",
    "CallOutcome",
    "Identity",
    "IdleTime",
    "Inspection",
    "Operation",
    "SecretPath",
    "Sign",
    "TaskRef",
    "from_doc",
    "ref_of",
    "to_doc",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Who signs a call. Empty: the vendor's usual endpoint, and that endpoint's usual region."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    endpoint: str = ""
    region: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call, not signed yet: it can be stored, and signed anew for every attempt."""

    operation: Operation
    action: str
    version: str
    #: GET: `params` are the query; POST: they are the JSON body.
    method: str
    app_id: str
    params: Mapping[str, Any] = field(repr=False)
    #: The task it is about, where its id is known: an answer may list many tasks.
    vendor_task_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    outcome: CallOutcome
    #: The vendor's own code and text; where it gave none, a word of ours (`http_502`, `not_sent`, `unreadable`, ...).
    code: str | None = None
    message: str | None = None
    request_id: str | None = None
    #: The id that the vendor minted.
    vendor_task_id: str | None = None
    #: The vendor's hint, s.
    retry_after_s: float | None = None
    inspection: Inspection | None = None
    #: The next page: nothing is settled before it is asked too.
    next_call: Call | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Which task a start call is about."""

    kind: Kind
    #: The `TaskKey.family` under which events of the task come.
    family: str
    app_id: str
    #: Empty where the task has no room.
    room_id: str
    #: None: the vendor mints it.
    vendor_task_id: str | None
    #: The user id under which the vendor itself enters the room.
    robot: str | None
    #: The parameter that names the app, in the vendor's words.
    app_field: str
    #: For when the start is planned; None: at once.
    scheduled_at: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRef:
    """A task as update, stop and inspect need to know it. `action`, `version`, `params`: of its start; None, None, {}: observed."""

    kind: Kind
    app_id: str
    room_id: str
    #: None: minted by the vendor and not known yet.
    vendor_task_id: str | None
    robot: str | None = None
    action: str | None = None
    version: str | None = None
    params: Mapping[str, Any] = field(default_factory=dict, repr=False)
    #: Our id for it that went out with its start (`Dialect.start`), unless `params` had one.
    record_id: str | None = None
    started_at: int | None = None


def ref_of(task: Task, record_id: str | None = None) -> TaskRef:
    """record_id: our id for what its start made, for a vendor that takes one."""
    key, view = task.key, task.view
    return TaskRef(
        kind=task.kind,
        app_id=key.app_id,
        room_id=key.room_id or view.room_id or "",
        vendor_task_id=None if key.is_provisional else key.vendor_task_id,
        robot=view.robot,
        action=task.action,
        version=task.api_version,
        params=task.params,
        record_id=record_id,
        started_at=view.started_at,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class IdleTime:
    """How long nobody may publish before the vendor ends a task."""

    default_s: int
    longest_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretPath:
    #: `AgentParams.UserSig`, `PublishCdnParams[].PublishCdnUrl`.
    path: str
    #: A url that holds a stream key: operators may see it. Else: a secret that nobody may see.
    in_url: bool = False


_FIELDS = ("action", "version", "method", "app_id", "vendor_task_id")


def to_doc(call: Call) -> dict[str, Any]:
    """The call as JSON-able data."""
    doc: dict[str, Any] = {name: getattr(call, name) for name in _FIELDS}
    return doc | {"operation": call.operation.value, "params": dict(call.params)}


def from_doc(doc: Mapping[str, Any]) -> Call:
    """The call that `to_doc` wrote."""
    values = {name: doc[name] for name in _FIELDS}
    return Call(**values, operation=Operation(doc["operation"]), params=doc["params"])
