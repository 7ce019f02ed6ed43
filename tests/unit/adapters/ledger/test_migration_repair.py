"""An upgrade by an older version that was killed at any moment is undone, without loss of data."""

from collections.abc import Iterator
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from sqlalchemy import Connection, NullPool, create_engine, event, text

from adapters.ledger import Ledger
from adapters.ledger.migrate import require_current, upgrade
from adapters.ledger.schema_state import SchemaError, alembic_config, revision_of
from tests.support.old_ledgers import copy_file, counts, fill, upgrade_to

ROWS = 5
#: One moment of this many is tested; the long tests try them all.
EVERY = 3


class KilledError(Exception):
    """Simulates `kill -9`: uncommitted changes are rolled back."""


def upgrade_as_before(url: str, revision: str, statements: int) -> None:
    """Upgrades with the driver's own transactions, which end at DDL, and is killed after a number of statements."""
    engine = create_engine(url, poolclass=NullPool)
    numbers = count()

    def kill(*_: Any) -> None:
        if next(numbers) >= statements:
            raise KilledError

    with engine.connect() as connection:
        event.listen(connection, "before_cursor_execute", kill)
        made = alembic_config()
        made.attributes["connection"] = connection
        command.upgrade(made, revision)


def moments(source: Path, target: Path, revision: str) -> Iterator[str]:
    """Yields the URL of a ledger for each moment at which the upgrade to this revision can be killed."""
    for statements in count(step=EVERY):
        url = copy_file(source, target)
        try:
            upgrade_as_before(url, revision, statements)
        except KilledError:
            yield url
        else:
            return


STEPS = [(None, "0001", 0), ("0001", "0002", ROWS), ("0002", "0003", ROWS), ("0003", "0004", ROWS), ("0003", "0004", 0)]


@pytest.mark.parametrize(("before", "after", "rows"), STEPS)
def test_an_upgrade_that_was_killed_at_any_moment_is_undone_and_made_again(
    tmp_path: Path, before: str | None, after: str, rows: int
) -> None:
    source = tmp_path / "old.db"
    source.touch()
    if before is not None:
        upgrade_to(f"sqlite:///{source}", before)
        if rows:
            fill(f"sqlite:///{source}", before, rows)
    expected = _upgraded(copy_file(source, tmp_path / "tally.db"))
    tried = [_upgraded(url) for url in moments(source, tmp_path / "tally.db", after)]
    assert len(tried) >= 10 / EVERY
    assert [found for found in tried if found != expected] == []


def _upgraded(url: str) -> dict[str, Any]:
    with closing(Ledger(url)) as ledger:
        upgrade(ledger)
        require_current(ledger)
        with ledger.read() as connection:
            shape = sorted(map(tuple, connection.execute(text("SELECT type, name FROM sqlite_master"))))
        return {"counts": counts(ledger), "shape": shape}


@pytest.fixture
def half_made(tmp_path: Path) -> Iterator[Ledger]:
    """Between 0003 and 0004: the new table of events exists, the old one has another name and all rows."""
    source = tmp_path / "old.db"
    upgrade_to(f"sqlite:///{source}", "0003")
    fill(f"sqlite:///{source}", "0003", ROWS)
    for url in moments(source, tmp_path / "tally.db", "0004"):
        with closing(Ledger(url)) as ledger:
            with ledger.read() as connection:
                names = set(connection.scalars(text("SELECT name FROM sqlite_master")))
            if names >= {"events", "events_before"}:
                yield ledger
                return


def test_rows_that_only_a_half_made_table_has_are_never_thrown_away(half_made: Ledger) -> None:
    with half_made.write() as connection:
        columns = "id, subject, version, type, at, vendor, app_id, kind, doc"
        connection.exec_driver_sql(f"INSERT INTO events ({columns}) VALUES (1, 's', 1, 't', 1, 'v', 'a', 'k', '{{}}')")
    with pytest.raises(SchemaError, match="interrupted and cannot be undone safely: the table events is not empty"):
        upgrade(half_made)
    with half_made.read() as connection:
        assert (_rows(connection, "events_before"), _rows(connection, "events")) == (ROWS, 1)
        assert revision_of(connection) == "0003"


def test_tables_and_indexes_that_a_user_added_stay(half_made: Ledger) -> None:
    with half_made.write() as connection:
        connection.exec_driver_sql("CREATE TABLE notes (text TEXT)")
        connection.exec_driver_sql("CREATE INDEX by_vendor ON tasks (vendor)")
    upgrade(half_made)
    with half_made.read() as connection:
        assert {"notes", "by_vendor"} <= set(connection.scalars(text("SELECT name FROM sqlite_master")))
        assert _rows(connection, "events") == ROWS


def _rows(connection: Connection, table: str) -> int:
    return int(connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar_one())
