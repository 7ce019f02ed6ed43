"""Answers the query calls (1188209, 1188213, 1188216, 1188201)."""

from typing import Any

from simulator.messages import CallRefused, ReceivedCall
from simulator.plan import Cause
from simulator.protocol import WorldContext, WorldControl
from simulator.tasks import App, Moment, VendorTask
from simulator.vendors.volcengine.callbacks import MIXED
from simulator.vendors.volcengine.endings import is_failed, stop_reason
from simulator.vendors.volcengine.files import file_list
from statemachine.states import Kind

#: Time after its start for which Get calls find a task, ms; the list keeps ended relays as long.
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
    """The query calls of Volcengine."""

    def __init__(self, context: WorldContext) -> None:
        self._outside_ms = context.outside_ms

    def answer(self, call: ReceivedCall, app: App, world: WorldControl) -> dict[str, Any]:
        if call.action == _LIST:
            return self._list_relays(call, app, world)
        task = _queried_task(call, app, world)
        if task is None:
            raise CallRefused("InvalidParameter.ErrorActiveTaskNotFound", "No such task in the last 72 hours.")
        return {_NAMES[call.action]: self._task_json(task)}

    def _task_json(self, task: VendorTask) -> dict[str, Any]:
        about: dict[str, Any] = {
            "AppId": task.order.app.app_id,
            "RoomId": task.order.room_id,
            "TaskId": task.order.vendor_task_id,
            "StartTime": self._outside_ms(task.began_at),
            "EndTime": 0 if task.ended_at is None else self._outside_ms(task.ended_at),
            "Status": _status_code(task),
            "StopReason": stop_reason(task),
        }
        if task.order.kind is Kind.PUSH:
            about |= {"PushStreamState": _push_state(task), "PushURL": task.params["PushURL"]}
        if task.order.kind is Kind.RECORD:
            about["RecordFileList"] = file_list(task, self._outside_ms) if not task.is_alive else []
        return about

    # Relays.

    def _list_relays(self, call: ReceivedCall, app: App, world: WorldControl) -> dict[str, Any]:
        params = call.params
        offset, limit = params.get("Offset", 0), params.get("Limit", 10)
        tasks = [task for task in world.tasks.in_room(app, params["RoomId"]) if _is_listed(task, world.now)]
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
            "CreateTime": self._outside_ms(task.requested_at) // 1000,
            **{name: control[name] for name in names if name in control},
        }


def _queried_task(call: ReceivedCall, app: App, world: WorldControl) -> VendorTask | None:
    """Returns the newest task that a query names, of the last 72 hours; None if there is none."""
    params = call.params
    tasks = [
        task for task in _named_tasks(call, app, world) if _has_query_form(task, call) and _is_stream_of(task, params.get("UserId"))
    ]
    newest = tasks[-1] if tasks else None
    if newest is None or not newest.is_known or world.now - newest.requested_at > _LOOKBACK_MS:
        return None
    return newest


def _named_tasks(call: ReceivedCall, app: App, world: WorldControl) -> list[VendorTask]:
    params, kind = call.params, call.api.kind
    if "TaskId" in params:
        return world.tasks.runs_of(app, params["RoomId"], kind, params["TaskId"])
    return [task for task in world.tasks.in_room(app, params["RoomId"]) if task.order.kind is kind]


def _has_query_form(task: VendorTask, call: ReceivedCall) -> bool:
    """Returns whether the query call is the one for this push: mixed or single."""
    return task.order.kind is not Kind.PUSH or ("Mixed" in call.action) is (task.order.action == MIXED)


def _is_stream_of(task: VendorTask, user_id: str | None) -> bool:
    """Returns whether a single push sends a stream of this user."""
    stream = task.params.get("Stream")
    return user_id is None or stream is None or stream["UserId"] == user_id


def _status_code(task: VendorTask) -> int:
    if task.is_alive:
        return _NOT_STARTED if task.phase is None else _RUNNING
    return _FAILED if is_failed(task) else _ENDED


def _push_state(task: VendorTask) -> int | str:
    """Returns PushStreamState: a number by the table, text by the sample."""
    if not task.is_alive:
        return "6" if _status_code(task) == _ENDED else 0
    return _PUSH_STATES.get(task.phase, 0) if task.phase else 0


def _is_listed(task: VendorTask, now: int) -> bool:
    if task.order.kind is not Kind.INGEST or not task.is_known or task.cause is Cause.REFUSED:
        return False
    return task.ended_at is None or now - task.ended_at < _LOOKBACK_MS
