"""Events that somebody asked for once more: each replay goes on a little at a time, so that nobody is flooded."""

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
#: Events that are looked at, at once.
_SCAN_LIMIT = 1_000
#: How much of its rate a replay may make up for at once when it was not served in time, ms.
_BURST_MS = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class EventSelection:
    """Which events: those of [since, until) (ms), of one subject only; or only what is dead, by when it was queued."""

    since: int
    until: int
    subject: str | None = None
    dead: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """Under way. Positions are events'; of dead ones, ids of deliveries."""

    id: int
    selection: EventSelection
    position: int
    last: int
    #: Events per second.
    rate: float
    #: When more may be queued, ms.
    next_at: int


def add(connection: Connection, subscription: Subscription, selection: EventSelection, rate: float, now: int) -> None:
    """rate: events per second."""
    first, last = _position_range(connection, subscription, selection)
    row = {"subscription_id": subscription.id, "since": selection.since, "until": selection.until, "subject": selection.subject}
    where = {"dead": int(selection.dead), "position": first, "last": last, "rate": rate, "next_at": now}
    connection.execute(insert(replays).values(**row, **where))


def count(connection: Connection, subscription: Subscription, selection: EventSelection) -> int:
    """How many deliveries it would make, as things are."""
    position, last = _position_range(connection, subscription, selection)
    number = 0
    while position < last:
        chosen, position = _scan_next(connection, subscription, selection, position, last)
        number += len(chosen)
    return number


def of_subscription(connection: Connection, subscription_id: str) -> list[Replay]:
    """Those of a subscription that are under way, the oldest first."""
    statement = select(replays).where(replays.c.subscription_id == subscription_id).order_by(replays.c.id)
    return [_replay_of(row) for row in connection.execute(statement).mappings()]


def by_subscription(connection: Connection, ids: Sequence[str]) -> dict[str, list[Replay]]:
    """The same of several subscriptions; only of those that have any."""
    statement = select(replays).where(replays.c.subscription_id.in_(ids)).order_by(replays.c.id)
    found: dict[str, list[Replay]] = {}
    for row in connection.execute(statement).mappings():
        found.setdefault(row["subscription_id"], []).append(_replay_of(row))
    return found


def due(connection: Connection, now: int) -> set[str]:
    """The subscriptions that have replays which may go on."""
    return set(connection.scalars(select(replays.c.subscription_id).where(replays.c.next_at <= now)))


def drop_all(connection: Connection, subscription_id: str) -> None:
    connection.execute(delete(replays).where(replays.c.subscription_id == subscription_id))


def advance(connection: Connection, subscription: Subscription, now: int) -> int:
    """Queues what the replays of a locked subscription may queue by now (ms); how many."""
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
    """(behind which position, up to which one) there may be something. What comes later is not part of it."""
    if selection.dead:
        return 0, deliveries.newest_dead_id(connection, subscription.id)
    first, last = positions.first_position(selection.since), _end_position(selection)
    strays = positions.strays(connection)
    if strays.last > first:
        last = max(last, strays.last)
    return first, min(positions.newest(connection), last)


def _end_position(selection: EventSelection) -> int:
    """Behind it nothing but strays can be of its time."""
    return positions.first_position(selection.until + positions.AHEAD_MS)


def _scan_next(
    connection: Connection, subscription: Subscription, selection: EventSelection, position: int, last: int
) -> tuple[Sequence[EventHeader | Delivery], int]:
    """(what is chosen of the next few, the position of the last one that was looked at)"""
    found: Sequence[EventHeader | Delivery]
    if selection.dead:
        found = deliveries.dead(connection, subscription.id, after=position, last=last, limit=_SCAN_LIMIT)
    else:
        position, last = _scan_range(connection, selection, position, last)
        found = events.headers(connection, after=position, last=last, limit=_SCAN_LIMIT, subject=selection.subject)
    chosen = [each for each in found if _is_chosen(each, subscription, selection)]
    return chosen, last if len(found) < _SCAN_LIMIT else _item_position(found[-1])


def _scan_range(connection: Connection, selection: EventSelection, position: int, last: int) -> tuple[int, int]:
    """(behind which position, up to which one) to look next: first where events of its time usually are, then among the strays."""
    end = _end_position(selection)
    if position < end:
        return position, min(last, end)
    return max(position, positions.strays(connection).first - 1), last


def _is_chosen(item: EventHeader | Delivery, subscription: Subscription, selection: EventSelection) -> bool:
    at = item.at if isinstance(item, EventHeader) else item.queued_at
    wanted = subscription.matches(item) if isinstance(item, EventHeader) else True
    return wanted and selection.since <= at < selection.until and selection.subject in (None, item.subject)


def _item_position(item: EventHeader | Delivery) -> int:
    return item.position if isinstance(item, EventHeader) else item.id


def _queue_items(connection: Connection, subscription: Subscription, chosen: Sequence[EventHeader | Delivery], now: int) -> None:
    dead = [each for each in chosen if isinstance(each, Delivery)]
    deliveries.requeue(connection, subscription.id, dead, now, origin=REPLAY)
    again = [_new_delivery(each) for each in chosen if isinstance(each, EventHeader)]
    deliveries.queue(connection, subscription.id, again, now)


def _new_delivery(event: EventHeader) -> NewDelivery:
    return NewDelivery(event_id=event.position, subject=event.subject, type=event.type, origin=REPLAY)


def _replay_of(row: RowMapping) -> Replay:
    values: dict[str, Any] = {name: row[name] for name in ("id", "position", "last", "rate", "next_at")}
    selection = EventSelection(since=row["since"], until=row["until"], subject=row["subject"], dead=bool(row["dead"]))
    return Replay(**values, selection=selection)
