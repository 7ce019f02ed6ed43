"""The ends of tasks: as callbacks alone tell them, as the query call tells them, and the true ones."""

from collections.abc import Mapping

from simulator.plan import Cause
from simulator.protocol import EndState
from simulator.tasks import VendorTask
from statemachine.states import Kind, Reason, State

#: RelayStreamStateChanged's Reason; none is documented for the end of the 72 hours.
RELAY_REASONS: Mapping[Cause, int] = {
    Cause.IDLE: 1,
    Cause.STOPPED: 2,
    Cause.FINISHED: 3,
    Cause.CRASHED: 4,
    Cause.REFUSED: 4,
    Cause.BAD_SOURCE: 5,
    Cause.BAD_CODEC: 6,
    Cause.BAD_TOKEN: 7,
    Cause.NO_PERMISSION: 8,
    Cause.REMOVED: 9,
    Cause.DISMISSED: 9,
    Cause.EVICTED: 9,
    Cause.LIFETIME: 10,
}
#: TranscodeStateChanged's Code at the end; 0 for all others.
PUSH_CODES: Mapping[Cause, int] = {Cause.CRASHED: 4, Cause.BAD_SOURCE: 2}
#: StopReason of the Get calls.
STOP_REASONS: Mapping[Cause, str] = {
    Cause.STOPPED: "StopByAPI",
    Cause.IDLE: "IdleTimeOut",
    Cause.REMOVED: "UserDisconnect",
    Cause.REFUSED: "StartTaskFailed",
}
_UNKNOWN_REASON = "UnknownStopReason"
_TIME_OVER = "ExceedMaxRunningTime"

_STOPPED: EndState = (State.STOPPED, Reason.STOP_REQUESTED)
_REMOVED: EndState = (State.STOPPED, Reason.REMOVED_FROM_ROOM)
_BROKEN: EndState = (State.FAILED, Reason.VENDOR_ERROR)
_REFUSED: EndState = (State.FAILED, Reason.START_REFUSED)
_UNSTATED: EndState = (State.STOPPED, Reason.UNSTATED)
_FINISHED: EndState = (State.COMPLETED, Reason.SOURCE_FINISHED)
_IDLE: EndState = (State.IDLE_TIMEOUT, Reason.MAX_IDLE_TIME)
_EXPIRED: EndState = (State.EXPIRED, Reason.MAX_LIFETIME)
_RELAY: Mapping[Cause, EndState] = {
    Cause.IDLE: _IDLE,
    Cause.STOPPED: _STOPPED,
    Cause.FINISHED: _FINISHED,
    Cause.CRASHED: _BROKEN,
    Cause.REFUSED: _BROKEN,
    Cause.BAD_SOURCE: (State.FAILED, Reason.BAD_SOURCE),
    Cause.BAD_CODEC: (State.FAILED, Reason.UNSUPPORTED_CODEC),
    Cause.BAD_TOKEN: (State.FAILED, Reason.TOKEN_ERROR),
    Cause.NO_PERMISSION: (State.FAILED, Reason.NO_PERMISSION),
    Cause.REMOVED: _REMOVED,
    Cause.DISMISSED: _REMOVED,
    Cause.EVICTED: _REMOVED,
    Cause.LIFETIME: _EXPIRED,
}


def stop_reason(task: VendorTask) -> str:
    """Returns StopReason of the Get calls; empty while the task is alive."""
    if task.is_alive or task.cause is None:
        return ""
    if task.cause is Cause.LIFETIME and task.order.kind is Kind.PAGE:
        return _TIME_OVER
    reason = STOP_REASONS.get(task.cause, _UNKNOWN_REASON)
    return _UNKNOWN_REASON if reason == "UserDisconnect" and task.order.kind is Kind.RECORD else reason


def is_failed(task: VendorTask) -> bool:
    """Returns whether the Get calls answer Status 4 (failed)."""
    return task.cause in (Cause.CRASHED, Cause.BAD_SOURCE, Cause.REFUSED)


def end_from_callbacks(task: VendorTask) -> EndState | None:
    """Returns the end as the callbacks alone tell it; None if they tell none."""
    if task.cause is None:
        return None
    match task.order.kind:
        case Kind.INGEST:
            return _RELAY[task.cause]
        case Kind.PUSH:
            return _push_end(task.cause)
        case Kind.RECORD:
            return None if task.files and "RecordUploadDone" in task.order.app.silent else _end_by_files(task)
        case Kind.PAGE:
            return _BROKEN if task.cause in (Cause.CRASHED, Cause.EVICTED, Cause.REMOVED, Cause.DISMISSED) else _FINISHED


def _push_end(cause: Cause) -> EndState:
    if cause is Cause.REFUSED:
        return _REFUSED
    if cause is Cause.BAD_SOURCE:
        return (State.FAILED, Reason.BAD_SOURCE)
    return _BROKEN if cause is Cause.CRASHED else _UNSTATED


def _end_by_files(task: VendorTask) -> EndState:
    if task.cause is Cause.REFUSED:
        return _REFUSED
    if task.cause is Cause.CRASHED:
        return _BROKEN
    return (State.COMPLETED, Reason.FILES_DELIVERED if task.files else Reason.NO_FILES)


def end_from_query(task: VendorTask) -> EndState | None:
    """Returns the end as the query tells it. ListRelayStream has no reason; GetRecordTask has files, which decide."""
    if task.order.kind is Kind.INGEST:
        return None
    if task.order.kind is Kind.RECORD:
        return _end_by_files(task)
    if is_failed(task):
        return _REFUSED if task.cause is Cause.REFUSED else _BROKEN
    end_of_reason: Mapping[str, EndState] = {
        "StopByAPI": _STOPPED,
        "IdleTimeOut": _IDLE,
        "UserDisconnect": _REMOVED,
        _TIME_OVER: _EXPIRED,
    }
    return end_of_reason.get(stop_reason(task))


def true_end(task: VendorTask) -> EndState | None:
    """Returns the true end if it differs: files decide; relays report an eviction as a removal."""
    if task.order.kind is Kind.RECORD:
        return _end_by_files(task)
    if task.order.kind is Kind.INGEST and task.cause in (Cause.EVICTED, Cause.DISMISSED, Cause.REFUSED):
        return _RELAY[task.cause]
    return None
