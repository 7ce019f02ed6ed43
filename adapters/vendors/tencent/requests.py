"""Builds the calls that start, update, stop and query a task; reads the task's identity from a start call (the API pages)."""

from collections.abc import Mapping
from typing import Any

from adapters.vendors.calls import Call, Identity, TaskRef
from adapters.vendors.catalogue import build_call
from adapters.vendors.json_fields import as_integer, as_text
from adapters.vendors.parameters import Params, value_at
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
#: The query call of each kind; relays have none.
QUERY = {Kind.INGEST: "DescribeStreamIngest", Kind.RECORD: "DescribeCloudRecording", Kind.PAGE: "DescribeWebRecord"}
_ROBOT: Mapping[Kind, str] = {Kind.PUSH: "AgentParams.UserId", Kind.INGEST: "UserId", Kind.RECORD: "UserId"}


def identity(action: str, params: Params) -> Identity:
    """Returns the identity of the task that a start call names. Raises KeyError for an unknown action."""
    kind = API[action].kind
    return Identity(
        kind=kind,
        family=FAMILY_OF_KIND[kind],
        app_id=as_text(params.get("SdkAppId")) or "",
        room_id=as_text(params.get("RoomId")) or "",
        vendor_task_id=None,
        robot=as_text(value_at(params, _ROBOT[kind])) if kind in _ROBOT else None,
        app_field="SdkAppId",
    )


def start(action: str, version: str | None, params: Params, *, record_id: str | None = None) -> Call:
    """Builds the call that starts a task. With `record_id` a page's start can be repeated: only one task starts."""
    if action == _PAGE_START and record_id is not None:
        params = {"RecordId": record_id, **params}
    return build_call(API, action, version, params, app_id=identity(action, params).app_id, task_id=None)


def update(task: TaskRef, params: Params) -> Call | None:
    """Builds the call that updates a task; None for a page, and while the TaskId is not known."""
    if task.kind not in _UPDATE or task.vendor_task_id is None:
        return None
    return _task_call(task, _UPDATE[task.kind], {**params, **_task_ids(task)})


def stop(task: TaskRef) -> Call | None:
    """Builds the call that stops a task; None while its TaskId is not known."""
    if task.vendor_task_id is None:
        return None
    return _task_call(task, _STOP[task.kind], {"TaskId": task.vendor_task_id} if task.kind is Kind.PAGE else _task_ids(task))


def inspect(task: TaskRef) -> list[Call]:
    """Builds the query call of a task. A page whose start was not answered is queried by its RecordId (72065)."""
    record_id = as_text(task.params.get("RecordId")) or task.record_id
    if task.vendor_task_id is None and task.kind is Kind.PAGE and record_id:
        return [_task_call(task, QUERY[task.kind], {"SdkAppId": _app_number(task), "RecordId": record_id})]
    if task.vendor_task_id is None or task.kind not in QUERY:
        return []
    return [_task_call(task, QUERY[task.kind], _task_ids(task))]


def _task_ids(task: TaskRef) -> Mapping[str, Any]:
    return {"SdkAppId": _app_number(task), "TaskId": task.vendor_task_id}


def _app_number(task: TaskRef) -> int | str:
    """Returns the app id as a number, as calls need it; everywhere else it is text."""
    number = as_integer(task.app_id)
    return task.app_id if number is None else number


def _task_call(task: TaskRef, action: str, params: Params) -> Call:
    return build_call(API, action, task.version, params, app_id=task.app_id, task_id=task.vendor_task_id)
