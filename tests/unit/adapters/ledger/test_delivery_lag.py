"""How far behind those are who are told: the active ones, by what waits for them and what is not queued yet."""

import pytest

from adapters.ledger import Ledger, delivery_lag
from adapters.ledger.positions import first_position
from statemachine.delivery_policy import SubscriptionState
from tests.support.ledger_deliveries import claim, queue, queued, result, settle, subscribe, subscription, tell, told
from tests.support.ledger_rows import T0

NEWEST = first_position(T0) + 3


@pytest.fixture
def ledger(ledger: Ledger) -> Ledger:
    """With three events."""
    tell(ledger, *(told(f"t{number}", at=T0 + number) for number in range(3)))
    return ledger


def read(ledger: Ledger) -> tuple[int, int | None]:
    with ledger.read() as connection:
        return delivery_lag.read(connection)


def test_where_nobody_listens_nothing_is_behind(ledger: Ledger) -> None:
    assert read(ledger) == (0, None)


def test_who_has_everything_is_not_behind(ledger: Ledger) -> None:
    subscribe(ledger, subscription(position=NEWEST))
    assert read(ledger) == (0, None)


def test_what_is_not_queued_yet_counts_for_each_who_is_to_be_told(ledger: Ledger) -> None:
    subscribe(ledger, subscription(1, position=NEWEST - 2), subscription(2, position=NEWEST - 2), subscription(3, position=NEWEST))
    assert read(ledger) == (4, T0 + 1)


def test_the_oldest_is_the_one_of_whoever_is_most_behind(ledger: Ledger) -> None:
    subscribe(ledger, subscription(1, position=NEWEST - 1), subscription(2))
    assert read(ledger) == (4, T0)


def test_what_waits_counts_since_it_was_queued_until_it_was_heard(ledger: Ledger) -> None:
    subscribe(ledger, subscription(position=NEWEST))
    queue(ledger, queued("a"), now=T0 + 5)
    queue(ledger, queued("b"), now=T0 + 9)
    assert read(ledger) == (2, T0 + 5)
    settle(ledger, result(claim(ledger, now=T0 + 9, limit=1)[0]))
    assert read(ledger) == (1, T0 + 9)


@pytest.mark.parametrize("state", [state for state in SubscriptionState if state is not SubscriptionState.ACTIVE])
def test_who_is_not_served_is_not_behind(ledger: Ledger, state: SubscriptionState) -> None:
    subscribe(ledger, subscription(state=state))
    queue(ledger, queued("a"))
    assert read(ledger) == (0, None)


def test_who_is_very_far_behind_is_not_counted_to_the_end(ledger: Ledger) -> None:
    for _ in range(11):
        tell(ledger, *(told(at=T0 + 9) for _ in range(1_000)))
    subscribe(ledger, subscription())
    assert read(ledger) == (10_000, T0)
