"""What the query calls answer (1188209, 1188213, 1188216, 1188201)."""

from typing import Any

from simulator.messages import CallRefused, ReceivedCall
from simulator.plan import Cause
from simulator.protocol import WorldContext, WorldControl
from simulator.tasks import App, Moment, VendorTask
from simulator.vendors.volcengine.callbacks import MIXED
from simulator.vendors.volcengine.endings import is_failed, stop_reason
from simulator.vendors.volcengine.files import file_list
from statemachine.states import Kind

#: Get calls know tasks that were started in so many ms; the list keeps ended relays as long.
_LOOKBACK_MS = 72 * 3600 * 1000
_LIST = "ListRelayStream"
_NAMES = {
    "GetPushMixedStreamToCDNTask": "PushMixedStreamToCDNTask",
    "GetPushSingleStreamToCDNTask": "PushSingleStreamToCDNTask",
    "GetRecordTask": "RecordTask",
    "GetWebCastTask": "WebCastTask",
}
_NOT_STARTED, _RUNNING, _ENDED, _FAILED = 1, 2, 3, 4
_PUSH_STATES = {Moment.CREATED: 1, Moment.CONNECTING: 2, Moment.MEDIA: 5, Moment.INTERRUPTED: 3, Moment.QUIET: 1}


class Queries:
    def __init__(self, setting: WorldContext) -> None:
        self._told = setting.outside_ms

    def answer(self, asked: ReceivedCall, app: App, hands: WorldControl) -> dict[str, Any]:
        if asked.action == _LIST:
            return self._list_relays(asked, app, hands)
        task = _queried_task(asked, app, hands)
        if task is None:
            raise CallRefused("InvalidParameter.ErrorActiveTaskNotFound", "No such task in the last 72 hours.")
        return {_NAMES[asked.action]: self._task_json(task)}

    def _task_json(self, task: VendorTask) -> dict[str, Any]:
        about: dict[str, Any] = {
            "AppId": task.order.app.app_id,
            "RoomId": task.order.room_id,
            "TaskId": task.order.vendor_task_id,
            "StartTime": self._told(task.began_at),
            "EndTime": 0 if task.ended_at is None else self._told(task.ended_at),
            "Status": _status(task),
            "StopReason": stop_reason(task),
        }
        if task.order.kind is Kind.PUSH:
            about |= {"PushStreamState": _push_state(task), "PushURL": task.params["PushURL"]}
        if task.order.kind is Kind.RECORD:
            about["RecordFileList"] = file_list(task, self._told) if not task.is_alive else []
        return about

    # Relays.

    def _list_relays(self, asked: ReceivedCall, app: App, hands: WorldControl) -> dict[str, Any]:
        params = asked.params
        offset, limit = params.get("Offset", 0), params.get("Limit", 10)
        tasks = [task for task in hands.tasks.in_room(app, params["RoomId"]) if _is_listed(task, hands.now)]
        ordered = tasks if params.get("Order", 0) == 1 else tasks[::-1]
        page = [self._relay_json(task) for task in ordered[offset : offset + limit]]
        return {"Task": page, "Offset": offset, "Limit": limit, "Total": len(tasks)}

    def _relay_json(self, task: VendorTask) -> dict[str, Any]:
        control = task.params["Control"]
        names = ("StreamUrl", "StreamMode", "MediaType", "VideoWidth", "VideoHeight", "FrameRate", "Bitrate", "Loop")
        running = task.phase in (Moment.MEDIA, Moment.INTERRUPTED, Moment.QUIET)
        return {
            "AppId": task.order.app.app_id,
            "RoomId": task.order.room_id,
            "TaskId": task.order.vendor_task_id,
            "UserId": task.order.robot,
            "Status": 3 if not task.is_alive else 2 if running else 1,
            "CreateTime": self._told(task.requested_at) // 1000,
            **{name: control[name] for name in names if name in control},
        }


def _queried_task(asked: ReceivedCall, app: App, hands: WorldControl) -> VendorTask | None:
    """The newest task of that id, in the form that is asked for, of the last 72 hours."""
    params = asked.params
    tasks = [
        task
        for task in _candidates(asked, app, hands)
        if _has_query_form(task, asked) and _is_stream_of(task, params.get("UserId"))
    ]
    found = tasks[-1] if tasks else None
    if found is None or not found.is_known or hands.now - found.requested_at > _LOOKBACK_MS:
        return None
    return found


def _candidates(asked: ReceivedCall, app: App, hands: WorldControl) -> list[VendorTask]:
    params, kind = asked.params, asked.api.kind
    if "TaskId" in params:
        return hands.tasks.runs_of(app, params["RoomId"], kind, params["TaskId"])
    return [task for task in hands.tasks.in_room(app, params["RoomId"]) if task.order.kind is kind]


def _has_query_form(task: VendorTask, asked: ReceivedCall) -> bool:
    """Mixed pushes are asked for as mixed, single ones as single."""
    return task.order.kind is not Kind.PUSH or ("Mixed" in asked.action) is (task.order.action == MIXED)


def _is_stream_of(task: VendorTask, user_id: str | None) -> bool:
    """Whose stream a single push sends."""
    stream = task.params.get("Stream")
    return user_id is None or stream is None or stream["UserId"] == user_id


def _status(task: VendorTask) -> int:
    if task.is_alive:
        return _NOT_STARTED if task.phase is None else _RUNNING
    return _FAILED if is_failed(task) else _ENDED


def _push_state(task: VendorTask) -> int | str:
    """A number by the table, text by the sample."""
    if not task.is_alive:
        return "6" if _status(task) == _ENDED else 0
    return _PUSH_STATES.get(task.phase, 0) if task.phase else 0


def _is_listed(task: VendorTask, now: int) -> bool:
    if task.order.kind is not Kind.INGEST or not task.is_known or task.cause is Cause.REFUSED:
        return False
    return task.ended_at is None or now - task.ended_at < _LOOKBACK_MS
