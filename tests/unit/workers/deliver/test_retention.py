"""Deliveries that ended long ago are deleted, and the rows of a deleted subscription; some at a time."""

from pathlib import Path

import pytest

from adapters.ledger import Ledger, replays
from adapters.ledger.replays import EventSelection
from adapters.ledger.schema import deliveries as table
from adapters.ledger.schema import subscriptions as subscriptions_table
from statemachine.delivery_policy import DeliveryState, SubscriptionState
from tests.support.ledger_deliveries import claim, listed, queue, queued, result, settle, subscribe, subscription, waiting
from tests.support.ledgers import BOTH, open_ledger
from tests.support.times import T0
from workers.deliver.retention import delete_old_deliveries


@pytest.fixture(params=BOTH)
def ledger(request: pytest.FixtureRequest, tmp_path: Path):
    with open_ledger(request.param, tmp_path) as ledger:
        yield ledger


def deliver(ledger: Ledger, *names: str, now: int, number: int = 1, state: DeliveryState = DeliveryState.DELIVERED) -> None:
    queue(ledger, *map(queued, names), now=now, number=number)
    settle(ledger, *(result(each, state) for each in claim(ledger, now=now, number=number, limit=10_000)), now=now)


def rows(ledger: Ledger, of: object) -> int:
    with ledger.read() as connection:
        return len(connection.execute(of.select()).all())  # type: ignore[attr-defined]


def test_old_deliveries_are_deleted_and_waiting_new_or_dead_ones_stay(ledger: Ledger) -> None:
    subscribe(ledger, subscription(1), subscription(2, state=SubscriptionState.PAUSED))
    for number in (1, 2):
        deliver(ledger, "old", now=T0, number=number)
        deliver(ledger, "dead", now=T0, number=number, state=DeliveryState.DEAD)
        deliver(ledger, "new", now=T0 + 1, number=number)
        queue(ledger, queued("waits"), now=T0, number=number)
    assert [delete_old_deliveries(ledger, T0 + 1) for _ in range(2)] == [True, False]
    assert [[each.subject for each in listed(ledger, number)] for number in (1, 2)] == [["dead", "new", "waits"]] * 2


def test_many_deliveries_are_deleted_some_at_a_time(ledger: Ledger) -> None:
    subscribe(ledger, subscription())
    deliver(ledger, *(f"s{number}" for number in range(1_100)), now=T0)
    left = []
    while delete_old_deliveries(ledger, T0 + 1):
        left.append(rows(ledger, table))
    assert left == [600, 100, 0]


def test_nothing_is_left_of_a_deleted_subscription(ledger: Ledger) -> None:
    subscribe(ledger, subscription(1, state=SubscriptionState.DELETED), subscription(2))
    for number in (1, 2):
        queue(ledger, *(queued(f"s{index}") for index in range(700)), number=number)
    with ledger.write() as connection:
        replays.add(connection, subscription(1), EventSelection(since=0, until=T0), 9, T0)
    left = []
    while delete_old_deliveries(ledger, T0):
        left.append(rows(ledger, table))
    assert (left, rows(ledger, subscriptions_table)) == ([900, 700], 1)
    assert (waiting(ledger, 1), waiting(ledger, 2)) == (0, 700)
    with ledger.read() as connection:
        assert replays.of_subscription(connection, subscription(1).id) == []


def test_without_old_deliveries_nothing_happens(ledger: Ledger) -> None:
    assert delete_old_deliveries(ledger, T0) is False
