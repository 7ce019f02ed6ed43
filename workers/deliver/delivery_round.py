"""One round of the dispatcher: everything that it needs from the ledger, in one transaction.

A round records the results of what was sent, queues new events for the subscriptions that match them, advances replays, and claims
due deliveries. The subscriptions that it touches are locked, so that the rounds of several workers and the requests of the API run
one after the other.

Other writers wait meanwhile; on SQLite all of them do. So the events themselves, which never change, are read before and after.
"""

import itertools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from adapters.contract.cloud_events import DISABLED_TYPE
from adapters.ledger import Connection, Ledger, deliveries, epochs, events, positions, replays, subscriptions
from adapters.ledger.deliveries import Delivery, DeliveryResult, NewDelivery
from adapters.ledger.events import EventHeader, EventRow, SystemEvent
from adapters.ledger.subscriptions import Subscription
from statemachine.delivery_policy import SubscriptionState
from workers.deliver.delivery_results import apply_results, delivery_result, group_by_subscription
from workers.deliver.messages import SendAttempt

#: Lease of a claimed delivery, ms: longer than sending it and recording the result takes.
LEASE_MS = 45_000
#: New events queued per round and position at most.
_EVENTS_PER_ROUND = 500
#: Subscriptions for which one round queues new events, at most: other writers wait for the transaction; the rest come in the next
#: round.
_SUBSCRIPTIONS_PER_ROUND = 250
#: Deliveries claimed per round at most, shared by all subscriptions.
_CLAIMS_PER_ROUND = 4_000

#: Subscription id -> how many more deliveries may be claimed for it.
Capacity = Callable[[str], int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """The result of a round."""

    #: The deliveries that were claimed.
    claimed: Sequence[Delivery]
    #: id -> subscription; contains those that the claimed deliveries are for.
    subscriptions: Mapping[str, Subscription]
    #: event id -> event of the claimed deliveries; test events have none.
    event_rows: Mapping[int, EventRow]
    #: What the attempts mean for their deliveries.
    results: Sequence[DeliveryResult]
    #: The subscriptions of these deliveries, as they are after the attempts.
    updated: Sequence[Subscription]
    #: Those of them that this round disabled.
    disabled: Sequence[Subscription]


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundPlan:
    """The subscriptions that a round has work for, besides those of the attempts whose results it records."""

    #: The ids of all active subscriptions; empty if there is nothing to do.
    active: frozenset[str]
    to_do: frozenset[str]
    #: Those of them with a replay that is due.
    replaying: frozenset[str] = frozenset()
    #: Subscription position -> (headers of the next events, the position that they reach).
    new_events: Mapping[int, tuple[Sequence[EventHeader], int]] = field(default_factory=dict)


NOTHING_TO_DO = RoundPlan(active=frozenset(), to_do=frozenset())


def plan_round(connection: Connection, now: int, capacity: Capacity) -> RoundPlan:
    """Returns what a round would have to do.

    If there is nothing, this takes four statements however many subscriptions there are: it is called four times a second.
    """
    newest = positions.newest(connection)
    behind = dict(itertools.islice(subscriptions.lagging(connection, newest).items(), _SUBSCRIPTIONS_PER_ROUND))
    replaying = replays.due(connection, now)
    due = {id_ for id_ in deliveries.due_subscriptions(connection, now) if capacity(id_)}
    if not (behind or replaying or due):
        return NOTHING_TO_DO
    active = subscriptions.active_ids(connection)
    replaying &= active
    new_events = {position: _events_after(connection, position, newest) for position in set(behind.values())}
    to_do = frozenset(behind.keys() | replaying | due)
    return RoundPlan(active=active, to_do=to_do, replaying=frozenset(replaying), new_events=new_events)


def _events_after(connection: Connection, position: int, newest: int) -> tuple[Sequence[EventHeader], int]:
    headers = events.headers(connection, after=position, last=newest, limit=_EVENTS_PER_ROUND)
    return headers, headers[-1].position if len(headers) == _EVENTS_PER_ROUND else newest


def run_round(
    ledger: Ledger,
    now: int,
    attempts: Sequence[SendAttempt],
    plan: RoundPlan,
    capacity: Capacity,
    jitter: Callable[[], float],
) -> Round:
    """Records these attempts, carries out the plan, and claims due deliveries.

    jitter: returns a random number from 0 to 1. Raises LedgerUnavailableError, ConflictError.
    """
    with ledger.write() as connection:
        locked = subscriptions.lock(connection, {attempt.delivery.subscription_id for attempt in attempts} | plan.to_do)
        known = [attempt for attempt in attempts if attempt.delivery.subscription_id in locked]  # the others were deleted
        results = _record_results(connection, known, now, jitter)
        updated = _update_subscriptions(connection, locked, _still_current(known, results), now)
        disabled = [new for id_, new in updated.items() if new.state is not locked[id_].state]
        active = _only_active({**locked, **updated})
        _queue_new_events(connection, active, plan.new_events, now)
        for id_ in plan.replaying & active.keys():
            replays.advance(connection, active[id_], now)
        claimed = _claim_due(connection, active, now, capacity)
    with ledger.read() as connection:
        rows = events.read_rows(connection, {delivery.event_id for delivery in claimed if delivery.event_id is not None})
    return Round(
        claimed=claimed,
        subscriptions=active,
        event_rows=rows,
        results=results,
        updated=list(updated.values()),
        disabled=disabled,
    )


def _claim_due(connection: Connection, active: Mapping[str, Subscription], now: int, capacity: Capacity) -> list[Delivery]:
    due = deliveries.due_subscriptions(connection, now, active)
    share = max(1, _CLAIMS_PER_ROUND // max(1, len(due)))
    return [
        delivery
        for id_ in due
        if (limit := min(capacity(id_), share)) > 0
        for delivery in deliveries.claim(connection, id_, now, limit, now + LEASE_MS)
    ]


def _only_active(locked: Mapping[str, Subscription]) -> dict[str, Subscription]:
    return {id_: subscription for id_, subscription in locked.items() if subscription.state is SubscriptionState.ACTIVE}


# Results of attempts.


def _record_results(
    connection: Connection, attempts: Sequence[SendAttempt], now: int, jitter: Callable[[], float]
) -> list[DeliveryResult]:
    """Saves the results, and returns those whose delivery was still leased to this worker."""
    if not attempts:
        return []
    outcomes = Counter(attempt.outcome for attempt in attempts)
    return deliveries.record_results(connection, [delivery_result(attempt, now, jitter) for attempt in attempts], now, outcomes)


def _still_current(attempts: Sequence[SendAttempt], results: Sequence[DeliveryResult]) -> list[SendAttempt]:
    """Returns the attempts whose result was saved. One whose lease was lost does not count for the subscription either."""
    saved = {(result.delivery.id, result.delivery.tries) for result in results}
    return [attempt for attempt in attempts if (attempt.delivery.id, attempt.delivery.tries) in saved]


def _update_subscriptions(
    connection: Connection, locked: Mapping[str, Subscription], attempts: Sequence[SendAttempt], now: int
) -> dict[str, Subscription]:
    """Saves the health of the subscriptions of these attempts, and returns them as they are now."""
    updated = {id_: apply_results(locked[id_], theirs, now) for id_, theirs in group_by_subscription(attempts).items()}
    for id_, new in updated.items():
        _save_subscription(connection, locked[id_], new)
    return updated


def _save_subscription(connection: Connection, before: Subscription, new: Subscription) -> None:
    names = ("failing_since", "failed_at", "delivered_at", "state", "reason", "updated_at", "version")
    changed = {name: getattr(new, name) for name in names if getattr(new, name) != getattr(before, name)}
    if changed:
        subscriptions.change(connection, new.id, **changed)
    if new.state is not before.state:  # it was disabled
        events.append_system_events(connection, [_disabled_event(new, epochs.current(connection))])


def _disabled_event(disabled: Subscription, epoch: int) -> SystemEvent:
    """Returns the event by which other subscriptions learn that this one is disabled."""
    data = {
        "subscription_id": disabled.id,
        "description": disabled.description,
        "sink": {"type": disabled.sink["type"]},
        "state": disabled.state.value,
        "reason": disabled.reason,
    }
    at = disabled.updated_at
    return SystemEvent(subject=disabled.id, version=disabled.version, type=DISABLED_TYPE, at=at, data=data, epoch=epoch)


# New events.


def _queue_new_events(
    connection: Connection,
    active: Mapping[str, Subscription],
    new_events: Mapping[int, tuple[Sequence[EventHeader], int]],
    now: int,
) -> None:
    """Queues new events for the subscriptions whose position has not moved since `plan_round`; the others have them already."""
    moved: dict[int, list[str]] = {}
    for subscription in active.values():
        headers, last = new_events.get(subscription.position, ((), subscription.position))
        matching = [_queue_entry(event) for event in headers if subscription.matches(event)]
        deliveries.queue(connection, subscription.id, matching, now)
        if last != subscription.position:
            moved.setdefault(last, []).append(subscription.id)
    for last, ids in moved.items():
        subscriptions.advance(connection, ids, last)


def _queue_entry(event: EventHeader) -> NewDelivery:
    return NewDelivery(event_id=event.position, subject=event.subject, type=event.type, origin="event")
