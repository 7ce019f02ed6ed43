"""Which call starts, updates, stops or asks about a task, and what a start call says about its task (the API pages)."""

from collections.abc import Mapping
from typing import Any

from adapters.vendors.calls import Call, Identity, TaskRef
from adapters.vendors.catalogue import call
from adapters.vendors.json_fields import as_integer, as_text
from adapters.vendors.parameters import Params, at
from adapters.vendors.volcengine.api import API
from adapters.vendors.volcengine.events import FAMILY_OF_KIND
from statemachine.states import Kind

#: The most that one page of ListRelayStream holds, and the last offset that it takes (1188201).
PAGE_SIZE, LAST_OFFSET = 100, 9999

_SINGLE = "StartPushSingleStreamToCDN"
_MIXED_QUERY, _SINGLE_QUERY = "GetPushMixedStreamToCDNTask", "GetPushSingleStreamToCDNTask"
_UPDATE = {Kind.PUSH: "UpdatePushMixedStreamToCDN", Kind.INGEST: "UpdateRelayStream", Kind.RECORD: "UpdateRecord"}
_STOP = {
    Kind.PUSH: "StopPushStreamToCDN",
    Kind.INGEST: "StopRelayStream",
    Kind.RECORD: "StopRecord",
    Kind.PAGE: "StopWebcast",
}
_QUERY = {Kind.RECORD: "GetRecordTask", Kind.PAGE: "GetWebCastTask"}
_ROBOTS = (Kind.INGEST, Kind.PAGE)
#: The end of the year 9999: what lies behind it is no time.
_LAST_SECOND = 253_402_300_800


def identity(action: str, params: Params) -> Identity:
    kind = API[action].kind
    return Identity(
        kind=kind,
        family=FAMILY_OF_KIND[kind],
        app_id=as_text(params.get("AppId")) or "",
        room_id=as_text(params.get("RoomId")) or "",
        vendor_task_id=as_text(params.get("TaskId")),
        robot=as_text(params.get("UserId")) if kind in _ROBOTS else None,
        app_field="AppId",
        scheduled_at=_planned(params),
    )


def _planned(params: Params) -> int | None:
    """StartTimeStamp of a relay: seconds, 0 for at once (1188210)."""
    seconds = as_integer(at(params, "Control.StartTimeStamp"))
    return seconds * 1000 if seconds is not None and 0 < seconds < _LAST_SECOND else None


def start(action: str, version: str | None, params: Params, *, record_id: str | None = None) -> Call:
    """Builds the call that starts a task. record_id is not used: the caller chooses the TaskId."""
    about = identity(action, params)
    return call(API, action, version, params, app_id=about.app_id, task_id=about.vendor_task_id)


def update(task: TaskRef, params: Params) -> Call | None:
    """No single push and no page can be updated."""
    if task.kind not in _UPDATE or task.action == _SINGLE or task.vendor_task_id is None:
        return None
    return _call(task, _UPDATE[task.kind], {**params, **_ids(task)})


def stop(task: TaskRef) -> Call | None:
    return None if task.vendor_task_id is None else _call(task, _STOP[task.kind], _ids(task))


def inspect(task: TaskRef) -> list[Call]:
    """A push that we did not start may be mixed or single: only the query knows."""
    if task.vendor_task_id is None:
        return []
    if task.kind is Kind.INGEST:
        about = {"AppId": task.app_id, "RoomId": task.room_id}
        return [_call(task, "ListRelayStream", {**about, "Offset": 0, "Limit": PAGE_SIZE, "Order": 0})]
    return [_call(task, action, _ids(task)) for action in _query_actions(task)]


def next_page(asked: Call, offset: int) -> Call:
    return call(
        API,
        asked.action,
        asked.version,
        {**asked.params, "Offset": offset},
        app_id=asked.app_id,
        task_id=asked.vendor_task_id,
    )


def _query_actions(task: TaskRef) -> list[str]:
    if task.kind is Kind.PUSH:
        return [_SINGLE_QUERY] if task.action == _SINGLE else [_MIXED_QUERY] if task.action else [_MIXED_QUERY, _SINGLE_QUERY]
    return [_QUERY[task.kind]] if task.kind in _QUERY else []


def _ids(task: TaskRef) -> Mapping[str, Any]:
    return {"AppId": task.app_id, "RoomId": task.room_id, "TaskId": task.vendor_task_id}


def _call(task: TaskRef, action: str, params: Params) -> Call:
    return call(API, action, task.version, params, app_id=task.app_id, task_id=task.vendor_task_id)
