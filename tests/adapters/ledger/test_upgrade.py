"""The schema is brought up to date once, whoever else is at it."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect

from adapters.ledger import Ledger
from adapters.ledger.schema import metadata
from adapters.ledger.upgrade import SchemaError, newest, require_current, upgrade


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[Ledger]:
    """Without any schema."""
    ledger = Ledger(f"sqlite:///{tmp_path / 'a%b' / 'tally.db'}")
    yield ledger
    ledger.close()


def test_upgrading_tells_what_it_did_and_doing_it_again_does_nothing(bare: Ledger) -> None:
    assert upgrade(bare) == (None, newest())
    assert upgrade(bare) == (newest(), newest())


def test_two_that_upgrade_at_once_do_it_once(bare: Ledger) -> None:
    with ThreadPoolExecutor(2) as pool:
        befores = [found for found, _ in pool.map(lambda _: upgrade(bare), range(2))]
    assert sorted(befores, key=str) == [newest(), None]
    require_current(bare)


def test_a_missing_schema_is_refused_with_a_sentence_that_says_what_to_do(bare: Ledger) -> None:
    with pytest.raises(SchemaError) as error:
        require_current(bare)
    assert str(error.value) == f"the ledger's schema is missing, this version needs {newest()}: run `tally db upgrade`"


def test_another_schema_is_refused_with_its_name(bare: Ledger) -> None:
    upgrade(bare)
    with bare.write() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0000'")
    with pytest.raises(SchemaError, match=f"schema is 0000, this version needs {newest()}"):
        require_current(bare)


def test_the_migrations_make_what_the_tables_say(ledger: Ledger) -> None:
    with ledger.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, metadata) == []


def test_the_migrations_make_the_very_tables_and_indexes(ledger: Ledger, tmp_path: Path) -> None:
    """What a comparison of names leaves out: conditions, autoincrement, the order of columns."""
    fresh = Ledger(f"sqlite:///{tmp_path / 'fresh.db'}")
    with fresh.write() as connection:
        metadata.create_all(connection)
    assert _said(fresh) == {name: sql for name, sql in _said(ledger).items() if "alembic" not in name}
    fresh.close()


def _said(ledger: Ledger) -> dict[str, list[str]]:
    with ledger.read() as connection:
        assert inspect(connection).get_table_names()
        rows = connection.exec_driver_sql("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL").all()
    return {name: sorted(line.strip(", \t") for line in sql.splitlines() if line.strip()) for name, sql in rows}
