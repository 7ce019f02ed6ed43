"""Calls are claimed once, in order, and within their quotas."""

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy.dialects import postgresql

from adapters.ledger import Ledger, effects, quotas
from adapters.ledger.effects import ClaimedCall, NewCall
from tests.support.ledger_rows import statements
from tests.support.times import T0

LEASE = 30_000


def wanted(task: str = "task1", serial: int = 1, **more: Any) -> NewCall:
    values = {"operation": "start", "vendor": "acme", "app_id": "app", "family": "push", "bucket": "b", "due_at": T0}
    return NewCall(task_id=task, serial=serial, **{**values, **more})


def add(ledger: Ledger, *them: NewCall) -> None:
    with ledger.write() as connection:
        effects.add(connection, them)


def claim(ledger: Ledger, *, now: int = T0, limit: int = 100, per_s: float = 1e6) -> list[ClaimedCall]:
    with ledger.write() as connection:
        return effects.claim(connection, now, limit, LEASE, lambda _: per_s)


def names(found: Sequence[ClaimedCall]) -> list[tuple[str, int]]:
    return [(effect.task_id, effect.serial) for effect in found]


def test_a_claimed_call_is_the_added_one(ledger: Ledger) -> None:
    add(ledger, wanted(step={"index": 1, "call": {"ä": None}}, shard=7))

    (effect,) = claim(ledger)

    assert effect == ClaimedCall(
        id=effect.id,
        task_id="task1",
        serial=1,
        operation="start",
        step={"index": 1, "call": {"ä": None}},
        vendor="acme",
        app_id="app",
        family="push",
        bucket="b",
        lease_until=T0 + LEASE,
        shard=7,
    )


def test_no_call_is_added_or_claimed_twice(ledger: Ledger) -> None:
    add(ledger, wanted(), wanted(serial=2))
    add(ledger, wanted(operation="stop", bucket="c"), wanted(serial=3))
    add(ledger)

    assert [(effect.serial, effect.operation) for effect in claim(ledger)] == [(1, "start"), (2, "start"), (3, "start")]
    assert claim(ledger) == []


def test_a_call_is_not_claimed_before_it_is_due(ledger: Ledger) -> None:
    add(ledger, wanted(due_at=T0 + 1), wanted(serial=2))

    assert names(claim(ledger)) == [("task1", 2)]
    assert names(claim(ledger, now=T0 + 1)) == [("task1", 1)]


def test_two_processes_never_claim_the_same_call(ledger: Ledger) -> None:
    add(ledger, *(wanted(f"task{number}") for number in range(200)))
    other = Ledger(ledger.url)

    with ThreadPoolExecutor(8) as pool:
        takers = [pool.submit(claim, (ledger, other)[number % 2], limit=7) for number in range(40)]
        taken = Counter(name for taker in takers for name in names(taker.result()))

    assert len(taken) == 200
    assert set(taken.values()) == {1}
    other.close()


def test_concurrent_additions_in_opposite_orders_add_each_call_once(ledger: Ledger) -> None:
    calls = [wanted(f"task{number}") for number in range(100)]
    with ThreadPoolExecutor(4) as pool:
        for adding in [pool.submit(add, ledger, *calls[::order]) for order in (1, -1, 1, -1)]:
            adding.result()
    assert len(claim(ledger)) == 100


def test_text_that_no_column_can_store_is_read_back_from_a_step(ledger: Ledger) -> None:
    add(ledger, wanted(step={"\x00": "\ud800"}))
    assert [effect.step for effect in claim(ledger)] == [{"\x00": "\ud800"}]


# Quotas and fairness.


def test_no_more_calls_are_claimed_than_the_quota_allows_and_the_oldest_come_first(ledger: Ledger) -> None:
    for serial in (3, 1, 2, 5, 4):
        add(ledger, wanted(serial=serial))

    assert [effect.serial for effect in claim(ledger, per_s=20)] == [3, 1]
    assert [effect.serial for effect in claim(ledger, per_s=20)] == []
    assert [effect.serial for effect in claim(ledger, per_s=20, now=T0 + 1000)] == [2, 5]


def test_a_bucket_without_quota_blocks_no_other(ledger: Ledger) -> None:
    add(ledger, *(wanted(serial=serial) for serial in range(50)))
    assert len(claim(ledger, per_s=20, limit=2)) == 2

    add(ledger, wanted("other", bucket="z"))

    assert names(claim(ledger, per_s=20, limit=2)) == [("other", 1)]


def test_buckets_share_the_limit_and_leave_their_unused_share_to_others(ledger: Ledger) -> None:
    sizes = {"a": 50, "b": 1, "c": 50}
    add(ledger, *(wanted(bucket, serial, bucket=bucket) for bucket, size in sizes.items() for serial in range(size)))

    assert Counter(effect.bucket for effect in claim(ledger, limit=21)) == {"a": 10, "b": 1, "c": 10}


def test_with_a_limit_below_the_number_of_buckets_the_oldest_calls_go_first_and_all_get_their_turn(ledger: Ledger) -> None:
    for serial in (1, 2):
        for bucket in "cab":
            add(ledger, wanted(bucket, serial, bucket=bucket))

    assert [names(claim(ledger, limit=2)) for _ in range(3)] == [[("c", 1), ("a", 1)], [("b", 1), ("c", 2)], [("a", 2), ("b", 2)]]


def test_unused_tokens_stay_in_the_bucket(ledger: Ledger) -> None:
    """Only claimed calls consume tokens."""
    add(ledger, wanted())
    assert len(claim(ledger, per_s=20)) == 1
    with ledger.write() as connection:
        assert quotas.consume(connection, "b", 5, 20, T0) == 1


def test_thousands_of_waiting_calls_cost_no_more_steps_than_a_few(ledger: Ledger) -> None:
    _many(ledger)
    with ledger.write() as connection, statements(connection) as said:
        effects.claim(connection, T0, 32, LEASE, lambda _: 20)
    assert len(said) <= 10


def _many(ledger: Ledger) -> None:
    add(ledger, *(wanted(serial=serial) for serial in range(5_000)), wanted("other", bucket="c"))
    claim(ledger, per_s=20)


def test_each_of_these_steps_is_a_seek_in_an_index(sqlite_ledger: Ledger) -> None:
    _many(sqlite_ledger)
    with sqlite_ledger.write() as connection:
        plans = [
            " ".join(str(row[3]) for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", parameters))
            for sql, parameters in (
                ("SELECT bucket FROM effects WHERE lease_until IS NULL AND bucket > ? ORDER BY bucket LIMIT 1", ("a",)),
                ("SELECT id FROM effects WHERE bucket = ? AND lease_until IS NULL AND due_at <= ? ORDER BY id LIMIT 1", ("b", T0)),
                ("SELECT id FROM effects WHERE lease_until IS NOT NULL AND lease_until <= ? ORDER BY lease_until LIMIT 1", (T0,)),
            )
        ]
    assert ["TEMP B-TREE" in plan or "SCAN" in plan for plan in plans] == [False, False, False]
    assert ["effects_untaken" in plan for plan in plans] == [True, True, False]


# Ends of calls.


def test_only_unclaimed_calls_can_be_cancelled(ledger: Ledger) -> None:
    add(ledger, wanted(), wanted(serial=2, due_at=T0 + 1))
    claim(ledger)
    with ledger.write() as connection:
        assert effects.cancel_unclaimed(connection, [("task1", 1), ("task1", 2), ("task1", 3)]) == {("task1", 2)}
        assert effects.cancel_unclaimed(connection, []) == set()
        assert effects.claimed(connection, ["task1"]) == {("task1", 1)}
    assert claim(ledger, now=T0 + 1) == []


def test_answered_calls_are_deleted_claimed_or_not(ledger: Ledger) -> None:
    add(ledger, wanted(), wanted(serial=2, due_at=T0 + 1), wanted("task2"))
    claim(ledger)
    with ledger.write() as connection:
        effects.delete_calls(connection, [("task1", 1), ("task1", 2), ("task1", 9)])
        effects.delete_calls(connection, [])
        assert effects.claimed(connection, ["task1", "task2"]) == {("task2", 1)}
    assert claim(ledger, now=T0 + 1) == []


def test_claimed_calls_of_other_tasks_are_not_returned(ledger: Ledger) -> None:
    add(ledger, wanted(), wanted("task2"))
    claim(ledger)
    with ledger.read() as connection:
        assert effects.claimed(connection, ["task2", "task3"]) == {("task2", 1)}
        assert effects.claimed(connection, []) == set()


@pytest.mark.parametrize(
    ("more", "under_way"),
    [
        ({}, True),
        ({"operation": "stop"}, False),
        ({"due_at": T0 + 1}, False),
        ({"family": "record"}, False),
        ({"app_id": "another"}, False),
        ({"vendor": "globex"}, False),
    ],
)
def test_a_start_is_in_flight_once_it_was_claimed(ledger: Ledger, more: dict[str, Any], under_way: bool) -> None:
    add(ledger, wanted(**more), wanted("task2", **more))
    claim(ledger)
    asked = [("acme", "app", "push"), ("acme", "app", "page")]
    with ledger.read() as connection:
        assert effects.starts_in_flight(connection, asked) == ({("acme", "app", "push")} if under_way else set())
        assert effects.starts_in_flight(connection, []) == set()


def test_expired_calls_come_the_longest_expired_first(ledger: Ledger) -> None:
    add(ledger, wanted(), wanted(serial=2, due_at=T0 + 1), wanted(serial=3, due_at=T0 + 2))
    for later in (2, 1, 0):
        claim(ledger, now=T0 + 2 - later)

    with ledger.write() as connection:
        assert effects.expired(connection, T0 + LEASE - 1, 9) == []
        assert not effects.any_expired(connection, T0 + LEASE - 1)
        assert names(effects.expired(connection, T0 + LEASE + 1, 9)) == [("task1", 1), ("task1", 2)]
        assert names(effects.expired(connection, T0 + LEASE + 9, 1)) == [("task1", 1)]
        assert effects.any_expired(connection, T0 + LEASE)


def test_waiting_calls_are_counted_with_the_time_of_the_oldest(ledger: Ledger) -> None:
    with ledger.read() as connection:
        assert effects.backlog(connection) == (0, None)
        assert not effects.any_due(connection, T0)
    add(ledger, wanted(), wanted(serial=2, due_at=T0 + 7), wanted(serial=3, due_at=T0 + 5, bucket="c"))
    claim(ledger)
    with ledger.read() as connection:
        assert effects.backlog(connection) == (2, T0 + 5)
        assert [effects.any_due(connection, T0 + ms) for ms in (4, 5, 7)] == [False, True, True]


def test_on_postgresql_rows_are_locked_and_locked_ones_skipped() -> None:
    statement = effects._select_expired(T0, 1).with_for_update(skip_locked=True)
    assert str(statement.compile(dialect=postgresql.dialect())).endswith("FOR UPDATE SKIP LOCKED")
