"""The ends of tasks: as callbacks alone tell them, as the query call tells them, and the true ones."""

from collections.abc import Mapping

from simulator.plan import Cause
from simulator.protocol import EndState
from simulator.tasks import VendorTask
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
_REFUSED: EndState = (State.FAILED, Reason.START_REFUSED)
_BROKEN: EndState = (State.FAILED, Reason.VENDOR_ERROR)
_UNSTATED: EndState = (State.STOPPED, Reason.UNSTATED)
_PLAYED: EndState = (State.COMPLETED, Reason.UNSTATED)
_EXPIRED: EndState = (State.EXPIRED, Reason.MAX_LIFETIME)


def is_in_media_library(task: VendorTask) -> bool:
    """Returns whether files go to the vendor's media library instead of a bucket."""
    return "CloudVod" in task.params["StorageParams"]


def end_from_callbacks(task: VendorTask) -> EndState | None:
    """Returns the end as the callbacks alone tell it; None if they tell none."""
    if task.cause is None:
        return None
    match task.order.kind:
        case Kind.PUSH:
            return _relay_end(task)
        case Kind.INGEST:
            return _ingest_end(task.cause)
        case Kind.RECORD:
            return _REFUSED if task.cause is Cause.REFUSED else _end_by_files(task)
        case Kind.PAGE:
            return _page_end(task)


def _relay_end(task: VendorTask) -> EndState | None:
    """Returns the end that the events of its urls tell; None for a task that only feeds rooms."""
    if not task.params.get("PublishCdnParams"):
        return None
    return _BROKEN if task.cause is Cause.CRASHED else _UNSTATED


def _ingest_end(cause: Cause) -> EndState | None:
    """Returns the end that 702 tells: it has no reason, and does not follow a failed start."""
    if cause is Cause.BAD_SOURCE:
        return None
    return _EXPIRED if cause is Cause.LIFETIME else _PLAYED


def _page_end(task: VendorTask) -> EndState | None:
    if task.cause in (Cause.REFUSED, Cause.BAD_SOURCE):
        return _REFUSED
    if task.cause is Cause.CRASHED:
        return _BROKEN
    # A page that leaves no files in its bucket has no event at all.
    return _end_by_files(task) if task.files or is_in_media_library(task) else None


def _end_by_files(task: VendorTask) -> EndState | None:
    return (State.COMPLETED, Reason.FILES_DELIVERED if task.files else Reason.NO_FILES)


def end_from_query(task: VendorTask) -> EndState | None:
    """Returns None: no query finds an ended task."""
    return None


def true_end(task: VendorTask) -> EndState | None:
    """Returns the true end: that of the files, for recordings and pages."""
    if task.order.kind not in (Kind.RECORD, Kind.PAGE):
        return None
    return end_from_callbacks(task) or (State.COMPLETED, Reason.FILES_UNKNOWN)
