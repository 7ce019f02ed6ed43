"""Replays of events, requested by clients: each proceeds in small steps at a limited rate, so that no subscriber is flooded."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, RowMapping, delete, insert, select, update

from adapters.ledger import deliveries, events, positions
from adapters.ledger.deliveries import Delivery, NewDelivery
from adapters.ledger.events import EventHeader
from adapters.ledger.schema import replays
from adapters.ledger.subscriptions import Subscription

REPLAY = "replay"
#: Number of events that one step scans.
_SCAN_LIMIT = 1_000
#: Maximum delay that a replay makes up for in one step, ms.
_BURST_MS = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class EventSelection:
    """Selection of events to replay: times in [since, until) (ms), optionally of one subject.

    dead: instead of events, the dead deliveries that were queued in that time.
    """

    since: int
    until: int
    subject: str | None = None
    dead: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """A replay in progress. position and last are positions of events; for dead deliveries, delivery ids."""

    id: int
    selection: EventSelection
    position: int
    last: int
    #: Events per second.
    rate: float
    #: Time of the next step, ms.
    next_at: int


def add(connection: Connection, subscription: Subscription, selection: EventSelection, rate: float, now: int) -> None:
    """Begins a replay. rate: events per second."""
    first, last = _position_range(connection, subscription, selection)
    row = {"subscription_id": subscription.id, "since": selection.since, "until": selection.until, "subject": selection.subject}
    where = {"dead": int(selection.dead), "position": first, "last": last, "rate": rate, "next_at": now}
    connection.execute(insert(replays).values(**row, **where))


def count(connection: Connection, subscription: Subscription, selection: EventSelection) -> int:
    """Returns the number of deliveries that a replay would queue now."""
    position, last = _position_range(connection, subscription, selection)
    number = 0
    while position < last:
        chosen, position = _scan_next(connection, subscription, selection, position, last)
        number += len(chosen)
    return number


def of_subscription(connection: Connection, subscription_id: str) -> list[Replay]:
    """Returns a subscription's replays in progress, the oldest first."""
    statement = select(replays).where(replays.c.subscription_id == subscription_id).order_by(replays.c.id)
    return [_replay_of(row) for row in connection.execute(statement).mappings()]


def by_subscription(connection: Connection, ids: Sequence[str]) -> dict[str, list[Replay]]:
    """Returns the same for several subscriptions; those without replays are left out."""
    statement = select(replays).where(replays.c.subscription_id.in_(ids)).order_by(replays.c.id)
    by_id: dict[str, list[Replay]] = {}
    for row in connection.execute(statement).mappings():
        by_id.setdefault(row["subscription_id"], []).append(_replay_of(row))
    return by_id


def due(connection: Connection, now: int) -> set[str]:
    """Returns the subscriptions with replays that are due for a step."""
    return set(connection.scalars(select(replays.c.subscription_id).where(replays.c.next_at <= now)))


def drop_all(connection: Connection, subscription_id: str) -> None:
    connection.execute(delete(replays).where(replays.c.subscription_id == subscription_id))


def advance(connection: Connection, subscription: Subscription, now: int) -> int:
    """Queues what the replays of a locked subscription may queue by now (ms); returns the number of deliveries."""
    return sum(
        _advance_one(connection, subscription, replay, now)
        for replay in of_subscription(connection, subscription.id)
        if replay.next_at <= now
    )


def _advance_one(connection: Connection, subscription: Subscription, replay: Replay, now: int) -> int:
    since = max(replay.next_at, now - _BURST_MS)
    allowed = 1 + int(replay.rate * (now - since) / 1_000)
    chosen, position = _scan_next(connection, subscription, replay.selection, replay.position, replay.last)
    if len(chosen) > allowed:
        chosen = chosen[:allowed]
        position = _item_position(chosen[-1])
    _queue_items(connection, subscription, chosen, now)
    this = replays.c.id == replay.id
    if position >= replay.last:
        connection.execute(delete(replays).where(this))
    else:
        next_at = since + math.ceil(1_000 * len(chosen) / replay.rate)
        connection.execute(update(replays).where(this).values(position=position, next_at=next_at))
    return len(chosen)


def _position_range(connection: Connection, subscription: Subscription, selection: EventSelection) -> tuple[int, int]:
    """Returns the range (after, last] of positions that may be selected. Events that are written later are not part of it."""
    if selection.dead:
        return 0, deliveries.newest_dead_id(connection, subscription.id)
    first, last = positions.first_position(selection.since), _end_position(selection)
    strays = positions.strays(connection)
    if strays.last > first:
        last = max(last, strays.last)
    return first, min(positions.newest(connection), last)


def _end_position(selection: EventSelection) -> int:
    """Returns the position after which only strays can be of the selected time."""
    return positions.first_position(selection.until + positions.AHEAD_MS)


def _scan_next(
    connection: Connection, subscription: Subscription, selection: EventSelection, position: int, last: int
) -> tuple[Sequence[EventHeader | Delivery], int]:
    """Scans the next items; returns (the selected ones, the position of the last one scanned)."""
    items: Sequence[EventHeader | Delivery]
    if selection.dead:
        items = deliveries.dead(connection, subscription.id, after=position, last=last, limit=_SCAN_LIMIT)
    else:
        position, last = _scan_range(connection, selection, position, last)
        items = events.headers(connection, after=position, last=last, limit=_SCAN_LIMIT, subject=selection.subject)
    chosen = [item for item in items if _is_chosen(item, subscription, selection)]
    return chosen, last if len(items) < _SCAN_LIMIT else _item_position(items[-1])


def _scan_range(connection: Connection, selection: EventSelection, position: int, last: int) -> tuple[int, int]:
    """Returns the range (after, last] to scan next: first the usual positions of the selected time, then the strays."""
    end = _end_position(selection)
    if position < end:
        return position, min(last, end)
    return max(position, positions.strays(connection).first - 1), last


def _is_chosen(item: EventHeader | Delivery, subscription: Subscription, selection: EventSelection) -> bool:
    at = item.at if isinstance(item, EventHeader) else item.queued_at
    matches = subscription.matches(item) if isinstance(item, EventHeader) else True
    return matches and selection.since <= at < selection.until and selection.subject in (None, item.subject)


def _item_position(item: EventHeader | Delivery) -> int:
    return item.position if isinstance(item, EventHeader) else item.id


def _queue_items(connection: Connection, subscription: Subscription, chosen: Sequence[EventHeader | Delivery], now: int) -> None:
    dead = [item for item in chosen if isinstance(item, Delivery)]
    deliveries.requeue(connection, subscription.id, dead, now, origin=REPLAY)
    again = [_new_delivery(item) for item in chosen if isinstance(item, EventHeader)]
    deliveries.queue(connection, subscription.id, again, now)


def _new_delivery(event: EventHeader) -> NewDelivery:
    return NewDelivery(event_id=event.position, subject=event.subject, type=event.type, origin=REPLAY)


def _replay_of(row: RowMapping) -> Replay:
    values: dict[str, Any] = {name: row[name] for name in ("id", "position", "last", "rate", "next_at")}
    selection = EventSelection(since=row["since"], until=row["until"], subject=row["subject"], dead=bool(row["dead"]))
    return Replay(**values, selection=selection)
