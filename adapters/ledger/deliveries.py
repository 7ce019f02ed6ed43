"""Deliveries of events to subscriptions: one row per event and subscription, kept for a while after it has ended.

Deliveries of one subject (a task) are sent in the order of these rows: only the first waiting one has a due time, and the
transaction that records its end (delivered or dead) also makes the next one due. So no event is sent before the ledger knows the
result of the one before it, even if a process dies in between; and a subject that waits delays no other subject.

Callers of `queue`, `record_results` and `requeue` hold the lock of the subscription (`subscriptions.lock`).
"""

import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from types import MappingProxyType
from typing import Any

from sqlalchemy import ColumnElement, Connection, RowMapping, and_, delete, func, or_, select, true, tuple_, update

from adapters.ledger import bulk
from adapters.ledger.counters import add, add_all, drop_sum, sums
from adapters.ledger.documents import json_text
from adapters.ledger.page_size import Page, fitting_ids
from adapters.ledger.schema import deliveries, subscriptions
from statemachine.delivery_policy import DeliveryState, SubscriptionState

#: Names of the sums: waiting deliveries by subscription; attempts by sink and outcome.
_WAITING, _ATTEMPTS = "undelivered", "deliveries"

_IS_WAITING = deliveries.c.state == DeliveryState.WAITING.value


@dataclass(frozen=True, slots=True, kw_only=True)
class NewDelivery:
    """A delivery to be queued. event_id: None for a test."""

    event_id: int | None
    subject: str
    type: str
    #: event, replay, retry, test
    origin: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """The delivery of an event to a subscription, waiting or ended. Times in ms."""

    id: int
    subscription_id: str
    event_id: int | None
    subject: str
    type: str
    origin: str
    state: DeliveryState
    queued_at: int
    #: When it is to be sent, or when its lease ends; None: another one of its subject waits before it, or it has ended.
    due_at: int | None
    #: End of the lease of the worker that claimed it; None: it is not claimed.
    lease_until: int | None
    #: Number of claims; identifies the current claim.
    tries: int
    first_tried_at: int | None
    done_at: int | None
    #: The answer to each attempt.
    attempts: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryResult:
    """The result of an attempt of a claimed delivery. due_at: time of the next attempt, ms, if it still waits."""

    delivery: Delivery
    state: DeliveryState
    due_at: int | None
    attempts: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryFilter:
    """Filter of listed deliveries; None: no condition."""

    state: DeliveryState | None = None
    subject: str | None = None


# Queueing, claiming and recording results.


def queue(connection: Connection, subscription_id: str, items: Sequence[NewDelivery], now: int) -> None:
    """Queues deliveries, in this order."""
    if not items:
        return
    waiting = _waiting_subjects(connection, subscription_id, {item.subject for item in items})
    rows = []
    for item in items:
        rows.append(_new_row(subscription_id, item, now, due_at=None if item.subject in waiting else now))
        waiting.add(item.subject)
    bulk.insert(connection, deliveries, rows)
    add(connection, _WAITING, {subscription_id: len(rows)})


def _new_row(subscription_id: str, item: NewDelivery, now: int, *, due_at: int | None) -> dict[str, Any]:
    return {
        "subscription_id": subscription_id,
        "event_id": item.event_id,
        "subject": item.subject,
        "type": item.type,
        "origin": item.origin,
        "state": DeliveryState.WAITING.value,
        "queued_at": now,
        "due_at": due_at,
        "tries": 0,
        "attempts": "[]",
    }


def _waiting_subjects(connection: Connection, subscription_id: str, subjects: Collection[str]) -> set[str]:
    """Returns those of these subjects that have a waiting delivery."""
    of_these = (deliveries.c.subscription_id == subscription_id, deliveries.c.subject.in_(subjects), _IS_WAITING)
    return set(connection.scalars(select(deliveries.c.subject).where(*of_these).distinct()))


def due_subscriptions(connection: Connection, now: int, among: Collection[str] | None = None) -> list[str]:
    """Returns the active subscriptions with due deliveries, by one statement with an index seek per subscription.

    among: only these subscriptions.
    """
    is_due = select(deliveries.c.id).where(deliveries.c.subscription_id == subscriptions.c.id, deliveries.c.due_at <= now)
    chosen = true() if among is None else subscriptions.c.id.in_(among)
    active = subscriptions.c.state == SubscriptionState.ACTIVE.value
    return list(connection.scalars(select(subscriptions.c.id).where(active, chosen, is_due.exists()).order_by(subscriptions.c.id)))


def claim(connection: Connection, subscription_id: str, now: int, limit: int, lease_until: int) -> list[Delivery]:
    """Claims due deliveries until `lease_until` (ms), the most overdue first."""
    ids = list(connection.scalars(_select_due(subscription_id, now, limit).with_for_update(skip_locked=True)))
    if not ids:
        return []
    claimed = {
        "due_at": lease_until,
        "lease_until": lease_until,
        "tries": deliveries.c.tries + 1,
        "first_tried_at": func.coalesce(deliveries.c.first_tried_at, now),
    }
    statement = update(deliveries).where(deliveries.c.id.in_(ids)).values(claimed).returning(*deliveries.c)
    by_id = {row["id"]: delivery_of(row) for row in connection.execute(statement).mappings()}
    return [by_id[id_] for id_ in ids]


def _select_due(subscription_id: str, now: int, limit: int) -> Any:
    due = (deliveries.c.subscription_id == subscription_id, deliveries.c.due_at <= now)
    return select(deliveries.c.id).where(*due).order_by(deliveries.c.due_at, deliveries.c.id).limit(limit)


def release_leases(connection: Connection, now: int, claimed: Sequence[Delivery] | None = None) -> int:
    """Ends leases and makes the deliveries due again; returns their number.

    claimed: only these, unless another worker has claimed them since; None: all claimed deliveries.
    """
    # Written so that the index on subscription and due time is used.
    these = deliveries.c.subscription_id.in_(select(subscriptions.c.id)) if claimed is None else _is_same_claim(claimed)
    of_them = (these, _IS_WAITING, deliveries.c.lease_until.is_not(None))
    return connection.execute(update(deliveries).where(*of_them).values(due_at=now, lease_until=None)).rowcount


def _is_same_claim(claimed: Sequence[Delivery]) -> ColumnElement[bool]:
    tries = tuple_(deliveries.c.id, deliveries.c.tries).in_([(delivery.id, delivery.tries) for delivery in claimed])
    return and_(deliveries.c.id.in_([delivery.id for delivery in claimed]), tries)


def record_results(
    connection: Connection, results: Sequence[DeliveryResult], now: int, outcomes: Mapping[str, int] = MappingProxyType({})
) -> list[DeliveryResult]:
    """Records results and makes the next delivery of each ended subject due; returns the results that were recorded.

    Results whose lease was lost to another worker are dropped: the delivery's current holder reports it. outcomes: number of
    attempts by `sink/outcome`.
    """
    tries = _current_tries(connection, [result.delivery for result in results])
    recorded = [result for result in results if tries.get(result.delivery.id) == result.delivery.tries]
    bulk.update(connection, deliveries, [_result_row(result, now) for result in recorded], key=("id",))
    ended = [result.delivery for result in recorded if result.state is not DeliveryState.WAITING]
    _release_next(connection, ended, now)
    fewer = {id_: -number for id_, number in Counter(delivery.subscription_id for delivery in ended).items()}
    add_all(connection, {_WAITING: fewer, _ATTEMPTS: outcomes})
    return recorded


def _current_tries(connection: Connection, claimed: Sequence[Delivery]) -> dict[int, int]:
    """Returns delivery id -> number of its current claim, for those that still wait."""
    ids = [delivery.id for delivery in claimed]
    statement = select(deliveries.c.id, deliveries.c.tries).where(deliveries.c.id.in_(ids), _IS_WAITING)
    return {row.id: row.tries for row in connection.execute(statement)}


def _result_row(result: DeliveryResult, now: int) -> dict[str, Any]:
    waits = result.state is DeliveryState.WAITING
    return {
        "id": result.delivery.id,
        "state": result.state.value,
        "due_at": result.due_at if waits else None,
        "lease_until": None,
        "done_at": None if waits else now,
        "attempts": json_text(list(result.attempts)),
    }


def _release_next(connection: Connection, ended: Iterable[Delivery], now: int) -> None:
    """Makes the first waiting delivery of each of these subjects due."""
    by_subscription = sorted(ended, key=lambda delivery: delivery.subscription_id)
    for subscription_id, of_one in groupby(by_subscription, key=lambda delivery: delivery.subscription_id):
        subjects = {delivery.subject for delivery in of_one}
        of_these = (deliveries.c.subscription_id == subscription_id, deliveries.c.subject.in_(subjects), _IS_WAITING)
        firsts = list(connection.scalars(select(func.min(deliveries.c.id)).where(*of_these).group_by(deliveries.c.subject)))
        if firsts:
            statement = update(deliveries).where(deliveries.c.id.in_(firsts), deliveries.c.due_at.is_(None)).values(due_at=now)
            connection.execute(statement)


# For the desk.


def find(connection: Connection, subscription_id: str, delivery_id: int) -> Delivery | None:
    statement = select(deliveries).where(deliveries.c.id == delivery_id, deliveries.c.subscription_id == subscription_id)
    row = connection.execute(statement).mappings().first()
    return delivery_of(row) if row is not None else None


def page(
    connection: Connection, subscription_id: str, delivery_filter: DeliveryFilter, *, before: int | None, limit: int
) -> Page[Delivery]:
    """Returns deliveries older than the id `before`, newest first; fewer than `limit` where they have many long answers."""
    older = true() if before is None else deliveries.c.id < before
    subject = true() if delivery_filter.subject is None else deliveries.c.subject == delivery_filter.subject
    chosen = and_(deliveries.c.subscription_id == subscription_id, subject, older)
    states = tuple(DeliveryState) if delivery_filter.state is None else (delivery_filter.state,)
    # The index holds the deliveries of each state in order.
    newest = [id_ for state in states for id_ in _newest_ids(connection, and_(chosen, deliveries.c.state == state.value), limit)]
    ids, cut = fitting_ids(connection, deliveries, deliveries.c.attempts, sorted(newest, reverse=True)[:limit])
    statement = select(deliveries).where(deliveries.c.id.in_(ids)).order_by(deliveries.c.id.desc())
    return Page((delivery_of(row) for row in connection.execute(statement).mappings()), cut=cut)


def _newest_ids(connection: Connection, chosen: ColumnElement[bool], limit: int) -> list[int]:
    return list(connection.scalars(select(deliveries.c.id).where(chosen).order_by(deliveries.c.id.desc()).limit(limit)))


def retry_now(connection: Connection, subscription_id: str, now: int, delivery: Delivery | None = None) -> None:
    """Makes unclaimed deliveries that wait for a retry due now, and restarts their three days.

    delivery: only this one, or the first of its subject, for which it waits. Deliveries that were due already, or whose lease
    expired without a result, are included.
    """
    free = or_(deliveries.c.lease_until.is_(None), deliveries.c.lease_until <= now)
    tried = or_(deliveries.c.due_at > now, and_(deliveries.c.due_at.is_not(None), deliveries.c.first_tried_at.is_not(None)))
    only = true() if delivery is None else and_(deliveries.c.subject == delivery.subject, _IS_WAITING)
    waiting = (deliveries.c.subscription_id == subscription_id, free, tried, only)
    connection.execute(update(deliveries).where(*waiting).values(due_at=now, lease_until=None, first_tried_at=None))


def requeue(connection: Connection, subscription_id: str, ended: Sequence[Delivery], now: int, *, origin: str) -> None:
    """Queues the events of ended deliveries again; dead ones become requeued."""
    again = [NewDelivery(event_id=old.event_id, subject=old.subject, type=old.type, origin=origin) for old in ended]
    queue(connection, subscription_id, again, now)
    dead = [delivery.id for delivery in ended if delivery.state is DeliveryState.DEAD]
    if dead:
        connection.execute(update(deliveries).where(deliveries.c.id.in_(dead)).values(state=DeliveryState.REQUEUED.value))


def dead(connection: Connection, subscription_id: str, *, after: int, last: int, limit: int) -> list[Delivery]:
    """Returns dead deliveries with ids in (after, last], in order."""
    of_it = (deliveries.c.subscription_id == subscription_id, deliveries.c.state == DeliveryState.DEAD.value)
    between = (deliveries.c.id > after, deliveries.c.id <= last)
    statement = select(deliveries).where(*of_it, *between).order_by(deliveries.c.id).limit(limit)
    return [delivery_of(row) for row in connection.execute(statement).mappings()]


def newest_dead_id(connection: Connection, subscription_id: str) -> int:
    """Returns the id of the newest dead delivery; 0: there is none."""
    of_it = (deliveries.c.subscription_id == subscription_id, deliveries.c.state == DeliveryState.DEAD.value)
    return connection.scalar(select(func.max(deliveries.c.id)).where(*of_it)) or 0


# For statistics.


def waiting_by_subscription(connection: Connection) -> dict[str, int]:
    """Returns subscription id -> number of waiting deliveries."""
    return sums(connection, _WAITING)


def attempts_by_outcome(connection: Connection) -> dict[tuple[str, str], int]:
    """Returns (sink, outcome) -> number of attempts."""
    return {(sink, outcome): n for label, n in sums(connection, _ATTEMPTS).items() for sink, outcome in [label.split("/")]}


def oldest_waiting(connection: Connection, subscription_id: str) -> int | None:
    """Returns when the oldest waiting delivery was queued, ms."""
    of_it = (deliveries.c.subscription_id == subscription_id, _IS_WAITING)
    return connection.scalar(select(deliveries.c.queued_at).where(*of_it).order_by(deliveries.c.id).limit(1))


# Retention.


def expired_ids(connection: Connection, subscription_id: str, before: int, limit: int) -> list[int]:
    """Returns ids of the oldest deliveries that ended before a time (ms), without dead ones: they may yet be requeued."""
    ids: list[int] = []
    for state in (DeliveryState.DELIVERED, DeliveryState.REQUEUED):
        of_it = (deliveries.c.subscription_id == subscription_id, deliveries.c.state == state.value)
        oldest = select(deliveries.c.id, deliveries.c.done_at).where(*of_it).order_by(deliveries.c.id).limit(limit)
        ids += [row.id for row in connection.execute(oldest) if row.done_at < before]
    return ids


def drop(connection: Connection, ids: Sequence[int]) -> None:
    if ids:
        connection.execute(delete(deliveries).where(deliveries.c.id.in_(ids)))


def drop_some(connection: Connection, subscription_id: str, limit: int) -> int:
    """Deletes deliveries of a deleted subscription, at most `limit`; returns their number. After the last, deletes its sum too."""
    of_it = select(deliveries.c.id).where(deliveries.c.subscription_id == subscription_id).limit(limit)
    ids = list(connection.scalars(of_it))
    drop(connection, ids)
    if not ids:
        drop_sum(connection, _WAITING, subscription_id)
    return len(ids)


def delivery_of(row: RowMapping) -> Delivery:
    return Delivery(**{**row, "state": DeliveryState(row["state"]), "attempts": json.loads(row["attempts"])})
