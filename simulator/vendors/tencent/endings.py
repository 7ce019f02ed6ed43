"""How an end is told: by callbacks to somebody who made no call (`said`), and by the query call (`answered`)."""

from collections.abc import Mapping

from simulator.plan import Cause
from simulator.protocol import Said
from simulator.tasks import Task
from statemachine.states import Kind, Reason, State

#: 302's LeaveCode.
LEAVE_CODES: Mapping[Cause, int] = {
    Cause.STOPPED: 0,
    Cause.REMOVED: 1,
    Cause.DISMISSED: 2,
    Cause.CRASHED: 100,
    Cause.IDLE: 99,
    Cause.EVICTED: 101,
}
_REFUSED: Said = (State.FAILED, Reason.START_REFUSED)
_BROKEN: Said = (State.FAILED, Reason.VENDOR_ERROR)
_UNSTATED: Said = (State.STOPPED, Reason.UNSTATED)
_PLAYED: Said = (State.COMPLETED, Reason.UNSTATED)
_EXPIRED: Said = (State.EXPIRED, Reason.MAX_LIFETIME)


def in_library(task: Task) -> bool:
    """Files go to the vendor's media library, and not to a bucket."""
    return "CloudVod" in task.params["StorageParams"]


def said(task: Task) -> Said | None:
    if task.cause is None:
        return None
    match task.order.kind:
        case Kind.PUSH:
            return _relay_said(task)
        case Kind.INGEST:
            return _ingest_said(task.cause)
        case Kind.RECORD:
            return _REFUSED if task.cause is Cause.REFUSED else _by_files(task)
        case Kind.PAGE:
            return _page_said(task)


def _relay_said(task: Task) -> Said | None:
    """The end of its urls is all that is told; of a task that only feeds rooms, nothing."""
    if not task.params.get("PublishCdnParams"):
        return None
    return _BROKEN if task.cause is Cause.CRASHED else _UNSTATED


def _ingest_said(cause: Cause) -> Said | None:
    """702 has no reason, and none follows a start that failed for good."""
    if cause is Cause.BAD_SOURCE:
        return None
    return _EXPIRED if cause is Cause.LIFETIME else _PLAYED


def _page_said(task: Task) -> Said | None:
    if task.cause in (Cause.REFUSED, Cause.BAD_SOURCE):
        return _REFUSED
    if task.cause is Cause.CRASHED:
        return _BROKEN
    # A bucket without files gets no word at all.
    return _by_files(task) if task.files or in_library(task) else None


def _by_files(task: Task) -> Said | None:
    return (State.COMPLETED, Reason.FILES_DELIVERED if task.files else Reason.NO_FILES)


def answered(task: Task) -> Said | None:
    """No query knows a task that ended."""
    return None


def truth(task: Task) -> Said | None:
    """Files decide."""
    if task.order.kind not in (Kind.RECORD, Kind.PAGE):
        return None
    return said(task) or (State.COMPLETED, Reason.FILES_UNKNOWN)
