"""What the simulator needs to know of a vendor. A further vendor is a package under `vendors` and a line in its registry."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from simulator.messages import CallRefused, GatewayReply, OutgoingEvent, ReceivedCall, Request
from simulator.plan import Cause
from simulator.seeded_random import SeededRandom
from simulator.tasks import App, Moment, StartOrder, Tasks, VendorTask
from statemachine.states import Reason, State

EndState = tuple[State, Reason]


@dataclass(frozen=True, slots=True, kw_only=True)
class WorldContext:
    """What a vendor knows of the world it is in."""

    seed: int
    apps: Mapping[str, App]
    #: The world's time -> the time that is told outside (slower, where the world runs faster than clocks do).
    outside_ms: Callable[[int], int]
    #: The reverse.
    world_ms: Callable[[int], int]
    #: Whether times must be told finer than to the second, where the vendor may choose.
    exact_times: bool

    def secret_of(self, access_key_id: str) -> str | None:
        """The secret of a known account."""
        found = (app.secret_access_key for app in self.apps.values() if app.access_key_id == access_key_id)
        return next(found, None)


class WorldControl(Protocol):
    """What a call may do to the world."""

    now: int
    tasks: Tasks

    def start(self, order: StartOrder) -> VendorTask:
        """A new task, whose life is written now."""
        ...

    def repeat(self, task: VendorTask) -> None:
        """Notes a start call that meant this task, which runs."""
        ...

    def stop(self, task: VendorTask) -> None:
        """It will end in a moment."""
        ...

    def end(self, task: VendorTask, cause: Cause) -> None:
        """It ends now."""
        ...

    def update(self, task: VendorTask, params: Mapping[str, Any]) -> None:
        """It goes on with these parameters."""
        ...

    def mint(self, *names: object) -> SeededRandom:
        """Chance for a new id."""
        ...


class Vendor(Protocol):
    name: str
    #: A delivery that takes longer has failed, s.
    timeout_s: float

    def __init__(self, setting: WorldContext) -> None: ...

    @staticmethod
    def recognizes(request: Request) -> bool:
        """Whether this call means this vendor."""
        ...

    def read_call(self, request: Request, now: int) -> ReceivedCall:
        """The call, if its signature holds and its action is known. now: as it is told. Raises Refused."""
        ...

    def check_call(self, asked: ReceivedCall) -> None:
        """Raises Refused if the parameters are not as documented."""
        ...

    def perform(self, asked: ReceivedCall, hands: WorldControl) -> Any:
        """Does what the call says; its result. Raises Refused."""
        ...

    def success_reply(self, asked: ReceivedCall, result: Any) -> GatewayReply: ...

    def error_reply(self, request: Request, refused: CallRefused, request_id: str) -> GatewayReply: ...

    def throttled(self) -> CallRefused:
        """What is said to calls beyond the quota."""
        ...

    def permanent_refusal(self) -> CallRefused:
        """What is said to a start call that the vendor does not like."""
        ...

    def moments_after_end(self, task: VendorTask) -> list[tuple[int, Moment]]:
        """What follows its end: (ms after it, what)."""
        ...

    def files_of(self, task: VendorTask) -> tuple[str, ...]:
        """The files that it will have delivered, now that it ended."""
        ...

    def events_of(self, task: VendorTask, beat: Moment, at: int) -> list[tuple[int, OutgoingEvent]]:
        """The callbacks that tell this: (ms after it, what)."""
        ...

    def sign_callback(self, news: OutgoingEvent, sent_at: int) -> tuple[bytes, Mapping[str, str]]:
        """Body and headers of a callback, signed. sent_at: as it is told."""
        ...

    def retry_at(self, attempt: int, first_at: int, now: int) -> int | None:
        """When a delivery that failed now is tried again; None: never. attempt: how many were made."""
        ...

    def end_from_callbacks(self, task: VendorTask) -> EndState | None:
        """Its end as its callbacks tell it to somebody who made no call; None: they tell none."""
        ...

    def end_from_query(self, task: VendorTask) -> EndState | None:
        """Its end as the query call tells it; None: it tells no reason, or does not know the task any more."""
        ...

    def true_end(self, task: VendorTask) -> EndState | None:
        """Its end where it differs from what its cause says by itself; None: it does not."""
        ...
