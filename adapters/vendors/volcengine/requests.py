"""Which call starts, updates, stops or asks about a task, and what a start call says about its task (the API pages)."""

from collections.abc import Mapping
from typing import Any

from adapters.vendors.calls import Call, Identity, TaskRef
from adapters.vendors.catalogue import call
from adapters.vendors.json_fields import as_integer, as_text
from adapters.vendors.parameters import Params, at
from adapters.vendors.volcengine.api import API
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
_ROBOTS = (Kind.INGEST, Kind.PAGE)
#: The end of the year 9999: what lies behind it is no time.
_LAST_SECOND = 253_402_300_800


def identity(action: str, params: Params) -> Identity:
    kind = API[action].kind
    return Identity(
        kind=kind,
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


def start(action: str, version: str | None, params: Params) -> Call:
    about = identity(action, params)
    return call(API, action, version, params, app_id=about.app_id, task_id=about.vendor_task_id)


def update(ref: TaskRef, params: Params) -> Call | None:
    """No single push and no page can be updated."""
    if ref.kind not in _UPDATE or ref.action == _SINGLE or ref.vendor_task_id is None:
        return None
    return _call(ref, _UPDATE[ref.kind], {**params, **_ids(ref)})


def stop(ref: TaskRef) -> Call | None:
    return None if ref.vendor_task_id is None else _call(ref, _STOP[ref.kind], _ids(ref))


def inspect(ref: TaskRef) -> list[Call]:
    """A push that we did not start may be mixed or single: only the query knows."""
    if ref.vendor_task_id is None:
        return []
    if ref.kind is Kind.INGEST:
        about = {"AppId": ref.app_id, "RoomId": ref.room_id}
        return [_call(ref, "ListRelayStream", {**about, "Offset": 0, "Limit": PAGE_SIZE, "Order": 0})]
    return [_call(ref, action, _ids(ref)) for action in _queries(ref)]


def next_page(asked: Call, offset: int) -> Call:
    return call(
        API,
        asked.action,
        asked.version,
        {**asked.params, "Offset": offset},
        app_id=asked.app_id,
        task_id=asked.vendor_task_id,
    )


def _queries(ref: TaskRef) -> list[str]:
    if ref.kind is Kind.PUSH:
        return [_SINGLE_QUERY] if ref.action == _SINGLE else [_MIXED_QUERY] if ref.action else [_MIXED_QUERY, _SINGLE_QUERY]
    return ["GetRecordTask" if ref.kind is Kind.RECORD else "GetWebCastTask"]


def _ids(ref: TaskRef) -> Mapping[str, Any]:
    return {"AppId": ref.app_id, "RoomId": ref.room_id, "TaskId": ref.vendor_task_id}


def _call(ref: TaskRef, action: str, params: Params) -> Call:
    return call(API, action, ref.version, params, app_id=ref.app_id, task_id=ref.vendor_task_id)
