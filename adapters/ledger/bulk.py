"""Many rows by one statement, on either database. SQL text stands here where SQLAlchemy's own would cost more than the work.

SQLite inserts many rows by one statement, and does all else by one that is prepared and run for each row. PostgreSQL gets one array
for each column and unnests them, so that a batch is one round trip and one plan (measured with 200 rows of four columns: 4 us a
row, 1 of them ours; row by row: 13 and 12).

Rows are mappings with the same keys, which are columns of the table.
"""

import sqlite3
from collections.abc import Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import Any

from sqlalchemy import BigInteger, Connection, Float, Integer, LargeBinary, Table
from sqlalchemy.types import TypeEngine

Row = Mapping[str, Any]
#: SQLite: rows of one statement at the most; a power of two, so that few different statements are kept prepared.
_MAX_ROWS = 128
#: The columns of a table that are written.
_Columns = tuple[str, ...]


def insert(connection: Connection, table: Table, rows: Sequence[Row]) -> None:
    if rows:
        _run_insert(connection, rows, table)


def insert_new(connection: Connection, table: Table, rows: Sequence[Row], key: _Columns) -> int:
    """Inserts rows whose key is not there yet; how many."""
    if not rows:
        return 0
    ending = f" ON CONFLICT ({_column_list(key)}) DO NOTHING"
    return _run_insert(connection, _sorted_by_key(connection, rows, key), table, ending)


def existing(connection: Connection, table: Table, column: str, values: Sequence[Any]) -> set[Any]:
    """Those of these values that stand in the column. SQLite: by statements of 128, 64, 32 ... values."""
    found: set[Any] = set()
    begin = 0
    while begin < len(values):
        number = min(_MAX_ROWS, 1 << ((len(values) - begin).bit_length() - 1))
        some = tuple(values[begin : begin + number])
        found.update(each for (each,) in connection.exec_driver_sql(_existing_sql(table, column, number), some))
        begin += number
    return found


@lru_cache(maxsize=64)
def _existing_sql(table: Table, column: str, number: int) -> str:
    return f"SELECT {column} FROM {table.name} WHERE {column} IN ({', '.join('?' * number)})"


def insert_returning(
    connection: Connection, table: Table, rows: Sequence[Row], key: _Columns, returning: _Columns
) -> list[tuple[Any, ...]]:
    """The same; of each that was inserted, in any order, the values that the ledger now has."""
    if not rows:
        return []
    ending = f" ON CONFLICT ({_column_list(key)}) DO NOTHING RETURNING {_column_list(returning)}"
    return _run_returning(connection, _sorted_by_key(connection, rows, key), _insert_sql(table, tuple(rows[0]), ending))


def upsert(
    connection: Connection, table: Table, rows: Sequence[Row], key: _Columns, *, put: _Columns = (), add: _Columns = ()
) -> None:
    """Inserts rows; of those whose key is there, columns are overwritten (`put`) or added to (`add`)."""
    if not rows:
        return
    ordered = _sorted_by_key(connection, rows, key)
    changes = [f"{name} = excluded.{name}" for name in put]
    changes += [f"{name} = {table.name}.{name} + excluded.{name}" for name in add]
    ending = f" ON CONFLICT ({_column_list(key)}) DO UPDATE SET {', '.join(changes)}"
    _run_for_rows(connection, ordered, _insert_sql(table, tuple(rows[0]), ending))


def update(connection: Connection, table: Table, rows: Sequence[Row], key: _Columns, *, counts: str = "", empty: str = "") -> int:
    """Overwrites the other columns of the rows with these keys; of how many.

    counts: a column of which the new value is one more than what is there, or the row is left alone. empty: one that must be null.
    """
    if not rows:
        return 0
    return _run_for_rows(connection, _sorted_by_key(connection, rows, key), _update_sql(table, tuple(rows[0]), key, counts, empty))


def delete(connection: Connection, table: Table, rows: Sequence[Row]) -> None:
    """Deletes the rows that have these values."""
    if rows:
        _run_for_rows(connection, rows, _delete_sql(table, tuple(rows[0])))


def _sorted_by_key(connection: Connection, rows: Sequence[Row], key: _Columns) -> Sequence[Row]:
    """PostgreSQL: in the order of their keys, or two transactions that share keys would wait for each other."""
    if connection.dialect.name == "sqlite":
        return rows
    return sorted(rows, key=lambda row: tuple(row[name] for name in key))


@lru_cache(maxsize=256)
def _insert_sql(table: Table, names: _Columns, ending: str = "") -> Mapping[str, str]:
    into = f"INSERT INTO {table.name} ({_column_list(names)})"
    return {
        "sqlite": f"{into} VALUES {_value_placeholders(names)}{ending}",
        "postgresql": f"{into} SELECT {_column_list(names)} FROM {unnest_clause(table, names)}{ending}",
    }


@lru_cache(maxsize=256)
def _insert_many_sql(table: Table, names: _Columns, number: int, ending: str) -> str:
    """SQLite: of so many rows at once."""
    return f"INSERT INTO {table.name} ({_column_list(names)}) VALUES {', '.join([_value_placeholders(names)] * number)}{ending}"


def _value_placeholders(names: _Columns) -> str:
    return f"({', '.join('?' for _ in names)})"


@lru_cache(maxsize=256)
def _update_sql(table: Table, names: _Columns, key: _Columns, counts: str, empty: str) -> Mapping[str, str]:
    by_place = {name: f"?{place}" for place, name in enumerate(names, start=1)}
    by_name = {name: f"given.{name}" for name in names}
    head = f"UPDATE {table.name} SET "
    return {
        "sqlite": head + _set_clause(names, key, by_place) + " WHERE " + _where_clause(table, key, by_place, counts, empty),
        "postgresql": head
        + _set_clause(names, key, by_name)
        + f" FROM {unnest_clause(table, names)} WHERE "
        + _where_clause(table, key, by_name, counts, empty),
    }


def _set_clause(names: _Columns, key: _Columns, values: Mapping[str, str]) -> str:
    return ", ".join(f"{name} = {values[name]}" for name in names if name not in key)


def _where_clause(table: Table, key: _Columns, values: Mapping[str, str], counts: str, empty: str) -> str:
    conditions = [f"{table.name}.{name} = {values[name]}" for name in key]
    conditions += [f"{table.name}.{counts} = {values[counts]} - 1"] if counts else []
    # In these words no planner takes it for rare, and walks along all rows that are so instead of those that are given.
    conditions += [f"NOT coalesce({table.name}.{empty} > 0, FALSE)"] if empty else []
    return " AND ".join(conditions)


@lru_cache(maxsize=256)
def _delete_sql(table: Table, names: _Columns) -> Mapping[str, str]:
    return {
        "sqlite": f"DELETE FROM {table.name} WHERE " + " AND ".join(f"{name} = ?" for name in names),
        "postgresql": f"DELETE FROM {table.name} USING {unnest_clause(table, names)} WHERE " + _join_condition(table, names),
    }


def unnest_clause(table: Table, names: _Columns, more: Mapping[str, str] = MappingProxyType({})) -> str:
    """PostgreSQL: the rows that are given as arrays, one for each of these columns, under the name `given`.

    more: names and types of columns that the table has not.
    """
    types = {name: _postgresql_type(table.c[name].type) for name in names} | dict(more)
    arrays = ", ".join(f"%b::{type_}[]" for type_ in types.values())
    return f"unnest({arrays}) AS given ({_column_list(tuple(types))})"


def arrays_of(rows: Sequence[Row]) -> tuple[list[Any], ...]:
    """The parameters of `given`."""
    return tuple([row[name] for row in rows] for name in rows[0])


def _postgresql_type(type_: TypeEngine[Any]) -> str:
    for kind, name in ((BigInteger, "bigint"), (Integer, "integer"), (Float, "float8"), (LargeBinary, "bytea")):
        if isinstance(type_, kind):
            return name
    return "text"


def _join_condition(table: Table, names: _Columns) -> str:
    return " AND ".join(f"{table.name}.{name} = given.{name}" for name in names)


def _column_list(names: Sequence[str]) -> str:
    return ", ".join(names)


def _run_insert(connection: Connection, rows: Sequence[Row], table: Table, ending: str = "") -> int:
    """How many were inserted.

    SQLite: by statements of 128, 64, 32 ... rows. Each is one step, and at each step the interpreter is given to other threads,
    which keep it for 5 ms if they are busy: row by row a door that is busy would hardly ever come to its commit.
    """
    names = tuple(rows[0])
    if connection.dialect.name != "sqlite":
        return _run_for_rows(connection, rows, _insert_sql(table, names, ending))
    inserted, begin = 0, 0
    while begin < len(rows):
        number = min(_MAX_ROWS, 1 << ((len(rows) - begin).bit_length() - 1))
        values = tuple(value for row in rows[begin : begin + number] for value in row.values())
        inserted += connection.exec_driver_sql(_insert_many_sql(table, names, number, ending), values).rowcount
        begin += number
    return inserted


def _run_for_rows(connection: Connection, rows: Sequence[Row], statement: Mapping[str, str]) -> int:
    """How many rows it was done to."""
    if connection.dialect.name == "sqlite":
        return connection.exec_driver_sql(statement["sqlite"], [tuple(row.values()) for row in rows]).rowcount
    return connection.exec_driver_sql(statement["postgresql"], arrays_of(rows)).rowcount


def _run_returning(connection: Connection, rows: Sequence[Row], statement: Mapping[str, str]) -> list[tuple[Any, ...]]:
    if connection.dialect.name != "sqlite":
        return [tuple(row) for row in connection.exec_driver_sql(statement["postgresql"], arrays_of(rows))]
    raw: sqlite3.Connection = connection.connection.driver_connection  # type: ignore[assignment]  # SQLAlchemy says Any or None
    found = (raw.execute(statement["sqlite"], tuple(row.values())).fetchone() for row in rows)
    return [row for row in found if row is not None]
