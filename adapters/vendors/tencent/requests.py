"""Which call starts, updates, stops or asks about a task, and what a start call says about its task (the API pages)."""

from collections.abc import Mapping
from typing import Any

from adapters.vendors.calls import Call, Identity, TaskRef
from adapters.vendors.catalogue import call
from adapters.vendors.json_fields import as_integer, as_text
from adapters.vendors.parameters import Params, at
from adapters.vendors.tencent.api import API
from adapters.vendors.tencent.events import FAMILY_OF_KIND
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
        family=FAMILY_OF_KIND[kind],
        app_id=as_text(params.get("SdkAppId")) or "",
        room_id=as_text(params.get("RoomId")) or "",
        vendor_task_id=None,
        robot=as_text(at(params, _ROBOT[kind])) if kind in _ROBOT else None,
        app_field="SdkAppId",
    )


def start(action: str, version: str | None, params: Params, *, record_id: str | None = None) -> Call:
    """With `record_id` a page's start can be repeated: only one task runs, and a query finds its id."""
    if action == _PAGE_START and record_id is not None:
        params = {"RecordId": record_id, **params}
    return call(API, action, version, params, app_id=identity(action, params).app_id, task_id=None)


def update(task: TaskRef, params: Params) -> Call | None:
    """No page can be updated."""
    if task.kind not in _UPDATE or task.vendor_task_id is None:
        return None
    return _call(task, _UPDATE[task.kind], {**params, **_ids(task)})


def stop(task: TaskRef) -> Call | None:
    if task.vendor_task_id is None:
        return None
    return _call(task, _STOP[task.kind], {"TaskId": task.vendor_task_id} if task.kind is Kind.PAGE else _ids(task))


def inspect(task: TaskRef) -> list[Call]:
    """A page whose start was not answered is asked for by its RecordId (72065)."""
    record_id = as_text(task.params.get("RecordId")) or task.record_id
    if task.vendor_task_id is None and task.kind is Kind.PAGE and record_id:
        return [_call(task, QUERY[task.kind], {"SdkAppId": _app(task), "RecordId": record_id})]
    if task.vendor_task_id is None or task.kind not in QUERY:
        return []
    return [_call(task, QUERY[task.kind], _ids(task))]


def _ids(task: TaskRef) -> Mapping[str, Any]:
    return {"SdkAppId": _app(task), "TaskId": task.vendor_task_id}


def _app(task: TaskRef) -> int | str:
    """A number in all calls, text everywhere else."""
    number = as_integer(task.app_id)
    return task.app_id if number is None else number


def _call(task: TaskRef, action: str, params: Params) -> Call:
    return call(API, action, task.version, params, app_id=task.app_id, task_id=task.vendor_task_id)
