"""The statistics show the contents of the ledger."""

import pytest

from adapters.ledger import Ledger, deliveries, inbox, stats, subscriptions
from adapters.ledger.inbox import AppliedRow
from adapters.ledger.stats import BatchCounts, Stats
from statemachine.states import Anomaly, Deadline
from tests.support.ledger_deliveries import id_of, queued, subscription
from tests.support.ledger_rows import DONE, arrival, key, save, settle, task, waiting_ids
from tests.support.times import T0


def test_an_empty_ledger_has_no_ages(ledger: Ledger) -> None:
    with ledger.read() as connection:
        assert stats.read(connection, T0) == Stats(
            tasks={},
            anomalies={},
            received=0,
            rejected=0,
            last_minute=0,
            by_verdict={},
            unapplied_callbacks=0,
            oldest_unapplied_s=None,
            overdue_deadlines=0,
            most_overdue_s=None,
            undelivered_events=0,
            oldest_undelivered_s=None,
            unrecorded=0,
            last_unrecorded_at=None,
        )


def test_everything_is_counted(ledger: Ledger) -> None:
    save(ledger, task(anomalies=(Anomaly.ZOMBIE,), deadlines={Deadline.SILENCE: T0 - 2_500}))
    save(ledger, task(key("t2")), task(key("t3"), **DONE))
    with ledger.write() as connection:
        inbox.record(connection, [arrival(1, received_at=T0 - 90_000)])
        inbox.record(connection, [arrival(2, received_at=T0 - 1_500), arrival(3)])
        stats.count_rejected(connection, {"bad_signature": 2, "unknown_app": 1})
        stats.add_unrecorded(connection, {"tencent": 2, "volcengine": 1}, {"tencent": T0 - 7, "volcengine": T0 - 9})
        stats.add_batch(
            connection, BatchCounts(verdicts={"tencent/stale": 1, "volcengine/stale": 2}, moves={"a/b/c": 1}, passed={"idle": 1})
        )
    settle(ledger, AppliedRow(id=waiting_ids(ledger)[0], applied_at=T0, verdict="stale"))
    with ledger.read() as connection:
        assert stats.read(connection, T0) == Stats(
            tasks={("volcengine", "push", "completed"): 1, ("volcengine", "push", "running"): 2},
            anomalies={"zombie": 1},
            received=3,
            rejected=3,
            last_minute=2,
            by_verdict={"stale": 3},
            unapplied_callbacks=2,
            oldest_unapplied_s=1.5,
            overdue_deadlines=1,
            most_overdue_s=2.5,
            undelivered_events=0,
            oldest_undelivered_s=None,
            unrecorded=3,
            last_unrecorded_at=T0 - 7,
        )
        assert stats.by_verdict(connection) == {("tencent", "stale"): 1, ("volcengine", "stale"): 2}
        assert stats.moves(connection) == {("a", "b", "c"): 1}
        assert stats.deadlines_passed(connection) == {"idle": 1}


def test_folding_changes_no_number(ledger: Ledger) -> None:
    with ledger.write() as connection:
        for second in range(300):
            inbox.record(connection, [arrival(second, received_at=T0 + second * 1000)])
        now = T0 + 299_000
        before = stats.read(connection, now)
        assert stats.has_old_seconds(connection, now)
        stats.fold_old_seconds(connection, now)
        assert not stats.has_old_seconds(connection, now)
        assert stats.read(connection, now) == before
        assert (before.received, before.last_minute) == (300, 60)


@pytest.mark.parametrize("by_s", [0.005, 8 * 3_600.0, 400 * 86_400.0])
def test_the_age_of_a_time_that_lies_ahead_is_the_difference(ledger: Ledger, by_s: float) -> None:
    """An age of 0 would look healthy."""
    with ledger.write() as connection:
        inbox.record(connection, [arrival(1)])
        subscriptions.add(connection, subscription())
        deliveries.queue(connection, id_of(1), [queued()], T0)
        found = stats.read(connection, T0 - round(by_s * 1_000))
        assert (found.oldest_unapplied_s, found.oldest_undelivered_s) == (by_s, by_s)


def test_callbacks_received_ahead_are_not_of_the_last_minute(ledger: Ledger) -> None:
    with ledger.write() as connection:
        inbox.record(connection, [arrival(number, received_at=T0 + 8 * 3_600_000) for number in range(5)])
        inbox.record(connection, [arrival(9, received_at=T0)])
        found = stats.read(connection, T0 + 1_000)
        assert (found.received, found.last_minute) == (6, 1)
