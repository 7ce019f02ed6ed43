"""Takes requests to stop or update a task, or to retry its pending call now.

The desk refuses only what is certainly wrong; it puts everything else into the inbox, and a worker decides.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from uuid import uuid4

from starlette.requests import Request
from starlette.responses import Response

from adapters.contract import task_json
from adapters.ledger import inbox
from adapters.ledger.lineages import shard_of_key
from adapters.vendors import DIALECTS
from adapters.vendors.calls import Call, task_ref
from callbacks.desk.http import parameters, request_body
from callbacks.desk.http.access import ApiCaller
from callbacks.desk.http.body_fields import BodyField, read_fields, read_object
from callbacks.desk.http.context import Desk
from callbacks.desk.http.json_schema import ANYTHING
from callbacks.desk.http.problems import AlreadyEnded, Invalid, NoAccount, NothingPending, NotStartedYet, NotUpdatable
from callbacks.desk.http.responses import json_response
from callbacks.desk.tasks.queries import find_task, redirect_to_merged, task_path
from statemachine.states import FINAL, Anomaly, State
from statemachine.tasks import Task

_UPDATE_EXAMPLE = '{"params": {...}}'
UPDATE_FIELDS = (
    BodyField(
        name="params",
        meaning="The parameters of the vendor's update call, without the ids.",
        schema=ANYTHING,
        read=read_object("must be an object: the parameters of the vendor's update call"),
        required=True,
    ),
)


async def stop(desk: Desk, request: Request, caller: ApiCaller) -> Response:
    """Requests a stop. A task whose end was only inferred, or that is a `zombie`, may still run: it can be stopped too."""
    task = await _load_task(desk, request, caller)
    if task.merged_into is not None:
        return redirect_to_merged(task.merged_into, "/stop")
    view = task.view
    if view.state in FINAL and not view.inferred and Anomaly.ZOMBIE not in task.anomalies:
        raise AlreadyEnded(f"it is {view.state} already, and nothing contradicts that")
    _require_account(desk, task)
    return await record_action(desk, request, caller, task, inbox.STOP, {})


async def retry(desk: Desk, request: Request, caller: ApiCaller) -> Response:
    task = await _load_task(desk, request, caller)
    if task.merged_into is not None:
        return redirect_to_merged(task.merged_into, "/retry")
    if all(pursuit.retry_at is None for pursuit in task.calls.values()) and Anomaly.STOP_UNCONFIRMED not in task.anomalies:
        raise NothingPending("no call of this task waits for a retry")
    return await record_action(desk, request, caller, task, inbox.RETRY, {})


async def update(desk: Desk, request: Request, caller: ApiCaller) -> Response:
    parameters.read_query((), request)
    params = _read_params(
        request_body.parse_document(await request_body.read_body(request, request_body.MAX_PARAMS_BODY), _UPDATE_EXAMPLE)
    )
    task = await desk.query_pool.run(request, caller.name, find_task, desk, request.path_params["id"])
    if task.merged_into is not None:
        return redirect_to_merged(task.merged_into, "/update")
    if task.view.state in FINAL or task.view.state is State.FINISHING:
        raise AlreadyEnded(f"it is {task.view.state} already; only a running task can be updated")
    _require_account(desk, task)
    _check_update(task, params)
    return await record_action(desk, request, caller, task, inbox.UPDATE, {"params": params})


async def _load_task(desk: Desk, request: Request, caller: ApiCaller) -> Task:
    """Returns the task of a request without a body. Raises Malformed, Invalid or NotFound."""
    parameters.read_query((), request)
    await request_body.require_empty_body(request)
    return await desk.query_pool.run(request, caller.name, find_task, desk, request.path_params["id"])


def _require_account(desk: Desk, task: Task) -> None:
    if not desk.accounts.can_call(task.key.vendor, task.key.app_id):
        raise NoAccount("its app has no account, so the vendor cannot be called")


def _read_params(document: Mapping[str, Any]) -> Mapping[str, Any]:
    values, errors = read_fields(UPDATE_FIELDS, document)
    if errors:
        raise Invalid("the body does not say what to update", errors)
    params: Mapping[str, Any] = values["params"]
    return params


def _check_update(task: Task, params: Mapping[str, Any]) -> None:
    """Raises NotUpdatable, NotStartedYet or Invalid."""
    if masked := request_body.masked_members(params):
        raise Invalid("some values are masked", masked)
    call = _update_call(task, params)
    errors = DIALECTS[task.key.vendor].check(call.action, call.version, call.params)
    if errors:
        raise Invalid(f"{call.action} cannot be called like this", errors)


def _update_call(task: Task, params: Mapping[str, Any]) -> Call:
    dialect, ref = DIALECTS[task.key.vendor], task_ref(task)
    call = dialect.update(ref, params)
    if call is not None:
        return call
    if ref.vendor_task_id is None and dialect.update(replace(ref, vendor_task_id=task.id), params) is not None:
        raise NotStartedYet("the vendor's id of this task is not known yet; try again when it is accepted")
    raise NotUpdatable("the vendor has no update call for this task")


async def record_action(
    desk: Desk, request: Request, caller: ApiCaller, task: Task, kind: str, what: Mapping[str, Any]
) -> Response:
    await desk.query_pool.run(request, caller.name, _post_action, desk, task, kind, {"task_id": task.id, "by": caller.name, **what})
    return json_response(task_json.render_task(task, keys=caller.sees_keys), status=202, headers={"Location": task_path(task.id)})


def _post_action(desk: Desk, task: Task, kind: str, payload: Mapping[str, Any]) -> None:
    with desk.ledger.write() as connection:
        inbox.post(connection, kind, (str(uuid4()),), payload, desk.clock(), shard=shard_of_key(task.key))
    desk.wake_workers()
