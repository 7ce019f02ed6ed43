"""The protocol of a simulated vendor. A further vendor is a package under `vendors` and a line in its registry."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from simulator.messages import CallRefused, GatewayReply, OutgoingEvent, ReceivedCall, Request
from simulator.plan import Cause
from simulator.seeded_random import SeededRandom
from simulator.tasks import App, Moment, StartOrder, Tasks, VendorTask
from statemachine.states import Reason, State

#: The final state of a task and its reason.
EndState = tuple[State, Reason]


@dataclass(frozen=True, slots=True, kw_only=True)
class WorldContext:
    """The part of the world that a vendor knows."""

    seed: int
    apps: Mapping[str, App]
    #: World time -> outside time: that of clients and their clocks, slower if the world runs faster.
    outside_ms: Callable[[int], int]
    #: Outside time -> world time.
    world_ms: Callable[[int], int]
    #: True: events carry times finer than a second, where the vendor may choose.
    exact_times: bool

    def secret_of(self, access_key_id: str) -> str | None:
        """Returns the secret of an account; None if it is unknown."""
        secrets = (app.secret_access_key for app in self.apps.values() if app.access_key_id == access_key_id)
        return next(secrets, None)


class WorldControl(Protocol):
    """The changes that a call may make to the world."""

    now: int
    tasks: Tasks

    def start(self, order: StartOrder) -> VendorTask:
        """Starts a task and writes its script."""
        ...

    def repeat(self, task: VendorTask) -> None:
        """Counts a repeated start call for a running task."""
        ...

    def stop(self, task: VendorTask) -> None:
        """Stops a task; it ends a moment later."""
        ...

    def end(self, task: VendorTask, cause: Cause) -> None:
        """Ends a task now."""
        ...

    def update(self, task: VendorTask, params: Mapping[str, Any]) -> None:
        """Changes parameters of a task."""
        ...

    def mint(self, *names: object) -> SeededRandom:
        """Returns the random source for a new id."""
        ...


class Vendor(Protocol):
    """One simulated vendor."""

    name: str
    #: Timeout of a callback, s.
    timeout_s: float

    def __init__(self, context: WorldContext) -> None: ...

    @staticmethod
    def recognizes(request: Request) -> bool:
        """Returns whether a request is a call to this vendor."""
        ...

    def read_call(self, request: Request, now: int) -> ReceivedCall:
        """Verifies the signature and reads the call. now: outside time. Raises CallRefused."""
        ...

    def check_call(self, call: ReceivedCall) -> None:
        """Checks the parameters against the documentation. Raises CallRefused."""
        ...

    def perform(self, call: ReceivedCall, world: WorldControl) -> Any:
        """Performs the call; returns its result. Raises CallRefused."""
        ...

    def success_reply(self, call: ReceivedCall, result: Any) -> GatewayReply:
        """Returns the reply to a successful call."""
        ...

    def error_reply(self, request: Request, refusal: CallRefused, request_id: str) -> GatewayReply:
        """Returns the reply to a refused call."""
        ...

    def throttled(self) -> CallRefused:
        """Returns the refusal of a call beyond the quota."""
        ...

    def permanent_refusal(self) -> CallRefused:
        """Returns a permanent refusal of a start call."""
        ...

    def moments_after_end(self, task: VendorTask) -> list[tuple[int, Moment]]:
        """Returns the moments that follow a task's end: (ms after it, moment)."""
        ...

    def files_of(self, task: VendorTask) -> tuple[str, ...]:
        """Returns the files that an ended task delivers."""
        ...

    def events_of(self, task: VendorTask, moment: Moment, at: int) -> list[tuple[int, OutgoingEvent]]:
        """Returns the events of a moment: (ms after it, event)."""
        ...

    def sign_callback(self, event: OutgoingEvent, sent_at: int) -> tuple[bytes, Mapping[str, str]]:
        """Signs a callback; returns body and headers. sent_at: outside time."""
        ...

    def retry_at(self, attempt: int, first_at: int, now: int) -> int | None:
        """Returns the time of the next attempt after one that failed now; None: no more. attempt: of the failed one, from 1."""
        ...

    def end_from_callbacks(self, task: VendorTask) -> EndState | None:
        """Returns a task's end as its callbacks alone tell it, to an observer that made no call; None if they tell none."""
        ...

    def end_from_query(self, task: VendorTask) -> EndState | None:
        """Returns a task's end as the query call tells it; None if it tells no reason, or no longer knows the task."""
        ...

    def true_end(self, task: VendorTask) -> EndState | None:
        """Returns a task's true end if it differs from that of its cause; else None."""
        ...
