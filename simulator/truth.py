"""The true history of each task, for audits."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from simulator.plan import Cause
from simulator.protocol import EndState, Vendor, WorldContext
from simulator.tasks import Moment, VendorTask
from statemachine.states import Reason, State

#: The final state and reason that follow from each cause.
_END_OF_CAUSE: Mapping[Cause, EndState] = {
    Cause.STOPPED: (State.STOPPED, Reason.STOP_REQUESTED),
    Cause.FINISHED: (State.COMPLETED, Reason.SOURCE_FINISHED),
    Cause.IDLE: (State.IDLE_TIMEOUT, Reason.MAX_IDLE_TIME),
    Cause.LIFETIME: (State.EXPIRED, Reason.MAX_LIFETIME),
    Cause.CRASHED: (State.FAILED, Reason.VENDOR_ERROR),
    Cause.REFUSED: (State.FAILED, Reason.START_REFUSED),
    Cause.BAD_SOURCE: (State.FAILED, Reason.BAD_SOURCE),
    Cause.BAD_CODEC: (State.FAILED, Reason.UNSUPPORTED_CODEC),
    Cause.BAD_TOKEN: (State.FAILED, Reason.TOKEN_ERROR),
    Cause.NO_PERMISSION: (State.FAILED, Reason.NO_PERMISSION),
    Cause.REMOVED: (State.STOPPED, Reason.REMOVED_FROM_ROOM),
    Cause.DISMISSED: (State.STOPPED, Reason.ROOM_DISMISSED),
    Cause.EVICTED: (State.STOPPED, Reason.EVICTED),
    Cause.FORGOTTEN: (State.LOST, Reason.UNKNOWN_TO_VENDOR),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """The true history of one task at a vendor. Times in ms of outside time."""

    vendor: str
    kind: str
    action: str
    app_id: str
    room_id: str
    vendor_task_id: str
    run: int
    robot: str | None
    requested_at: int
    began_at: int
    #: When media first flowed.
    media_at: int | None
    #: None: the task is still alive, and costs money.
    ended_at: int | None
    cause: Cause | None
    #: The final state and reason that an observer with full knowledge would find; None while the task is alive.
    state: State | None
    reason: Reason | None
    #: The end as the callbacks alone tell it, to an observer that made no call; None: they tell no end.
    said: EndState | None
    #: The end as the vendor's query tells it; None: it tells no reason, or no longer knows the task.
    answered: EndState | None
    #: The phase of a live task: created, connecting, media, interrupted, quiet; None before.
    phase: str | None
    files: tuple[str, ...]
    #: Start calls for this run; all but the first were repetitions.
    starts: int
    #: Times of accepted stop calls.
    stops: tuple[int, ...]
    #: Stop calls that came while media flowed.
    healthy_stops: int

    @property
    def alive(self) -> bool:
        return self.ended_at is None

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def ground_truth(task: VendorTask, vendor: Vendor, context: WorldContext) -> Truth:
    order, outside_ms = task.order, context.outside_ms
    end = None if task.cause is None else (task.is_known and vendor.true_end(task)) or _END_OF_CAUSE[task.cause]
    known_end = not task.is_alive and task.is_known
    return Truth(
        vendor=order.app.vendor,
        kind=order.kind.value,
        action=order.action,
        app_id=order.app.app_id,
        room_id=order.room_id,
        vendor_task_id=order.vendor_task_id,
        run=task.run,
        robot=order.robot,
        requested_at=outside_ms(task.requested_at),
        began_at=outside_ms(task.began_at),
        media_at=None if task.media_at is None else outside_ms(task.media_at),
        ended_at=None if task.ended_at is None else outside_ms(task.ended_at),
        cause=task.cause,
        state=end[0] if end else None,
        reason=end[1] if end else None,
        said=vendor.end_from_callbacks(task) if known_end else None,
        answered=vendor.end_from_query(task) if known_end else None,
        phase=task.phase.value if task.phase is not None and task.phase is not Moment.ENDED else None,
        files=task.files,
        starts=task.starts,
        stops=tuple(outside_ms(at) for at in task.stops),
        healthy_stops=task.healthy_stops,
    )
