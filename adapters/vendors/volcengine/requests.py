"""Builds the calls that start, update, stop and query a task; reads the task's identity from a start call (the API pages)."""

from collections.abc import Mapping
from typing import Any

from adapters.vendors.calls import Call, Identity, TaskRef
from adapters.vendors.catalogue import build_call
from adapters.vendors.json_fields import as_integer, as_text
from adapters.vendors.parameters import Params, value_at
from adapters.vendors.volcengine.api import API
from adapters.vendors.volcengine.events import FAMILY_OF_KIND
from statemachine.states import Kind

#: Tasks per page of ListRelayStream at most, and the largest offset that it accepts (1188201).
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
#: The query call of each kind with exactly one.
_QUERY = {Kind.RECORD: "GetRecordTask", Kind.PAGE: "GetWebCastTask"}
_ROBOTS = (Kind.INGEST, Kind.PAGE)
#: The end of the year 9999, s since the epoch; larger numbers are no times.
_LAST_SECOND = 253_402_300_800


def identity(action: str, params: Params) -> Identity:
    """Returns the identity of the task that a start call names. Raises KeyError for an unknown action."""
    kind = API[action].kind
    return Identity(
        kind=kind,
        family=FAMILY_OF_KIND[kind],
        app_id=as_text(params.get("AppId")) or "",
        room_id=as_text(params.get("RoomId")) or "",
        vendor_task_id=as_text(params.get("TaskId")),
        robot=as_text(params.get("UserId")) if kind in _ROBOTS else None,
        app_field="AppId",
        scheduled_at=_planned_start(params),
    )


def _planned_start(params: Params) -> int | None:
    """Returns StartTimeStamp of a relay, ms; None for 0, which means at once (1188210). The parameter is in seconds."""
    seconds = as_integer(value_at(params, "Control.StartTimeStamp"))
    return seconds * 1000 if seconds is not None and 0 < seconds < _LAST_SECOND else None


def start(action: str, version: str | None, params: Params, *, record_id: str | None = None) -> Call:
    """Builds the call that starts a task. record_id is not used: the caller chooses the TaskId."""
    about = identity(action, params)
    return build_call(API, action, version, params, app_id=about.app_id, task_id=about.vendor_task_id)


def update(task: TaskRef, params: Params) -> Call | None:
    """Builds the call that updates a task; None for a single push and a page, and while the TaskId is not known."""
    if task.kind not in _UPDATE or task.action == _SINGLE or task.vendor_task_id is None:
        return None
    return _task_call(task, _UPDATE[task.kind], {**params, **_task_ids(task)})


def stop(task: TaskRef) -> Call | None:
    """Builds the call that stops a task; None while its TaskId is not known."""
    return None if task.vendor_task_id is None else _task_call(task, _STOP[task.kind], _task_ids(task))


def inspect(task: TaskRef) -> list[Call]:
    """Builds the query calls of a task. A push that we did not start may be mixed or single, so both are queried."""
    if task.vendor_task_id is None:
        return []
    if task.kind is Kind.INGEST:
        about = {"AppId": task.app_id, "RoomId": task.room_id}
        return [_task_call(task, "ListRelayStream", {**about, "Offset": 0, "Limit": PAGE_SIZE, "Order": 0})]
    return [_task_call(task, action, _task_ids(task)) for action in _query_actions(task)]


def next_page(query: Call, offset: int) -> Call:
    """Builds the query for the next page of a list."""
    return build_call(
        API,
        query.action,
        query.version,
        {**query.params, "Offset": offset},
        app_id=query.app_id,
        task_id=query.vendor_task_id,
    )


def _query_actions(task: TaskRef) -> list[str]:
    if task.kind is Kind.PUSH:
        return [_SINGLE_QUERY] if task.action == _SINGLE else [_MIXED_QUERY] if task.action else [_MIXED_QUERY, _SINGLE_QUERY]
    return [_QUERY[task.kind]] if task.kind in _QUERY else []


def _task_ids(task: TaskRef) -> Mapping[str, Any]:
    return {"AppId": task.app_id, "RoomId": task.room_id, "TaskId": task.vendor_task_id}


def _task_call(task: TaskRef, action: str, params: Params) -> Call:
    return build_call(API, action, task.version, params, app_id=task.app_id, task_id=task.vendor_task_id)
