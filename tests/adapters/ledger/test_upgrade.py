"""The schema is brought up to date once, whoever else is at it."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from adapters.ledger import Connection, Ledger
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
    """What a comparison of names leaves out: conditions, autoincrement, tables without row ids, defaults."""
    fresh = Ledger(f"sqlite:///{tmp_path / 'fresh.db'}")
    with fresh.write() as connection:
        metadata.create_all(connection)
    assert _said(fresh) == {name: said for name, said in _said(ledger).items() if "alembic" not in name}
    fresh.close()


def _said(ledger: Ledger) -> dict[str, object]:
    """All that SQLite knows of each table and index. A column that was added later stands last, so their order does not count."""
    with ledger.read() as connection:
        tables = connection.exec_driver_sql("PRAGMA table_list").mappings().all()
        said: dict[str, object] = {
            table["name"]: {
                "without row ids": table["wr"],
                "autoincrement": _number(connection, table["name"], "AUTOINCREMENT"),
                "columns": _listed(
                    connection, "table_xinfo", table["name"], "name", "type", "notnull", "dflt_value", "pk", "hidden"
                ),
                "keys elsewhere": _listed(connection, "foreign_key_list", table["name"], "table", "from", "to"),
                "indexes": _listed(connection, "index_list", table["name"], "name", "unique", "origin", "partial"),
            }
            for table in tables
            if not table["name"].startswith("sqlite_")
        }
        indexes = connection.exec_driver_sql("SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL")
        return said | {name: " ".join(sql.split()) for name, sql in indexes}


def _listed(connection: Connection, pragma: str, table: str, *columns: str) -> list[tuple[object, ...]]:
    rows = connection.exec_driver_sql(f"PRAGMA {pragma}({table})").mappings()
    return sorted((tuple(row[column] for column in columns) for row in rows), key=repr)


def _number(connection: Connection, table: str, word: str) -> int:
    (sql,) = connection.exec_driver_sql("SELECT sql FROM sqlite_master WHERE type = 'table' AND name = ?", (table,)).one()
    return str(sql).count(word)
