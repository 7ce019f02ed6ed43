"""Lists, shows and locks subscriptions.

A handler that changes a subscription or its deliveries locks it (`locked`) in one short transaction: workers and other requests
wait until it has ended; then the workers are woken.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from adapters.ledger import Connection, deliveries, delivery_lag, replays, subscriptions
from adapters.ledger.subscriptions import Subscription
from adapters.logs import logger
from callbacks.desk.http import cursors, parameters
from callbacks.desk.http.access import ApiCaller
from callbacks.desk.http.context import Desk
from callbacks.desk.http.pagination import page_of
from callbacks.desk.http.problems import NotFound
from callbacks.desk.http.responses import json_response
from callbacks.desk.subscriptions import rendering
from callbacks.desk.subscriptions.rendering import SubscriptionBacklog
from statemachine.delivery_policy import SubscriptionState

_ID = re.compile(r"[0-9A-Z]{26}")

#: Events counted at most among those that are not queued yet.
_HELD_BACK = 1_000

LIST_PARAMS = parameters.paging(str)

log = logger(__name__)


async def list_subscriptions(desk: Desk, request: Request, caller: ApiCaller) -> Response:
    values = parameters.read_query(LIST_PARAMS, request)
    limit, cursor = values["limit"], values["cursor"]

    def read() -> Response:
        with desk.ledger.read() as connection:
            found = all_with_backlog(
                connection, subscriptions.page(connection, before=cursor[0] if cursor else None, limit=limit + 1)
            )
        return page_of(
            found,
            limit,
            shown=lambda each: render(desk, each, caller),
            cursor=lambda each: cursors.encode(each.subscription.id),
        )

    return await desk.query_pool.run(request, caller.name, read)


async def show_subscription(desk: Desk, request: Request, caller: ApiCaller) -> Response:
    parameters.read_query((), request)

    def read() -> Response:
        with desk.ledger.read() as connection:
            found = with_backlog(connection, find_subscription(connection, request.path_params["id"]))
        return json_response(render(desk, found, caller))

    return await desk.query_pool.run(request, caller.name, read)


def find_subscription(connection: Connection, subscription_id: str) -> Subscription:
    """Returns a subscription. Raises NotFound."""
    found = subscriptions.find(connection, subscription_id) if _ID.fullmatch(subscription_id) else None
    if found is None:
        raise _not_found()
    return found


def require_subscription(desk: Desk, subscription_id: str) -> None:
    """Raises NotFound; called before the body is checked."""
    with desk.ledger.read() as connection:
        find_subscription(connection, subscription_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedSubscription:
    """A subscription that is locked, with its deliveries, until the transaction ends. now: ms."""

    connection: Connection
    subscription: Subscription
    now: int

    def change(self, changes: Mapping[str, Any]) -> Subscription:
        """Changes fields, as a new version if anything differs; returns the subscription as it is then."""
        news = {name: value for name, value in changes.items() if getattr(self.subscription, name) != value}
        if not news:
            return self.subscription
        news |= {"version": self.subscription.version + 1, "updated_at": self.now}
        subscriptions.change(self.connection, self.subscription.id, **news)
        return replace(self.subscription, **news)


@contextmanager
def locked(desk: Desk, subscription_id: str) -> Iterator[LockedSubscription]:
    """Locks a subscription for a transaction, then wakes the workers. Raises NotFound."""
    with desk.ledger.write() as connection:
        found = subscriptions.lock(connection, [subscription_id]) if _ID.fullmatch(subscription_id) else {}
        if not found:
            raise _not_found()
        yield LockedSubscription(connection=connection, subscription=found[subscription_id], now=desk.clock())
    desk.wake_workers()


def log_change(caller: ApiCaller, subscription_id: str, what: str, **more: Any) -> None:
    """Logs a change of a subscription, without its target and secrets."""
    log.info("subscription.changed", subscription_id=subscription_id, what=what, by=caller.name, **more)


def with_backlog(connection: Connection, found: Subscription) -> SubscriptionBacklog:
    return all_with_backlog(connection, [found])[0]


def all_with_backlog(connection: Connection, found: Sequence[Subscription]) -> list[SubscriptionBacklog]:
    waiting = deliveries.waiting_by_subscription(connection)
    under_way = replays.by_subscription(connection, [each.id for each in found])
    undelivered = {each.id: waiting.get(each.id, 0) + _unqueued_count(connection, each) for each in found}
    return [
        SubscriptionBacklog(subscription=each, undelivered=undelivered[each.id], replays=under_way.get(each.id, ()))
        for each in found
    ]


def _unqueued_count(connection: Connection, found: Subscription) -> int:
    """Returns how many events came since the subscription was paused or disabled; they are not queued."""
    return 0 if found.state is SubscriptionState.ACTIVE else delivery_lag.count_unqueued(connection, found, _HELD_BACK)


def render(desk: Desk, found: SubscriptionBacklog, caller: ApiCaller) -> dict[str, Any]:
    sink = desk.sinks.get(found.subscription.sink_type)
    return rendering.render_subscription(found, sink, desk.clock(), keys=caller.sees_keys)


def subscription_path(subscription_id: str) -> str:
    return f"/v1/subscriptions/{subscription_id}"


def _not_found() -> NotFound:
    return NotFound("there is no subscription with this id")
