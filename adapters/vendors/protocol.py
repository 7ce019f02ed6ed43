"""What every vendor's dialect can do."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from adapters.http_messages import HttpRequest, WireError
from adapters.text import FieldProblem
from adapters.vendors.calls import Account, Answer, Call, Identity, IdleTime, SecretPath, TaskRef
from statemachine.facts import Fact
from statemachine.rules import Rules
from statemachine.states import Kind, Verdict
from statemachine.tasks import TaskKey


class Rejection(StrEnum):
    """Why the door refused a callback; the label of the metric and the word in `/v1/rejections`."""

    #: 400: not of the vendor's documented shape.
    MALFORMED = "malformed"
    #: 401: no live secret of the app gives this signature.
    BAD_SIGNATURE = "bad_signature"
    #: 403: no such app is configured.
    UNKNOWN_APP = "unknown_app"
    #: 413: over 1 MiB.
    TOO_LARGE = "too_large"


STATUS_OF = {
    Rejection.MALFORMED: 400,
    Rejection.BAD_SIGNATURE: 401,
    Rejection.UNKNOWN_APP: 403,
    Rejection.TOO_LARGE: 413,
}


class CallbackRejected(Exception):
    """The callback is not believed. Carries the reason, a sentence for people and, where it was told, the app's id."""

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
    """A callback that was signed rightly: what must be known to record it once."""

    app_id: str
    #: The vendor's name or number of the event, as text; empty where the callback names none.
    event_type: str
    #: Equal for deliveries of the same callback, different for different ones: 64 hex digits, as `wire.dedupe_key` makes them.
    dedupe_key: str
    #: The vendor's own id of the task, as the task's key has it; empty where none is told. Says who works on it, nothing more.
    vendor_task_id: str = ""
    #: Equal for all callbacks that have the same signature: the event's time (ms, as 12 hex digits), and 32 hex digits of the
    #: signature. Empty where a signature has but one reading.
    #: A vendor may sign a retry anew, so it tells copies that `dedupe_key` does not, and the other way round.
    signature_key: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a recorded callback says. With `key` and `fact` it concerns a task; else `verdict` and `reason` say why it does not."""

    #: ms since the epoch; the vendor's time if believed, else that of receipt.
    event_at: int
    key: TaskKey | None = None
    fact: Fact | None = None
    #: IGNORED or UNKNOWN where there is no fact.
    verdict: Verdict | None = None
    #: One stable word for it: `no_task_id`, `room_event`, `unknown_event_type`, `unreadable`, ...
    reason: str | None = None


#: The live callback secrets of an app, or None where no such app is configured.
SecretsOf = Callable[[str], Sequence[str] | None]


class Dialect(Protocol):
    #: The vendor's name in settings, paths and tasks.
    name: str
    #: The actions that start a task.
    start_actions: Mapping[str, Kind]

    def verify(self, headers: Mapping[str, str], body: bytes, secrets_of: SecretsOf) -> Envelope:
        """The envelope of a callback whose signature holds.

        headers: names in lower case. Raises CallbackRejected, and nothing else, whatever the bytes.
        """
        ...

    def read(self, app_id: str, body: bytes, *, received_at: int, source: str, dedupe_key: str) -> Reading:
        """What a verified callback says. Never raises: what cannot be read is `unknown`.

        received_at: ms since the epoch, of the first delivery. source, dedupe_key: become the fact's `source` and `key`.
        """
        ...

    def rules(self, kind: Kind, params: Mapping[str, Any], *, callable: bool = False, silence_s: float = 900) -> Rules:
        """The rules for tasks of this kind, started with these parameters (empty where they are not known).

        callable: whether there is an account that signs calls for them. silence_s: see Rules.
        """
        ...

    def family_of(self, kind: Kind) -> str | None:
        """Returns the `TaskKey.family` under which events of tasks of this kind come; None if the vendor has no such kind."""
        ...

    def check(self, action: str, version: str | None, params: Any) -> list[FieldProblem]:
        """What the vendor's pages say is wrong with these parameters of any of its actions; empty: nothing.

        version: None for the newest. Bears any JSON.
        """
        ...

    def identity(self, action: str, params: Mapping[str, Any]) -> Identity:
        """Which task a start call is about. KeyError for an action that the vendor does not have."""
        ...

    def start(self, action: str, version: str | None, params: Mapping[str, Any], *, record_id: str | None = None) -> Call:
        """The call that starts a task. record_id: our id for it, of at most 31 bytes, for a vendor that takes one."""
        ...

    def update(self, task: TaskRef, params: Mapping[str, Any]) -> Call | None:
        """The call that updates it (`check` its params); None where the vendor has none, or its id is not known yet."""
        ...

    def stop(self, task: TaskRef) -> Call | None:
        """The call that stops it; None where its id is not known yet."""
        ...

    def inspect(self, task: TaskRef) -> list[Call]:
        """The query calls to make, in this order, until one does not say GONE; empty where it cannot be asked."""
        ...

    def can_inspect(self, kind: Kind) -> bool:
        """Whether the vendor has a query call for tasks of this kind."""
        ...

    def sign(self, call: Call, account: Account, now_ms: int) -> HttpRequest:
        """The call as it goes over the wire, once."""
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
    ) -> Answer:
        """What became of the call. status, body: None where no answer came; then `error` says why. Never raises."""
        ...

    def quota(self, action: str) -> int:
        """The calls/s that the vendor allows, per account and API."""
        ...

    def idle_time(self, kind: Kind) -> IdleTime | None:
        """MaxIdleTime's default and maximum; None where tasks of this kind have none."""
        ...

    def secret_paths(self, action: str) -> tuple[SecretPath, ...]:
        """Where secrets and stream keys stand in the parameters of this action."""
        ...

    def documented_paths(self, action: str) -> frozenset[str]:
        """Where values stand in them that the vendor's pages name, and that are neither; written as in `secret_paths`."""
        ...
