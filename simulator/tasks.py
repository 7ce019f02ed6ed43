"""A vendor's tasks: what each is, and where it stands in its life."""

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from simulator.plan import Cause
from simulator.seeded_random import SeededRandom
from statemachine.states import Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class App:
    """An app at a vendor, the account that may call for it, and the key that signs its callbacks."""

    vendor: str
    app_id: str
    callback_secret: str = field(repr=False)
    access_key_id: str
    secret_access_key: str = field(repr=False)
    #: Events that its console has switched off: they are never told.
    silent: frozenset[str] = frozenset()


class Moment(StrEnum):
    """A moment in a task's life."""

    CREATED = "created"
    CONNECTING = "connecting"
    MEDIA = "media"
    #: It lost its source or target and reconnects; told again while it lasts, by a vendor that does so.
    INTERRUPTED = "interrupted"
    #: Nobody publishes.
    QUIET = "quiet"
    ENDED = "ended"
    # Of tasks with files, after their end.
    UPLOADING = "uploading"
    #: Some files stay behind for now.
    LATE = "late"
    DELIVERED = "delivered"
    #: Its parameters were changed by a call.
    UPDATED = "updated"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lifetime:
    """What a vendor's rules and the parameters of its start say of a task's life. Times in ms."""

    #: What can end it beside a Stop call.
    endings: frozenset[Cause]
    idle_ms: int | None = None
    life_ms: int | None = None
    #: A planned start.
    starts_at: int = 0
    #: How often an interruption is told again while it lasts.
    repeat_ms: int | None = None
    files: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StartOrder:
    """A start call that is to be done."""

    kind: Kind
    app: App
    action: str
    version: str
    room_id: str
    vendor_task_id: str
    robot: str | None
    params: Mapping[str, Any]
    lifetime: Lifetime


@dataclass(slots=True, kw_only=True)
class VendorTask:
    """One run at the vendor. Times in ms of the world's clock."""

    number: int
    #: Of the same id, 1 for the first.
    run: int
    order: StartOrder
    params: dict[str, Any]
    dice: SeededRandom
    requested_at: int
    began_at: int
    #: What will happen unless somebody interferes, soonest first.
    script: deque[tuple[int, Moment]]
    #: How it will end by the script.
    planned_cause: Cause | None
    phase: Moment | None = None
    #: The phase before this one.
    previous_phase: Moment | None = None
    media_at: int | None = None
    cause: Cause | None = None
    ended_at: int | None = None
    files: tuple[str, ...] = ()
    has_late_files: bool = False
    #: Start calls that meant it; all but the first met it running.
    starts: int = 1
    stops: list[int] = field(default_factory=list)
    #: Those of them that met a task with media.
    healthy_stops: int = 0
    #: Of its last update, where updates are numbered.
    sequence: int | None = None
    #: The urls of which its callbacks tell.
    outputs: tuple[str, ...] = ()
    #: How many callbacks told of it.
    callbacks_made: int = 0
    #: Rises when the script changes, so that what was scheduled before is void.
    script_version: int = 0

    @property
    def is_alive(self) -> bool:
        return self.ended_at is None

    @property
    def is_known(self) -> bool:
        """The vendor has not forgotten it."""
        return self.cause is not Cause.FORGOTTEN


RunKey = tuple[str, str, str, str, str]


def key_of(order: StartOrder) -> RunKey:
    return (order.app.vendor, order.app.app_id, order.room_id, order.kind.value, order.vendor_task_id)


class Tasks:
    """All tasks of a world, by what calls know of them."""

    def __init__(self) -> None:
        self.all: list[VendorTask] = []
        self._runs: dict[RunKey, list[VendorTask]] = {}
        self._robots: dict[tuple[str, str, str, str], list[VendorTask]] = {}
        self._rooms: dict[tuple[str, str, str], list[VendorTask]] = {}
        self._minted: dict[tuple[str, str, str], VendorTask] = {}

    def add(self, task: VendorTask) -> None:
        order = task.order
        vendor, app_id = order.app.vendor, order.app.app_id
        self.all.append(task)
        self._runs.setdefault(key_of(order), []).append(task)
        self._rooms.setdefault((vendor, app_id, order.room_id), []).append(task)
        self._minted[(vendor, app_id, order.vendor_task_id)] = task
        if order.robot is not None:
            self._robots.setdefault((vendor, app_id, order.room_id, order.robot), []).append(task)

    def runs_of(self, app: App, room_id: str, kind: Kind, vendor_task_id: str) -> list[VendorTask]:
        """Those of this id, the newest last."""
        return self._runs.get((app.vendor, app.app_id, room_id, kind.value, vendor_task_id), [])

    def by_minted_id(self, app: App, vendor_task_id: str) -> VendorTask | None:
        """The newest of this id, whatever its room."""
        return self._minted.get((app.vendor, app.app_id, vendor_task_id))

    def in_room(self, app: App, room_id: str) -> list[VendorTask]:
        return self._rooms.get((app.vendor, app.app_id, room_id), [])

    def under_robot(self, app: App, room_id: str, robot: str) -> Iterator[VendorTask]:
        """Those alive that are in this room under this user id."""
        return (task for task in self._robots.get((app.vendor, app.app_id, room_id, robot), []) if task.is_alive)
