"""Lists and shows deliveries; retries one, or sends a test event."""

import re

from starlette.requests import Request
from starlette.responses import Response

from adapters.contract import cloud_events
from adapters.ledger import Connection, deliveries, events
from adapters.ledger.deliveries import Delivery, DeliveryFilter, NewDelivery
from callbacks.desk.http import cursors, parameters, request_body
from callbacks.desk.http.access import ApiCaller
from callbacks.desk.http.context import Desk
from callbacks.desk.http.pagination import page_of
from callbacks.desk.http.problems import AlreadyRequeued, NotActive, NotFound
from callbacks.desk.http.responses import json_response
from callbacks.desk.subscriptions import queries, rendering
from callbacks.desk.subscriptions.changes import fresh_id
from callbacks.desk.subscriptions.queries import LockedSubscription, locked, log_change
from statemachine.delivery_policy import DeliveryState, SubscriptionState

#: The shape of a delivery's id.
_ID = re.compile(r"[0-9]{1,18}")

LIST_PARAMS = (
    parameters.choice("state", DeliveryState, "Deliveries in this state."),
    parameters.text("task_id", "Deliveries of events of this task."),
    *parameters.paging(int),
)


async def list_deliveries(desk: Desk, request: Request, caller: ApiCaller) -> Response:
    values = parameters.read_query(LIST_PARAMS, request)
    limit, cursor, subscription_id = values["limit"], values["cursor"], request.path_params["id"]
    state = DeliveryState(values["state"]) if values["state"] else None
    wanted = DeliveryFilter(state=state, subject=values["task_id"])

    def read() -> Response:
        with desk.ledger.read() as connection:
            queries.find_subscription(connection, subscription_id)
            before = cursor[0] if cursor else None
            found = deliveries.page(connection, subscription_id, wanted, before=before, limit=limit + 1)
            versions = events.versions(connection, [each.event_id for each in found if each.event_id is not None])
        return page_of(
            found,
            limit,
            shown=lambda each: rendering.render_delivery(each, versions, desk.clock(), keys=caller.sees_keys),
            cursor=lambda each: cursors.encode(each.id),
        )

    return await desk.query_pool.run(request, caller.name, read)


async def show_delivery(desk: Desk, request: Request, caller: ApiCaller) -> Response:
    parameters.read_query((), request)

    def read() -> Response:
        with desk.ledger.read() as connection:
            queries.find_subscription(connection, request.path_params["id"])
            return json_response(_rendered_delivery(connection, _find_delivery(connection, request), desk.clock(), caller))

    return await desk.query_pool.run(request, caller.name, read)


async def test(desk: Desk, request: Request, caller: ApiCaller) -> Response:
    parameters.read_query((), request)
    await request_body.require_empty_body(request)
    return await desk.query_pool.run(request, caller.name, _queue_test, desk, request, caller)


async def retry(desk: Desk, request: Request, caller: ApiCaller) -> Response:
    parameters.read_query((), request)
    await request_body.require_empty_body(request)
    return await desk.query_pool.run(request, caller.name, _retry_delivery, desk, request, caller)


def _queue_test(desk: Desk, request: Request, caller: ApiCaller) -> Response:
    """Queues a test event; it has a subject of its own, so that it waits for no other event."""
    with locked(desk, request.path_params["id"]) as it:
        if it.subscription.state is not SubscriptionState.ACTIVE:
            raise NotActive(f"it is {it.subscription.state}, so no events are sent; resume it first")
        subject = fresh_id(it.now)
        item = NewDelivery(event_id=None, subject=subject, type=cloud_events.TEST_TYPE, origin="test")
        deliveries.queue(it.connection, it.subscription.id, [item], it.now)
        response = _accepted_response(it, _newest_delivery(it, subject), caller)
    log_change(caller, it.subscription.id, "tested")
    return response


def _retry_delivery(desk: Desk, request: Request, caller: ApiCaller) -> Response:
    with locked(desk, request.path_params["id"]) as it:
        response = _accepted_response(it, _send_again(it, _find_delivery(it.connection, request)), caller)
    log_change(caller, it.subscription.id, "delivery_retried", delivery_id=request.path_params["delivery_id"])
    return response


def _send_again(it: LockedSubscription, found: Delivery) -> Delivery:
    """Returns the delivery by which the event is sent now. Raises AlreadyRequeued."""
    if found.state is DeliveryState.REQUEUED:
        raise AlreadyRequeued("its event is queued again, as another delivery")
    if found.state is DeliveryState.WAITING:
        deliveries.retry_now(it.connection, it.subscription.id, it.now, found)
        return deliveries.find(it.connection, it.subscription.id, found.id) or found
    deliveries.requeue(it.connection, it.subscription.id, [found], it.now, origin="retry")
    return _newest_delivery(it, found.subject)


def _newest_delivery(it: LockedSubscription, subject: str) -> Delivery:
    """Returns the delivery that was queued last; the lock keeps others from queueing."""
    return deliveries.page(it.connection, it.subscription.id, DeliveryFilter(subject=subject), before=None, limit=1)[0]


def _find_delivery(connection: Connection, request: Request) -> Delivery:
    """Returns the delivery that the path names. Raises NotFound."""
    subscription_id, delivery_id = request.path_params["id"], request.path_params["delivery_id"]
    found = deliveries.find(connection, subscription_id, int(delivery_id)) if _ID.fullmatch(delivery_id) else None
    if found is None:
        raise NotFound("this subscription has no delivery with this id")
    return found


def _accepted_response(it: LockedSubscription, delivery: Delivery, caller: ApiCaller) -> Response:
    location = f"{queries.subscription_path(it.subscription.id)}/deliveries/{delivery.id}"
    return json_response(_rendered_delivery(it.connection, delivery, it.now, caller), status=202, headers={"Location": location})


def _rendered_delivery(connection: Connection, delivery: Delivery, now: int, caller: ApiCaller) -> dict[str, object]:
    versions = events.versions(connection, [] if delivery.event_id is None else [delivery.event_id])
    return rendering.render_delivery(delivery, versions, now, keys=caller.sees_keys)
