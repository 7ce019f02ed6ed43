"""Gives a subscription a new secret. What is sent is signed with the one before as well, until its receiver knows the new one."""

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from adapters.contract.task_json import format_time
from adapters.downstream.signing import new_secret
from adapters.ledger.subscriptions import Subscription
from adapters.text import FieldProblem
from callbacks.desk.http import parameters, request_body
from callbacks.desk.http.access import ApiCaller
from callbacks.desk.http.context import Desk
from callbacks.desk.http.problems import Invalid, NotSigned
from callbacks.desk.http.responses import json_response
from callbacks.desk.subscriptions.queries import held, noted, require

#: How long the secret before lives on, s.
MAX_OVERLAP_S, USUAL_OVERLAP_S = 7 * 86_400, 86_400
_EXAMPLE = f'{{"overlap_s": {USUAL_OVERLAP_S}}}'


async def rotate(desk: Desk, request: Request, caller: ApiCaller) -> Response:
    """Of several secrets the newest two live: one that was being replaced when this is asked dies at once."""
    parameters.read_query((), request)
    body = await request_body.read_body(request)
    return await desk.query_pool.run(request, caller.name, _rotated, desk, caller, request.path_params["id"], body)


def _rotated(desk: Desk, caller: ApiCaller, subscription_id: str, body: bytes) -> Response:
    require(desk, subscription_id)
    overlap_s = _overlap_s(request_body.parse_document(body, _EXAMPLE) if body.strip() else {})
    with held(desk, subscription_id) as it:
        if not it.subscription.secret:
            raise NotSigned("what is sent to this sink is not signed, so there is no secret")
        after = it.change(_secrets(it.subscription, it.now + overlap_s * 1_000 if overlap_s else None))
    noted(caller, subscription_id, "secret_rotated")
    return json_response({"secret": after.secret, "previous_secret_until": format_time(after.old_secret_until)})


def _secrets(before: Subscription, until: int | None) -> dict[str, Any]:
    """until: when the one before dies, ms; None: now."""
    return {"secret": new_secret(), "old_secret": before.secret if until else None, "old_secret_until": until}


def _overlap_s(document: Mapping[str, Any]) -> int:
    errors, overlap_s = request_body.unknown_members(document, ("overlap_s",)), document.get("overlap_s", USUAL_OVERLAP_S)
    if type(overlap_s) is not int or not 0 <= overlap_s <= MAX_OVERLAP_S:
        errors.append(FieldProblem(field="overlap_s", message=f"must be a whole number of seconds from 0 to {MAX_OVERLAP_S}"))
    if errors:
        raise Invalid("the secret cannot be replaced like this", errors)
    return int(overlap_s)
