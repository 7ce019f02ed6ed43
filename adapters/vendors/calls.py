"""Calls to a vendor's API and their answers, without vendors' words. All are frozen values; times are ms since the epoch, UTC."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from statemachine.calls import CallOutcome, Inspection, Operation, Sign
from statemachine.states import Kind
from statemachine.tasks import Task

__all__ = [
    "Account",
    "Call",
    "CallAnswer",
    "CallOutcome",
    "Identity",
    "IdleTime",
    "Inspection",
    "Operation",
    "SecretPath",
    "Sign",
    "TaskRef",
    "from_doc",
    "task_ref",
    "to_doc",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """The API key that signs a call. Empty endpoint: the vendor's usual one; empty region: the endpoint's usual one."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    endpoint: str = ""
    region: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """An unsigned call: it can be stored, and is signed anew for every attempt."""

    operation: Operation
    action: str
    version: str
    #: GET: `params` are the query; POST: `params` are the JSON body.
    method: str
    app_id: str
    params: Mapping[str, Any] = field(repr=False)
    #: The task that the call is about, if its id is known: an answer may list many tasks.
    vendor_task_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CallAnswer:
    """The outcome of a call."""

    outcome: CallOutcome
    #: The vendor's own code; if it gave none, a word of ours (`http_502`, `not_sent`, `unreadable`, ...).
    code: str | None = None
    message: str | None = None
    request_id: str | None = None
    #: The task id that the vendor created.
    vendor_task_id: str | None = None
    #: The vendor's Retry-After, s.
    retry_after_s: float | None = None
    inspection: Inspection | None = None
    #: The call for the next page of a list; without its answer the outcome is open.
    next_call: Call | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """The identity of the task that a start call is about."""

    kind: Kind
    #: The `TaskKey.family` under which events of the task come.
    family: str
    app_id: str
    #: Empty if the task has no room.
    room_id: str
    #: None: the vendor creates the id.
    vendor_task_id: str | None
    #: The user id under which the vendor enters the room.
    robot: str | None
    #: The name of the parameter that holds the app id.
    app_field: str
    #: Time of a planned start; None: at once.
    scheduled_at: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRef:
    """A task as the update, stop and query calls name it.

    action, version, params: of its start call; None, None and {} for a task that was only observed.
    """

    kind: Kind
    app_id: str
    room_id: str
    #: None: the vendor creates the id, and it is not known yet.
    vendor_task_id: str | None
    robot: str | None = None
    action: str | None = None
    version: str | None = None
    params: Mapping[str, Any] = field(default_factory=dict, repr=False)
    #: Our id for the task that was sent with its start (`Dialect.start`), unless `params` had one.
    record_id: str | None = None
    started_at: int | None = None


def task_ref(task: Task, record_id: str | None = None) -> TaskRef:
    """Returns the reference by which calls name a task. record_id: our id sent with its start, for a vendor that accepts one."""
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
    """MaxIdleTime of a kind of task: the time without publishers after which the vendor ends it."""

    default_s: int
    longest_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretPath:
    """The place of a secret in the parameters of a call."""

    #: `AgentParams.UserSig`, `PublishCdnParams[].PublishCdnUrl`.
    path: str
    #: True: a url that contains a stream key, which operators may see. False: a secret that is never shown.
    in_url: bool = False


_FIELDS = ("action", "version", "method", "app_id", "vendor_task_id")


def to_doc(call: Call) -> dict[str, Any]:
    """Returns the call as JSON data."""
    doc: dict[str, Any] = {name: getattr(call, name) for name in _FIELDS}
    return doc | {"operation": call.operation.value, "params": dict(call.params)}


def from_doc(doc: Mapping[str, Any]) -> Call:
    """Returns the call that `to_doc` wrote."""
    values = {name: doc[name] for name in _FIELDS}
    return Call(**values, operation=Operation(doc["operation"]), params=doc["params"])
