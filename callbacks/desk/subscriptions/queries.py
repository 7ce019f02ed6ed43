"""Who is told of events: the list of subscriptions, and how to get hold of one.

Whoever changes one, or what is on its way to it, holds it (`held`) in one short transaction: workers and others wait until that
has ended, and then find a ring at their door.
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
from callbacks.desk.subscriptions.rendering import Standing
from statemachine.delivery_policy import SubscriptionState

_ID = re.compile(r"[0-9A-Z]{26}")

#: Of what is not queued yet, so many events are looked at.
_HELD_BACK = 1_000

LIST_PARAMS = parameters.paging(str)

log = logger(__name__)


async def list_subscriptions(desk: Desk, request: Request, caller: ApiCaller) -> Response:
    values = parameters.read_query(LIST_PARAMS, request)
    limit, cursor = values["limit"], values["cursor"]

    def read() -> Response:
        with desk.ledger.read() as connection:
            found = standings(connection, subscriptions.page(connection, before=cursor[0] if cursor else None, limit=limit + 1))
        return page_of(
            found,
            limit,
            shown=lambda each: shown(desk, each, caller),
            cursor=lambda each: cursors.encode(each.subscription.id),
        )

    return await desk.query_pool.run(request, caller.name, read)


async def show_subscription(desk: Desk, request: Request, caller: ApiCaller) -> Response:
    parameters.read_query((), request)

    def read() -> Response:
        with desk.ledger.read() as connection:
            found = standing(connection, find(connection, request.path_params["id"]))
        return json_response(shown(desk, found, caller))

    return await desk.query_pool.run(request, caller.name, read)


def find(connection: Connection, subscription_id: str) -> Subscription:
    """Raises NotFound."""
    found = subscriptions.find(connection, subscription_id) if _ID.fullmatch(subscription_id) else None
    if found is None:
        raise _not_found()
    return found


def require(desk: Desk, subscription_id: str) -> None:
    """Raises NotFound, before anything is said of the body."""
    with desk.ledger.read() as connection:
        find(connection, subscription_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A subscription that nobody else changes, nor what is queued for it, until the transaction ends. now: ms."""

    connection: Connection
    subscription: Subscription
    now: int

    def change(self, changes: Mapping[str, Any]) -> Subscription:
        """What it is then; a new version, if anything changes."""
        news = {name: value for name, value in changes.items() if getattr(self.subscription, name) != value}
        if not news:
            return self.subscription
        news |= {"version": self.subscription.version + 1, "updated_at": self.now}
        subscriptions.change(self.connection, self.subscription.id, **news)
        return replace(self.subscription, **news)


@contextmanager
def held(desk: Desk, subscription_id: str) -> Iterator[Held]:
    """Holds a subscription, then wakes the workers. Raises NotFound."""
    with desk.ledger.write() as connection:
        found = subscriptions.lock(connection, [subscription_id]) if _ID.fullmatch(subscription_id) else {}
        if not found:
            raise _not_found()
        yield Held(connection=connection, subscription=found[subscription_id], now=desk.clock())
    desk.wake_workers()


def noted(caller: ApiCaller, subscription_id: str, what: str, **more: Any) -> None:
    """Logs what somebody did to a subscription: neither its target nor a secret."""
    log.info("subscription.changed", subscription_id=subscription_id, what=what, by=caller.name, **more)


def standing(connection: Connection, found: Subscription) -> Standing:
    return standings(connection, [found])[0]


def standings(connection: Connection, found: Sequence[Subscription]) -> list[Standing]:
    waiting = deliveries.waiting_by_subscription(connection)
    under_way = replays.by_subscription(connection, [each.id for each in found])
    undelivered = {each.id: waiting.get(each.id, 0) + _held_back(connection, each) for each in found}
    return [Standing(subscription=each, undelivered=undelivered[each.id], replays=under_way.get(each.id, ())) for each in found]


def _held_back(connection: Connection, found: Subscription) -> int:
    """What came since it is not served waits too, though nobody has queued it."""
    return 0 if found.state is SubscriptionState.ACTIVE else delivery_lag.count_unqueued(connection, found, _HELD_BACK)


def shown(desk: Desk, found: Standing, caller: ApiCaller) -> dict[str, Any]:
    sink = desk.sinks.get(found.subscription.sink_type)
    return rendering.subscription(found, sink, desk.clock(), keys=caller.sees_keys)


def path_of(subscription_id: str) -> str:
    return f"/v1/subscriptions/{subscription_id}"


def _not_found() -> NotFound:
    return NotFound("there is no subscription with this id")
