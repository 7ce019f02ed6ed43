"""The delivery lag of active subscriptions: waiting deliveries, and events that are not queued yet."""

import pytest

from adapters.ledger import Ledger, delivery_lag
from adapters.ledger.positions import first_position
from statemachine.delivery_policy import SubscriptionState
from tests.support.ledger_deliveries import claim, queue, queued, result, settle, subscribe, subscription, tell, told
from tests.support.times import T0

NEWEST = first_position(T0) + 3


@pytest.fixture
def ledger(ledger: Ledger) -> Ledger:
    """A ledger with three events."""
    tell(ledger, *(told(f"t{number}", at=T0 + number) for number in range(3)))
    return ledger


def read(ledger: Ledger) -> tuple[int, int | None]:
    with ledger.read() as connection:
        return delivery_lag.read(connection)


def test_without_subscriptions_there_is_no_lag(ledger: Ledger) -> None:
    assert read(ledger) == (0, None)


def test_a_subscription_with_everything_delivered_has_no_lag(ledger: Ledger) -> None:
    subscribe(ledger, subscription(position=NEWEST))
    assert read(ledger) == (0, None)


def test_events_that_are_not_queued_yet_count_once_per_subscription(ledger: Ledger) -> None:
    subscribe(ledger, subscription(1, position=NEWEST - 2), subscription(2, position=NEWEST - 2), subscription(3, position=NEWEST))
    assert read(ledger) == (4, T0 + 1)


def test_the_oldest_event_is_that_of_the_most_lagging_subscription(ledger: Ledger) -> None:
    subscribe(ledger, subscription(1, position=NEWEST - 1), subscription(2))
    assert read(ledger) == (4, T0)


def test_a_delivery_counts_from_its_queueing_until_it_is_delivered(ledger: Ledger) -> None:
    subscribe(ledger, subscription(position=NEWEST))
    queue(ledger, queued("a"), now=T0 + 5)
    queue(ledger, queued("b"), now=T0 + 9)
    assert read(ledger) == (2, T0 + 5)
    settle(ledger, result(claim(ledger, now=T0 + 9, limit=1)[0]))
    assert read(ledger) == (1, T0 + 9)


@pytest.mark.parametrize("state", [state for state in SubscriptionState if state is not SubscriptionState.ACTIVE])
def test_a_subscription_that_is_not_active_has_no_lag(ledger: Ledger, state: SubscriptionState) -> None:
    subscribe(ledger, subscription(state=state))
    queue(ledger, queued("a"))
    assert read(ledger) == (0, None)


def test_a_very_large_lag_is_not_counted_to_the_end(ledger: Ledger) -> None:
    for _ in range(11):
        tell(ledger, *(told(at=T0 + 9) for _ in range(1_000)))
    subscribe(ledger, subscription())
    assert read(ledger) == (10_000, T0)
