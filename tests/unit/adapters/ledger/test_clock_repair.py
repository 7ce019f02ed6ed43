"""Times that lie further ahead than they can are found and corrected; legitimate ones stay."""

from typing import Any

import pytest
from sqlalchemy import select, update

from adapters.ledger import Connection, Ledger, clock_repair, deadlines, deliveries, effects, inbox, replays, subscriptions
from adapters.ledger.clock_repair import SLACK_MS, LongestWaits
from adapters.ledger.replays import EventSelection
from adapters.ledger.schema import deliveries as deliveries_table
from adapters.ledger.schema import effects as effects_table
from adapters.ledger.schema import inbox as inbox_table
from statemachine.delivery_policy import RETRY_DELAYS_MS, DeliveryState, longest_retry_delay_ms
from tests.support.ledger_deliveries import (
    LEASE,
    change,
    claim,
    id_of,
    listed,
    queue,
    queued,
    result,
    settle,
    standing,
    subscribe,
    subscription,
    tell,
    told,
)
from tests.support.ledger_rows import arrival
from tests.support.times import T0
from tests.unit.adapters.ledger.test_effects import add, wanted
from tests.unit.adapters.ledger.test_effects import claim as claim_calls

S, HOUR = 1_000, 3_600_000
DAY = 24 * HOUR
LONGEST = LongestWaits(delivery_lease=LEASE, call_lease=30_000, deferral=15_000)
BACK = T0 - 8 * HOUR


def mend_deliveries(ledger: Ledger, now: int, number: int = 1) -> int:
    with ledger.write() as connection:
        subscriptions.lock(connection, [id_of(number)])
        wrong = clock_repair.misdated_deliveries(connection, id_of(number), now, LONGEST)
        return clock_repair.repair_deliveries(connection, wrong, now, LONGEST)


def mend(ledger: Ledger, now: int) -> int:
    with ledger.read() as connection:
        found = clock_repair.any_misdated(connection, now, LONGEST)
    with ledger.write() as connection:
        mended = clock_repair.repair(connection, now, LONGEST)
    assert found == bool(mended)
    return mended


def fail(ledger: Ledger, *, at: int, due_at: int, times: int = 1) -> None:
    """Records one more failed attempt of the due delivery at this time."""
    for number in range(times):
        last = number == times - 1
        taken = claim(ledger, now=at)
        failed = [result(each, DeliveryState.WAITING, due_at=due_at if last else at) for each in taken]
        answered = [{"at": at, "status": 500}]
        whole = [type(each)(**{**_fields(each), "attempts": [*each.delivery.attempts, *answered]}) for each in failed]
        settle(ledger, *whole, now=at)


def _fields(settled: Any) -> dict[str, Any]:
    return {name: getattr(settled, name) for name in ("delivery", "state", "due_at", "attempts")}


def due(ledger: Ledger) -> list[int | None]:
    return [each.due_at for each in listed(ledger)]


@pytest.fixture
def ledger(ledger: Ledger) -> Ledger:
    subscribe(ledger, subscription())
    return ledger


@pytest.mark.parametrize("times", range(1, len(RETRY_DELAYS_MS) + 1))
def test_a_retry_waits_no_longer_than_its_own_pause_once_the_clock_was_set_back(ledger: Ledger, times: int) -> None:
    queue(ledger, queued())
    fail(ledger, at=T0, due_at=T0 + RETRY_DELAYS_MS[times - 1], times=times)
    assert mend_deliveries(ledger, BACK) == 1
    assert due(ledger) == [BACK + longest_retry_delay_ms(times)]
    assert mend_deliveries(ledger, BACK) == 0
    (found,) = listed(ledger)
    assert found.first_tried_at == BACK


@pytest.mark.parametrize("times", [1, 3, len(RETRY_DELAYS_MS), 12])
def test_a_retry_that_waits_by_its_schedule_is_left_alone(ledger: Ledger, times: int) -> None:
    queue(ledger, queued())
    at = T0 + longest_retry_delay_ms(times)
    fail(ledger, at=T0, due_at=at, times=times)
    assert (mend_deliveries(ledger, T0), due(ledger)) == (0, [at])


@pytest.mark.parametrize(("now", "mended"), [(T0, 0), (T0 + HOUR, 0), (T0 - SLACK_MS, 0), (BACK, 1)])
def test_a_retry_after_of_a_day_is_kept_unless_it_was_received_in_the_future(ledger: Ledger, now: int, mended: int) -> None:
    queue(ledger, queued())
    fail(ledger, at=T0, due_at=T0 + DAY)
    assert mend_deliveries(ledger, now) == mended
    assert due(ledger) == [now + longest_retry_delay_ms(1) if mended else T0 + DAY]


def test_events_that_were_queued_in_the_future_are_due_now(ledger: Ledger) -> None:
    queue(ledger, queued("a"), queued("a", 2), queued("b", 3))
    assert mend_deliveries(ledger, BACK) == 2
    assert due(ledger) == [BACK, None, BACK]


def test_a_delivery_claimed_in_the_future_is_due_again_after_a_whole_lease(ledger: Ledger) -> None:
    queue(ledger, queued())
    claim(ledger)
    assert (mend_deliveries(ledger, T0), mend_deliveries(ledger, BACK)) == (0, 1)
    (found,) = listed(ledger)
    assert (found.lease_until, found.due_at, found.tries) == (BACK + LEASE, BACK + LEASE, 1)
    assert [each.id for each in claim(ledger, now=BACK + LEASE)] == [found.id]


def test_a_delivery_that_was_claimed_meanwhile_is_left_alone(ledger: Ledger) -> None:
    queue(ledger, queued())
    with ledger.read() as connection:
        wrong = clock_repair.misdated_deliveries(connection, id_of(1), BACK, LONGEST)
    claim(ledger)
    with ledger.write() as connection:
        assert clock_repair.repair_deliveries(connection, wrong, BACK, LONGEST) == 0


def test_any_number_of_deliveries_is_repaired(ledger: Ledger) -> None:
    queue(ledger, *(queued(f"s{number}", number) for number in range(1_500)))
    assert mend_deliveries(ledger, BACK) == 1_500
    assert mend_deliveries(ledger, BACK) == 0


def test_calls_that_were_added_in_the_future_are_due_now(ledger: Ledger) -> None:
    add(ledger, wanted(), wanted(serial=2, due_at=BACK))
    assert (mend(ledger, T0), mend(ledger, BACK), mend(ledger, BACK)) == (0, 1, 0)
    assert len(claim_calls(ledger, now=BACK)) == 2


def test_a_lease_of_a_call_ends_after_its_whole_time(ledger: Ledger) -> None:
    add(ledger, wanted())
    claim_calls(ledger)
    assert (mend(ledger, T0), mend(ledger, BACK)) == (0, 1)
    with ledger.read() as connection:
        assert connection.scalar(select(effects_table.c.lease_until)) == BACK + 30_000
        assert not effects.any_expired(connection, BACK + 29_999)
        assert effects.any_expired(connection, BACK + 30_000)


def test_a_replay_continues(ledger: Ledger) -> None:
    tell(ledger, told("t1", at=BACK))
    with ledger.write() as connection:
        replays.add(connection, subscription(), EventSelection(since=0, until=T0), 1.0, T0)
    assert (mend(ledger, T0), mend(ledger, BACK)) == (0, 1)
    with ledger.read() as connection:
        assert replays.due(connection, BACK) == {id_of(1)}


def test_a_subscription_that_failed_in_the_future_has_failed_by_now(ledger: Ledger) -> None:
    change(ledger, failing_since=T0, failed_at=T0 + S)
    assert mend(ledger, BACK) == 2
    assert (standing(ledger).failing_since, standing(ledger).failed_at) == (BACK, BACK)


def held(connection: Connection) -> list[int | None]:
    return list(connection.scalars(select(inbox_table.c.held_until).order_by(inbox_table.c.id)))


def test_a_deferred_callback_waits_no_longer_than_it_may(ledger: Ledger) -> None:
    with ledger.write() as connection:
        inbox.record(connection, [arrival(1), arrival(2)])
        connection.execute(update(inbox_table).values(held_until=T0 + 15_000))
    assert (mend(ledger, T0), mend(ledger, BACK)) == (0, 2)
    with ledger.read() as connection:
        assert held(connection) == [BACK + 15_000] * 2


def test_deferred_inspections_keep_their_order(ledger: Ledger) -> None:
    postings = [
        inbox.Posting(key=(str(turn),), payload={"task_id": "t", "at": T0, "sent_at": None}, held_until=T0 + turn * 100)
        for turn in range(1, 500)
    ]
    with ledger.write() as connection:
        inbox.post_all(connection, inbox.RESTORED, postings, T0)
    assert (mend(ledger, T0), mend(ledger, BACK) > 490, mend(ledger, BACK)) == (0, True, 0)
    with ledger.read() as connection:
        found = [at or 0 for at in held(connection)]
    assert found == sorted(found)
    assert max(found) <= BACK + 80_000


@pytest.mark.parametrize("ahead", [True, False])
@pytest.mark.parametrize(
    ("kind", "in_ms", "found"),
    [
        ("start_retry", 60_000, (False, False)),
        ("start_retry", 90_000, (True, False)),
        ("call_retry", 8 * HOUR, (True, True)),
        ("start_retry", 400 * DAY, (True, True)),
        ("recovery", 300_000, (False, False)),
        ("recovery", 8 * HOUR, (True, True)),
        ("silence", 8 * HOUR, (False, False)),
        ("expiry", 72 * HOUR, (False, False)),
        ("idle", 400 * DAY, (False, False)),
        ("start_confirm", 8 * HOUR, (False, False)),
    ],
)
def test_retries_of_calls_that_are_too_late_are_found_and_the_vendors_pauses_stay(
    ledger: Ledger, kind: str, in_ms: int, found: tuple[bool, bool], *, ahead: bool
) -> None:
    with ledger.write() as connection:
        deadlines.rearm(connection, {"task": {kind: (T0 + in_ms, 7), "silence": (T0 + DAY, 7)}})
    with ledger.read() as connection:
        late = clock_repair.misdated_retries(connection, T0, ahead=ahead)
    assert late == ([("task", 7)] if found[0 if ahead else 1] else [])


@pytest.mark.parametrize(("at", "ahead"), [(T0, False), (T0 + SLACK_MS - S, False), (T0 + 8 * HOUR, True)])
def test_an_event_written_in_the_future_shows_that_the_clock_was_ahead(ledger: Ledger, at: int, *, ahead: bool) -> None:
    tell(ledger, told("t1", at=at))
    with ledger.read() as connection:
        assert clock_repair.was_ahead(connection, T0) == ahead


def test_ended_deliveries_are_left_alone(ledger: Ledger) -> None:
    queue(ledger, queued())
    settle(ledger, *(result(each) for each in claim(ledger)))
    assert mend_deliveries(ledger, BACK) == 0
    with ledger.read() as connection:
        assert connection.scalar(select(deliveries_table.c.done_at)) == T0
        assert deliveries.waiting_by_subscription(connection).get(id_of(1), 0) == 0
