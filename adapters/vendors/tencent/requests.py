"""Which call starts, updates, stops or asks about a task, and what a start call says about its task (the API pages)."""

from collections.abc import Mapping
from typing import Any

from adapters.vendors.calls import Call, Identity, TaskRef
from adapters.vendors.catalogue import call
from adapters.vendors.json_fields import as_integer, as_text
from adapters.vendors.parameters import Params, at
from adapters.vendors.tencent.api import API
from statemachine.states import Kind

_PAGE_START = "StartWebRecord"
_UPDATE = {Kind.PUSH: "UpdatePublishCdnStream", Kind.INGEST: "UpdateStreamIngest", Kind.RECORD: "ModifyCloudRecording"}
_STOP = {
    Kind.PUSH: "StopPublishCdnStream",
    Kind.INGEST: "StopStreamIngest",
    Kind.RECORD: "DeleteCloudRecording",
    Kind.PAGE: "StopWebRecord",
}
#: A relay has no query call.
QUERY = {Kind.INGEST: "DescribeStreamIngest", Kind.RECORD: "DescribeCloudRecording", Kind.PAGE: "DescribeWebRecord"}
_ROBOT: Mapping[Kind, str] = {Kind.PUSH: "AgentParams.UserId", Kind.INGEST: "UserId", Kind.RECORD: "UserId"}


def identity(action: str, params: Params) -> Identity:
    kind = API[action].kind
    return Identity(
        kind=kind,
        app_id=as_text(params.get("SdkAppId")) or "",
        room_id=as_text(params.get("RoomId")) or "",
        vendor_task_id=None,
        robot=as_text(at(params, _ROBOT[kind])) if kind in _ROBOT else None,
        app_field="SdkAppId",
    )


def start(action: str, version: str | None, params: Params, record_id: str | None) -> Call:
    """With `record_id` a page's start can be repeated: only one task runs, and a query finds its id."""
    if action == _PAGE_START and record_id is not None:
        params = {"RecordId": record_id, **params}
    return call(API, action, version, params, app_id=identity(action, params).app_id, task_id=None)


def update(ref: TaskRef, params: Params) -> Call | None:
    """No page can be updated."""
    if ref.kind not in _UPDATE or ref.vendor_task_id is None:
        return None
    return _call(ref, _UPDATE[ref.kind], {**params, **_ids(ref)})


def stop(ref: TaskRef) -> Call | None:
    if ref.vendor_task_id is None:
        return None
    return _call(ref, _STOP[ref.kind], {"TaskId": ref.vendor_task_id} if ref.kind is Kind.PAGE else _ids(ref))


def inspect(ref: TaskRef) -> list[Call]:
    """A page whose start was not answered is asked for by its RecordId (72065)."""
    record_id = as_text(ref.params.get("RecordId")) or ref.record_id
    if ref.vendor_task_id is None and ref.kind is Kind.PAGE and record_id:
        return [_call(ref, QUERY[ref.kind], {"SdkAppId": _app(ref), "RecordId": record_id})]
    if ref.vendor_task_id is None or ref.kind not in QUERY:
        return []
    return [_call(ref, QUERY[ref.kind], _ids(ref))]


def _ids(ref: TaskRef) -> Mapping[str, Any]:
    return {"SdkAppId": _app(ref), "TaskId": ref.vendor_task_id}


def _app(ref: TaskRef) -> int | str:
    """A number in all calls, text everywhere else."""
    number = as_integer(ref.app_id)
    return ref.app_id if number is None else number


def _call(ref: TaskRef, action: str, params: Params) -> Call:
    return call(API, action, ref.version, params, app_id=ref.app_id, task_id=ref.vendor_task_id)
