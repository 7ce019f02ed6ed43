"""The tasks of the vendors, with their scripts and states, and an index of them."""

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
    #: Events that are switched off in its console: never sent.
    silent: frozenset[str] = frozenset()


class Moment(StrEnum):
    """A moment in a task's life."""

    CREATED = "created"
    CONNECTING = "connecting"
    MEDIA = "media"
    #: The task lost its source or target and reconnects; repeated while it lasts, if the vendor does so.
    INTERRUPTED = "interrupted"
    #: No publisher.
    QUIET = "quiet"
    ENDED = "ended"
    # Tasks with files, after their end.
    UPLOADING = "uploading"
    #: Some files are delayed.
    LATE = "late"
    DELIVERED = "delivered"
    #: Its parameters were changed by a call.
    UPDATED = "updated"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lifetime:
    """The possible ends and the times of a task, from the vendor's rules and its start parameters. Times in ms."""

    #: Causes that can end the task besides a Stop call.
    endings: frozenset[Cause]
    idle_ms: int | None = None
    life_ms: int | None = None
    #: Time of a planned start.
    starts_at: int = 0
    #: Interval of repeated events while an interruption lasts.
    repeat_ms: int | None = None
    files: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StartOrder:
    """A start call to be performed."""

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
    """One run of a task at a vendor. Times in ms of the world's clock."""

    number: int
    #: Number of the run among those with the same id, from 1.
    run: int
    order: StartOrder
    params: dict[str, Any]
    random: SeededRandom
    requested_at: int
    began_at: int
    #: The moments to come unless a call changes them, soonest first.
    script: deque[tuple[int, Moment]]
    #: The cause of its end by the script; None: no planned end.
    planned_cause: Cause | None
    phase: Moment | None = None
    #: The phase before this one.
    previous_phase: Moment | None = None
    media_at: int | None = None
    cause: Cause | None = None
    ended_at: int | None = None
    files: tuple[str, ...] = ()
    has_late_files: bool = False
    #: Start calls for this run; all but the first were repetitions.
    starts: int = 1
    stops: list[int] = field(default_factory=list)
    #: Stop calls that came while media flowed.
    healthy_stops: int = 0
    #: Number of its last update, if updates are numbered.
    sequence: int | None = None
    #: The output urls that its events report.
    outputs: tuple[str, ...] = ()
    #: Callbacks made for this task.
    callbacks_made: int = 0
    #: Increases with each change of the script; scheduled moments of older versions are void.
    script_version: int = 0

    @property
    def is_alive(self) -> bool:
        return self.ended_at is None

    @property
    def is_known(self) -> bool:
        """True unless the vendor has forgotten the task."""
        return self.cause is not Cause.FORGOTTEN


#: Vendor, app id, room id, kind, task id.
RunKey = tuple[str, str, str, str, str]


def key_of(order: StartOrder) -> RunKey:
    """Returns the key that all runs of one task id share."""
    return (order.app.vendor, order.app.app_id, order.room_id, order.kind.value, order.vendor_task_id)


class Tasks:
    """An index of all tasks of a world, by the ids that calls use."""

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
        """Returns the runs of a task id, the newest last."""
        return self._runs.get((app.vendor, app.app_id, room_id, kind.value, vendor_task_id), [])

    def by_minted_id(self, app: App, vendor_task_id: str) -> VendorTask | None:
        """Returns the newest task with this id in any room."""
        return self._minted.get((app.vendor, app.app_id, vendor_task_id))

    def in_room(self, app: App, room_id: str) -> list[VendorTask]:
        return self._rooms.get((app.vendor, app.app_id, room_id), [])

    def under_robot(self, app: App, room_id: str, robot: str) -> Iterator[VendorTask]:
        """Yields the live tasks in a room under this user id."""
        return (task for task in self._robots.get((app.vendor, app.app_id, room_id, robot), []) if task.is_alive)
