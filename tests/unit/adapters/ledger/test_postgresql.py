"""PostgreSQL: ids contain the time, and rows are in the partition of their id's month."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from threading import Barrier

import psycopg
import pytest
from sqlalchemy import Connection, text

from adapters.clock import now_ms
from adapters.ledger import Ledger, LedgerUnavailableError, callbacks, inbox, timeline
from adapters.ledger.postgresql import PARTITIONED, first_id, lock, lock_number, make_partitions
from adapters.ledger.timeline import TimelineRow
from tests.support.ledger_rows import arrival, waiting_ids
from tests.support.times import T0

#: Months without partitions.
MAY_2020 = round(datetime(2020, 5, 15, tzinfo=UTC).timestamp() * 1000)
MONTHS = ("202005", "202006", "202007", "202008")


def _partition_names(months: tuple[str, ...] = MONTHS) -> list[str]:
    return [f"{table}_{month}" for table in PARTITIONED for month in months]


def _record(ledger: Ledger, *numbers: int) -> None:
    with ledger.write() as connection:
        inbox.record(connection, [arrival(number) for number in numbers])


def _put_at(ledger: Ledger, at: int, number: int = 0) -> None:
    """Inserts a row of the timeline as if it had been written at that time."""
    with ledger.write() as connection:
        statement = "INSERT INTO timeline (id, task_id, at, entries) VALUES (:id, 't', :at, '[]')"
        connection.execute(text(statement), {"id": first_id(at) + number, "at": at})


def _partitions_of_rows(connection: Connection, table: str) -> list[str]:
    return list(connection.scalars(text(f"SELECT tableoid::regclass::text FROM {table} ORDER BY id")))


# Ids.


def test_an_id_contains_the_time_of_its_creation(new_postgresql_ledger: Ledger) -> None:
    with new_postgresql_ledger.read() as connection:
        before, id_, after = connection.execute(
            text("SELECT extract(epoch FROM clock_timestamp()) * 1000, tally_id(), extract(epoch FROM clock_timestamp()) * 1000")
        ).one()
    assert first_id(int(before)) <= id_ < first_id(int(after) + 1)


def test_ids_of_a_batch_and_later_ones_increase(new_postgresql_ledger: Ledger) -> None:
    numbers = [*range(300, 200, -1)]
    _record(new_postgresql_ledger, *numbers[:50])
    _record(new_postgresql_ledger, *numbers[50:])
    with new_postgresql_ledger.read() as connection:
        rows = inbox.unapplied(connection, 1_000)
    assert [row.dedupe_key for row in rows] == [inbox.recorded_key(arrival(number)).hex() for number in numbers]


def test_concurrent_inserts_get_different_ids(new_postgresql_ledger: Ledger) -> None:
    def some(_: int) -> list[int]:
        with new_postgresql_ledger.read() as connection:
            return list(connection.scalars(text("SELECT tally_id() FROM generate_series(1, 2000)")))

    with ThreadPoolExecutor(4) as pool:
        ids = [id_ for found in pool.map(some, range(4)) for id_ in found]
    assert len(set(ids)) == len(ids) == 8_000


# Partitions.


@pytest.mark.parametrize("table", ["inbox", "timeline"])
def test_rows_are_in_the_partition_of_their_month(new_postgresql_ledger: Ledger, table: str) -> None:
    with new_postgresql_ledger.write() as connection:
        inbox.record(connection, [arrival(1)])
        timeline.append(connection, [TimelineRow(task_id="t", at=T0, inbox_id=1, entries=[{}])])
        month = connection.scalar(text(f"SELECT to_char(to_timestamp((id >> 20) / 1000.0), 'YYYYMM') FROM {table}"))
        assert _partitions_of_rows(connection, table) == [f"{table}_{month}"]


def test_the_months_to_come_have_their_partitions(new_postgresql_ledger: Ledger) -> None:
    with new_postgresql_ledger.write() as connection:
        assert make_partitions(connection, now_ms()) == []


def test_rows_of_a_month_without_a_partition_are_kept_and_moved_once_it_is_made(new_postgresql_ledger: Ledger) -> None:
    days = (MAY_2020, MAY_2020 + 30 * 86_400_000, MAY_2020 - 30 * 86_400_000)
    for at in days:
        _put_at(new_postgresql_ledger, at)
    with new_postgresql_ledger.write() as connection:
        assert _partitions_of_rows(connection, "timeline") == ["timeline_rest"] * 3
        before = timeline.page(connection, "t", after=0, limit=9)
        assert make_partitions(connection, MAY_2020) == _partition_names()
        assert _partitions_of_rows(connection, "timeline") == ["timeline_rest", "timeline_202005", "timeline_202006"]
        assert timeline.page(connection, "t", after=0, limit=9) == before
    assert [line.at for _, line in before] == sorted(days)


def test_a_month_begins_and_ends_with_its_first_and_last_millisecond_by_utc(new_postgresql_ledger: Ledger) -> None:
    first = round(datetime(2020, 6, 1, tzinfo=UTC).timestamp() * 1000)
    with new_postgresql_ledger.write() as connection:
        make_partitions(connection, MAY_2020)
    for number, at in ((0, first), (2**20 - 1, first - 1)):
        _put_at(new_postgresql_ledger, at, number)
    with new_postgresql_ledger.read() as connection:
        assert _partitions_of_rows(connection, "timeline") == ["timeline_202005", "timeline_202006"]


def test_the_months_follow_each_other_across_the_year(new_postgresql_ledger: Ledger) -> None:
    december = round(datetime(2019, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp() * 1000)
    with new_postgresql_ledger.write() as connection:
        assert make_partitions(connection, december) == _partition_names(("201912", "202001", "202002", "202003"))


def test_moved_callbacks_are_found_and_not_recorded_a_second_time(new_postgresql_ledger: Ledger) -> None:
    _record(new_postgresql_ledger, 1)
    with new_postgresql_ledger.write() as connection:
        strayed = first_id(MAY_2020)
        connection.execute(text(f"UPDATE inbox SET id = {strayed}"))
        connection.execute(text(f"UPDATE inbox_keys SET inbox_id = {strayed}"))
        assert _partitions_of_rows(connection, "inbox") == ["inbox_rest"]
        make_partitions(connection, MAY_2020)
        assert _partitions_of_rows(connection, "inbox") == ["inbox_202005"]
        assert inbox.record(connection, [arrival(1)]) == set()
        assert callbacks.find(connection, strayed) is not None
    assert waiting_ids(new_postgresql_ledger) == [strayed]


def test_a_new_partition_has_all_indexes_and_the_key(new_postgresql_ledger: Ledger) -> None:
    statement = """
        SELECT count(*) FROM pg_index JOIN pg_class ON pg_class.oid = indrelid
        WHERE relname = :name AND indisvalid
    """
    with new_postgresql_ledger.write() as connection:
        make_partitions(connection, MAY_2020)
        for table in PARTITIONED:
            counts = {connection.scalar(text(statement), {"name": name}) for name in (table, f"{table}_202005", f"{table}_rest")}
            assert len(counts) == 1
            assert counts != {0}


def test_making_partitions_twice_does_nothing(new_postgresql_ledger: Ledger) -> None:
    with new_postgresql_ledger.write() as connection:
        make_partitions(connection, MAY_2020)
    with new_postgresql_ledger.write() as connection:
        assert make_partitions(connection, MAY_2020) == []


def test_two_processes_can_make_partitions_at_once(new_postgresql_ledger: Ledger) -> None:
    for number in range(5):
        _put_at(new_postgresql_ledger, MAY_2020, number)
    ready = Barrier(2)

    def make(_: int) -> list[str]:
        with new_postgresql_ledger.write() as connection:
            ready.wait()
            return make_partitions(connection, MAY_2020)

    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(make, range(2)))
    assert _partition_names() in found
    with new_postgresql_ledger.read() as connection:
        assert _partitions_of_rows(connection, "timeline") == ["timeline_202005"] * 5


def test_callbacks_are_recorded_while_another_process_waits_to_make_a_partition(new_postgresql_ledger: Ledger) -> None:
    with ThreadPoolExecutor(1) as pool:
        with _reading_all(new_postgresql_ledger):
            made = pool.submit(_make_partitions, new_postgresql_ledger)
            _wait_for_a_lock(new_postgresql_ledger.url)
            _record(new_postgresql_ledger, 1)
            assert not made.done()
        assert made.result() == _partition_names()
    assert len(waiting_ids(new_postgresql_ledger)) == 1


def _make_partitions(ledger: Ledger) -> list[str]:
    with ledger.write() as connection:
        return make_partitions(connection, MAY_2020)


@contextmanager
def _reading_all(ledger: Ledger) -> Iterator[None]:
    with ledger.read() as connection:
        connection.execute(text("SELECT count(*) FROM inbox"))
        yield


def _wait_for_a_lock(url: str) -> None:
    """Waits until a transaction waits for a lock."""
    with psycopg.connect(url, autocommit=True, options="-c statement_timeout=10s") as connection:
        while not connection.execute("SELECT pg_sleep(0.01), 1 FROM pg_locks WHERE NOT granted").fetchone():
            pass


def test_making_a_partition_times_out_without_the_lock_and_leaves_nothing(new_postgresql_ledger: Ledger) -> None:
    with _reading_all(new_postgresql_ledger), pytest.raises(LedgerUnavailableError, match="lock timeout"):
        _make_partitions(new_postgresql_ledger)
    assert _make_partitions(new_postgresql_ledger) == _partition_names()


# Locks.


def test_a_lock_by_name_is_held_until_the_transaction_ends(new_postgresql_ledger: Ledger) -> None:
    statement = text(f"SELECT pg_try_advisory_xact_lock({lock_number('a')})")
    with new_postgresql_ledger.write() as holding:
        lock(holding, "a")
        lock(holding, "a")
        with new_postgresql_ledger.write() as other:
            assert not other.scalar(statement)
            lock(other, "b")
    with new_postgresql_ledger.write() as other:
        assert other.scalar(statement)


def test_the_number_of_a_lock_depends_on_nothing_but_its_name() -> None:
    assert lock_number("upgrade") == lock_number("upgrade")
    assert len({lock_number(name) for name in ("upgrade", "partitions", "")}) == 3
    assert all(-(2**63) <= lock_number(str(number)) < 2**63 for number in range(100))
