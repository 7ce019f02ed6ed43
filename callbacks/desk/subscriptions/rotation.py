"""Gives a subscription a new secret. For a while events are signed with the previous secret too."""

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from adapters.contract.task_json import format_time
from adapters.downstream.signing import new_secret
from adapters.ledger.subscriptions import Subscription
from callbacks.desk.http import parameters, request_body
from callbacks.desk.http.access import ApiCaller
from callbacks.desk.http.body_fields import BodyField, read_fields, read_number
from callbacks.desk.http.context import Desk
from callbacks.desk.http.problems import Invalid, NotSigned
from callbacks.desk.http.responses import json_response
from callbacks.desk.subscriptions.queries import locked, log_change, require_subscription

#: Time for which the previous secret stays valid: maximum and default, s.
_MAX_OVERLAP_S, _DEFAULT_OVERLAP_S = 7 * 86_400, 86_400
_EXAMPLE = f'{{"overlap_s": {_DEFAULT_OVERLAP_S}}}'
FIELDS = (
    BodyField(
        name="overlap_s",
        meaning="Seconds for which the previous secret stays valid; 0: it ends at once.",
        schema={"type": "integer", "minimum": 0, "maximum": _MAX_OVERLAP_S},
        read=read_number(0, _MAX_OVERLAP_S, "seconds", whole=True),
        default=_DEFAULT_OVERLAP_S,
    ),
)


async def rotate(desk: Desk, request: Request, caller: ApiCaller) -> Response:
    """Replaces the secret. Only the newest two are valid: a secret that was being replaced already ends at once."""
    parameters.read_query((), request)
    body = await request_body.read_body(request)
    return await desk.query_pool.run(request, caller.name, _rotate_secret, desk, caller, request.path_params["id"], body)


def _rotate_secret(desk: Desk, caller: ApiCaller, subscription_id: str, body: bytes) -> Response:
    require_subscription(desk, subscription_id)
    overlap_s = _read_overlap_s(request_body.parse_document(body, _EXAMPLE) if body.strip() else {})
    with locked(desk, subscription_id) as it:
        if not it.subscription.secret:
            raise NotSigned("this sink is not signed, so it has no secret")
        after = it.change(_secret_changes(it.subscription, it.now + overlap_s * 1_000 if overlap_s else None))
    log_change(caller, subscription_id, "secret_rotated")
    return json_response({"secret": after.secret, "previous_secret_until": format_time(after.old_secret_until)})


def _secret_changes(before: Subscription, until: int | None) -> dict[str, Any]:
    """Returns the changes of a rotation. until: when the previous secret ends, ms; None: now."""
    return {"secret": new_secret(), "old_secret": before.secret if until else None, "old_secret_until": until}


def _read_overlap_s(document: Mapping[str, Any]) -> int:
    """Returns how long the previous secret stays valid, s. Raises Invalid."""
    values, errors = read_fields(FIELDS, document)
    if errors:
        raise Invalid("the secret cannot be replaced like this", errors)
    return int(values["overlap_s"])
