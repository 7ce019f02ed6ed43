"""Measures the delivery lag of active subscriptions; paused and disabled ones wait by intent."""

from sqlalchemy import Connection

from adapters.ledger import deliveries, events, subscriptions
from adapters.ledger.subscriptions import Subscription

#: Maximum number of events that are counted after one position.
_MAX_COUNTED = 10_000


def count_unqueued(connection: Connection, subscription: Subscription, most: int) -> int:
    """Returns how many of the next `most` events match a subscription and are not queued for it yet."""
    headers = events.headers(connection, after=subscription.position, limit=most)
    return sum(subscription.matches(header) for header in headers)


def read(connection: Connection) -> tuple[int, int | None]:
    """Returns (number of undelivered events over all active subscriptions, time since which the oldest waits, ms).

    Events that are not queued yet count once per subscription, matching or not: they stay so for a moment only.
    """
    active = subscriptions.active(connection)
    waiting = deliveries.waiting_by_subscription(connection)
    number = sum(waiting.get(subscription.id, 0) for subscription in active)
    times = [deliveries.oldest_waiting(connection, subscription.id) for subscription in active if waiting.get(subscription.id, 0)]
    for position in {subscription.position for subscription in active}:
        more, oldest = events.backlog_after(connection, after=position, most=_MAX_COUNTED)
        number += more * sum(subscription.position == position for subscription in active)
        times.append(oldest)
    return number, min((time for time in times if time is not None), default=None)
