"""The schema is upgraded once, also by concurrent processes."""

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text

from adapters.clock import now_ms
from adapters.ledger import Connection, Ledger, LedgerUnavailableError, events, positions
from adapters.ledger import postgresql as ours
from adapters.ledger.events import TaskEvent
from adapters.ledger.migrate import SchemaError, newest, require_current, upgrade
from adapters.ledger.positions import first_position
from adapters.ledger.schema import metadata
from tests.support import postgresql
from tests.support.ledger_deliveries import tell, told
from tests.support.ledgers import BOTH
from tests.support.old_ledgers import tell_as_0003, upgrade_to
from tests.support.server_processes import free_port
from tests.support.times import DAY, SECOND, T0


@pytest.fixture(params=BOTH)
def bare(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ledger]:
    """A ledger without a schema."""
    is_file = request.param == "sqlite"
    ledger = Ledger(f"sqlite:///{tmp_path / 'a%b' / 'tally.db'}" if is_file else postgresql.new_database(migrated=False))
    yield ledger
    ledger.close()
    if not is_file:
        postgresql.drop(ledger.url)


def test_an_upgrade_returns_its_revisions_and_a_second_one_does_nothing(bare: Ledger) -> None:
    assert upgrade(bare) == (None, newest())
    assert upgrade(bare) == (newest(), newest())


def test_two_concurrent_upgrades_migrate_once(bare: Ledger) -> None:
    with ThreadPoolExecutor(2) as pool:
        befores = [found for found, _ in pool.map(lambda _: upgrade(bare), range(2))]
    assert sorted(befores, key=str) == [newest(), None]
    require_current(bare)


def test_a_missing_schema_is_an_error_that_says_what_to_do(bare: Ledger) -> None:
    with pytest.raises(SchemaError) as error:
        require_current(bare)
    assert str(error.value) == f"the ledger's schema is missing, this version needs {newest()}: run `tally db upgrade`"


def test_an_older_schema_is_an_error_with_its_name_and_what_to_do(bare: Ledger) -> None:
    upgrade(bare)
    with bare.write() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0003'")
    with pytest.raises(SchemaError, match=f"schema is 0003, this version needs {newest()}: run `tally db upgrade`"):
        require_current(bare)


@pytest.mark.parametrize("what", [upgrade, require_current])
def test_a_newer_schema_is_an_error_without_advice_that_cannot_help(bare: Ledger, what: Callable[[Ledger], object]) -> None:
    upgrade(bare)
    with bare.write() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(SchemaError, match=f"schema is 9999, and this program is older: the newest .* {newest()}") as error:
        what(bare)
    assert "db upgrade" not in str(error.value)


def test_an_upgrade_leaves_no_lock_and_no_setting_behind_even_where_it_fails(bare: Ledger) -> None:
    upgrade(bare)
    with bare.write() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0000'")
    with pytest.raises(SchemaError):
        upgrade(bare)
    with bare.write() as connection:
        connection.exec_driver_sql(f"UPDATE alembic_version SET version_num = '{newest()}'")
    other = Ledger(bare.url)
    if bare.path is None:
        with bare.write() as connection, other.session() as session:
            assert session.scalar(text(f"SELECT pg_try_advisory_lock({ours.lock_number('upgrade')})"))
            assert connection.scalar(text("SHOW statement_timeout")) == "10s"
            assert connection.scalar(text("SHOW lock_timeout")) == "10s"
    assert upgrade(other) == (newest(), newest())
    other.close()


def test_a_ledger_that_is_away_cannot_be_upgraded() -> None:
    away = Ledger(f"postgresql://tally@127.0.0.1:{free_port()}/tally")
    with pytest.raises(LedgerUnavailableError):
        upgrade(away)
    away.close()


def test_the_migrations_create_the_tables_of_the_schema(sqlite_ledger: Ledger) -> None:
    with sqlite_ledger.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, metadata) == []


def test_on_postgresql_they_create_the_same_but_a_key_that_partitions_cannot_have(postgresql_ledger: Ledger) -> None:
    options = {"compare_type": True, "compare_server_default": True, "include_object": _is_no_partition}
    with postgresql_ledger.read() as connection:
        context = MigrationContext.configure(connection, opts=options)
        differing = [(what, constraint.table.name) for what, constraint in compare_metadata(context, [metadata, ours.metadata])]
    assert differing == [("add_constraint", "inbox")]


def _is_no_partition(_object: object, name: str | None, kind: str, _reflected: bool, _compare_to: object) -> bool:
    return kind != "table" or re.fullmatch("(inbox|timeline|events)_(rest|[0-9]{6})", str(name)) is None


def test_the_migrations_create_exactly_the_same_tables_and_indexes(sqlite_ledger: Ledger, tmp_path: Path) -> None:
    """Compares also conditions, autoincrement, tables without row ids and defaults."""
    fresh = Ledger(f"sqlite:///{tmp_path / 'fresh.db'}")
    with fresh.write() as connection:
        metadata.create_all(connection)
    assert _definitions(fresh) == {name: said for name, said in _definitions(sqlite_ledger).items() if "alembic" not in name}
    fresh.close()


def test_on_postgresql_they_create_exactly_the_same_but_partitioned_tables(postgresql_ledger: Ledger) -> None:
    fresh = Ledger(postgresql.new_database(migrated=False))
    with fresh.write() as connection:
        metadata.create_all(connection)
        ours.metadata.create_all(connection)
    made, said = _said_by_postgresql(postgresql_ledger), _said_by_postgresql(fresh)
    fresh.close()
    postgresql.drop(fresh.url)
    assert {name: (said.get(name), made.get(name)) for name in said.keys() | made.keys() if said.get(name) != made.get(name)} == {
        **{f"{table}.id": (("bigint", True, f"nextval('{table}_id_seq'::regclass)"), _TALLY_ID) for table in ("inbox", "timeline")},
        "inbox_dedupe_key_key": ("CREATE UNIQUE INDEX inbox_dedupe_key_key ON public.inbox USING btree (dedupe_key)", None),
    }


_TALLY_ID = ("bigint", True, "tally_id()")


def _said_by_postgresql(ledger: Ledger) -> dict[str, object]:
    """Compares the type, nullability and default of each column, and each index."""
    columns = """
        SELECT relname || '.' || attname, format_type(atttypid, atttypmod), attnotnull, pg_get_expr(adbin, adrelid)
        FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
        LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
        WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition
            AND attnum > 0 AND NOT attisdropped AND relname <> 'alembic_version'
    """
    indexes = """
        SELECT relname, pg_get_indexdef(oid) FROM pg_class
        WHERE relnamespace = 'public'::regnamespace AND relkind IN ('i', 'I') AND NOT relispartition
            AND relname NOT LIKE 'alembic%'
    """
    with ledger.read() as connection:
        said: dict[str, object] = {name: tuple(more) for name, *more in connection.exec_driver_sql(columns)}
        made = {name: told.replace(" ON ONLY ", " ON ") for name, told in connection.exec_driver_sql(indexes.replace("%", "%%"))}
        return said | made


def test_on_postgresql_texts_are_compared_by_their_bytes_in_every_column_and_index(postgresql_ledger: Ledger) -> None:
    """The database of these tests has a collation of a language, as most have."""
    statement = """
        SELECT relname, attname FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
        WHERE relnamespace = 'public'::regnamespace AND attcollation NOT IN (0, '"C"'::regcollation)
            AND attnum > 0 AND relname NOT LIKE 'alembic%'
    """
    with postgresql_ledger.read() as connection:
        assert connection.scalar(text("SELECT 'a' < 'B'")), "the database's own way"
        assert connection.execute(text(statement)).all() == []


def _definitions(ledger: Ledger) -> dict[str, object]:
    """Returns SQLite's definition of each table and index, without the order of columns: a column that was added later is last."""
    with ledger.read() as connection:
        tables = connection.exec_driver_sql("PRAGMA table_list").mappings().all()
        said: dict[str, object] = {
            table["name"]: {
                "without row ids": table["wr"],
                "autoincrement": _number(connection, table["name"], "AUTOINCREMENT"),
                "columns": _pragma_rows(
                    connection, "table_xinfo", table["name"], "name", "type", "notnull", "dflt_value", "pk", "hidden"
                ),
                "keys elsewhere": _pragma_rows(connection, "foreign_key_list", table["name"], "table", "from", "to"),
                "indexes": _pragma_rows(connection, "index_list", table["name"], "name", "unique", "origin", "partial"),
            }
            for table in tables
            if not table["name"].startswith("sqlite_")
        }
        indexes = connection.exec_driver_sql("SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL")
        return said | {name: " ".join(sql.split()) for name, sql in indexes}


def _pragma_rows(connection: Connection, pragma: str, table: str, *columns: str) -> list[tuple[object, ...]]:
    rows = connection.exec_driver_sql(f"PRAGMA {pragma}({table})").mappings()
    return sorted((tuple(row[column] for column in columns) for row in rows), key=repr)


def _number(connection: Connection, table: str, word: str) -> int:
    (sql,) = connection.exec_driver_sql("SELECT sql FROM sqlite_master WHERE type = 'table' AND name = ?", (table,)).one()
    return str(sql).count(word)


# Events of earlier revisions.

#: Times of the events, in their order: clocks did not agree; some are in a month without a partition.
TIMES = (T0 + 5 * SECOND, T0, T0 + 5 * SECOND + 1, *(T0 + 9 * SECOND for _ in range(2_500)), T0 + 60 * DAY, T0 + 61 * DAY)


@pytest.fixture
def of_0003(bare: Ledger) -> tuple[Ledger, list[TaskEvent]]:
    """A ledger of that revision with these events, the last one of today."""
    upgrade_to(bare.url, "0003")
    if bare.path is None:
        with bare.write() as connection:
            _add_old_partition(connection)
    before = [told(f"t{number % 7}", number, at=at) for number, at in enumerate((*TIMES, now_ms()), start=1)]
    tell_as_0003(bare, before)
    return bare, before


def _add_old_partition(connection: Connection) -> None:
    bounds = ours.first_id(T0 - 10 * DAY), ours.first_id(T0 + 10 * DAY)
    connection.execute(text("CREATE TABLE events_202311 PARTITION OF events FOR VALUES FROM ({}) TO ({})".format(*bounds)))


def test_earlier_events_are_kept_in_their_order(of_0003: tuple[Ledger, list[TaskEvent]]) -> None:
    ledger, before = of_0003
    if ledger.path is None:  # there ids told the time, so they were in its order
        before = [before[1], before[0], *before[2:]]
    upgrade(ledger)
    with ledger.read() as connection:
        found = events.page(connection, after=0, limit=9_999)
        chosen = events.headers(connection, after=0, limit=1)
    assert [event.content for event in found] == before
    assert (chosen[0].subject, chosen[0].vendor, chosen[0].app_id, chosen[0].kind) == (
        before[0].subject,
        "volcengine",
        "app",
        "push",
    )


def test_their_positions_contain_their_second_or_a_later_one_and_the_next_follows(of_0003: tuple[Ledger, list[TaskEvent]]) -> None:
    ledger, _ = of_0003
    upgrade(ledger)
    with ledger.read() as connection:
        found = events.page(connection, after=0, limit=9_999)
        assert positions.newest(connection) == found[-1].position
    place = 0
    for event in found:
        place = max(place, first_position(event.content.at)) + 1
        assert event.position == place
    tell(ledger, told("next", at=T0))
    with ledger.read() as connection:
        assert [event.position for event in events.page(connection, after=place, limit=9)] == [place + 1]


def test_a_ledger_with_events_gets_the_schema_of_a_new_one(of_0003: tuple[Ledger, list[TaskEvent]], tmp_path: Path) -> None:
    ledger, _ = of_0003
    upgrade(ledger)
    is_file = ledger.path is not None
    new = Ledger(f"sqlite:///{tmp_path / 'new.db'}" if is_file else postgresql.new_database(migrated=False))
    upgrade(new)
    said = _definitions if is_file else _said_by_postgresql
    assert said(ledger) == said(new)
    new.close()
    if not is_file:
        postgresql.drop(new.url)


@pytest.mark.parametrize("bare", ["postgresql"], indirect=True)
def test_on_postgresql_they_are_in_the_partitions_of_their_months(of_0003: tuple[Ledger, list[TaskEvent]]) -> None:
    ledger, before = of_0003
    upgrade(ledger)
    statement = "SELECT tableoid::regclass::text, count(*) FROM events GROUP BY 1 ORDER BY 1"
    with ledger.read() as connection:
        assert [tuple(row) for row in connection.execute(text(statement))] == [
            (connection.scalar(text("SELECT to_char(now(), '\"events_\"YYYYMM')")), 1),
            ("events_rest", len(before) - 1),
        ]
