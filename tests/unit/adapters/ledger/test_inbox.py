"""The inbox records each callback once, and returns rows in the order of their arrival."""

import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest

from adapters.ledger import ConflictError, Ledger, callbacks, inbox, stats
from adapters.ledger.inbox import DEADLINE, MARK, START, AppliedRow, InboxRow, Posting
from tests.support.ledger_rows import arrival, settle, statements, waiting_ids
from tests.support.times import T0


def test_callbacks_are_recorded_by_few_statements_for_all(sqlite_ledger: Ledger) -> None:
    """A batch of 150 new rows is inserted as 128, 16, 4 and 2 rows; the old ones are only queried if there are any."""
    with sqlite_ledger.write() as connection, statements(connection) as said:
        inbox.record(connection, [*(arrival(number) for number in range(150)), arrival(1)])
    into = [" ".join(statement.split()[:3]) for statement in said]
    assert into == ["SELECT max(inbox.id) AS", *["INSERT INTO inbox"] * 4, "INSERT INTO counters"]


def test_callbacks_are_recorded_by_one_statement(postgresql_ledger: Ledger) -> None:
    with postgresql_ledger.write() as connection, statements(connection) as said:
        inbox.record(connection, [arrival(1), arrival(2), arrival(1)])
    assert [re.findall(r"INSERT INTO (\w+)", statement) for statement in said] == [["inbox_keys", "inbox", "counters"]]


def test_signed_callbacks_are_recorded_by_one_statement_too(postgresql_ledger: Ledger) -> None:
    signed = [arrival(number, signature_key=f"{number:044x}") for number in (1, 2)]
    with postgresql_ledger.write() as connection, statements(connection) as said:
        inbox.record(connection, [*signed, arrival(3)])
    into = ["inbox_signatures", "inbox_keys", "inbox", "counters"]
    assert [re.findall(r"INSERT INTO (\w+)", statement) for statement in said] == [into]


def test_recording_returns_the_new_ones_within_a_batch_and_across(ledger: Ledger) -> None:
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


def test_callbacks_with_one_signature_are_one_within_a_batch_and_across(ledger: Ledger) -> None:
    first, variant, other = (arrival(number, signature_key=f"{number // 3 + 1:044x}") for number in (1, 2, 3))
    again = arrival(2, signature_key=f"{7:044x}")
    with ledger.write() as connection:
        assert inbox.record(connection, [first, variant, other]) == {inbox.recorded_key(first), inbox.recorded_key(other)}
    with ledger.write() as connection:
        assert inbox.record(connection, [variant]) == set()
        assert inbox.record(connection, [again]) == {inbox.recorded_key(again)}, "a variant takes nobody's dedupe key"
    assert len(waiting_ids(ledger)) == 3


def test_the_signature_of_a_copy_is_kept_too(ledger: Ledger) -> None:
    """A copy may be signed anew, in the same batch or later: a variant of such a copy is a copy as well."""
    first, anew, later = (arrival(1, signature_key=f"{number:044x}") for number in (1, 2, 3))
    with ledger.write() as connection:
        inbox.record(connection, [first, anew])
        inbox.record(connection, [later])
        assert inbox.record(connection, [arrival(5, signature_key=each.signature_key) for each in (anew, later)]) == set()


def test_two_doors_that_record_variants_at_once_record_one(ledger: Ledger) -> None:
    """They record in opposite orders: without a fixed lock order they would deadlock."""
    together = Barrier(2)
    batches = [
        [arrival(door * 1_000 + number, signature_key=f"{number:044x}") for number in numbers]
        for door, numbers in ((1, range(1, 201)), (2, range(200, 0, -1)))
    ]

    def one_door(batch: Sequence[Any]) -> int:
        together.wait()
        with ledger.write_once() as connection:
            return len(inbox.record(connection, batch))

    with ThreadPoolExecutor() as doors:
        assert sum(doors.map(one_door, batches)) == 200
    assert len(waiting_ids(ledger)) == 200


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
    assert row == InboxRow(
        id=row.id,
        kind="callback",
        vendor="volcengine",
        app_id="app",
        dedupe_key=inbox.recorded_key(arrival(7)).hex(),
        received_at=T0,
        body=b"\x00\xff",
        payload={},
        shard=inbox.shard_of("app", ""),
    )


def test_a_row_is_posted_once_per_key(ledger: Ledger) -> None:
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


def test_a_posted_row_may_have_columns_it_can_be_found_by(ledger: Ledger) -> None:
    posting = Posting(key=("t",), payload={}, vendor="tencent", app_id="14", task_id="t")
    with ledger.write() as connection:
        assert inbox.post_all(connection, START, [posting, Posting(key=("u",), payload={})], T0) == 2
        found, other = inbox.unapplied(connection, 9)
        (named,) = connection.exec_driver_sql("SELECT task_id FROM inbox WHERE task_id IS NOT NULL").scalars()
    assert (found.kind, found.vendor, found.app_id, named) == (START, "tencent", "14", "t")
    assert (other.vendor, other.app_id) == ("", "")


def test_an_applied_row_waits_no_longer(ledger: Ledger) -> None:
    with ledger.write() as connection:
        inbox.record(connection, [arrival(1), arrival(2)])
    first, second = waiting_ids(ledger)
    settle(ledger, AppliedRow(id=first, applied_at=T0 + 5, verdict="applied"))
    assert waiting_ids(ledger) == [second]
    settle(ledger)
    assert waiting_ids(ledger) == [second]


def test_a_row_that_was_set_aside_neither_waits_nor_counts_as_waiting(ledger: Ledger) -> None:
    with ledger.write() as connection:
        inbox.record(connection, [arrival(1, received_at=T0 - 9), arrival(2)])
    settle(ledger, AppliedRow(id=waiting_ids(ledger)[0], applied_at=T0, error="ValueError()"))
    with ledger.read() as connection:
        assert inbox.backlog(connection) == (1, T0)
        assert inbox.any_waiting(connection)


def test_only_callbacks_count_as_waiting_callbacks(ledger: Ledger) -> None:
    with ledger.write() as connection:
        assert not inbox.any_waiting(connection)
        inbox.post(connection, MARK, ("a",), {}, T0)
        assert inbox.any_waiting(connection)
        assert inbox.backlog(connection) == (0, None)


def test_received_callbacks_are_counted_without_their_duplicates(ledger: Ledger) -> None:
    with ledger.write() as connection:
        inbox.record(connection, [arrival(1), arrival(1), arrival(2)])
        inbox.record(connection, [arrival(1)])
        assert stats.read(connection, T0).received == 2


def test_finding_waiting_rows_reads_only_an_index_of_them(sqlite_ledger: Ledger) -> None:
    questions = (inbox.backlog, inbox.any_waiting, lambda connection: inbox.unapplied(connection, 10))
    with sqlite_ledger.read() as connection:
        for question in questions:
            with statements(connection) as said:
                question(connection)
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {said[0].replace('?', '1')}").all()
            assert all("inbox_unapplied" in row[3] for row in plan), (said, plan)


@pytest.mark.parametrize("size", [1, 1_000])
def test_a_batch_of_any_size_is_recorded_and_applied(ledger: Ledger, size: int) -> None:
    with ledger.write() as connection:
        assert len(inbox.record(connection, [arrival(number) for number in range(size)])) == size
    ids = waiting_ids(ledger)
    assert len(ids) == size
    settle(ledger, *(AppliedRow(id=id_, applied_at=T0) for id_ in ids))
    assert waiting_ids(ledger) == []


def test_the_largest_possible_id_is_not_found(ledger: Ledger) -> None:
    most = 2**63 - 1
    with ledger.write() as connection:
        assert inbox.still_waiting(connection, [most]) == set()
        assert inbox.callback_rows(connection, [1, most]) == {}
        inbox.defer(connection, [most], most)
        inbox.write_results(connection, [AppliedRow(id=most, applied_at=most)])


def test_of_two_equal_keys_posted_at_once_the_first_counts(ledger: Ledger) -> None:
    postings = [Posting(key=key, payload={"number": number}) for number, key in enumerate([("a",), ("b",), ("a",)])]
    with ledger.write() as connection:
        assert inbox.post_all(connection, MARK, postings, T0) == 2
        assert sorted(row.payload["number"] for row in inbox.unapplied(connection, 9)) == [0, 1]


def test_a_row_that_was_applied_and_dropped_can_be_posted_again(ledger: Ledger) -> None:
    with ledger.write() as connection:
        inbox.post(connection, MARK, ("a",), {}, T0)
        assert not inbox.post(connection, MARK, ("a",), {}, T0)
    with ledger.write() as connection:
        inbox.mark_applied(connection, [], [row.id for row in inbox.unapplied(connection, 9)])
        assert not inbox.any_waiting(connection)
        assert inbox.post(connection, MARK, ("a",), {}, T0)
        assert not inbox.post(connection, MARK, ("a",), {}, T0)
    assert len(waiting_ids(ledger)) == 1


def test_a_callback_that_was_applied_is_never_new_again(ledger: Ledger) -> None:
    with ledger.write() as connection:
        inbox.record(connection, [arrival(1)])
        (row,) = inbox.unapplied(connection, 9)
        inbox.mark_applied(connection, [AppliedRow(id=row.id, applied_at=T0)], [])
        assert inbox.record(connection, [arrival(1)]) == set()
    assert waiting_ids(ledger) == []


def test_a_row_posted_while_an_equal_one_is_being_dropped_waits(ledger: Ledger) -> None:
    def post() -> bool:
        with ledger.write() as connection:
            return inbox.post(connection, MARK, ("a",), {}, T0)

    assert post()
    with ThreadPoolExecutor(1) as pool:
        with ledger.write() as connection:
            inbox.mark_applied(connection, [], [row.id for row in inbox.unapplied(connection, 9)])
            posting = pool.submit(post)
        assert posting.result()
    assert len(waiting_ids(ledger)) == 1


def _at_once(*calls: Any) -> list[Any]:
    ready = Barrier(len(calls))

    def run(call: Any) -> Any:
        ready.wait()
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        return [each.result() for each in [pool.submit(run, call) for call in calls]]


def test_two_doors_that_record_the_same_callbacks_in_opposite_orders_record_each_once(ledger: Ledger) -> None:
    numbers = [*range(400)]

    def record(some: Sequence[int]) -> list[bytes]:
        new: list[bytes] = []
        for batch in (some[:200], some[200:]):
            with ledger.write() as connection:
                new += inbox.record(connection, [arrival(number) for number in batch])
        return new

    found = _at_once(*(lambda some=some: record(some) for some in (numbers, numbers[::-1], numbers, numbers[::-1])))
    assert sorted(key for new in found for key in new) == sorted(inbox.recorded_key(arrival(number)) for number in numbers)
    assert len(waiting_ids(ledger)) == len(numbers)
    with ledger.read() as connection:
        assert stats.read(connection, T0).received == len(numbers)


def test_of_two_workers_that_apply_the_same_rows_one_gets_a_conflict(ledger: Ledger) -> None:
    with ledger.write() as connection:
        inbox.record(connection, [arrival(number) for number in range(50)])
        inbox.post(connection, MARK, ("a",), {}, T0)
        *recorded, posted = inbox.unapplied(connection, 100)

    def apply(order: int, verdict: str) -> str:
        settled = [AppliedRow(id=row.id, applied_at=T0, verdict=verdict) for row in recorded[::order]]
        try:
            with ledger.write() as connection:
                inbox.mark_applied(connection, settled, [posted.id])
        except ConflictError:
            return ""
        return verdict

    (won,) = [verdict for verdict in _at_once(lambda: apply(1, "applied"), lambda: apply(-1, "stale")) if verdict]
    with ledger.read() as connection:
        page = callbacks.page(connection, callbacks.CallbackFilter(), before=None, limit=100)
    assert [one.verdict for one in page] == [won] * 50
    assert waiting_ids(ledger) == []


ODD = "\x00 \ud800 \udfff é"


def test_text_that_no_column_can_store_is_read_back_from_headers_payloads_bodies_and_keys(ledger: Ledger) -> None:
    sent = arrival(1, headers={ODD: ODD}, body=ODD.encode("utf-8", "surrogatepass"), vendor_task_id=ODD)
    with ledger.write() as connection:
        assert inbox.record(connection, [sent, arrival(2)]) == {inbox.recorded_key(sent), inbox.recorded_key(arrival(2))}
        assert inbox.post(connection, MARK, (ODD, "\x00"), {ODD: [ODD]}, T0)
        assert not inbox.post(connection, MARK, (ODD, "\x00"), {}, T0)
        first, _, posted = inbox.unapplied(connection, 9)
        found = callbacks.find(connection, first.id)
    assert found is not None
    assert (found.headers, found.body) == (sent.headers, sent.body)
    assert posted.payload == {ODD: [ODD]}
