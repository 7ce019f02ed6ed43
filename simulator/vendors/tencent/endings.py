"""How an end is told: by callbacks to somebody who made no call (`said`), and by the query call (`answered`)."""

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
    """Files go to the vendor's media library, and not to a bucket."""
    return "CloudVod" in task.params["StorageParams"]


def end_from_callbacks(task: VendorTask) -> EndState | None:
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


def _relay_said(task: VendorTask) -> EndState | None:
    """The end of its urls is all that is told; of a task that only feeds rooms, nothing."""
    if not task.params.get("PublishCdnParams"):
        return None
    return _BROKEN if task.cause is Cause.CRASHED else _UNSTATED


def _ingest_said(cause: Cause) -> EndState | None:
    """702 has no reason, and none follows a start that failed for good."""
    if cause is Cause.BAD_SOURCE:
        return None
    return _EXPIRED if cause is Cause.LIFETIME else _PLAYED


def _page_said(task: VendorTask) -> EndState | None:
    if task.cause in (Cause.REFUSED, Cause.BAD_SOURCE):
        return _REFUSED
    if task.cause is Cause.CRASHED:
        return _BROKEN
    # A bucket without files gets no word at all.
    return _by_files(task) if task.files or is_in_media_library(task) else None


def _by_files(task: VendorTask) -> EndState | None:
    return (State.COMPLETED, Reason.FILES_DELIVERED if task.files else Reason.NO_FILES)


def end_from_query(task: VendorTask) -> EndState | None:
    """No query knows a task that ended."""
    return None


def true_end(task: VendorTask) -> EndState | None:
    """Files decide."""
    if task.order.kind not in (Kind.RECORD, Kind.PAGE):
        return None
    return end_from_callbacks(task) or (State.COMPLETED, Reason.FILES_UNKNOWN)
