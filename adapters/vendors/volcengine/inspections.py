"""Reads the answers of query calls (1188209, 1188213, 1188216, 1188201)."""

from collections.abc import Mapping
from dataclasses import replace

from adapters.vendors.answers import GONE
from adapters.vendors.calls import Call, CallOutcome, Inspection, Sign
from adapters.vendors.json_fields import Fields
from adapters.vendors.volcengine.files import record_files
from adapters.vendors.volcengine.requests import LAST_OFFSET
from statemachine.facts import Ending, FilesDelivered, Output
from statemachine.states import Kind, OutputState, Reason, State

_S = 1000
#: The field of Result that holds the task; for the last one, the page's sample and its table differ in spelling.
_TASK_OF: Mapping[str, tuple[str, ...]] = {
    "GetPushMixedStreamToCDNTask": ("PushMixedStreamToCDNTask",),
    "GetPushSingleStreamToCDNTask": ("PushSingleStreamToCDNTask",),
    "GetRecordTask": ("RecordTask",),
    "GetWebCastTask": ("WebCastTask", "WebcastTask"),
}
_NOT_STARTED, _RUNNING, _ENDED, _FAILED = 1, 2, 3, 4

#: The ending that a StopReason means; inspections have rank 2 among ends.
_ENDING_OF_REASON: Mapping[str, Ending] = {
    "StopByAPI": Ending(state=State.STOPPED, reason=Reason.STOP_REQUESTED, rank=2),
    "IdleTimeOut": Ending(state=State.IDLE_TIMEOUT, reason=Reason.MAX_IDLE_TIME, rank=2),
    "UserDisconnect": Ending(state=State.STOPPED, reason=Reason.REMOVED_FROM_ROOM, rank=2),
    "StartTaskFailed": Ending(state=State.FAILED, reason=Reason.START_REFUSED, rank=2),
    # Pages only (1188209).
    "ExceedMaxRunningTime": Ending(state=State.EXPIRED, reason=Reason.MAX_LIFETIME, rank=2),
}
_UNSTATED = Ending(state=State.STOPPED, reason=Reason.UNSTATED, stop_wins=True)
_BROKEN = Ending(state=State.FAILED, reason=Reason.VENDOR_ERROR, rank=2)
_START_FAILED = "StartTaskFailed"

_SIGN_OF_PUSH: Mapping[int, Sign] = {
    1: Sign.NO_MEDIA,
    2: Sign.CONNECTING,
    3: Sign.CONNECTING,
    4: Sign.CONNECTING,
    5: Sign.RUNNING,
}
_SIGN_OF_RELAY: Mapping[int, Sign] = {1: Sign.ACCEPTED, 2: Sign.RUNNING, 3: Sign.ENDED}


class InconclusiveAnswerError(Exception):
    """The answer is inconclusive: the query has to be made again."""

    def __init__(self, code: str, detail: str, outcome: CallOutcome = CallOutcome.RETRY) -> None:
        super().__init__(detail)
        self.code = code
        self.outcome = outcome


def read_inspection(call: Call, body: Fields) -> Inspection:
    """Returns the inspection of the task that a query is about. Raises InconclusiveAnswerError."""
    result = body.child("Result")
    if call.action not in _TASK_OF:
        return _list_inspection(call, result)
    names = _TASK_OF[call.action]
    task = next((result.child(name) for name in names if result.child(name).raw), None)
    if task is not None:
        return _inspection_of(call, task)
    if any(result.raw.get(name) for name in result.raw.keys() - set(names)):
        raise InconclusiveAnswerError("unreadable", f"Result holds no {names[0]}")
    return GONE


def _inspection_of(call: Call, task: Fields) -> Inspection:
    return replace(_state_of(call, task), started_at=task.past_time("StartTime"), ended_at=task.past_time("EndTime"))


def _state_of(call: Call, task: Fields) -> Inspection:
    status, reason = task.integer("Status"), task.text("StopReason") or ""
    if status == _NOT_STARTED:
        return Inspection(sign=Sign.ACCEPTED)
    if status == _RUNNING:
        return Inspection(sign=_sign_of(call, task), output=_running_output(task))
    if status == _FAILED:
        return Inspection(sign=Sign.ENDED, ending=_ENDING_OF_REASON[reason] if reason == _START_FAILED else _BROKEN)
    if status == _ENDED:
        return _ended_inspection(call, task, reason)
    raise InconclusiveAnswerError("unreadable", f"Status {status} is not documented")


def _sign_of(call: Call, task: Fields) -> Sign:
    """Reads PushStreamState: text in the page's sample, where 0 means "not known yet"."""
    if "Push" not in call.action:
        return Sign.RUNNING
    return _SIGN_OF_PUSH.get(task.integer("PushStreamState") or 0, Sign.ALIVE)


def _running_output(task: Fields) -> Output | None:
    """Returns the CDN url of a push that is running; None for any other task."""
    pushing = task.integer("PushStreamState") == 5 and task.text("PushURL") is not None
    return Output(url=task.text("PushURL"), state=OutputState.RUNNING) if pushing else None


def _ended_inspection(call: Call, task: Fields, reason: str) -> Inspection:
    ending = _ENDING_OF_REASON.get(reason, _UNSTATED)
    if call.action != "GetRecordTask" or reason == _START_FAILED:
        return Inspection(sign=Sign.ENDED, ending=ending)
    # As in RecordStopped: an empty list means that there are no files.
    delivery = None if task.raw.get("RecordFileList") else FilesDelivered.OVER
    return Inspection(sign=Sign.CAPTURE_ENDED, ending=ending, files=record_files(task), delivery=delivery)


def _list_inspection(call: Call, result: Fields) -> Inspection:
    """Reads ListRelayStream: the newest task with the id; the list has no stop reasons."""
    if not isinstance(result.raw.get("Task"), list) and result.raw:
        raise InconclusiveAnswerError("unreadable", "Result.Task is not a list")
    ours = [task for task in result.children("Task") if task.text("TaskId") == call.vendor_task_id]
    if not ours:
        return GONE
    task = max(ours, key=lambda one: one.integer("CreateTime") or 0)
    sign = _SIGN_OF_RELAY.get(task.integer("Status") or 0)
    if sign is None:
        raise InconclusiveAnswerError("unreadable", f"Status {task.message('Status')} is not documented")
    return Inspection(sign=sign, started_at=task.past_time("CreateTime", unit_ms=_S))


def next_offset(call: Call, body: Fields) -> int | None:
    """Returns the offset of the next page of a list; None if this was the last page, or there is no list."""
    result = body.child("Result")
    offset = Fields(call.params, body.received_at).integer("Offset") or 0
    following = offset + len(result.children("Task"))
    if call.action in _TASK_OF or following == offset or following >= (result.integer("Total") or 0):
        return None
    if following > LAST_OFFSET:
        raise InconclusiveAnswerError("too_many_tasks", f"the list goes no further than {LAST_OFFSET}", CallOutcome.REFUSED)
    return following


#: Kinds that have a query call: all four.
INSPECTABLE = frozenset({Kind.PUSH, Kind.INGEST, Kind.RECORD, Kind.PAGE})
