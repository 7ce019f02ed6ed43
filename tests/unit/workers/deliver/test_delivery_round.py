"""A round does all the work for active subscriptions in one transaction, and leaves the others alone."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event

from adapters.ledger import Ledger, positions, replays
from adapters.ledger.deliveries import Delivery
from adapters.ledger.replays import EventSelection
from statemachine.delivery_policy import SubscriptionState
from tests.support.dispatcher_harness import GONE, TAKEN, DispatcherHarness
from tests.support.ledger_deliveries import id_of, listed, queue, queued, standing, subject_of, subscription, waiting
from tests.support.ledgers import BOTH, open_ledger
from tests.support.times import T0
from workers.deliver.delivery_round import LEASE_MS, NOTHING_TO_DO, Round, RoundPlan, plan_round, run_round
from workers.deliver.messages import SendAttempt

PAUSED = SubscriptionState.PAUSED


@pytest.fixture(params=BOTH)
def office(request: pytest.FixtureRequest, tmp_path: Path):
    with open_ledger(request.param, tmp_path) as ledger:
        office = DispatcherHarness(ledger)
        yield office
        office.close()


def planned(office: DispatcherHarness, capacity: int = 9, now: int = T0) -> RoundPlan:
    with office.ledger.read() as connection:
        return plan_round(connection, now, lambda _: capacity)


def without_work(found: RoundPlan) -> RoundPlan:
    """Returns the plan with the subscriptions that have work, without the work."""
    return RoundPlan(active=found.active, to_do=found.to_do)


def plan_of(active: set[int], to_do: set[int]) -> RoundPlan:
    return RoundPlan(active=frozenset(map(id_of, active)), to_do=frozenset(map(id_of, to_do)))


def one_round(office: DispatcherHarness, *numbers: int, attempts: list[SendAttempt] | None = None, capacity: int = 9) -> Round:
    found = replace(planned(office, capacity), to_do=frozenset(map(id_of, numbers)))
    return run_round(office.ledger, office.now, attempts or [], found, lambda _: capacity, lambda: 0)


def sent(delivery: Delivery, answer=TAKEN) -> SendAttempt:
    return SendAttempt(delivery=delivery, sink=subscription().sink, result=answer, sent_at=T0)


def newest(ledger: Ledger) -> int:
    with ledger.read() as connection:
        return positions.newest(connection)


# Planning.


def test_without_an_active_subscription_there_is_nothing_to_do(office: DispatcherHarness) -> None:
    office.subscribe(1, state=PAUSED)
    office.tell("a")
    queue(office.ledger, queued("a"))
    assert planned(office) == NOTHING_TO_DO


def statements(office: DispatcherHarness, do: Callable[[], object]) -> int:
    """Returns how many SQL statements are executed meanwhile, of any kind."""
    executed: list[str] = []

    def count_statement(*event_args: Any) -> None:
        executed.append(event_args[2])

    event.listen(Engine, "before_cursor_execute", count_statement)
    try:
        do()
    finally:
        event.remove(Engine, "before_cursor_execute", count_statement)
    return len([statement for statement in executed if not statement.startswith("BEGIN")])


def test_idle_subscriptions_cost_no_statements_of_their_own(office: DispatcherHarness) -> None:
    """Once each plan took a statement per subscription: 1,000 of them cost a third of a core."""
    office.subscribe(1)
    few = statements(office, lambda: planned(office))
    for number in range(2, 202):
        office.subscribe(number)

    assert statements(office, lambda: planned(office)) == few <= 4
    assert planned(office) == NOTHING_TO_DO


def test_an_event_that_no_subscription_matches_costs_no_statements_for_each_subscription(office: DispatcherHarness) -> None:
    for number in range(1, 201):
        office.subscribe(number, types=["tally.task.failed"])
    office.tell("a")
    found = planned(office)

    finished = statements(office, lambda: run_round(office.ledger, office.now, [], found, lambda _: 9, lambda: 0))

    assert finished <= 6
    assert planned(office) == NOTHING_TO_DO


def test_subscriptions_that_are_behind_are_served_some_at_a_time(office: DispatcherHarness) -> None:
    """Other writers wait for the transaction that queues new events."""
    for number in range(1, 601):
        office.subscribe(number, types=["tally.task.failed"])
    office.tell("a")
    served = []
    while (found := planned(office)).to_do:
        served.append(len(found.to_do))
        run_round(office.ledger, office.now, [], found, lambda _: 9, lambda: 0)

    assert served == [250, 250, 100]


def test_there_is_work_for_a_subscription_that_is_behind(office: DispatcherHarness) -> None:
    office.subscribe(1)
    office.tell("a")
    office.subscribe(2)
    found = planned(office)
    assert without_work(found) == plan_of({1, 2}, {1})
    assert [(len(news), last) for news, last in found.new_events.values()] == [(1, newest(office.ledger))]


def test_there_is_work_for_a_subscription_with_capacity_and_a_due_delivery(office: DispatcherHarness) -> None:
    for number in (1, 2, 3):
        office.subscribe(number)
    queue(office.ledger, queued("a"), number=1)
    queue(office.ledger, queued("a"), number=2, now=T0 + 1)
    found = [planned(office), planned(office, now=T0 + 1), planned(office, capacity=0, now=T0 + 1)]
    assert found == [plan_of({1, 2, 3}, {1}), plan_of({1, 2, 3}, {1, 2}), NOTHING_TO_DO]


def test_there_is_work_for_a_replay_of_an_active_subscription(office: DispatcherHarness) -> None:
    office.subscribe(1)
    office.subscribe(2, state=PAUSED)
    with office.ledger.write() as connection:
        for number in (1, 2):
            replays.add(connection, subscription(number), EventSelection(since=0, until=T0), 1, T0 + 5)
    early, late = (planned(office, now=T0 + ms) for ms in (4, 5))
    assert (without_work(early), without_work(late)) == (NOTHING_TO_DO, plan_of({1}, {1}))
    assert (early.replaying, late.replaying) == (frozenset(), frozenset({id_of(1)}))


# Running.


def test_new_events_are_queued_for_the_subscriptions_that_match_and_claimed(office: DispatcherHarness) -> None:
    office.subscribe(1)
    office.subscribe(2, types=["tally.task.failed"])
    office.tell("a", "a")
    finished = one_round(office, 1, 2)
    (taken,) = finished.claimed
    assert (taken.subscription_id, taken.subject, taken.lease_until) == (id_of(1), subject_of("a"), T0 + LEASE_MS)
    assert [*finished.event_rows] == [taken.event_id]
    assert [standing(office.ledger, number).position for number in (1, 2)] == [newest(office.ledger)] * 2
    assert [waiting(office.ledger, number) for number in (1, 2)] == [2, 0]


def test_new_events_are_queued_once_however_many_rounds_there_are(office: DispatcherHarness) -> None:
    office.subscribe(1)
    office.tell("a", "b")
    for _ in range(3):
        one_round(office, 1)
    assert len(listed(office.ledger)) == 2


def test_for_a_paused_subscription_nothing_is_queued_and_nothing_claimed(office: DispatcherHarness) -> None:
    office.subscribe(1, state=PAUSED)
    office.subscribe(2)
    office.tell("a")
    queue(office.ledger, queued("b"))
    assert [each.subscription_id for each in one_round(office, 1, 2).claimed] == [id_of(2)]
    assert (len(listed(office.ledger, 1)), standing(office.ledger, 1).position) == (1, 0)


def test_without_capacity_new_events_are_queued_and_wait(office: DispatcherHarness) -> None:
    office.subscribe(1)
    office.tell("a", "b")
    assert (one_round(office, 1, capacity=0).claimed, waiting(office.ledger)) == ([], 2)
    assert len(one_round(office, 1, capacity=1).claimed) == 1


def test_results_are_recorded_and_the_next_event_is_claimed_in_the_same_round(office: DispatcherHarness) -> None:
    office.subscribe(1)
    office.tell("a", "a")
    (first,) = one_round(office, 1).claimed
    finished = one_round(office, attempts=[sent(first)])
    assert [each.delivery for each in finished.results] == [first]
    assert [each.event_id for each in finished.claimed] == [(first.event_id or 0) + 1]
    assert finished.updated == [standing(office.ledger)]


def test_a_subscription_that_an_answer_disables_gets_nothing_more_in_that_round(office: DispatcherHarness) -> None:
    office.subscribe(1)
    office.subscribe(2)
    office.tell("a", "b")
    first, *_ = one_round(office, 1, capacity=1).claimed
    finished = one_round(office, 1, 2, attempts=[sent(first, GONE)])
    assert {each.subscription_id for each in finished.claimed} == {id_of(2)}
    assert finished.disabled == [standing(office.ledger)]
    assert [each.type for each in finished.claimed] == ["tally.task.running"] * 2
    assert [each.type for each in one_round(office, 2).claimed] == ["tally.subscription.disabled"]


def test_results_for_a_deleted_subscription_are_left_out(office: DispatcherHarness) -> None:
    office.subscribe(1)
    office.tell("a")
    (first,) = one_round(office, 1).claimed
    office.change(state=SubscriptionState.DELETED)
    finished = one_round(office, 1, attempts=[sent(first)])
    assert (finished.results, finished.updated, finished.claimed) == ([], [], [])


def test_a_round_advances_a_replay(office: DispatcherHarness) -> None:
    office.tell("a", "b")
    office.subscribe(1)
    with office.ledger.write() as connection:
        replays.add(connection, standing(office.ledger), EventSelection(since=0, until=T0 + 1), 1_000, T0)
    office.now += 10
    assert [each.origin for each in one_round(office, 1).claimed] == ["replay", "replay"]


def test_subscriptions_with_many_due_deliveries_share_what_a_round_claims(office: DispatcherHarness) -> None:
    """A round is one transaction: it must not grow with the number of subscriptions."""
    office.subscribe(1)
    office.subscribe(2)
    for number in (1, 2):
        queue(office.ledger, *(queued(f"s{index}", None) for index in range(2_100)), number=number)
    finished = one_round(office, 1, 2, capacity=10_000)
    assert [sum(each.subscription_id == id_of(number) for each in finished.claimed) for number in (1, 2)] == [2_000, 2_000]
