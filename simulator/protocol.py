"""What the simulator needs to know of a vendor. A further vendor is a package under `vendors` and a line in its registry."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from simulator.messages import Asked, News, Refused, Reply, Request
from simulator.plan import Cause
from simulator.seeded_random import Dice
from simulator.tasks import App, Beat, Order, Task, Tasks
from statemachine.states import Reason, State

Said = tuple[State, Reason]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What a vendor knows of the world it is in."""

    seed: int
    apps: Mapping[str, App]
    #: The world's time -> the time that is told outside (slower, where the world runs faster than clocks do).
    told: Callable[[int], int]
    #: The reverse.
    lived: Callable[[int], int]
    #: Whether times must be told finer than to the second, where the vendor may choose.
    exact: bool

    def secret(self, access_key_id: str) -> str | None:
        """The secret of a known account."""
        found = (app.secret_access_key for app in self.apps.values() if app.access_key_id == access_key_id)
        return next(found, None)


class Hands(Protocol):
    """What a call may do to the world."""

    now: int
    tasks: Tasks

    def start(self, order: Order) -> Task:
        """A new task, whose life is written now."""
        ...

    def repeat(self, task: Task) -> None:
        """Notes a start call that meant this task, which runs."""
        ...

    def stop(self, task: Task) -> None:
        """It will end in a moment."""
        ...

    def end(self, task: Task, cause: Cause) -> None:
        """It ends now."""
        ...

    def update(self, task: Task, params: Mapping[str, Any]) -> None:
        """It goes on with these parameters."""
        ...

    def mint(self, *names: object) -> Dice:
        """Chance for a new id."""
        ...


class Vendor(Protocol):
    name: str
    #: A delivery that takes longer has failed, s.
    timeout_s: float

    def __init__(self, setting: Setting) -> None: ...

    @staticmethod
    def recognises(request: Request) -> bool:
        """Whether this call means this vendor."""
        ...

    def read(self, request: Request, now: int) -> Asked:
        """The call, if its signature holds and its action is known. now: as it is told. Raises Refused."""
        ...

    def check(self, asked: Asked) -> None:
        """Raises Refused if the parameters are not as documented."""
        ...

    def perform(self, asked: Asked, hands: Hands) -> Any:
        """Does what the call says; its result. Raises Refused."""
        ...

    def reply(self, asked: Asked, result: Any) -> Reply: ...

    def refusal(self, request: Request, refused: Refused, request_id: str) -> Reply: ...

    def too_many(self) -> Refused:
        """What is said to calls beyond the quota."""
        ...

    def refused_for_good(self) -> Refused:
        """What is said to a start call that the vendor does not like."""
        ...

    def afterwards(self, task: Task) -> list[tuple[int, Beat]]:
        """What follows its end: (ms after it, what)."""
        ...

    def files_of(self, task: Task) -> tuple[str, ...]:
        """The files that it will have delivered, now that it ended."""
        ...

    def news(self, task: Task, beat: Beat, at: int) -> list[tuple[int, News]]:
        """The callbacks that tell this: (ms after it, what)."""
        ...

    def sealed(self, news: News, sent_at: int) -> tuple[bytes, Mapping[str, str]]:
        """Body and headers of a callback, signed. sent_at: as it is told."""
        ...

    def retry_at(self, attempt: int, first_at: int, now: int) -> int | None:
        """When a delivery that failed now is tried again; None: never. attempt: how many were made."""
        ...

    def said(self, task: Task) -> Said | None:
        """Its end as its callbacks tell it to somebody who made no call; None: they tell none."""
        ...

    def answered(self, task: Task) -> Said | None:
        """Its end as the query call tells it; None: it tells no reason, or does not know the task any more."""
        ...

    def truth(self, task: Task) -> Said | None:
        """Its end where it differs from what its cause says by itself; None: it does not."""
        ...
