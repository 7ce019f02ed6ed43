"""Undoes the partial changes that a killed upgrade of an older version left in a SQLite ledger.

Up to revision 0004 the driver committed each change of a table by itself: a process that was killed in between left the old
revision's number with some of the next one's tables, columns and indexes, and every later start failed. Rows were copied in one
transaction, so new tables are empty, and the renamed table (`events`, then `events_before`) has all rows. So the old revision can
be restored: the migrations, run in memory, show which tables it must have and which ones the next revision adds. Any other
difference raises SchemaError.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from alembic import command
from sqlalchemy import Connection, StaticPool, create_engine, event, select, table, text

from adapters.ledger.schema_state import SchemaError, alembic_config, revisions
from adapters.logs import logger

log = logger(__name__)

#: The last revision that can be half made: each later migration is one transaction.
_LAST_REPAIRABLE = "0004"
#: Tables that a migration renames: temporary name -> original name.
_RENAMED = {"events_before": "events"}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shape:
    """The schema of a database: table -> columns, index -> (table, columns), and the SQL that created each of them."""

    tables: Mapping[str, Sequence[str]]
    indexes: Mapping[str, tuple[str, Sequence[str]]]
    sql: Mapping[str, str]


def undo_interrupted(connection: Connection, revision: str | None) -> list[str]:
    """Restores this revision where a killed upgrade left it half changed; returns the names of what was undone.

    It runs in the transaction of the connection. Raises SchemaError where the repair could lose data.
    """
    following = _next_revision(revision)
    if following is None:
        return []
    current, old, new = _read_shape(connection), _shape_at(revision), _shape_at(following)
    if _has_shape(current, old):
        return []
    done = [
        *_drop_new_indexes(connection, current, old, new),
        *_drop_new_tables(connection, current, old, new),
        *_rename_back(connection, current),
        *_recreate_emptied(connection, old),
        *_drop_new_columns(connection, old, new),
        *_make_old_indexes(connection, old),
    ]
    if not _has_shape(_read_shape(connection), old):
        raise SchemaError(_failure_text(revision, "its tables are not those of that revision"))
    return done


def _next_revision(revision: str | None) -> str | None:
    known = revisions()
    following = known[0] if revision is None else (*known, None)[known.index(revision) + 1]
    return following if following is not None and following <= _LAST_REPAIRABLE else None


def _has_shape(current: _Shape, old: _Shape) -> bool:
    """Returns whether the database has this schema. Additional tables or indexes, which a user may have added, do not matter."""
    has_tables = all(sorted(current.tables.get(name, ())) == sorted(columns) for name, columns in old.tables.items())
    has_indexes = all(current.indexes.get(name) == definition for name, definition in old.indexes.items())
    return has_tables and has_indexes and not _RENAMED.keys() & current.tables.keys() and (bool(old.tables) or not current.tables)


def _drop_new_indexes(connection: Connection, current: _Shape, old: _Shape, new: _Shape) -> list[str]:
    known = old.indexes.keys() | new.indexes.keys()
    gone = [name for name, definition in current.indexes.items() if name in known and old.indexes.get(name) != definition]
    for name in gone:
        connection.exec_driver_sql(f"DROP INDEX {name}")
    return gone


def _drop_new_tables(connection: Connection, current: _Shape, old: _Shape, new: _Shape) -> list[str]:
    """Drops the tables that the old revision lacks, or has with other columns while the rows are under the temporary name."""
    gone = []
    for name, columns in current.tables.items():
        is_new = name in new.tables and name not in old.tables
        is_remade = name in _RENAMED.values() and name in old.tables and sorted(columns) != sorted(old.tables[name])
        if not (is_new or is_remade):
            continue
        if sorted(columns) != sorted(new.tables[name]) or connection.execute(select(text("1")).select_from(table(name))).first():
            raise SchemaError(_failure_text(None, f"the table {name} is not empty"))
        connection.exec_driver_sql(f"DROP TABLE {name}")
        gone.append(name)
    return gone


def _rename_back(connection: Connection, current: _Shape) -> list[str]:
    renamed = [(temporary, original) for temporary, original in _RENAMED.items() if temporary in current.tables]
    for temporary, original in renamed:
        connection.exec_driver_sql(f"ALTER TABLE {temporary} RENAME TO {original}")
    return [temporary for temporary, _ in renamed]


def _recreate_emptied(connection: Connection, old: _Shape) -> list[str]:
    """Creates renamed tables again that had no rows and were dropped already."""
    missing = [name for name in _RENAMED.values() if name in old.tables and name not in _read_shape(connection).tables]
    for name in missing:
        connection.exec_driver_sql(old.sql[name])
    return missing


def _drop_new_columns(connection: Connection, old: _Shape, new: _Shape) -> list[str]:
    gone = []
    for name, columns in _read_shape(connection).tables.items():
        added = set(new.tables.get(name, ())) - set(old.tables.get(name, ()))
        for column in [column for column in columns if name in old.tables and column in added]:
            connection.exec_driver_sql(f"ALTER TABLE {name} DROP COLUMN {column}")
            gone.append(f"{name}.{column}")
    return gone


def _make_old_indexes(connection: Connection, old: _Shape) -> list[str]:
    current = _read_shape(connection)
    missing = [name for name, (table, _) in old.indexes.items() if name not in current.indexes and table in current.tables]
    for name in missing:
        connection.exec_driver_sql(old.sql[name])
    return missing


def _failure_text(revision: str | None, why: str) -> str:
    at = f" of {revision}" if revision else ""
    return (
        f"an upgrade{at} by an older version was interrupted and cannot be undone safely: {why}. Nothing was changed. "
        "Restore a backup from before that upgrade, or keep the file and report this"
    )


def _read_shape(connection: Connection) -> _Shape:
    rows = connection.exec_driver_sql("SELECT type, name, tbl_name, sql FROM sqlite_master WHERE sql IS NOT NULL").all()
    ours = [row for row in rows if not row.name.startswith(("sqlite_", "alembic_"))]
    tables = {row.name: _column_names(connection, "table_info", row.name) for row in ours if row.type == "table"}
    indexes = {row.name: (row.tbl_name, _column_names(connection, "index_info", row.name)) for row in ours if row.type == "index"}
    return _Shape(tables=tables, indexes=indexes, sql={row.name: row.sql for row in ours})


def _column_names(connection: Connection, pragma: str, name: str) -> Sequence[str]:
    return [str(row["name"]) for row in connection.exec_driver_sql(f'PRAGMA {pragma}("{name}")').mappings()]


def _shape_at(revision: str | None) -> _Shape:
    """Returns the schema of a revision, by running the migrations in memory."""
    if revision is None:
        return _Shape(tables={}, indexes={}, sql={})
    engine = create_engine("sqlite://", poolclass=StaticPool)
    event.listen(engine, "connect", lambda connection, _: setattr(connection, "isolation_level", None))
    try:
        with engine.connect() as connection:
            config = alembic_config()
            config.attributes["connection"] = connection
            command.upgrade(config, revision)
            return _read_shape(connection)
    finally:
        engine.dispose()
