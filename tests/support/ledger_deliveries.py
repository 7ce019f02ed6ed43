"""Puts subscriptions, events and deliveries into a ledger, with default values."""

from typing import Any

from adapters.ledger import Ledger, deliveries, events, subscriptions
from adapters.ledger.deliveries import Delivery, DeliveryFilter, DeliveryResult, NewDelivery
from adapters.ledger.documents import TaskTexts
from adapters.ledger.events import SystemEvent, TaskEvent
from adapters.ledger.subscriptions import Subscription
from statemachine.delivery_policy import DeliveryState, SubscriptionState
from tests.support.ledger_rows import key, task
from tests.support.times import T0

LEASE = 45_000
ANY = DeliveryFilter()


def id_of(number: int) -> str:
    """Returns the id of a subscription."""
    return f"{number:026d}"


def subscription(number: int = 1, **more: Any) -> Subscription:
    values = {
        "id": id_of(number),
        "sink": {"type": "mailbox", "box": str(number)},
        "types": ["tally.*"],
        "filter": {},
        "description": "",
        "state": SubscriptionState.ACTIVE,
        "reason": None,
        "secret": "whsec_new",
        "old_secret": None,
        "old_secret_until": None,
        "position": 0,
        "failing_since": None,
        "failed_at": None,
        "delivered_at": None,
        "created_at": T0,
        "updated_at": T0,
        "version": 1,
    }
    return Subscription(**{**values, **more})


def subscribe(ledger: Ledger, *them: Subscription) -> None:
    with ledger.write() as connection:
        for one in them:
            subscriptions.add(connection, one)


def standing(ledger: Ledger, number: int = 1) -> Subscription:
    with ledger.read() as connection:
        found = subscriptions.find(connection, id_of(number))
    assert found is not None
    return found


def change(ledger: Ledger, number: int = 1, **values: Any) -> None:
    with ledger.write() as connection:
        subscriptions.change(connection, id_of(number), **values)


def told(name: str = "t1", version: int = 1, *, at: int = T0, type_: str = "tally.task.running", **more: Any) -> TaskEvent:
    """more: of the task's key."""
    its = task(key(name, **more), version=version)
    return TaskEvent(task=its, type=type_, at=at, previous_state=None, cause={"kind": "callback", "callback_id": "7"})


def note(version: int = 1, *, at: int = T0) -> SystemEvent:
    about = {"subscription_id": id_of(9), "reason": "gone", "\x00": "\ud800"}
    return SystemEvent(subject=id_of(9), version=version, type="tally.subscription.disabled", at=at, data=about)


def tell(ledger: Ledger, *events_told: TaskEvent) -> None:
    with ledger.write() as connection:
        events.append(connection, events_told, TaskTexts())


def subject_of(name: str) -> str:
    return told(name).subject


def queued(subject: str = "a", event_id: int | None = 1, **more: Any) -> NewDelivery:
    return NewDelivery(**{"event_id": event_id, "subject": subject, "type": "tally.task.running", "origin": "event", **more})


def queue(ledger: Ledger, *items: NewDelivery, now: int = T0, number: int = 1) -> None:
    with ledger.write() as connection:
        deliveries.queue(connection, id_of(number), items, now)


def claim(ledger: Ledger, *, now: int = T0, limit: int = 100, number: int = 1) -> list[Delivery]:
    with ledger.write() as connection:
        return deliveries.claim(connection, id_of(number), now, limit, now + LEASE)


def result(of: Delivery, state: DeliveryState = DeliveryState.DELIVERED, *, due_at: int | None = None) -> DeliveryResult:
    return DeliveryResult(delivery=of, state=state, due_at=due_at, attempts=[*of.attempts, {"status": 200}])


def settle(ledger: Ledger, *results: DeliveryResult, now: int = T0) -> list[DeliveryResult]:
    with ledger.write() as connection:
        return deliveries.record_results(connection, results, now)


def listed(ledger: Ledger, number: int = 1, wanted: DeliveryFilter = ANY) -> list[Delivery]:
    """The oldest first."""
    with ledger.read() as connection:
        return deliveries.page(connection, id_of(number), wanted, before=None, limit=10_000)[::-1]


def waiting(ledger: Ledger, number: int = 1) -> int:
    """As the sum has it."""
    with ledger.read() as connection:
        return deliveries.waiting_by_subscription(connection).get(id_of(number), 0)
