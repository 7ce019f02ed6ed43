"""Takes the wish to start a task. The desk only records it; a worker makes the call.

One transaction takes the request's name, if it has one, puts the start into the inbox and looks for what it clashes with. Who comes
second finds the first, and nothing of the second is kept.
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
from callbacks.desk.http import parameters, request_body
from callbacks.desk.http.access import Caller
from callbacks.desk.http.context import Desk
from callbacks.desk.http.parameters import Param
from callbacks.desk.http.problems import AlreadyLive, FieldError, Invalid, Problem, RobotInUse
from callbacks.desk.http.responses import NO_STORE, json_bytes
from callbacks.desk.tasks import start_request
from callbacks.desk.tasks.queries import path_of
from callbacks.desk.tasks.start_request import Intent
from statemachine.tasks import TaskKey, task_id

_KEY = "Idempotency-Key"
_KEY_SHAPE = re.compile(r"[ -~]{1,255}")
HEADERS = (
    Param(
        name=_KEY,
        meaning="A name of your own for this request: for 24 h the same name and body get the same answer, and start nothing more.",
        schema={"type": "string", "minLength": 1, "maxLength": 255},
        read=str,
    ),
)


#: They hold stream keys, and are to be wiped with the task.
_NOT_KEPT: Mapping[str, Any] = {"params": None, "policy": None}


async def start(desk: Desk, request: Request, caller: Caller) -> Response:
    parameters.from_query((), request)
    body = await request_body.read(request, request_body.MAX_PARAMS_BODY)
    names = request.headers.getlist(_KEY)
    kept = await desk.queries.run(request, caller.name, _answered, desk, caller, names, body)
    headers = {**NO_STORE, "Location": kept.location or ""}
    return Response(kept.answer, status_code=kept.status, headers=headers, media_type="application/json")


def _answered(desk: Desk, caller: Caller, names: list[str], body: bytes) -> StoredResponse:
    errors = _name_errors(names)
    named = IdempotentRequest(token_name=caller.name, key=names[0], body=body) if names and not errors else None
    if named is not None and (before := _before(desk, named)) is not None:
        return before
    intent, more = start_request.read(desk, request_body.document(body, start_request.EXAMPLE))
    if intent is None or errors:
        raise Invalid("this cannot be started", [*errors, *more])
    now = desk.clock()
    wish = _wish(desk, intent, caller, now)
    kept = _post(desk, caller, wish, named, now)
    while kept is None:  # the same request came at the same time
        assert named is not None
        kept = _before(desk, named) or _post(desk, caller, wish, named, now)
    return kept


def _name_errors(names: list[str]) -> list[FieldError]:
    if len(names) > 1 or not all(_KEY_SHAPE.fullmatch(name) for name in names):
        return [FieldError(field=_KEY, message="must be given once, as 1 to 255 printable ASCII characters")]
    return []


def _before(desk: Desk, named: IdempotentRequest) -> StoredResponse | None:
    """What was answered to the same request before. Raises Invalid for another request of that name."""
    with desk.ledger.read() as connection:
        kept = idempotency.find(connection, named, desk.clock())
    if kept is not None and kept.body_hash != named.body_hash:
        message = "names a request of the last 24 h that had another body; a new request needs a new name"
        raise Invalid("this name is taken", [FieldError(field=_KEY, message=message)])
    return None if kept is None else replace(kept, answer=_whole(kept.answer, named.body))


def _whole(kept: str, body: bytes) -> str:
    """The answer as it was given: what it said of the parameters is in the same request once more, and was not kept."""
    answer, asked = json.loads(kept), json.loads(body)
    of_request = (asked["vendor"], asked["action"], asked["params"], asked.get("policy") or {})
    return _text({**answer, **task_json.render_request(*of_request, keys=True)})


def _text(answer: Mapping[str, Any]) -> str:
    return json_bytes(answer).decode()


def _wish(desk: Desk, intent: Intent, caller: Caller, now: int) -> StartRequest:
    about, vendor = intent.about, intent.dialect.name
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


def _post(desk: Desk, caller: Caller, wish: StartRequest, named: IdempotentRequest | None, now: int) -> StoredResponse | None:
    """The answer; None: another request has just taken the name. Raises AlreadyLive or RobotInUse."""
    with desk.ledger.write() as connection:
        shown = task_json.render_task(starts.requested_task(connection, wish, now), keys=caller.sees_keys)
        kept = StoredResponse(
            body_hash=named.body_hash if named else b"", status=202, location=path_of(wish.task_id), answer=_text(shown)
        )
        if named is not None and not _take(connection, named, replace(kept, answer=_text({**shown, **_NOT_KEPT})), now):
            return None
        clash = starts.post(connection, wish, now)
        if clash is not None:
            raise _told(*clash)
    desk.ring()
    return kept


def _take(connection: Connection, named: IdempotentRequest, kept: StoredResponse, now: int) -> bool:
    idempotency.delete_expired(connection, now)
    return idempotency.store(connection, named, kept, now)


def _told(clash: Clash, other: str) -> Problem:
    if clash is Clash.ALREADY_LIVE:
        return AlreadyLive("a task with this key is live, or about to be; Location names it", location=path_of(other))
    detail = "a task whose robot has this user id is in the room, or may be; Location names it"
    return RobotInUse(detail, location=path_of(other))
