"""The protocol that every vendor's dialect implements, and the values that it returns for callbacks."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from adapters.http_messages import HttpRequest, WireError
from adapters.text import FieldProblem
from adapters.vendors.calls import Account, Call, CallAnswer, Identity, IdleTime, SecretPath, TaskRef
from statemachine.facts import Fact
from statemachine.rules import Rules
from statemachine.states import Kind, Verdict
from statemachine.tasks import TaskKey


class Rejection(StrEnum):
    """The reason why the door rejected a callback; the label of the metric and the word in `/v1/rejections`."""

    #: 400: not of the vendor's documented shape.
    MALFORMED = "malformed"
    #: 401: no live secret of the app produces this signature.
    BAD_SIGNATURE = "bad_signature"
    #: 403: the app is not configured.
    UNKNOWN_APP = "unknown_app"
    #: 413: the body is larger than 1 MiB.
    TOO_LARGE = "too_large"


#: The HTTP status of each rejection.
STATUS_OF = {
    Rejection.MALFORMED: 400,
    Rejection.BAD_SIGNATURE: 401,
    Rejection.UNKNOWN_APP: 403,
    Rejection.TOO_LARGE: 413,
}


class CallbackRejected(Exception):
    """The callback failed verification. Carries the reason, a sentence for people and, if the callback names it, the app's id."""

    def __init__(self, reason: Rejection, detail: str, *, app_id: str | None = None) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
        self.app_id = app_id

    @property
    def status(self) -> int:
        return STATUS_OF[self.reason]


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """The parts of a verified callback that are needed to record it exactly once."""

    app_id: str
    #: The vendor's name or number of the event, as text; empty if the callback has none.
    event_type: str
    #: The same for all deliveries of one callback, different for different callbacks: 64 hex digits (`json_fields.dedupe_key`).
    dedupe_key: str
    #: The vendor's own id of the task, as the task's key has it; empty if unknown. Used only to choose the shard.
    vendor_task_id: str = ""
    #: The same for all callbacks with one signature: the event's time (ms, as 12 hex digits) and 32 hex digits of the signature.
    #: Empty if a signature fits only one callback. A vendor may sign a retry anew, so this key and `dedupe_key` each find copies
    #: that the other does not.
    signature_key: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """The meaning of a recorded callback: `key` and `fact` if it concerns a task; else `verdict` and `reason` why it does not."""

    #: ms since the epoch: the vendor's time if it is plausible, else the time of receipt.
    event_at: int
    key: TaskKey | None = None
    fact: Fact | None = None
    #: IGNORED or UNKNOWN if there is no fact.
    verdict: Verdict | None = None
    #: One stable word for the verdict: `no_task_id`, `room_event`, `unknown_event_type`, `unreadable`, ...
    reason: str | None = None


#: Returns the live callback secrets of an app; None if the app is not configured.
SecretsOf = Callable[[str], Sequence[str] | None]


class Dialect(Protocol):
    """One vendor's callbacks and API, in the terms of the rest of the program."""

    #: The vendor's name in settings, paths and tasks.
    name: str
    #: The actions that start a task, with the kind of task.
    start_actions: Mapping[str, Kind]

    def verify(self, headers: Mapping[str, str], body: bytes, secrets_of: SecretsOf) -> Envelope:
        """Verifies the signature of a callback and returns its envelope.

        headers: names in lower case. Raises CallbackRejected, and nothing else, for any bytes.
        """
        ...

    def read(self, app_id: str, body: bytes, *, received_at: int, source: str, dedupe_key: str) -> Reading:
        """Reads a verified callback. Never raises: a callback that cannot be read gets the verdict `unknown`.

        received_at: of the first delivery, ms since the epoch. source, dedupe_key: become the fact's `source` and `key`.
        """
        ...

    def rules(self, kind: Kind, params: Mapping[str, Any], *, callable: bool = False, silence_s: float = 900) -> Rules:
        """Returns the rules for tasks of this kind that were started with these parameters (empty if unknown).

        callable: whether an account signs calls for these tasks. silence_s: see Rules.
        """
        ...

    def family_of(self, kind: Kind) -> str | None:
        """Returns the `TaskKey.family` under which events of tasks of this kind come; None if the vendor has no such kind."""
        ...

    def check(self, action: str, version: str | None, params: Any) -> list[FieldProblem]:
        """Returns the problems of these parameters according to the vendor's pages, one per wrong field; empty if there are none.

        action: any of the vendor's actions. version: None for the newest. params: any JSON.
        """
        ...

    def identity(self, action: str, params: Mapping[str, Any]) -> Identity:
        """Returns the identity of the task that a start call is about. Raises KeyError for an unknown action."""
        ...

    def start(self, action: str, version: str | None, params: Mapping[str, Any], *, record_id: str | None = None) -> Call:
        """Builds the call that starts a task. record_id: our id for it, at most 31 bytes, for a vendor that accepts one."""
        ...

    def update(self, task: TaskRef, params: Mapping[str, Any]) -> Call | None:
        """Builds the call that updates a task (`check` its params); None if the vendor has none, or the task id is unknown."""
        ...

    def stop(self, task: TaskRef) -> Call | None:
        """Builds the call that stops a task; None if its id is not known yet."""
        ...

    def inspect(self, task: TaskRef) -> list[Call]:
        """Builds the query calls for a task, to be made in order until one does not answer GONE; empty if it has none."""
        ...

    def can_inspect(self, kind: Kind) -> bool:
        """Returns whether the vendor has a query call for tasks of this kind."""
        ...

    def sign(self, call: Call, account: Account, now_ms: int) -> HttpRequest:
        """Signs a call for one attempt: the HTTP request to send."""
        ...

    def read_answer(
        self,
        call: Call,
        status: int | None,
        headers: Mapping[str, str],
        body: bytes | None,
        error: WireError | None = None,
        *,
        received_at: int,
    ) -> CallAnswer:
        """Returns the outcome of a call. status, body: None if no answer came; then `error` says why. Never raises."""
        ...

    def quota(self, action: str) -> int:
        """Returns the vendor's limit for an action, calls/s per account and API. Raises KeyError for an unknown action."""
        ...

    def idle_time(self, kind: Kind) -> IdleTime | None:
        """Returns default and maximum of MaxIdleTime; None if tasks of this kind have none."""
        ...

    def secret_paths(self, action: str) -> tuple[SecretPath, ...]:
        """Returns the paths of secrets and stream keys in the parameters of this action; empty for an unknown one."""
        ...

    def documented_paths(self, action: str) -> frozenset[str]:
        """Returns the paths of all other values that the vendor's pages name; written as in `secret_paths`."""
        ...
