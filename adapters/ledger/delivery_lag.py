"""How far those who are told of events are behind: of active subscriptions only, since the others wait by intent."""

from sqlalchemy import Connection

from adapters.ledger import deliveries, events, subscriptions
from adapters.ledger.subscriptions import Subscription

#: Events that nobody has queued yet are not counted beyond this.
_MAX_COUNTED = 10_000


def count_unqueued(connection: Connection, subscription: Subscription, most: int) -> int:
    """How many of the next events, looked at no more of them than these, are for a subscription and not queued for it yet."""
    found = events.headers(connection, after=subscription.position, limit=most)
    return sum(subscription.matches(event) for event in found)


def read(connection: Connection) -> tuple[int, int | None]:
    """(how many events were not delivered to somebody who wants them, since when the oldest of them waits; ms)

    Events that were not queued yet count once for each subscription, wanted or not: they are so for a moment only.
    """
    active = subscriptions.active(connection)
    waiting = deliveries.waiting_by_subscription(connection)
    number = sum(waiting.get(each.id, 0) for each in active)
    ages = [deliveries.oldest_waiting(connection, each.id) for each in active if waiting.get(each.id, 0)]
    places = {each.position for each in active}
    for position in places:
        more, oldest = events.backlog_after(connection, after=position, most=_MAX_COUNTED)
        number += more * sum(each.position == position for each in active)
        ages.append(oldest)
    return number, min((age for age in ages if age is not None), default=None)
