"""A round of the courier: all that it wants of the ledger, in one transaction.

It says what became of what was sent, queues what is new for those who want it, lets replays go on, and takes what is due. The
subscriptions that it touches are locked, so that rounds of several workers, and what people ask for, come one after the other.

Others wait meanwhile, on SQLite everybody who writes: what never changes, the events themselves, is read before and after.
"""

import itertools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from adapters.contract.cloud_events import DISABLED_TYPE
from adapters.ledger import Connection, Ledger, deliveries, epochs, events, positions, replays, subscriptions
from adapters.ledger.deliveries import Delivery, Queued, DeliveryResult
from adapters.ledger.events import Heading, Note, Unread
from adapters.ledger.subscriptions import Subscription
from statemachine.delivery_policy import SubscriptionState
from workers.deliver.delivery_results import after, by_subscription, settled
from workers.deliver.messages import Sent

#: Until when somebody who took an event says what became of it: longer than sending one takes, ms.
LEASE_MS = 45_000
#: Events that are queued at once.
_NEWS = 500
#: Subscriptions for which news are queued at once: others wait for the transaction, and the rest come in the next round.
_SERVED = 250
#: Events that are taken at once, shared by all subscriptions.
_TAKEN = 4_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """What came of a round."""

    #: What was taken, and the subscriptions that it is for; the events of all but tests.
    taken: Sequence[Delivery]
    whose: Mapping[str, Subscription]
    events: Mapping[int, Unread]
    #: What became of deliveries, and of the subscriptions that they were for.
    settled: Sequence[DeliveryResult]
    heard_of: Sequence[Subscription]
    #: Those of them that are not served any more.
    disabled: Sequence[Subscription]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The subscriptions for which there is something to do, beside those from which something came back."""

    #: All that are served; empty where there is nothing to do.
    active: frozenset[str]
    to_do: frozenset[str]
    #: Those of them with replays that may go on.
    replaying: frozenset[str] = frozenset()
    #: Position -> the events behind it, for those who are there, and up to which position that is.
    news: Mapping[int, tuple[Sequence[Heading], int]] = field(default_factory=dict)


NOTHING = Wanted(active=frozenset(), to_do=frozenset())


def look(connection: Connection, now: int, room: Callable[[str], int]) -> Wanted:
    """What a round would find to do. room: subscription -> how many more may be sent.

    While there is nothing, it takes four statements however many subscriptions there are: it is asked four times a second.
    """
    newest = positions.newest(connection)
    behind = dict(itertools.islice(subscriptions.behind(connection, newest).items(), _SERVED))
    replaying = replays.due(connection, now)
    due = {id_ for id_ in deliveries.due_subscriptions(connection, now) if room(id_)}
    if not (behind or replaying or due):
        return NOTHING
    active = subscriptions.active_ids(connection)
    replaying &= active
    news = {position: _news(connection, position, newest) for position in set(behind.values())}
    return Wanted(active=active, to_do=frozenset(behind.keys() | replaying | due), replaying=frozenset(replaying), news=news)


def _news(connection: Connection, position: int, newest: int) -> tuple[Sequence[Heading], int]:
    found = events.headings(connection, after=position, last=newest, limit=_NEWS)
    return found, found[-1].position if len(found) == _NEWS else newest


def make_round(
    ledger: Ledger, now: int, sent: Sequence[Sent], wanted: Wanted, room: Callable[[str], int], dice: Callable[[], float]
) -> Round:
    """room: subscription -> how many more may be sent. dice: 0 to 1. Raises LedgerUnavailableError, ConflictError."""
    with ledger.write() as connection:
        locked = subscriptions.lock(connection, {each.delivery.subscription_id for each in sent} | wanted.to_do)
        known = [each for each in sent if each.delivery.subscription_id in locked]  # what was deleted needs no answers
        done = _settle(connection, known, now, dice)
        heard_of = _hear(connection, locked, _heard(known, done), now)
        disabled = [new for id_, new in heard_of.items() if new.state is not locked[id_].state]
        served = _active({**locked, **heard_of})
        _queue_news(connection, served, wanted.news, now)
        for id_ in wanted.replaying & served.keys():
            replays.go_on(connection, served[id_], now)
        taken = _take(connection, served, now, room)
    with ledger.read() as connection:
        unread = events.unread(connection, {each.event_id for each in taken if each.event_id is not None})
    return Round(taken=taken, whose=served, events=unread, settled=done, heard_of=list(heard_of.values()), disabled=disabled)


def _take(connection: Connection, served: Mapping[str, Subscription], now: int, room: Callable[[str], int]) -> list[Delivery]:
    due = deliveries.due_subscriptions(connection, now, served)
    share = max(1, _TAKEN // max(1, len(due)))
    return [
        delivery
        for id_ in due
        if (free := min(room(id_), share)) > 0
        for delivery in deliveries.claim(connection, id_, now, free, now + LEASE_MS)
    ]


def _active(locked: Mapping[str, Subscription]) -> dict[str, Subscription]:
    return {id_: each for id_, each in locked.items() if each.state is SubscriptionState.ACTIVE}


def _settle(connection: Connection, sent: Sequence[Sent], now: int, dice: Callable[[], float]) -> list[DeliveryResult]:
    if not sent:
        return []
    outcomes = Counter(each.outcome for each in sent)
    return deliveries.settle(connection, [settled(each, now, dice) for each in sent], now, outcomes)


def _heard(sent: Sequence[Sent], done: Sequence[DeliveryResult]) -> list[Sent]:
    """Who came too late says nothing of the subscription either."""
    tries = {(each.delivery.id, each.delivery.tries) for each in done}
    return [each for each in sent if (each.delivery.id, each.delivery.tries) in tries]


def _hear(connection: Connection, locked: Mapping[str, Subscription], sent: Sequence[Sent], now: int) -> dict[str, Subscription]:
    """The subscriptions that anything was sent to, as they are after the answers."""
    heard_of = {id_: after(locked[id_], of_it, now) for id_, of_it in by_subscription(sent).items()}
    for id_, new in heard_of.items():
        _save(connection, locked[id_], new)
    return heard_of


def _save(connection: Connection, before: Subscription, new: Subscription) -> None:
    names = ("failing_since", "failed_at", "delivered_at", "state", "reason", "updated_at", "version")
    changed = {name: getattr(new, name) for name in names if getattr(new, name) != getattr(before, name)}
    if changed:
        subscriptions.change(connection, new.id, **changed)
    if new.state is not before.state:  # it was disabled
        events.append_notes(connection, [_farewell(new, epochs.current(connection))])


def _farewell(disabled: Subscription, epoch: int) -> Note:
    """Others can be told that a subscription is not served any more."""
    about = {
        "subscription_id": disabled.id,
        "description": disabled.description,
        "sink": {"type": disabled.sink["type"]},
        "state": disabled.state.value,
        "reason": disabled.reason,
    }
    said_at = disabled.updated_at
    return Note(subject=disabled.id, version=disabled.version, type=DISABLED_TYPE, at=said_at, data=about, epoch=epoch)


def _queue_news(
    connection: Connection, served: Mapping[str, Subscription], news: Mapping[int, tuple[Sequence[Heading], int]], now: int
) -> None:
    """Queues the next events for those who are where the news begin: who was moved on meanwhile has them already."""
    moved: dict[int, list[str]] = {}
    for each in served.values():
        found, last = news.get(each.position, ((), each.position))
        deliveries.queue(connection, each.id, [_queued(event) for event in found if each.wants(event)], now)
        if last != each.position:
            moved.setdefault(last, []).append(each.id)
    for last, ids in moved.items():
        subscriptions.move_on(connection, ids, last)


def _queued(event: Heading) -> Queued:
    return Queued(event_id=event.position, subject=event.subject, type=event.type, origin="event")
