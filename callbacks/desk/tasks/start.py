"""Takes requests to start a task. The desk only records the request; a worker makes the call.

One transaction stores the idempotency key, if there is one, puts the start request into the inbox and looks for conflicting tasks.
Of two equal requests the second finds the first, and stores nothing.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from adapters.contract import task_json
from adapters.ledger import Connection, idempotency, starts
from adapters.ledger.idempotency import IdempotentRequest, StoredResponse
from adapters.ledger.starts import Clash, StartRequest
from adapters.text import FieldProblem
from callbacks.desk.http import parameters, request_body
from callbacks.desk.http.access import ApiCaller
from callbacks.desk.http.context import Desk
from callbacks.desk.http.parameters import Param
from callbacks.desk.http.problems import AlreadyLive, Invalid, Problem, RobotInUse
from callbacks.desk.http.responses import NO_STORE, json_bytes
from callbacks.desk.tasks import start_request
from callbacks.desk.tasks.queries import task_path
from callbacks.desk.tasks.start_request import ValidStart
from statemachine.tasks import TaskKey, task_id

_KEY = "Idempotency-Key"
_KEY_SHAPE = re.compile(r"[ -~]{1,255}")
HEADERS = (
    Param(
        name=_KEY,
        meaning="A key of your own for this request: for 24 h the same key and body get the same answer, and start nothing more.",
        schema={"type": "string", "minLength": 1, "maxLength": 255},
        read=str,
    ),
)


#: Members of the answer that are not stored: they hold stream keys, and are wiped with the task.
_NOT_STORED: Mapping[str, Any] = {"params": None, "policy": None}


async def start(desk: Desk, request: Request, caller: ApiCaller) -> Response:
    parameters.read_query((), request)
    body = await request_body.read_body(request, request_body.MAX_PARAMS_BODY)
    names = request.headers.getlist(_KEY)
    kept = await desk.query_pool.run(request, caller.name, _start_once, desk, caller, names, body)
    headers = {**NO_STORE, "Location": kept.location or ""}
    return Response(kept.answer, status_code=kept.status, headers=headers, media_type="application/json")


def _start_once(desk: Desk, caller: ApiCaller, names: list[str], body: bytes) -> StoredResponse:
    errors = _key_errors(names)
    named = IdempotentRequest(token_name=caller.name, key=names[0], body=body) if names and not errors else None
    if named is not None and (before := _stored_answer(desk, named)) is not None:
        return before
    intent, more = start_request.read_start(desk, request_body.parse_document(body, start_request.EXAMPLE))
    if intent is None or errors:
        raise Invalid("the task cannot be started like this", [*errors, *more])
    now = desk.clock()
    wish = _build_request(desk, intent, caller, now)
    kept = _record_start(desk, caller, wish, named, now)
    while kept is None:  # an equal request came at the same time
        assert named is not None
        kept = _stored_answer(desk, named) or _record_start(desk, caller, wish, named, now)
    return kept


def _key_errors(names: list[str]) -> list[FieldProblem]:
    if len(names) > 1 or not all(_KEY_SHAPE.fullmatch(name) for name in names):
        return [FieldProblem(field=_KEY, message="must be given once, as 1 to 255 printable ASCII characters")]
    return []


def _stored_answer(desk: Desk, named: IdempotentRequest) -> StoredResponse | None:
    """Returns the stored answer of an equal request. Raises Invalid if the key belongs to another request."""
    with desk.ledger.read() as connection:
        kept = idempotency.find(connection, named, desk.clock())
    if kept is not None and kept.body_hash != named.body_hash:
        message = "belongs to a request of the last 24 h that had another body; a new request needs a new key"
        raise Invalid("this key is in use", [FieldProblem(field=_KEY, message=message)])
    return None if kept is None else replace(kept, answer=_restore_answer(kept.answer, named.body))


def _restore_answer(kept: str, body: bytes) -> str:
    """Returns the answer as it was sent: its parameters were not stored, and are taken from the equal request."""
    answer, sent = json.loads(kept), json.loads(body)
    of_request = (sent["vendor"], sent["action"], sent["params"], sent.get("policy") or {})
    return _json_text({**answer, **task_json.render_request(*of_request, keys=True)})


def _json_text(answer: Mapping[str, Any]) -> str:
    return json_bytes(answer).decode()


def _build_request(desk: Desk, intent: ValidStart, caller: ApiCaller, now: int) -> StartRequest:
    about, vendor = intent.identity, intent.dialect.name
    family, chosen = about.family, about.vendor_task_id
    key = TaskKey(
        vendor=vendor, app_id=about.app_id, room_id=about.room_id if chosen else "", vendor_task_id=chosen or "", family=family
    )
    return StartRequest(
        task_id=task_id(key, f"start {desk.random_id()}", now),
        vendor=vendor,
        app_id=about.app_id,
        kind=about.kind,
        action=intent.action,
        version=intent.version,
        params=intent.params,
        policy=intent.policy,
        room_id=about.room_id or None,
        robot=about.robot,
        scheduled_at=about.scheduled_at,
        vendor_task_id=chosen,
        family=family,
        by=caller.name,
    )


def _record_start(
    desk: Desk, caller: ApiCaller, wish: StartRequest, named: IdempotentRequest | None, now: int
) -> StoredResponse | None:
    """Records the request; returns the answer, or None if another request has just stored the key.

    Raises AlreadyLive or RobotInUse.
    """
    with desk.ledger.write() as connection:
        shown = task_json.render_task(starts.requested_task(connection, wish, now), keys=caller.sees_keys)
        kept = StoredResponse(
            body_hash=named.body_hash if named else b"", status=202, location=task_path(wish.task_id), answer=_json_text(shown)
        )
        if named is not None and not _store_answer(
            connection, named, replace(kept, answer=_json_text({**shown, **_NOT_STORED})), now
        ):
            return None
        clash = starts.post(connection, wish, now)
        if clash is not None:
            raise _clash_problem(*clash)
    desk.wake_workers()
    return kept


def _store_answer(connection: Connection, named: IdempotentRequest, kept: StoredResponse, now: int) -> bool:
    idempotency.delete_expired(connection, now)
    return idempotency.store(connection, named, kept, now)


def _clash_problem(clash: Clash, other: str) -> Problem:
    if clash is Clash.ALREADY_LIVE:
        return AlreadyLive("a task with this key is live, or about to be; Location names it", location=task_path(other))
    detail = "a task whose robot has this user id is in the room, or may be; Location names it"
    return RobotInUse(detail, location=task_path(other))
