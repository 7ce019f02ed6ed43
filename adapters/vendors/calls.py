"""Calls to a vendor's API and their answers, in no vendor's words. All frozen values; times are ms since the epoch, UTC."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from statemachine.facts import Delivery, File, Output
from statemachine.facts import Outcome as Ending
from statemachine.states import Kind


class Operation(StrEnum):
    START = "start"
    UPDATE = "update"
    STOP = "stop"
    #: The vendor's query call: asks, and changes nothing.
    INSPECT = "inspect"


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
class HttpRequest:
    method: str
    url: str
    #: All that is to be sent, Host included: what is signed must go out as it stands.
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


class WireError(StrEnum):
    """Why there is no answer."""

    #: Name not resolved, connection refused, TLS failed: the vendor never saw the call.
    NOT_SENT = "not_sent"
    #: Timeout or dropped connection once sending had begun: the vendor may have seen it.
    CUT_OFF = "cut_off"


class Outcome(StrEnum):
    """What became of a call."""

    #: The vendor did it (a query: answered it).
    ACCEPTED = "accepted"
    #: START: the task runs already, which is as good.
    ALREADY_THERE = "already_there"
    #: STOP, UPDATE, INSPECT: the vendor knows no such task, or not any more.
    ALREADY_GONE = "already_gone"
    #: It did not happen; the same call may succeed later, signed anew.
    RETRY = "retry"
    #: The same, because of the vendor's rate limit.
    THROTTLED = "throttled"
    #: It did not happen and never will.
    REFUSED = "refused"
    #: START only: it may or may not have happened.
    AMBIGUOUS = "ambiguous"


class Sign(StrEnum):
    """What a query says of a task."""

    #: It lives; the vendor says no more.
    ALIVE = "alive"
    #: Created; nothing runs yet.
    ACCEPTED = "accepted"
    #: It (re)connects to its target: `accepted` if it never ran, else `interrupted`.
    CONNECTING = "connecting"
    #: It lives, and nobody publishes.
    NO_MEDIA = "no_media"
    #: Media flows.
    RUNNING = "running"
    #: Capturing ended; `ending` says how it ended if no file ever comes (None: not told).
    CAPTURE_ENDED = "capture_ended"
    #: It ended; `ending` says how (None: not told).
    ENDED = "ended"
    #: The vendor does not know it: proves an end only inside the window in which it promises to know (`rules().reach_s`).
    GONE = "gone"


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """What a query says of a task. It concerns a run only if `started_at`, where told, fits that run."""

    sign: Sign
    ending: Ending | None = None
    started_at: int | None = None
    ended_at: int | None = None
    files: tuple[File, ...] = ()
    #: OVER: the capture ended and there are no files.
    delivery: Delivery | None = None
    output: Output | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    outcome: Outcome
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
class FieldProblem:
    #: The parameter in the vendor's own dotted words (`Control.MaxIdleTime`), or `action`, `version`, `params`.
    field: str
    #: What would be right.
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Which task a start call is about."""

    kind: Kind
    app_id: str
    #: Empty where the task has no room.
    room_id: str
    #: None: the vendor mints it.
    vendor_task_id: str | None
    #: The user id under which the vendor itself enters the room.
    robot: str | None


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
    started_at: int | None = None


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
