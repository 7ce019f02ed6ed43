"""The inbox takes each callback once, and gives rows back in the order in which they came."""

import re
from typing import Any

from adapters.ledger import Ledger, inbox, stats
from adapters.ledger.inbox import DEADLINE, MARK, START, Posting, Row, Settled
from tests.adapters.ledger.making import T0, arrival, settle, statements, waiting_ids


def test_callbacks_are_recorded_by_one_insert_each_without_any_question(sqlite_ledger: Ledger) -> None:
    said: list[str] = []
    with sqlite_ledger.write() as connection:
        driver: Any = connection.connection.driver_connection
        driver.set_trace_callback(said.append)
        inbox.record(connection, [arrival(1), arrival(2), arrival(1)])
        driver.set_trace_callback(None)
    into = [" ".join(statement.split()[:3]) for statement in said]
    assert into == ["INSERT INTO inbox", "INSERT INTO inbox", "INSERT INTO counters"]


def test_callbacks_are_recorded_by_one_statement_for_all(postgresql_ledger: Ledger) -> None:
    with postgresql_ledger.write() as connection, statements(connection) as said:
        inbox.record(connection, [arrival(1), arrival(2), arrival(1)])
    assert [re.findall(r"INSERT INTO (\w+)", statement) for statement in said] == [["inbox_keys", "inbox"], ["counters"]]


def test_recording_tells_which_were_new_within_a_batch_and_across(ledger: Ledger) -> None:
    first, second, third = arrival(1), arrival(2), arrival(3)
    with ledger.write() as connection:
        assert inbox.record(connection, [first, second, first]) == {inbox.recorded_key(first), inbox.recorded_key(second)}
    with ledger.write() as connection:
        assert inbox.record(connection, [second, third]) == {inbox.recorded_key(third)}
        assert inbox.record(connection, []) == set()
    assert len(waiting_ids(ledger)) == 3


def test_the_first_of_two_duplicates_is_kept(ledger: Ledger) -> None:
    with ledger.write() as connection:
        inbox.record(connection, [arrival(1, body=b"first"), arrival(1, body=b"second")])
        inbox.record(connection, [arrival(1, body=b"third")])
        assert [row.body for row in inbox.unapplied(connection, 9)] == [b"first"]


def test_the_same_callback_of_two_apps_or_vendors_is_two(ledger: Ledger) -> None:
    with ledger.write() as connection:
        new = inbox.record(connection, [arrival(1), arrival(1, app_id="b"), arrival(1, vendor="tencent")])
    assert len(new) == 3


def test_rows_wait_in_the_order_of_their_arrival(ledger: Ledger) -> None:
    numbers = [5, 3, 9, 1]
    with ledger.write() as connection:
        inbox.record(connection, [arrival(n, body=b"%d" % n) for n in numbers[:2]])
        inbox.record(connection, [arrival(n, body=b"%d" % n) for n in numbers[2:]])
        assert [int(row.body) for row in inbox.unapplied(connection, 100)] == numbers
        assert [int(row.body) for row in inbox.unapplied(connection, 2)] == numbers[:2]


def test_a_row_is_what_was_recorded(ledger: Ledger) -> None:
    with ledger.write() as connection:
        inbox.record(connection, [arrival(7, body=b"\x00\xff")])
        (row,) = inbox.unapplied(connection, 1)
        assert inbox.callback_rows(connection, [row.id, row.id + 1]) == {row.id: row}
    assert row == Row(
        id=row.id,
        kind="callback",
        vendor="volcengine",
        app_id="app",
        dedupe_key=inbox.recorded_key(arrival(7)).hex(),
        received_at=T0,
        body=b"\x00\xff",
        payload={},
    )


def test_what_is_posted_is_posted_once_per_key(ledger: Ledger) -> None:
    with ledger.write() as connection:
        assert inbox.post(connection, DEADLINE, ("t", "silence"), {"task_id": "t"}, T0)
        assert not inbox.post(connection, DEADLINE, ("t", "silence"), {"task_id": "other"}, T0)
        assert inbox.post(connection, MARK, ("t", "silence"), {}, T0)
        assert inbox.post(connection, DEADLINE, ("ts", "ilence"), {}, T0)
        assert [(row.kind, row.payload) for row in inbox.unapplied(connection, 9)] == [
            (DEADLINE, {"task_id": "t"}),
            (MARK, {}),
            (DEADLINE, {}),
        ]


def test_what_is_posted_may_say_what_it_can_be_found_by(ledger: Ledger) -> None:
    posting = Posting(key=("t",), payload={}, vendor="tencent", app_id="14", task_id="t")
    with ledger.write() as connection:
        assert inbox.post_all(connection, START, [posting, Posting(key=("u",), payload={})], T0) == 2
        found, other = inbox.unapplied(connection, 9)
        (named,) = connection.exec_driver_sql("SELECT task_id FROM inbox WHERE task_id IS NOT NULL").scalars()
    assert (found.kind, found.vendor, found.app_id, named) == (START, "tencent", "14", "t")
    assert (other.vendor, other.app_id) == ("", "")


def test_what_is_settled_waits_no_longer(ledger: Ledger) -> None:
    with ledger.write() as connection:
        inbox.record(connection, [arrival(1), arrival(2)])
    first, second = waiting_ids(ledger)
    settle(ledger, Settled(id=first, applied_at=T0 + 5, verdict="applied"))
    assert waiting_ids(ledger) == [second]
    settle(ledger)
    assert waiting_ids(ledger) == [second]


def test_what_is_set_aside_neither_waits_nor_counts_as_waiting(ledger: Ledger) -> None:
    with ledger.write() as connection:
        inbox.record(connection, [arrival(1, received_at=T0 - 9), arrival(2)])
    settle(ledger, Settled(id=waiting_ids(ledger)[0], applied_at=T0, error="ValueError()"))
    with ledger.read() as connection:
        assert inbox.waiting(connection) == (1, T0)
        assert inbox.any_waiting(connection)


def test_only_callbacks_count_as_waiting_callbacks(ledger: Ledger) -> None:
    with ledger.write() as connection:
        assert not inbox.any_waiting(connection)
        inbox.post(connection, MARK, ("a",), {}, T0)
        assert inbox.any_waiting(connection)
        assert inbox.waiting(connection) == (0, None)


def test_received_callbacks_are_counted_without_their_duplicates(ledger: Ledger) -> None:
    with ledger.write() as connection:
        inbox.record(connection, [arrival(1), arrival(1), arrival(2)])
        inbox.record(connection, [arrival(1)])
        assert stats.read(connection, T0).received == 2


def test_asking_what_waits_reads_nothing_but_an_index_of_what_waits(sqlite_ledger: Ledger) -> None:
    questions = (inbox.waiting, inbox.any_waiting, lambda connection: inbox.unapplied(connection, 10))
    with sqlite_ledger.read() as connection:
        for question in questions:
            with statements(connection) as said:
                question(connection)
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {said[0].replace('?', '1')}").all()
            assert all("inbox_unapplied" in row[3] for row in plan), (said, plan)
