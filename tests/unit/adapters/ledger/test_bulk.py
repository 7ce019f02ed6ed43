"""Many rows are inserted and updated by one statement, whatever their values."""

from collections.abc import Sequence
from typing import Any

import pytest
from sqlalchemy import Table, func, select

from adapters.ledger import Ledger, bulk
from adapters.ledger.inbox import AppliedRow, record
from adapters.ledger.schema import counters, deadlines, effects, idempotency, inbox, quotas, timeline
from tests.support.ledger_rows import arrival, settle, statements, waiting_ids
from tests.support.times import T0

SIZES = (1, 2, 1_000)
#: The largest and the smallest number that a column can store.
MOST, LEAST = 2**63 - 1, -(2**63)


def _all(ledger: Ledger, table: Table, *names: str) -> list[tuple[Any, ...]]:
    with ledger.read() as connection:
        return [tuple(row) for row in connection.execute(select(*(table.c[name] for name in names)).order_by(*table.primary_key))]


def _lines(ats: Sequence[int], inbox_ids: Sequence[int | None]) -> list[dict[str, Any]]:
    return [
        {"task_id": f"t{number}", "at": at, "inbox_id": inbox_id, "entries": "[]"}
        for number, (at, inbox_id) in enumerate(zip(ats, inbox_ids, strict=True))
    ]


def test_no_rows_are_no_statement(ledger: Ledger) -> None:
    with ledger.write() as connection, statements(connection) as said:
        bulk.insert(connection, timeline, [])
        assert bulk.insert_new(connection, effects, [], ("task_id",)) == 0
        assert bulk.insert_returning(connection, effects, [], ("task_id",), ("id",)) == []
        bulk.upsert(connection, counters, [], ("name", "label"), add=("value",))
        assert bulk.update(connection, inbox, [], ("id",)) == 0
        bulk.delete(connection, deadlines, [])
    assert said == []


@pytest.mark.parametrize("size", SIZES)
def test_rows_are_read_back_as_inserted_and_in_order(ledger: Ledger, size: int) -> None:
    with ledger.write() as connection:
        bulk.insert(connection, timeline, _lines(range(T0, T0 + size), range(size)))
    assert _all(ledger, timeline, "task_id", "at", "inbox_id") == [(f"t{n}", T0 + n, n) for n in range(size)]


@pytest.mark.parametrize("size", SIZES)
def test_a_column_may_hold_nothing_at_all(ledger: Ledger, size: int) -> None:
    """The column has no value from which its type could be derived."""
    with ledger.write() as connection:
        bulk.insert(connection, timeline, _lines([T0] * size, [None] * size))
    assert _all(ledger, timeline, "inbox_id") == [(None,)] * size


def test_numbers_of_all_sizes_and_none_stand_in_one_column(ledger: Ledger) -> None:
    numbers = [0, None, -1, 2**15, 2**31, MOST, LEAST, None]
    with ledger.write() as connection:
        bulk.insert(connection, timeline, _lines([MOST, LEAST, *range(6)], numbers))
    assert _all(ledger, timeline, "at", "inbox_id") == [*zip([MOST, LEAST, *range(6)], numbers, strict=True)]


def test_fractions_and_bytes_come_back_exactly(ledger: Ledger) -> None:
    odd = [0.1, 1e-300, 1e300, -0.5]
    blobs = [b"", b"\x00", b"\xff" * 32, bytes(range(256))]
    with ledger.write() as connection:
        rest = {"at": 0, "slowed_at": 0, "blocked_until": 0}
        bulk.insert(connection, quotas, [{"bucket": f"b{n}", "tokens": odd[n], "pace": odd[n], **rest} for n in range(4)])
        row = {"at": 0, "status": 200, "location": None, "answer": ""}
        bulk.insert(connection, idempotency, [{"key_hash": blob, "body_hash": blob, **row} for blob in blobs])
    assert _all(ledger, quotas, "tokens", "pace") == [(each, each) for each in odd]
    assert sorted(_all(ledger, idempotency, "body_hash")) == sorted((blob,) for blob in blobs)


@pytest.mark.parametrize(
    "word", ["", "'", '"', "\\", "{}", "{a,b}", "NULL", "%s %b %%", "?", "a,b", "\n\t", "é \U0001f600", "x" * 100_000]
)
def test_no_text_is_interpreted_by_the_database(ledger: Ledger, word: str) -> None:
    with ledger.write() as connection:
        bulk.insert(connection, timeline, [{**_lines([T0], [None])[0], "entries": word}] * 2)
    assert _all(ledger, timeline, "entries") == [(word,)] * 2


@pytest.mark.parametrize("size", SIZES)
def test_inserted_rows_return_their_values(ledger: Ledger, size: int) -> None:
    rows = [_effect(serial) for serial in range(size)]
    with ledger.write() as connection:
        assert len(bulk.insert_returning(connection, effects, rows, ("task_id", "serial"), ("id", "serial"))) == size
        more = [*rows, _effect(size)]
        ((_, serial),) = bulk.insert_returning(connection, effects, more, ("task_id", "serial"), ("id", "serial"))
    assert serial == size
    assert len(_all(ledger, effects, "id")) == size + 1


@pytest.mark.parametrize("size", [1, 2, 127, 128, 129, 1_000])
def test_only_new_rows_count_where_some_exist(ledger: Ledger, size: int) -> None:
    rows = [_effect(serial) for serial in range(size)]
    with ledger.write() as connection:
        assert bulk.insert_new(connection, effects, rows[::3], ("task_id", "serial")) == len(rows[::3])
        assert bulk.insert_new(connection, effects, rows, ("task_id", "serial")) == size - len(rows[::3])
        assert bulk.insert_new(connection, effects, rows, ("task_id", "serial")) == 0
    assert sorted(_all(ledger, effects, "serial")) == [(serial,) for serial in range(size)]


def _effect(serial: int) -> dict[str, Any]:
    words = dict.fromkeys(("task_id", "operation", "vendor", "app_id", "family", "bucket"), "x")
    return {**words, "serial": serial, "step": None, "due_at": T0}


@pytest.mark.parametrize("size", SIZES)
def test_existing_values_are_overwritten_or_added_to(ledger: Ledger, size: int) -> None:
    def deadline(number: int, at: int) -> dict[str, Any]:
        return {"task_id": f"{number:04d}", "kind": "k", "due_at": at, "shard": 0}

    def counter(number: int) -> dict[str, Any]:
        return {"name": "n", "label": f"{number:04d}", "value": number}

    for at in (1, 2):
        with ledger.write() as connection:
            bulk.upsert(connection, deadlines, [deadline(n, at) for n in range(size)], ("task_id", "kind"), put=("due_at",))
            bulk.upsert(connection, counters, [counter(n) for n in range(size)], ("name", "label"), add=("value",))
    assert _all(ledger, deadlines, "due_at") == [(2,)] * size
    assert _all(ledger, counters, "value") == [(2 * n,) for n in range(size)]


@pytest.mark.parametrize("size", SIZES)
def test_columns_can_be_made_empty(ledger: Ledger, size: int) -> None:
    with ledger.write() as connection:
        record(connection, [arrival(n) for n in range(size)])
    ids = waiting_ids(ledger)
    settle(ledger, *(AppliedRow(id=id_, applied_at=T0, reason="r", task_id="t", error="e", event_at=1) for id_ in ids))
    settle(ledger, *(AppliedRow(id=id_, applied_at=T0) for id_ in ids))
    assert _all(ledger, inbox, "reason", "task_id", "error", "event_at") == [(None, None, None, None)] * size


def test_the_number_of_changed_rows_is_returned(ledger: Ledger) -> None:
    rows = [{"task_id": f"t{number}", "kind": "k", "due_at": 1, "shard": 0} for number in range(3)]
    with ledger.write() as connection:
        bulk.insert(connection, deadlines, rows)
        assert bulk.update(connection, deadlines, [{**rows[0], "due_at": 2}], ("task_id", "kind")) == 1
        assert (
            bulk.update(connection, deadlines, [{**row, "task_id": f"x{row['task_id']}"} for row in rows], ("task_id", "kind")) == 0
        )
        assert bulk.update(connection, deadlines, [*rows, {**rows[0], "kind": "other"}], ("task_id", "kind")) == 3


@pytest.mark.parametrize("size", SIZES)
def test_only_rows_with_these_values_are_deleted(ledger: Ledger, size: int) -> None:
    rows = [{"task_id": f"t{n}", "kind": kind, "due_at": 1, "shard": 0} for n in range(size) for kind in "ab"]
    with ledger.write() as connection:
        bulk.insert(connection, deadlines, rows)
        bulk.delete(connection, deadlines, [{"task_id": f"t{n}", "kind": "a"} for n in range(size)])
        assert connection.execute(select(deadlines.c.kind, func.count()).group_by(deadlines.c.kind)).all() == [("b", size)]
