"""Asks for something to be done with a task: stop it, update it, try the call that waits now.

The desk only says no where it is plain already; it puts everything else into the inbox, and a worker decides.
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
from adapters.vendors.calls import Call
from adapters.vendors.task_refs import ref_of
from callbacks.desk.http import parameters, request_body
from callbacks.desk.http.access import Caller
from callbacks.desk.http.context import Desk
from callbacks.desk.http.problems import AlreadyEnded, FieldError, Invalid, NoAccount, NothingPending, NotStartedYet, NotUpdatable
from callbacks.desk.http.responses import answer
from callbacks.desk.tasks.queries import find, moved, path_of
from statemachine.states import FINAL, Anomaly, State
from statemachine.tasks import Task

_UPDATE_EXAMPLE = '{"params": {...}}'


async def stop(desk: Desk, request: Request, caller: Caller) -> Response:
    """An end that was only inferred, or that a zombie contradicts, may be none: then the vendor is told to stop it all the same."""
    task = await _asked(desk, request, caller)
    if task.merged_into is not None:
        return moved(task.merged_into, "/stop")
    view = task.view
    if view.state in FINAL and not view.inferred and Anomaly.ZOMBIE not in task.anomalies:
        raise AlreadyEnded(f"it is {view.state} already, and nothing speaks against it")
    _require_account(desk, task)
    return await _ordered(desk, request, caller, task, inbox.STOP, {})


async def retry(desk: Desk, request: Request, caller: Caller) -> Response:
    task = await _asked(desk, request, caller)
    if task.merged_into is not None:
        return moved(task.merged_into, "/retry")
    if all(pursuit.retry_at is None for pursuit in task.calls.values()) and Anomaly.STOP_UNCONFIRMED not in task.anomalies:
        raise NothingPending("no call of this task waits to be tried again")
    return await _ordered(desk, request, caller, task, inbox.RETRY, {})


async def update(desk: Desk, request: Request, caller: Caller) -> Response:
    parameters.from_query((), request)
    params = _params(request_body.document(await request_body.read(request, request_body.MAX_PARAMS_BODY), _UPDATE_EXAMPLE))
    task = await desk.queries.run(request, caller.name, find, desk, request.path_params["id"])
    if task.merged_into is not None:
        return moved(task.merged_into, "/update")
    if task.view.state in FINAL or task.view.state is State.FINISHING:
        raise AlreadyEnded(f"it is {task.view.state} already; only what still runs can be updated")
    _require_account(desk, task)
    _check(task, params)
    return await _ordered(desk, request, caller, task, inbox.UPDATE, {"params": params})


async def _asked(desk: Desk, request: Request, caller: Caller) -> Task:
    """The task of a request that says no more than its path. Raises Malformed, Invalid or NotFound."""
    parameters.from_query((), request)
    await request_body.read_none(request)
    return await desk.queries.run(request, caller.name, find, desk, request.path_params["id"])


def _require_account(desk: Desk, task: Task) -> None:
    if not desk.accounts.callable(task.key.vendor, task.key.app_id):
        raise NoAccount("no account signs calls for its app, so the vendor cannot be told anything")


def _params(document: Mapping[str, Any]) -> Mapping[str, Any]:
    errors, params = request_body.unknown_members(document, ("params",)), document.get("params")
    if not isinstance(params, dict):
        errors.append(FieldError(field="params", message="must be an object: the parameters of the vendor's update call"))
    if errors or not isinstance(params, dict):
        raise Invalid("this does not say what to update", errors)
    return params


def _check(task: Task, params: Mapping[str, Any]) -> None:
    """Raises NotUpdatable, NotStartedYet or Invalid."""
    if masked := request_body.masked_members(params):
        raise Invalid("this was masked when it was read", masked)
    call = _update_call(task, params)
    problems = DIALECTS[task.key.vendor].check(call.action, call.version, call.params)
    if problems:
        errors = [FieldError(field=problem.field, message=problem.message) for problem in problems]
        raise Invalid(f"{call.action} cannot be called like this", errors)


def _update_call(task: Task, params: Mapping[str, Any]) -> Call:
    dialect, ref = DIALECTS[task.key.vendor], ref_of(task)
    call = dialect.update(ref, params)
    if call is not None:
        return call
    if ref.vendor_task_id is None and dialect.update(replace(ref, vendor_task_id=task.id), params) is not None:
        raise NotStartedYet("the vendor has not told its id of this task yet; ask again once it is accepted")
    raise NotUpdatable("the vendor has no update call for this task")


async def _ordered(desk: Desk, request: Request, caller: Caller, task: Task, kind: str, what: Mapping[str, Any]) -> Response:
    await desk.queries.run(request, caller.name, _post, desk, task, kind, {"task_id": task.id, "by": caller.name, **what})
    return answer(task_json.task(task, keys=caller.sees_keys), status=202, headers={"Location": path_of(task.id)})


def _post(desk: Desk, task: Task, kind: str, payload: Mapping[str, Any]) -> None:
    with desk.ledger.write() as connection:
        inbox.post(connection, kind, (str(uuid4()),), payload, desk.clock(), shard=shard_of_key(task.key))
    desk.ring()
