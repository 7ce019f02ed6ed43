"""Creates, changes, pauses, resumes and deletes subscriptions.

A secret is shown once, to the request that made it; the ledger keeps it until the subscription is deleted.
"""

import secrets
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from adapters.downstream.signing import new_secret
from adapters.ledger import deliveries, positions, replays, subscriptions
from adapters.ledger.subscriptions import Subscription
from callbacks.desk.http import parameters, request_body
from callbacks.desk.http.access import ApiCaller
from callbacks.desk.http.context import Desk
from callbacks.desk.http.responses import NO_STORE, json_response
from callbacks.desk.subscriptions import bodies as subscription_bodies
from callbacks.desk.subscriptions.queries import locked, log_change, render, require_subscription, subscription_path, with_backlog
from statemachine.delivery_policy import SubscriptionState
from statemachine.tasks import new_id

#: Random bits of an id, besides its time.
_RANDOM_BITS = 80


async def create(desk: Desk, request: Request, caller: ApiCaller) -> Response:
    parameters.read_query((), request)
    body = await request_body.read_body(request)
    return await desk.query_pool.run(request, caller.name, _create_subscription, desk, caller, body)


async def change(desk: Desk, request: Request, caller: ApiCaller) -> Response:
    parameters.read_query((), request)
    body = await request_body.read_body(request)
    return await desk.query_pool.run(request, caller.name, _change_subscription, desk, caller, request.path_params["id"], body)


async def pause(desk: Desk, request: Request, caller: ApiCaller) -> Response:
    return await _set_state(desk, request, caller, SubscriptionState.PAUSED, "paused")


async def resume(desk: Desk, request: Request, caller: ApiCaller) -> Response:
    return await _set_state(desk, request, caller, SubscriptionState.ACTIVE, "resumed")


async def delete(desk: Desk, request: Request, caller: ApiCaller) -> Response:
    parameters.read_query((), request)
    await request_body.require_empty_body(request)
    await desk.query_pool.run(request, caller.name, _delete_subscription, desk, caller, request.path_params["id"])
    return Response(status_code=204, headers=NO_STORE)


def fresh_id(now: int) -> str:
    """Returns a new id. now: ms."""
    return new_id(now, secrets.randbits(_RANDOM_BITS))


def _create_subscription(desk: Desk, caller: ApiCaller, body: bytes) -> Response:
    wanted = subscription_bodies.read_new(desk, request_body.parse_document(body, subscription_bodies.EXAMPLE))
    with desk.ledger.write() as connection:
        new = _new_subscription(desk, wanted, positions.newest(connection))
        subscriptions.add(connection, new)
        said = render(desk, with_backlog(connection, new), caller)
    desk.wake_workers()
    log_change(caller, new.id, "created")
    return json_response({**said, "secret": new.secret or None}, status=201, headers={"Location": subscription_path(new.id)})


def _new_subscription(desk: Desk, wanted: Mapping[str, Any], position: int) -> Subscription:
    now = desk.clock()
    return Subscription(
        id=fresh_id(now),
        **wanted,
        state=SubscriptionState.ACTIVE,
        reason=None,
        secret=new_secret() if desk.sinks[wanted["sink"]["type"]].signed else "",
        old_secret=None,
        old_secret_until=None,
        position=position,
        failing_since=None,
        failed_at=None,
        delivered_at=None,
        created_at=now,
        updated_at=now,
        version=1,
    )


def _change_subscription(desk: Desk, caller: ApiCaller, subscription_id: str, body: bytes) -> Response:
    require_subscription(desk, subscription_id)
    wanted = subscription_bodies.read_changes(desk, request_body.parse_document(body, subscription_bodies.CHANGE_EXAMPLE))
    return _save_changes(desk, caller, subscription_id, wanted, "changed", fields=sorted(wanted))


async def _set_state(desk: Desk, request: Request, caller: ApiCaller, state: SubscriptionState, what: str) -> Response:
    parameters.read_query((), request)
    await request_body.require_empty_body(request)
    return await desk.query_pool.run(
        request, caller.name, _save_changes, desk, caller, request.path_params["id"], {"state": state}, what
    )


def _save_changes(
    desk: Desk, caller: ApiCaller, subscription_id: str, wanted: Mapping[str, Any], what: str, **more: Any
) -> Response:
    with locked(desk, subscription_id) as it:
        after = it.change(_with_consequences(desk, it.subscription, wanted))
        if _resets_failures(it.subscription, wanted):
            deliveries.retry_now(it.connection, after.id, it.now)
        said = render(desk, with_backlog(it.connection, after), caller)
    log_change(caller, subscription_id, what, **more)
    is_new = after.secret and after.secret != it.subscription.secret
    return json_response({**said, "secret": after.secret} if is_new else said)


def _resets_failures(before: Subscription, wanted: Mapping[str, Any]) -> bool:
    """Returns whether earlier failures no longer count: the subscription is resumed, or gets another target."""
    return wanted.get("state") is SubscriptionState.ACTIVE or wanted.get("sink", before.sink) != before.sink


def _with_consequences(desk: Desk, before: Subscription, wanted: Mapping[str, Any]) -> dict[str, Any]:
    changes = dict(wanted)
    if "state" in wanted:
        changes["reason"] = None
    if _resets_failures(before, wanted):
        changes["failing_since"] = None
    if "sink" in wanted and desk.sinks[wanted["sink"]["type"]].signed != bool(before.secret):
        changes |= {"secret": "" if before.secret else new_secret(), "old_secret": None, "old_secret_until": None}
    return changes


def _delete_subscription(desk: Desk, caller: ApiCaller, subscription_id: str) -> None:
    """Marks it as deleted; a worker removes its rows from the ledger."""
    with locked(desk, subscription_id) as it:
        it.change({"state": SubscriptionState.DELETED, "secret": "", "old_secret": None, "old_secret_until": None})
        replays.drop_all(it.connection, subscription_id)
    log_change(caller, subscription_id, "deleted")
