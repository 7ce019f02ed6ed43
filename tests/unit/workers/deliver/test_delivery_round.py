"""A round does all that is to be done for those who are served, in one transaction, and leaves the others alone."""

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
from tests.support.ledger_rows import T0
from tests.support.ledgers import BOTH, open_ledger
from workers.deliver.delivery_round import LEASE_MS, NOTHING_TO_DO, Round, RoundPlan, plan_round, run_round
from workers.deliver.messages import SendAttempt

PAUSED = SubscriptionState.PAUSED


@pytest.fixture(params=BOTH)
def office(request: pytest.FixtureRequest, tmp_path: Path):
    with open_ledger(request.param, tmp_path) as ledger:
        office = DispatcherHarness(ledger)
        yield office
        office.close()


def looked(office: DispatcherHarness, room: int = 9, now: int = T0) -> RoundPlan:
    with office.ledger.read() as connection:
        return plan_round(connection, now, lambda _: room)


def whose(found: RoundPlan) -> RoundPlan:
    """Only for whom there is something to do, not what."""
    return RoundPlan(active=found.active, to_do=found.to_do)


def wanted(active: set[int], to_do: set[int]) -> RoundPlan:
    return RoundPlan(active=frozenset(map(id_of, active)), to_do=frozenset(map(id_of, to_do)))


def a_round(office: DispatcherHarness, *numbers: int, sent: list[SendAttempt] | None = None, room: int = 9) -> Round:
    found = replace(looked(office, room), to_do=frozenset(map(id_of, numbers)))
    return run_round(office.ledger, office.now, sent or [], found, lambda _: room, lambda: 0)


def back(taken: Delivery, answer=TAKEN) -> SendAttempt:
    return SendAttempt(delivery=taken, sink=subscription().sink, result=answer, sent_at=T0)


def newest(ledger: Ledger) -> int:
    with ledger.read() as connection:
        return positions.newest(connection)


# Looking.


def test_where_nobody_is_served_there_is_nothing_to_do(office: DispatcherHarness) -> None:
    office.subscribe(1, state=PAUSED)
    office.tell("a")
    queue(office.ledger, queued("a"))
    assert looked(office) == NOTHING_TO_DO


def statements(office: DispatcherHarness, do: Callable[[], object]) -> int:
    """How many are made meanwhile, of any kind."""
    made: list[str] = []

    def note(*given: Any) -> None:
        made.append(given[2])

    event.listen(Engine, "before_cursor_execute", note)
    try:
        do()
    finally:
        event.remove(Engine, "before_cursor_execute", note)
    return len([each for each in made if not each.startswith("BEGIN")])


def test_idle_subscriptions_cost_no_statements_of_their_own(office: DispatcherHarness) -> None:
    """Each look took one for every subscription: 1,000 of them cost a third of a core."""
    office.subscribe(1)
    few = statements(office, lambda: looked(office))
    for number in range(2, 202):
        office.subscribe(number)

    assert statements(office, lambda: looked(office)) == few <= 4
    assert looked(office) == NOTHING_TO_DO


def test_an_event_that_nobody_wants_costs_no_statements_for_each_subscription(office: DispatcherHarness) -> None:
    for number in range(1, 201):
        office.subscribe(number, types=["tally.task.failed"])
    office.tell("a")
    found = looked(office)

    made = statements(office, lambda: run_round(office.ledger, office.now, [], found, lambda _: 9, lambda: 0))

    assert made <= 6
    assert looked(office) == NOTHING_TO_DO


def test_who_is_behind_is_served_some_at_a_time(office: DispatcherHarness) -> None:
    """Others wait for the transaction that queues news."""
    for number in range(1, 601):
        office.subscribe(number, types=["tally.task.failed"])
    office.tell("a")
    served = []
    while (found := looked(office)).to_do:
        served.append(len(found.to_do))
        run_round(office.ledger, office.now, [], found, lambda _: 9, lambda: 0)

    assert served == [250, 250, 100]


def test_there_is_something_to_do_for_who_is_behind(office: DispatcherHarness) -> None:
    office.subscribe(1)
    office.tell("a")
    office.subscribe(2)
    found = looked(office)
    assert whose(found) == wanted({1, 2}, {1})
    assert [(len(news), last) for news, last in found.new_events.values()] == [(1, newest(office.ledger))]


def test_there_is_something_to_do_for_who_has_room_and_something_due(office: DispatcherHarness) -> None:
    for number in (1, 2, 3):
        office.subscribe(number)
    queue(office.ledger, queued("a"), number=1)
    queue(office.ledger, queued("a"), number=2, now=T0 + 1)
    found = [looked(office), looked(office, now=T0 + 1), looked(office, room=0, now=T0 + 1)]
    assert found == [wanted({1, 2, 3}, {1}), wanted({1, 2, 3}, {1, 2}), NOTHING_TO_DO]


def test_there_is_something_to_do_for_a_replay_of_who_is_served(office: DispatcherHarness) -> None:
    office.subscribe(1)
    office.subscribe(2, state=PAUSED)
    with office.ledger.write() as connection:
        for number in (1, 2):
            replays.add(connection, subscription(number), EventSelection(since=0, until=T0), 1, T0 + 5)
    early, late = (looked(office, now=T0 + ms) for ms in (4, 5))
    assert (whose(early), whose(late)) == (NOTHING_TO_DO, wanted({1}, {1}))
    assert (early.replaying, late.replaying) == (frozenset(), frozenset({id_of(1)}))


# Making.


def test_news_are_queued_for_who_wants_them_and_taken(office: DispatcherHarness) -> None:
    office.subscribe(1)
    office.subscribe(2, types=["tally.task.failed"])
    office.tell("a", "a")
    made = a_round(office, 1, 2)
    (taken,) = made.taken
    assert (taken.subscription_id, taken.subject, taken.lease_until) == (id_of(1), subject_of("a"), T0 + LEASE_MS)
    assert [*made.event_rows] == [taken.event_id]
    assert [standing(office.ledger, number).position for number in (1, 2)] == [newest(office.ledger)] * 2
    assert [waiting(office.ledger, number) for number in (1, 2)] == [2, 0]


def test_news_are_queued_once_however_often_it_is_looked(office: DispatcherHarness) -> None:
    office.subscribe(1)
    office.tell("a", "b")
    for _ in range(3):
        a_round(office, 1)
    assert len(listed(office.ledger)) == 2


def test_who_is_not_served_gets_nothing_queued_and_nothing_taken(office: DispatcherHarness) -> None:
    office.subscribe(1, state=PAUSED)
    office.subscribe(2)
    office.tell("a")
    queue(office.ledger, queued("b"))
    assert [each.subscription_id for each in a_round(office, 1, 2).taken] == [id_of(2)]
    assert (len(listed(office.ledger, 1)), standing(office.ledger, 1).position) == (1, 0)


def test_without_room_news_are_queued_and_wait(office: DispatcherHarness) -> None:
    office.subscribe(1)
    office.tell("a", "b")
    assert (a_round(office, 1, room=0).taken, waiting(office.ledger)) == ([], 2)
    assert len(a_round(office, 1, room=1).taken) == 1


def test_what_came_back_is_settled_and_the_next_taken_in_the_same_round(office: DispatcherHarness) -> None:
    office.subscribe(1)
    office.tell("a", "a")
    (first,) = a_round(office, 1).taken
    made = a_round(office, sent=[back(first)])
    assert [each.delivery for each in made.results] == [first]
    assert [each.event_id for each in made.taken] == [(first.event_id or 0) + 1]
    assert made.updated == [standing(office.ledger)]


def test_who_is_disabled_by_an_answer_gets_nothing_more_in_that_round(office: DispatcherHarness) -> None:
    office.subscribe(1)
    office.subscribe(2)
    office.tell("a", "b")
    first, *_ = a_round(office, 1, room=1).taken
    made = a_round(office, 1, 2, sent=[back(first, GONE)])
    assert {each.subscription_id for each in made.taken} == {id_of(2)}
    assert made.disabled == [standing(office.ledger)]
    assert [each.type for each in made.taken] == ["tally.task.running"] * 2
    assert [each.type for each in a_round(office, 2).taken] == ["tally.subscription.disabled"]


def test_answers_of_who_was_deleted_are_left_out(office: DispatcherHarness) -> None:
    office.subscribe(1)
    office.tell("a")
    (first,) = a_round(office, 1).taken
    office.change(state=SubscriptionState.DELETED)
    made = a_round(office, 1, sent=[back(first)])
    assert (made.results, made.updated, made.taken) == ([], [], [])


def test_a_replay_goes_on_with_the_round(office: DispatcherHarness) -> None:
    office.tell("a", "b")
    office.subscribe(1)
    with office.ledger.write() as connection:
        replays.add(connection, standing(office.ledger), EventSelection(since=0, until=T0 + 1), 1_000, T0)
    office.now += 10
    assert [each.origin for each in a_round(office, 1).taken] == ["replay", "replay"]


def test_those_who_have_much_share_what_a_round_takes(office: DispatcherHarness) -> None:
    """A round is one transaction: it must not grow with the number of subscriptions."""
    office.subscribe(1)
    office.subscribe(2)
    for number in (1, 2):
        queue(office.ledger, *(queued(f"s{index}", None) for index in range(2_100)), number=number)
    made = a_round(office, 1, 2, room=10_000)
    assert [sum(each.subscription_id == id_of(number) for each in made.taken) for number in (1, 2)] == [2_000, 2_000]
