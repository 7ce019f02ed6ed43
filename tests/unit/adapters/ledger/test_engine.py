"""A transaction is durable or did not happen; an unavailable ledger raises an error of its own."""

import re
import threading
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import psycopg
import pytest
from sqlalchemy import func, select, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError

from adapters.ledger import ConflictError, Ledger, LedgerUnavailableError, counters, inbox
from adapters.ledger.engine import sqlite_path, without_password
from adapters.ledger.migrate import upgrade
from adapters.ledger.schema import inbox as inbox_table
from tests.support import postgresql
from tests.support.ledger_rows import arrival
from tests.support.postgresql import PostgresServer
from tests.support.server_processes import free_port


@pytest.mark.parametrize("way", ["read", "write"])
def test_commits_survive_a_power_cut(sqlite_ledger: Ledger, way: str) -> None:
    with getattr(sqlite_ledger, way)() as connection:
        pragmas = {name: connection.exec_driver_sql(f"PRAGMA {name}").scalar_one() for name in ("journal_mode", "synchronous")}
    assert pragmas == {"journal_mode": "wal", "synchronous": 2}


@pytest.mark.parametrize("way", ["read", "write"])
def test_commits_are_on_disk_whatever_the_servers_default(postgresql_ledger: Ledger, way: str) -> None:
    with psycopg.connect(postgresql_ledger.url) as connection:
        assert connection.execute("SHOW synchronous_commit").fetchone() == ("off",)
    with getattr(postgresql_ledger, way)() as connection:
        assert connection.scalar(text("SHOW synchronous_commit")) == "on"


def test_a_transaction_that_fails_leaves_nothing(ledger: Ledger) -> None:
    with pytest.raises(ZeroDivisionError):
        _record_and_fail(ledger)
    assert _rows(ledger) == 0


def test_a_reader_sees_one_state_and_waits_for_no_writer(ledger: Ledger) -> None:
    with ledger.read() as reading:
        before = reading.execute(select(func.count()).select_from(inbox_table)).scalar_one()
        with ledger.write() as connection:
            inbox.record(connection, [arrival(1)])
        assert reading.execute(select(func.count()).select_from(inbox_table)).scalar_one() == before == 0
    assert _rows(ledger) == 1


def test_writers_take_turns(ledger: Ledger) -> None:
    def write(number: int) -> None:
        for each in range(10):
            with ledger.write() as connection:
                inbox.record(connection, [arrival(number * 100 + each)])

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert _rows(ledger) == 40


def test_a_ledger_that_is_no_file_is_unavailable(tmp_path: Path) -> None:
    ledger = Ledger(f"sqlite:///{tmp_path}")
    for way in (ledger.read, ledger.write):
        with pytest.raises(LedgerUnavailableError, match="unable to open database file"), way():
            pass
    ledger.close()


def test_a_ledger_without_its_tables_is_unavailable(tmp_path: Path) -> None:
    ledger = Ledger(f"sqlite:///{tmp_path / 'tally.db'}")
    with pytest.raises(LedgerUnavailableError, match="no such table"):
        _rows(ledger)
    ledger.close()


def test_a_full_disk_is_an_unavailable_ledger_and_loses_nothing(sqlite_ledger: Ledger) -> None:
    """A limit on the file's pages simulates the full disk."""
    with sqlite_ledger.write() as connection:
        inbox.record(connection, [arrival(1)])
    with pytest.raises(LedgerUnavailableError, match="full"):
        _record_on_a_full_disk(sqlite_ledger)
    assert _rows(sqlite_ledger) == 1


def test_opening_a_ledger_makes_its_folder_and_no_file(tmp_path: Path) -> None:
    ledger = Ledger(f"sqlite:///{tmp_path / 'var' / 'tally.db'}")
    assert [*(tmp_path / "var").iterdir()] == []
    ledger.close()


def test_only_sqlite_ledgers_have_a_path() -> None:
    assert sqlite_path("sqlite:///var/tally.db") == Path("var/tally.db")
    assert sqlite_path("postgresql://db/tally") is None


def _record_and_fail(ledger: Ledger) -> None:
    with ledger.write() as connection:
        inbox.record(connection, [arrival(1)])
        raise ZeroDivisionError


def _record_on_a_full_disk(ledger: Ledger) -> None:
    with ledger.write() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")
        inbox.record(connection, [arrival(2, body=b"x" * 1_000_000)])


def _rows(ledger: Ledger) -> int:
    with ledger.read() as connection:
        return connection.execute(select(func.count()).select_from(inbox_table)).scalar_one()


def test_parameters_of_a_statement_are_not_in_its_error(ledger: Ledger) -> None:
    with pytest.raises(DBAPIError) as raised, ledger.write() as connection:
        connection.execute(text("INSERT INTO inbox (payload) VALUES (:payload)"), {"payload": "sesame"})
    assert "sesame" not in f"{raised.value!r} {raised.value} {raised.value.orig!r} {raised.value.orig}"
    assert re.search("not.null", str(raised.value), re.IGNORECASE)


def test_overwritten_data_does_not_stay_beside_the_ledger(tmp_path: Path) -> None:
    ledger = Ledger(f"sqlite:///{tmp_path}/tally.db")
    upgrade(ledger)
    for body in (b"sekret", b"nothing"):
        with ledger.write() as connection:
            connection.exec_driver_sql("DELETE FROM idempotency")
            row = ("k", "b", 0, 202, body.decode())
            connection.exec_driver_sql(
                "INSERT INTO idempotency (key_hash, body_hash, at, status, answer) VALUES (?, ?, ?, ?, ?)", row
            )
    ledger.checkpoint()
    assert b"sekret" not in b"".join(path.read_bytes() for path in tmp_path.iterdir())
    ledger.close()


def test_a_new_ledger_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    ledger = Ledger(f"sqlite:///{tmp_path}/tally.db")
    upgrade(ledger)
    with ledger.write() as connection:
        connection.exec_driver_sql("DELETE FROM idempotency")
    assert {path.stat().st_mode & 0o077 for path in tmp_path.glob("tally.db*") if "lock" not in path.name} == {0}
    ledger.close()


# PostgreSQL: causes of errors.


def _fail_with(ledger: Ledger, state: str) -> None:
    with ledger.write() as connection:
        connection.exec_driver_sql(f"DO $$ BEGIN RAISE EXCEPTION 'so it is' USING ERRCODE = '{state}'; END $$")


@pytest.mark.parametrize(
    "state",
    [
        "08006",
        "25006",
        "25P03",
        "42501",
        "42703",
        "42883",
        "42P01",
        "53100",
        "53200",
        "53300",
        "55P03",
        "57014",
        "57P01",
        "58030",
        "XX000",
    ],
)
def test_errors_of_the_server_make_the_ledger_unavailable(postgresql_ledger: Ledger, state: str) -> None:
    with pytest.raises(LedgerUnavailableError, match="so it is"):
        _fail_with(postgresql_ledger, state)


@pytest.mark.parametrize("state", ["40001", "40P01"])
def test_conflicting_transactions_raise_a_conflict(postgresql_ledger: Ledger, state: str) -> None:
    with pytest.raises(ConflictError):
        _fail_with(postgresql_ledger, state)


@pytest.mark.parametrize("state", ["22001", "22021", "23502", "23505", "42601"])
def test_errors_of_a_row_are_raised_unchanged(postgresql_ledger: Ledger, state: str) -> None:
    with pytest.raises(DBAPIError, match="so it is"):
        _fail_with(postgresql_ledger, state)


def test_of_two_deadlocked_transactions_one_conflicts_and_the_other_commits(postgresql_ledger: Ledger) -> None:
    ready = Barrier(2)

    def both(labels: str) -> str:
        try:
            with postgresql_ledger.write() as connection:
                connection.execute(text("SET LOCAL deadlock_timeout = '50ms'"))
                counters.add(connection, "n", {labels[0]: 1})
                ready.wait()
                counters.add(connection, "n", {labels[1]: 1})
        except ConflictError:
            return "conflict"
        return "done"

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(both, ("ab", "ba"))) == ["conflict", "done"]
    with postgresql_ledger.read() as connection:
        assert counters.sums(connection, "n") == {"a": 1, "b": 1}


def test_overwriting_a_row_changed_after_the_snapshot_is_a_conflict(postgresql_ledger: Ledger) -> None:
    with pytest.raises(ConflictError):
        _add_in_a_snapshot(postgresql_ledger)
    with postgresql_ledger.read() as connection:
        assert counters.sums(connection, "n") == {"a": 2}


def _add_in_a_snapshot(ledger: Ledger) -> None:
    _add(ledger)
    with ledger.read() as connection:
        assert counters.total(connection, "n") == 1
        _add(ledger)
        counters.add(connection, "n", {"a": 1})


def _add(ledger: Ledger) -> None:
    with ledger.write() as connection:
        counters.add(connection, "n", {"a": 1})


# PostgreSQL: connections and servers that go away.


def _end_all_sessions(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        ended = connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        ).fetchall()
    assert ended
    assert {each for (each,) in ended} == {True}


def _record(ledger: Ledger, number: int) -> None:
    with ledger.write() as connection:
        inbox.record(connection, [arrival(number)])


def test_connections_that_were_ended_while_idle_are_replaced_unnoticed(postgresql_ledger: Ledger) -> None:
    _record(postgresql_ledger, 1)
    assert _rows(postgresql_ledger) == 1
    _end_all_sessions(postgresql_ledger.url)
    assert _rows(postgresql_ledger) == 1
    _record(postgresql_ledger, 2)
    assert _rows(postgresql_ledger) == 2


@pytest.mark.parametrize("way", ["read", "write", "session"])
def test_a_transaction_whose_connection_is_ended_is_lost_and_the_next_one_works(postgresql_ledger: Ledger, way: str) -> None:
    with pytest.raises(LedgerUnavailableError):
        _be_ended_within(postgresql_ledger, way)
    _record(postgresql_ledger, 1)
    assert _rows(postgresql_ledger) == 1


def _be_ended_within(ledger: Ledger, way: str) -> None:
    with getattr(ledger, way)() as connection:
        connection.execute(text("SELECT 1"))
        _end_all_sessions(ledger.url)
        connection.execute(text("SELECT 1"))


def test_an_idle_transaction_is_ended_and_the_next_one_works(postgresql_ledger: Ledger) -> None:
    with pytest.raises(LedgerUnavailableError, match="idle-in-transaction"):
        _say_nothing(postgresql_ledger)
    _record(postgresql_ledger, 1)
    assert _rows(postgresql_ledger) == 1


def _say_nothing(ledger: Ledger) -> None:
    with ledger.write() as connection:
        inbox.record(connection, [arrival(1)])
        pid = connection.scalar(text("SELECT pg_backend_pid()"))
        connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 20"))
        _wait_until_ended(ledger.url, pid)
        connection.execute(text("SELECT 1"))


def _wait_until_ended(url: str, pid: int) -> None:
    with psycopg.connect(url, autocommit=True, options="-c statement_timeout=10s") as connection:
        while connection.execute("SELECT pg_sleep(0.01) FROM pg_stat_activity WHERE pid = %s", (pid,)).fetchone():
            pass


def test_a_statement_that_takes_too_long_is_cancelled(postgresql_ledger: Ledger) -> None:
    hasty = Ledger(postgresql_ledger.url, statement_timeout_s=0.05)
    with pytest.raises(LedgerUnavailableError, match="statement timeout"), hasty.read() as connection:
        connection.execute(text("SELECT pg_sleep(10)"))
    assert _rows(hasty) == 0
    hasty.close()


def test_no_transaction_waits_for_a_lock_for_ever(postgresql_ledger: Ledger) -> None:
    hasty = Ledger(postgresql_ledger.url, statement_timeout_s=0.05)
    with postgresql_ledger.write() as connection:
        counters.add(connection, "n", {"a": 1})
        with pytest.raises(LedgerUnavailableError, match="timeout"), hasty.write() as other:
            counters.add(other, "n", {"a": 1})
    hasty.close()


def test_a_server_that_takes_no_writes_is_unavailable_for_them_and_can_be_read(new_postgresql_ledger: Ledger) -> None:
    name = make_url(new_postgresql_ledger.url).database
    with psycopg.connect(new_postgresql_ledger.url, autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on".encode())
    standby = Ledger(new_postgresql_ledger.url)
    with pytest.raises(LedgerUnavailableError, match="read-only"):
        _record(standby, 1)
    assert _rows(standby) == 0
    with psycopg.connect(new_postgresql_ledger.url, options="-c default_transaction_read_only=off", autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only".encode())
    _end_all_sessions(new_postgresql_ledger.url)  # as when an address moves to another server
    _record(standby, 1)
    assert _rows(standby) == 1
    standby.close()


def test_a_postgresql_ledger_without_its_tables_is_unavailable() -> None:
    ledger = Ledger(postgresql.new_database(migrated=False))
    with pytest.raises(LedgerUnavailableError, match="does not exist"):
        _rows(ledger)
    ledger.close()
    postgresql.drop(ledger.url)


@pytest.fixture(scope="module")
def own_server() -> Iterator[PostgresServer]:
    """A server that may be stopped."""
    with postgresql.own_server() as server:
        yield server


def test_a_server_that_went_away_and_came_back_needs_no_restart_of_ours(own_server: PostgresServer) -> None:
    ledger = Ledger(own_server.make_database("away"))
    upgrade(ledger)
    _record(ledger, 1)
    with ledger.write() as connection:
        connection.execute(text("CHECKPOINT"))  # it does without fsync
    own_server.stop("fast")
    for way in (ledger.read, ledger.write, ledger.session):
        with pytest.raises(LedgerUnavailableError), way():
            pass
    own_server.start()
    _record(ledger, 2)
    assert _rows(ledger) == 2
    ledger.close()


@pytest.mark.parametrize("url", ["postgresql://tally:sesame@{}/tally", "postgresql://tally@{}/tally?password=sesame"])
def test_an_unavailable_ledger_is_named_without_its_password(url: str) -> None:
    ledger = Ledger(url.format(f"127.0.0.1:{free_port()}"))
    with pytest.raises(LedgerUnavailableError) as raised, ledger.read():
        pass
    assert "127.0.0.1" in str(raised.value)
    assert "sesame" not in "".join(traceback.format_exception(raised.value))
    ledger.close()


def test_a_url_is_shown_without_passwords_wherever_they_are() -> None:
    url = "postgresql://tally:sesame@db/tally?password=sesame&sslpassword=sesame&sslmode=require"
    shown = without_password(url)
    assert "sesame" not in shown
    assert "sslmode=require" in shown
    assert without_password("sqlite:///var/tally.db") == "sqlite:///var/tally.db"


# Sessions.


def test_a_sessions_settings_and_locks_end_with_it_however_it_ends(postgresql_ledger: Ledger) -> None:
    with pytest.raises(ZeroDivisionError):
        _lock_and_fail(postgresql_ledger)
    other = Ledger(postgresql_ledger.url)
    with other.session() as connection:
        assert connection.scalar(text("SELECT pg_try_advisory_lock(7)"))
    with postgresql_ledger.write() as connection:
        assert connection.scalar(text("SHOW statement_timeout")) == "10s"
    other.close()


def _lock_and_fail(ledger: Ledger) -> None:
    with ledger.session() as connection:
        connection.execute(text("SET statement_timeout = 0"))
        connection.execute(text("SELECT pg_advisory_lock(7)"))
        raise ZeroDivisionError


def test_an_older_schema_is_an_unavailable_ledger_and_not_an_error_of_a_row(new_postgresql_ledger: Ledger) -> None:
    """The door may have opened while the server was away, before its schema could be checked."""
    with new_postgresql_ledger.write() as connection:
        connection.exec_driver_sql("ALTER TABLE inbox RENAME COLUMN shard TO no_shard_yet")
    with pytest.raises(LedgerUnavailableError, match="shard"), new_postgresql_ledger.write_once() as connection:
        inbox.record(connection, [arrival(1)])
