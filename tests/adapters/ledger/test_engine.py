"""A transaction is durable or did not happen; a ledger that is away is said to be so."""

import threading
from pathlib import Path

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.exc import DBAPIError

from adapters.ledger import Ledger, LedgerUnavailableError, inbox
from adapters.ledger.engine import sqlite_path
from adapters.ledger.schema import inbox as inbox_table
from adapters.ledger.upgrade import upgrade
from tests.adapters.ledger.making import arrival


@pytest.mark.parametrize("way", ["read", "write"])
def test_commits_survive_a_power_cut(ledger: Ledger, way: str) -> None:
    with getattr(ledger, way)() as connection:
        pragmas = {name: connection.exec_driver_sql(f"PRAGMA {name}").scalar_one() for name in ("journal_mode", "synchronous")}
    assert pragmas == {"journal_mode": "wal", "synchronous": 2}


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


def test_a_full_disk_is_an_unavailable_ledger_and_loses_nothing(ledger: Ledger) -> None:
    """A limit on the file's pages stands in for the disk."""
    with ledger.write() as connection:
        inbox.record(connection, [arrival(1)])
    with pytest.raises(LedgerUnavailableError, match="full"):
        _record_on_a_full_disk(ledger)
    assert _rows(ledger) == 1


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


def test_what_a_statement_holds_is_not_in_its_error(ledger: Ledger) -> None:
    with pytest.raises(DBAPIError) as raised, ledger.write() as connection:
        connection.execute(text("INSERT INTO inbox (payload) VALUES (:payload)"), {"payload": "sesame"})
    assert "sesame" not in str(raised.value)


def test_what_was_overwritten_does_not_lie_on_beside_the_ledger(tmp_path: Path) -> None:
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


def test_a_new_ledger_is_its_owners_alone(tmp_path: Path) -> None:
    ledger = Ledger(f"sqlite:///{tmp_path}/tally.db")
    upgrade(ledger)
    with ledger.write() as connection:
        connection.exec_driver_sql("DELETE FROM idempotency")
    assert {path.stat().st_mode & 0o077 for path in tmp_path.glob("tally.db*") if "lock" not in path.name} == {0}
    ledger.close()
