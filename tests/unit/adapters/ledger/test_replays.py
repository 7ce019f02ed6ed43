"""A replay queues each selected event once, no other event, and never faster than its rate."""

from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from adapters.ledger import Ledger, deliveries, events, replays
from adapters.ledger.deliveries import DeliveryFilter
from adapters.ledger.events import SystemEvent
from adapters.ledger.replays import EventSelection, Replay
from adapters.ledger.subscriptions import Subscription
from statemachine.delivery_policy import DeliveryState
from tests.support.ledger_deliveries import (
    claim,
    id_of,
    listed,
    queue,
    queued,
    result,
    settle,
    subject_of,
    subscribe,
    subscription,
    tell,
    told,
)
from tests.support.ledger_rows import statements
from tests.support.ledgers import empty, examples
from tests.support.times import T0

S = 1_000
ALL = EventSelection(since=0, until=T0 + 1_000 * S)
FAST = 1_000.0


@pytest.fixture
def ledger(ledger: Ledger) -> Ledger:
    """A ledger with two subscriptions, and an event each second: of t0, t1, t2, t0, ..."""
    subscribe(ledger, subscription(1), subscription(2))
    for number in range(9):
        tell(ledger, told(f"t{number % 3}", number // 3 + 1, at=T0 + number * S))
    return ledger


def ask(
    ledger: Ledger, selection: EventSelection = ALL, *, rate: float = FAST, now: int = T0, by: Subscription | None = None
) -> int:
    """Requests a replay; returns the number of its deliveries."""
    with ledger.write() as connection:
        replays.add(connection, by or subscription(), selection, rate, now)
        return replays.count(connection, by or subscription(), selection)


def go_on(ledger: Ledger, now: int, by: Subscription | None = None) -> int:
    with ledger.write() as connection:
        return replays.advance(connection, by or subscription(), now)


def under_way(ledger: Ledger, number: int = 1) -> list[Replay]:
    with ledger.read() as connection:
        return replays.of_subscription(connection, id_of(number))


def replay_all(ledger: Ledger, selection: EventSelection = ALL, *, by: Subscription | None = None) -> list[tuple[str, int]]:
    """Returns (subject, time in s) of the queued events, after checking that their number is the promised one."""
    promised = ask(ledger, selection, by=by)
    for step in range(100):
        go_on(ledger, T0 + step * S, by)
    found = listed(ledger)
    assert (len(found), under_way(ledger)) == (promised, [])
    assert {each.origin for each in found} <= {"replay"}
    return [(each.subject, ((each.event_id or 0) >> 20) - T0 // S) for each in found]


def names(*wanted: int) -> list[tuple[str, int]]:
    return [(subject_of(f"t{number % 3}"), number) for number in wanted]


@pytest.mark.parametrize(
    ("selection", "wanted"),
    [
        (ALL, range(9)),
        (EventSelection(since=T0 + 2 * S, until=T0 + 5 * S), range(2, 5)),
        (EventSelection(since=T0 + 2 * S + 1, until=T0 + 5 * S + 1), range(3, 6)),
        (EventSelection(since=0, until=T0), range(0)),
        (EventSelection(since=T0 + 9 * S, until=T0 + 99 * S), range(0)),
        (EventSelection(since=0, until=T0 + 99 * S, subject=subject_of("t1")), range(1, 9, 3)),
        (EventSelection(since=T0 + 2 * S, until=T0 + 7 * S, subject=subject_of("t1")), range(4, 5)),
        (EventSelection(since=0, until=T0 + 99 * S, subject="nobody"), range(0)),
    ],
)
def test_events_of_a_time_and_a_task_are_queued_in_order(ledger: Ledger, selection: EventSelection, wanted: range) -> None:
    assert replay_all(ledger, selection) == names(*wanted)


def test_events_that_do_not_match_the_subscription_are_not_replayed(ledger: Ledger) -> None:
    tell(ledger, told("t3", app_id="other", at=T0 + 9 * S), told("t4", type_="tally.task.failed", at=T0 + 9 * S))
    only = subscription(types=["tally.task.failed"], filter={"app_id": "app"})
    assert replay_all(ledger, by=only) == [(subject_of("t4"), 9)]


def test_events_that_are_written_later_are_not_replayed(ledger: Ledger) -> None:
    asked = ask(ledger)
    tell(ledger, told("t9", at=T0 + 8 * S), told("t1", 9, at=T0 + 9 * S))
    for step in range(9):
        go_on(ledger, T0 + step * S)
    assert (asked, len(listed(ledger))) == (9, 9)


def test_replayed_events_wait_behind_waiting_deliveries(ledger: Ledger) -> None:
    queue(ledger, queued(subject_of("t1"), 7))
    ask(ledger, EventSelection(since=0, until=T0 + 99 * S, subject=subject_of("t1")))
    go_on(ledger, T0 + S)
    assert [each.due_at for each in listed(ledger)] == [T0, None, None, None]


def test_a_replay_is_of_one_subscription(ledger: Ledger) -> None:
    ask(ledger)
    assert go_on(ledger, T0 + S, subscription(2)) == 0
    with ledger.read() as connection:
        assert replays.by_subscription(connection, [id_of(1), id_of(2)]) == {id_of(1): under_way(ledger)}
        assert [replays.due(connection, now) for now in (T0 - 1, T0)] == [set(), {id_of(1)}]


def test_several_replays_of_a_subscription_proceed_together(ledger: Ledger) -> None:
    ask(ledger, EventSelection(since=0, until=T0 + 2 * S), rate=1)
    ask(ledger, EventSelection(since=T0 + 5 * S, until=T0 + 7 * S), rate=1)
    steps = [go_on(ledger, T0 + ms) for ms in (0, 999, 1_000)]
    assert steps == [2, 0, 2]
    assert [(each.subject, each.queued_at) for each in listed(ledger)] == [
        (subject_of(name), T0 + ms) for name, ms in (("t0", 0), ("t2", 0), ("t1", S), ("t0", S))
    ]


def test_dropped_replays_queue_nothing_more(ledger: Ledger) -> None:
    ask(ledger, rate=1)
    go_on(ledger, T0)
    with ledger.write() as connection:
        replays.drop_all(connection, id_of(1))
    assert (go_on(ledger, T0 + 9 * S), len(listed(ledger))) == (0, 1)


def test_a_replay_is_read_back_as_it_was_requested(ledger: Ledger) -> None:
    selection = EventSelection(since=3, until=T0 + 99 * S, subject="s", dead=True)
    ask(ledger, selection, rate=2.5)
    (found,) = under_way(ledger)
    assert found == Replay(id=found.id, selection=selection, position=0, last=0, rate=2.5, next_at=T0)


DAY = 86_400 * S
AHEAD = T0 + 400 * DAY


def replayed(ledger: Ledger, since: int, until: int, **more: Any) -> list[int]:
    """Returns the times of the replayed events, ms, in the order in which they were queued, which is that of the events."""
    promised = ask(ledger, EventSelection(since=since, until=until, **more), now=until)
    for step in range(20):
        go_on(ledger, until + step * S)
    found = [each.event_id or 0 for each in listed(ledger)]
    assert (found, len(found), under_way(ledger)) == (sorted(found), promised, [])
    with ledger.read() as connection:
        return [each.at for each in events.headers(connection, after=0, limit=1_000) if each.position in found]


def set_ahead(ledger: Ledger, by: int = 400 * DAY) -> None:
    """The clock is ahead at 10 s for a moment, with one event; further events are at 20 s, 21 s and 22 s."""
    tell(ledger, told("t5", at=T0 + by + 10 * S))
    for number in range(3):
        tell(ledger, told("t6", number + 1, at=T0 + (20 + number) * S))


@pytest.mark.parametrize("by", [2 * DAY, 400 * DAY])
@pytest.mark.parametrize(
    ("since", "until", "wanted"),
    [(20, 60, (20, 21, 22)), (21, 22, (21,)), (8, 60, (8, 20, 21, 22)), (0, 2, (0, 1)), (30, 60, ())],
)
def test_events_written_after_the_clock_was_ahead_are_found_by_their_time(
    ledger: Ledger, by: int, since: int, until: int, wanted: tuple[int, ...]
) -> None:
    set_ahead(ledger, by)
    assert replayed(ledger, T0 + since * S, T0 + until * S) == [T0 + second * S for second in wanted]


def test_they_are_found_when_the_time_has_caught_up_too(ledger: Ledger) -> None:
    set_ahead(ledger, 3 * DAY)
    tell(ledger, told("t7", at=T0 + 30 * DAY))
    assert replayed(ledger, T0 + 20 * S, T0 + 60 * S) == [T0 + second * S for second in (20, 21, 22)]


def test_events_written_ahead_are_found_by_their_own_time(ledger: Ledger) -> None:
    set_ahead(ledger)
    assert replayed(ledger, AHEAD, AHEAD + DAY) == [AHEAD + 10 * S]


def test_strays_of_one_task_are_found(ledger: Ledger) -> None:
    set_ahead(ledger)
    assert replayed(ledger, T0 + 5 * S, T0 + 60 * S, subject=subject_of("t6")) == [T0 + second * S for second in (20, 21, 22)]


def test_events_between_a_time_and_the_strays_are_not_scanned(ledger: Ledger) -> None:
    """2,500 events are there: scanning them too would take four steps."""
    tell(ledger, *(told(f"u{number}", at=T0 + 100 * DAY) for number in range(2_500)))
    tell(ledger, told("t5", at=AHEAD))
    tell(ledger, told("t6", at=T0 + 101 * DAY))
    with ledger.read() as connection, statements(connection) as said:
        assert replays.count(connection, subscription(), EventSelection(since=T0, until=T0 + 99 * S)) == 9
    assert sum("FROM events" in each for each in said) == 2


def test_the_feed_continues_in_order(ledger: Ledger) -> None:
    set_ahead(ledger)
    with ledger.read() as connection:
        found = [each.position for each in events.headers(connection, after=0, limit=100)]
    assert (len(found), found) == (13, sorted(set(found)))


# Dead deliveries.


def dying(ledger: Ledger, *subjects: str, now: int = T0) -> None:
    queue(ledger, *(queued(subject, number) for number, subject in enumerate(subjects, start=1)), now=now)
    settle(ledger, *(result(each, DeliveryState.DEAD) for each in claim(ledger, now=now)), now=now)


@pytest.mark.parametrize(
    ("more", "wanted"),
    [({}, "abc"), ({"since": T0 + S}, "c"), ({"until": T0 + S}, "ab"), ({"subject": "b"}, "b"), ({"subject": "x"}, "")],
)
def test_dead_deliveries_are_selected_by_when_they_were_first_queued(ledger: Ledger, more: dict, wanted: str) -> None:
    dying(ledger, "a", "b")
    dying(ledger, "c", now=T0 + S)
    promised = ask(ledger, EventSelection(**{"since": 0, "until": T0 + 99 * S, "dead": True, **more}), now=T0 + S)
    while go_on(ledger, T0 + 99 * S):
        pass
    again = listed(ledger, 1, DeliveryFilter(state=DeliveryState.WAITING))
    gone = listed(ledger, 1, DeliveryFilter(state=DeliveryState.REQUEUED))
    assert ("".join(each.subject for each in again), [each.subject for each in gone]) == (wanted, list(wanted))
    assert (promised, under_way(ledger)) == (len(wanted), [])


def test_deliveries_that_die_later_are_not_replayed_and_none_is_queued_twice(ledger: Ledger) -> None:
    dying(ledger, "a", "b", "c")
    ask(ledger, EventSelection(since=0, until=T0 + 99 * S, dead=True), rate=1)
    steps = [go_on(ledger, T0 + ms) for ms in (0, 500)]
    dying(ledger, "d")
    steps += [go_on(ledger, T0 + step * S) for step in (1, 2, 3)]
    assert (steps, under_way(ledger)) == ([1, 0, 1, 1, 0], [])


# The rate.


def test_the_first_event_is_queued_at_once_and_the_others_at_the_rate(ledger: Ledger) -> None:
    ask(ledger, rate=2)
    assert [go_on(ledger, T0 + ms) for ms in (0, 0, 499, 500, 999, 1_500, 1_501)] == [1, 0, 0, 1, 0, 2, 0]


def test_a_delayed_replay_queues_a_seconds_worth_at_once(ledger: Ledger) -> None:
    ask(ledger, rate=2)
    assert [go_on(ledger, T0 + ms) for ms in (3_600_000, 3_600_000, 3_600_500)] == [3, 0, 1]


def test_a_clock_that_is_set_back_makes_a_replay_wait_and_not_faster(ledger: Ledger) -> None:
    ask(ledger, rate=2, now=T0 + 60_000)
    assert [go_on(ledger, T0 + ms) for ms in (0, 59_999, 60_000, 0, 60_500)] == [0, 0, 1, 0, 1]


_GAPS = st.lists(st.integers(0, 3_000), min_size=1, max_size=25)


def test_a_replay_never_exceeds_its_rate_nor_a_seconds_worth_at_once(kept_ledger: Ledger) -> None:
    @settings(examples(kept_ledger, 24), suppress_health_check=[HealthCheck.too_slow])
    @given(rate=st.one_of(st.integers(1, 1_000), st.floats(1, 1_000)), gaps=_GAPS)
    @example(rate=667, gaps=[1] * 20)
    @example(rate=3, gaps=[333, 1] * 10)
    def check(rate: float, gaps: list[int]) -> None:
        empty(kept_ledger)
        subscribe(kept_ledger, subscription())
        tell(kept_ledger, *(told(f"t{number}") for number in range(200)))
        ask(kept_ledger, rate=rate)
        now = total = 0
        for gap in gaps:
            now += gap
            number = go_on(kept_ledger, T0 + now)
            total += number
            assert number <= 1 + rate
            assert total <= 1 + rate * now / 1_000 + 1e-6

    check()


def test_a_replay_skips_many_events_that_do_not_match_in_steps_and_ends(ledger: Ledger) -> None:
    with ledger.write() as connection:
        notes = [SystemEvent(subject="s", version=number, type="tally.x", at=T0 + 9 * S, data={}) for number in range(1, 2_100)]
        replays.events.append_system_events(connection, notes)
    tell(ledger, told("t9", at=T0 + 10 * S))
    only = subscription(types=["tally.task.*"])
    assert ask(ledger, EventSelection(since=T0 + 9 * S, until=T0 + 99 * S), by=only) == 1
    assert [go_on(ledger, T0, only) for _ in range(4)] == [0, 0, 1, 0]
    assert under_way(ledger) == []
    with ledger.read() as connection:
        assert deliveries.waiting_by_subscription(connection) == {id_of(1): 1}
