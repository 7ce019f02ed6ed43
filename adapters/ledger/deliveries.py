"""Events on their way to subscriptions: one row for each event and subscription, kept for a while after it came to its end.

What is of one subject (a task) is sent in the order of these rows: only the first one that waits has a time when it is due, and
whoever says that it was heard, or is dead, calls up the next one in the same transaction. So no event is sent before the ledger
knows what became of the one before it, whoever dies in between; and what waits in one subject holds up no other.

Who queues, settles or requeues has locked the subscription (`subscriptions.lock`).
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

#: The name of the sums: how many wait, by subscription; how many attempts had which outcome.
_WAITING, _ATTEMPTS = "undelivered", "deliveries"

_IS_WAITING = deliveries.c.state == DeliveryState.WAITING.value


@dataclass(frozen=True, slots=True, kw_only=True)
class NewDelivery:
    """What is to be sent. event_id: None for a test."""

    event_id: int | None
    subject: str
    type: str
    #: event, replay, retry, test
    origin: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """An event on its way, or at its end. Times in ms."""

    id: int
    subscription_id: str
    event_id: int | None
    subject: str
    type: str
    origin: str
    state: DeliveryState
    queued_at: int
    #: When it is sent, or counts as not answered; None: another one of its subject waits before it, or it is at its end.
    due_at: int | None
    #: Whoever took it has until then to say what became of it; None: nobody has.
    lease_until: int | None
    #: How often it was taken; tells who has it.
    tries: int
    first_tried_at: int | None
    done_at: int | None
    #: What was answered each time.
    attempts: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryResult:
    """What became of a delivery that was taken. due_at: when it is tried again, ms, if it still waits."""

    delivery: Delivery
    state: DeliveryState
    due_at: int | None
    attempts: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryFilter:
    """What a delivery must be to be listed; None: anything."""

    state: DeliveryState | None = None
    subject: str | None = None


# On their way.


def queue(connection: Connection, subscription_id: str, items: Sequence[NewDelivery], now: int) -> None:
    """Queues events, in this order."""
    if not items:
        return
    busy = _waiting_subjects(connection, subscription_id, {item.subject for item in items})
    rows = []
    for item in items:
        rows.append(_new_row(subscription_id, item, now, due_at=None if item.subject in busy else now))
        busy.add(item.subject)
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
    """Those of these subjects of which something waits."""
    of_these = (deliveries.c.subscription_id == subscription_id, deliveries.c.subject.in_(subjects), _IS_WAITING)
    return set(connection.scalars(select(deliveries.c.subject).where(*of_these).distinct()))


def due_subscriptions(connection: Connection, now: int, among: Collection[str] | None = None) -> list[str]:
    """The active subscriptions of which something is due: one statement, with a seek in the index for each of them.

    among: only of these.
    """
    is_due = select(deliveries.c.id).where(deliveries.c.subscription_id == subscriptions.c.id, deliveries.c.due_at <= now)
    chosen = true() if among is None else subscriptions.c.id.in_(among)
    active = subscriptions.c.state == SubscriptionState.ACTIVE.value
    return list(connection.scalars(select(subscriptions.c.id).where(active, chosen, is_due.exists()).order_by(subscriptions.c.id)))


def claim(connection: Connection, subscription_id: str, now: int, limit: int, lease_until: int) -> list[Delivery]:
    """Takes what is due, the most overdue first: nobody else does until `lease_until` (ms)."""
    ids = list(connection.scalars(_select_due(subscription_id, now, limit).with_for_update(skip_locked=True)))
    if not ids:
        return []
    taken = {
        "due_at": lease_until,
        "lease_until": lease_until,
        "tries": deliveries.c.tries + 1,
        "first_tried_at": func.coalesce(deliveries.c.first_tried_at, now),
    }
    statement = update(deliveries).where(deliveries.c.id.in_(ids)).values(taken).returning(*deliveries.c)
    found = {row["id"]: delivery_of(row) for row in connection.execute(statement).mappings()}
    return [found[id_] for id_ in ids]


def _select_due(subscription_id: str, now: int, limit: int) -> Any:
    due = (deliveries.c.subscription_id == subscription_id, deliveries.c.due_at <= now)
    return select(deliveries.c.id).where(*due).order_by(deliveries.c.due_at, deliveries.c.id).limit(limit)


def release_leases(connection: Connection, now: int, taken: Sequence[Delivery] | None = None) -> int:
    """Makes what was taken due again, as if nobody had; how many.

    taken: only these, and not what another one took meanwhile; None: all, whoever took them.
    """
    # Only so do they lead to an index.
    these = deliveries.c.subscription_id.in_(select(subscriptions.c.id)) if taken is None else _is_same_claim(taken)
    of_them = (these, _IS_WAITING, deliveries.c.lease_until.is_not(None))
    return connection.execute(update(deliveries).where(*of_them).values(due_at=now, lease_until=None)).rowcount


def _is_same_claim(taken: Sequence[Delivery]) -> ColumnElement[bool]:
    tries = tuple_(deliveries.c.id, deliveries.c.tries).in_([(each.id, each.tries) for each in taken])
    return and_(deliveries.c.id.in_([each.id for each in taken]), tries)


def record_results(
    connection: Connection, results: Sequence[DeliveryResult], now: int, outcomes: Mapping[str, int] = MappingProxyType({})
) -> list[DeliveryResult]:
    """Writes down what became of deliveries, and calls up what is next in their subjects; which of them still were who settles'.

    Who was so late that another one took it meanwhile is not heard: that one says what became of it. outcomes: how many attempts
    had which one, `sink/outcome`.
    """
    still = _current_tries(connection, [result.delivery for result in results])
    heard = [result for result in results if still.get(result.delivery.id) == result.delivery.tries]
    bulk.update(connection, deliveries, [_result_row(result, now) for result in heard], key=("id",))
    ended = [result.delivery for result in heard if result.state is not DeliveryState.WAITING]
    _release_next(connection, ended, now)
    fewer = {whose: -number for whose, number in Counter(each.subscription_id for each in ended).items()}
    add_all(connection, {_WAITING: fewer, _ATTEMPTS: outcomes})
    return heard


def _current_tries(connection: Connection, taken: Sequence[Delivery]) -> dict[int, int]:
    """delivery -> by which try, of those that still wait."""
    statement = select(deliveries.c.id, deliveries.c.tries).where(deliveries.c.id.in_([each.id for each in taken]), _IS_WAITING)
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
    by_subscription = sorted(ended, key=lambda each: each.subscription_id)
    for subscription_id, of_one in groupby(by_subscription, key=lambda each: each.subscription_id):
        subjects = {each.subject for each in of_one}
        of_these = (deliveries.c.subscription_id == subscription_id, deliveries.c.subject.in_(subjects), _IS_WAITING)
        firsts = list(connection.scalars(select(func.min(deliveries.c.id)).where(*of_these).group_by(deliveries.c.subject)))
        if firsts:
            statement = update(deliveries).where(deliveries.c.id.in_(firsts), deliveries.c.due_at.is_(None)).values(due_at=now)
            connection.execute(statement)


# Asked for by people.


def find(connection: Connection, subscription_id: str, delivery_id: int) -> Delivery | None:
    statement = select(deliveries).where(deliveries.c.id == delivery_id, deliveries.c.subscription_id == subscription_id)
    row = connection.execute(statement).mappings().first()
    return delivery_of(row) if row is not None else None


def page(connection: Connection, subscription_id: str, wanted: DeliveryFilter, *, before: int | None, limit: int) -> Page[Delivery]:
    """Newest first, older than this one; fewer than `limit` where they had many long answers."""
    older = true() if before is None else deliveries.c.id < before
    subject = true() if wanted.subject is None else deliveries.c.subject == wanted.subject
    chosen = and_(deliveries.c.subscription_id == subscription_id, subject, older)
    states = tuple(DeliveryState) if wanted.state is None else (wanted.state,)
    # The index has those of each state in order.
    found = [id_ for state in states for id_ in _newest_ids(connection, and_(chosen, deliveries.c.state == state.value), limit)]
    ids, cut = fitting_ids(connection, deliveries, deliveries.c.attempts, sorted(found, reverse=True)[:limit])
    statement = select(deliveries).where(deliveries.c.id.in_(ids)).order_by(deliveries.c.id.desc())
    return Page((delivery_of(row) for row in connection.execute(statement).mappings()), cut=cut)


def _newest_ids(connection: Connection, chosen: ColumnElement[bool], limit: int) -> list[int]:
    return list(connection.scalars(select(deliveries.c.id).where(chosen).order_by(deliveries.c.id.desc()).limit(limit)))


def retry_now(connection: Connection, subscription_id: str, now: int, delivery: Delivery | None = None) -> None:
    """What waits for its next try, and nobody has taken, is due now, and has three days from now.

    delivery: only this one; or what it waits for, the first of its subject. So has what
    was due already, or taken by somebody who never said what became of it.
    """
    free = or_(deliveries.c.lease_until.is_(None), deliveries.c.lease_until <= now)
    tried = or_(deliveries.c.due_at > now, and_(deliveries.c.due_at.is_not(None), deliveries.c.first_tried_at.is_not(None)))
    only = true() if delivery is None else and_(deliveries.c.subject == delivery.subject, _IS_WAITING)
    waiting = (deliveries.c.subscription_id == subscription_id, free, tried, only)
    connection.execute(update(deliveries).where(*waiting).values(due_at=now, lease_until=None, first_tried_at=None))


def requeue(connection: Connection, subscription_id: str, ended: Sequence[Delivery], now: int, *, origin: str) -> None:
    """Queues the events of deliveries that are at their end once more; dead ones are not dead any more."""
    again = [NewDelivery(event_id=each.event_id, subject=each.subject, type=each.type, origin=origin) for each in ended]
    queue(connection, subscription_id, again, now)
    dead = [each.id for each in ended if each.state is DeliveryState.DEAD]
    if dead:
        connection.execute(update(deliveries).where(deliveries.c.id.in_(dead)).values(state=DeliveryState.REQUEUED.value))


def dead(connection: Connection, subscription_id: str, *, after: int, last: int, limit: int) -> list[Delivery]:
    """Dead ones behind this delivery, in order. last: none behind this one."""
    of_it = (deliveries.c.subscription_id == subscription_id, deliveries.c.state == DeliveryState.DEAD.value)
    between = (deliveries.c.id > after, deliveries.c.id <= last)
    statement = select(deliveries).where(*of_it, *between).order_by(deliveries.c.id).limit(limit)
    return [delivery_of(row) for row in connection.execute(statement).mappings()]


def newest_dead_id(connection: Connection, subscription_id: str) -> int:
    """0: there is none."""
    of_it = (deliveries.c.subscription_id == subscription_id, deliveries.c.state == DeliveryState.DEAD.value)
    return connection.scalar(select(func.max(deliveries.c.id)).where(*of_it)) or 0


# In numbers.


def waiting_by_subscription(connection: Connection) -> dict[str, int]:
    """subscription -> how many wait."""
    return sums(connection, _WAITING)


def attempts_by_outcome(connection: Connection) -> dict[tuple[str, str], int]:
    """(sink, outcome) -> how many attempts."""
    return {(sink, outcome): n for label, n in sums(connection, _ATTEMPTS).items() for sink, outcome in [label.split("/")]}


def oldest_waiting(connection: Connection, subscription_id: str) -> int | None:
    """Since when the oldest one that waits was queued, ms."""
    of_it = (deliveries.c.subscription_id == subscription_id, _IS_WAITING)
    return connection.scalar(select(deliveries.c.queued_at).where(*of_it).order_by(deliveries.c.id).limit(1))


# Cleared away.


def expired_ids(connection: Connection, subscription_id: str, before: int, limit: int) -> list[int]:
    """The oldest deliveries, if they came to their end before this time (ms); dead ones apart, which somebody may yet ask for."""
    found: list[int] = []
    for state in (DeliveryState.DELIVERED, DeliveryState.REQUEUED):
        of_it = (deliveries.c.subscription_id == subscription_id, deliveries.c.state == state.value)
        oldest = select(deliveries.c.id, deliveries.c.done_at).where(*of_it).order_by(deliveries.c.id).limit(limit)
        found += [row.id for row in connection.execute(oldest) if row.done_at < before]
    return found


def drop(connection: Connection, ids: Sequence[int]) -> None:
    if ids:
        connection.execute(delete(deliveries).where(deliveries.c.id.in_(ids)))


def drop_some(connection: Connection, subscription_id: str, limit: int) -> int:
    """Drops what there is of a subscription that is no more; how many. If none, nothing waits for it either."""
    of_it = select(deliveries.c.id).where(deliveries.c.subscription_id == subscription_id).limit(limit)
    ids = list(connection.scalars(of_it))
    drop(connection, ids)
    if not ids:
        drop_sum(connection, _WAITING, subscription_id)
    return len(ids)


def delivery_of(row: RowMapping) -> Delivery:
    return Delivery(**{**row, "state": DeliveryState(row["state"]), "attempts": json.loads(row["attempts"])})
