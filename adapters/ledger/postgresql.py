"""Features that only PostgreSQL needs: time-ordered ids, partitions by time, dedupe keys in a table of their own, named locks.

Ids of `inbox` and `timeline` are made of the server's clock (ms) and a number, those of `events` are positions (`positions`): a
range of ids is a range of time. The tables are partitioned by it, so an id determines its partition. A unique key cannot span
partitions unless it contains the partition key; so the values that must be unique over all time, the dedupe keys of the inbox, are
in `inbox_keys`, which the statement that writes the inbox row also writes.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from itertools import pairwise

from sqlalchemy import BigInteger, Column, Connection, LargeBinary, MetaData, Table, delete, func, select, text

from adapters.ledger.bulk import Row, arrays_of, unnest_clause
from adapters.ledger.positions import first_position
from adapters.ledger.schema import inbox

#: Tables that exist only on PostgreSQL.
metadata = MetaData()
#: The dedupe keys of all inbox rows, with the id of the row.
inbox_keys = Table(
    "inbox_keys",
    metadata,
    Column("dedupe_key", LargeBinary(32), primary_key=True),
    Column("inbox_id", BigInteger, nullable=False),
)

#: Number of bits of an id below its milliseconds.
_NUMBER_BITS = 20
#: Number of months for which partitions are created in advance.
_MONTHS_AHEAD = 3
#: Lock timeout of the creation of partitions, ms: while it waits for a table lock, it blocks the door.
_LOCK_TIMEOUT_MS = 2_000


def is_postgresql(connection: Connection) -> bool:
    return connection.dialect.name == "postgresql"


# Ids and the inbox.

#: Statements that create the id generator. Its numbers wrap within a millisecond only after a million of them.
MAKE_ID = (
    "CREATE SEQUENCE tally_ids",
    f"""
    CREATE FUNCTION tally_id() RETURNS bigint LANGUAGE sql VOLATILE AS $$
    SELECT (floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint << {_NUMBER_BITS})
        | (nextval('tally_ids') & {(1 << _NUMBER_BITS) - 1})
    $$
    """,
)


def first_id(ms: int) -> int:
    """Returns the smallest id of a time, ms since the Unix epoch."""
    return ms << _NUMBER_BITS


#: Tables that are partitioned by time -> function that returns the smallest id of a time (ms).
PARTITIONED: Mapping[str, Callable[[int], int]] = {"inbox": first_id, "timeline": first_id, "events": first_position}


def insert_new_rows(
    connection: Connection,
    rows: Sequence[Row],
    *,
    counted: tuple[str, str] = ("", ""),
    signatures: Sequence[bytes | None] = (),
    every: Sequence[bytes] = (),
) -> set[bytes]:
    """Inserts inbox rows with new dedupe keys and adds their number to a sum (name, label); returns the keys that were not new.

    signatures: the key of each row's signature, if it has one. every: these signature keys and others to be kept; unique and
    sorted. It is one statement, so that the door needs no other in its transaction. No two of the rows may have the same key.
    """
    names, values = tuple(rows[0]), arrays_of(rows)
    if every:
        old = connection.exec_driver_sql(_insert_new_rows(names, signed=True), (*values, list(signatures), list(every), *counted))
    else:
        old = connection.exec_driver_sql(_insert_new_rows(names, signed=False), (*values, *counted))
    return {key for (key,) in old}


@cache
def _insert_new_rows(names: tuple[str, ...], *, signed: bool) -> str:
    listed = ", ".join(names)
    # Written like this, IN uses a hash table; a join would compare all pairs.
    is_fresh = "(id IN (SELECT inbox_id FROM fresh)) IS"
    # All signatures, sorted, are inserted before any dedupe key: two doors that share some of both lock them in the same order.
    is_new, add_signatures = "", ""
    if signed:
        is_new = "WHERE signature_key IS NULL OR (signature_key IN (SELECT signature_key FROM signed)) IS TRUE"
        add_signatures = """
            signed AS (
                INSERT INTO inbox_signatures (signature_key) SELECT every FROM unnest(%b::bytea[]) AS every
                ON CONFLICT DO NOTHING RETURNING signature_key
            ),
        """
    return f"""
        WITH given AS MATERIALIZED (
            SELECT tally_id() AS id, {listed}{", signature_key" if signed else ""}
            FROM {unnest_clause(inbox, names, {"signature_key": "bytea"} if signed else {})}
        ),
        {add_signatures}
        fresh AS (
            INSERT INTO inbox_keys (dedupe_key, inbox_id) SELECT dedupe_key, id FROM given {is_new} ORDER BY dedupe_key
            ON CONFLICT DO NOTHING RETURNING inbox_id
        ),
        stored AS (INSERT INTO inbox (id, {listed}) SELECT id, {listed} FROM given WHERE {is_fresh} TRUE),
        sum AS (SELECT %b::text AS name, %b::text AS label, count(*) AS value FROM fresh),
        counted AS (
            INSERT INTO counters (name, label, value) SELECT name, label, value FROM sum WHERE name <> '' AND value > 0
            ON CONFLICT (name, label) DO UPDATE SET value = counters.value + excluded.value
        )
        SELECT dedupe_key FROM given WHERE {is_fresh} NOT TRUE
    """


def delete_rows(connection: Connection, ids: Sequence[int]) -> int:
    """Deletes inbox rows that are not callbacks, with their keys, so that the same can be posted again; returns their number."""
    statement = """
        WITH gone AS (DELETE FROM inbox WHERE id = ANY(%b::bigint[]) AND kind <> 'callback' RETURNING dedupe_key)
        DELETE FROM inbox_keys USING gone WHERE inbox_keys.dedupe_key = gone.dedupe_key
    """
    return connection.exec_driver_sql(statement, (list(ids),)).rowcount if ids else 0


def id_of_key(connection: Connection, dedupe_key: bytes) -> int | None:
    """Returns the id of the inbox row with this key."""
    return connection.scalar(select(inbox_keys.c.inbox_id).where(inbox_keys.c.dedupe_key == dedupe_key))


def drop_orphaned_key(connection: Connection, dedupe_key: bytes) -> None:
    """Deletes a key whose row is gone, for example with a detached partition."""
    row = select(inbox.c.id).where(inbox.c.id == inbox_keys.c.inbox_id).exists()
    connection.execute(delete(inbox_keys).where(inbox_keys.c.dedupe_key == dedupe_key, ~row))


# Partitions.


def make_partitions(connection: Connection, now: int) -> list[str]:
    """Creates the missing partitions of this month (by `now`, ms) and the next ones; returns their names."""
    needed = [(f"{table}_{first:%Y%m}", table, first, until) for table in PARTITIONED for first, until in _month_ranges(now)]
    existing = set(connection.scalars(text("SELECT relname FROM pg_class WHERE relispartition")))
    missing = [partition for partition in needed if partition[0] not in existing]
    if missing:
        connection.execute(text(f"SET LOCAL lock_timeout = {_LOCK_TIMEOUT_MS}"))
        lock(connection, "partitions")
    for name, table, first, until in missing:
        _make_partition(connection, name, table, PARTITIONED[table](_epoch_ms(first)), PARTITIONED[table](_epoch_ms(until)))
    return [name for name, *_ in missing]


def _make_partition(connection: Connection, name: str, table: str, first: int, until: int) -> None:
    """Creates one partition. Rows that were inserted before are in the default partition; they are moved, or ATTACH would fail."""
    connection.execute(text(f"CREATE TABLE IF NOT EXISTS {name} (LIKE {table} INCLUDING DEFAULTS INCLUDING STORAGE)"))
    if connection.scalar(text("SELECT relispartition FROM pg_class WHERE oid = to_regclass(:name)"), {"name": name}):
        return  # another process has created it meanwhile
    strays = f"DELETE FROM {table}_rest WHERE id >= {first} AND id < {until} RETURNING *"
    connection.execute(text(f"WITH moved AS ({strays}) INSERT INTO {name} SELECT * FROM moved"))
    connection.execute(text(f"ALTER TABLE {table} ATTACH PARTITION {name} FOR VALUES FROM ({first}) TO ({until})"))


def _month_ranges(now: int) -> Iterator[tuple[datetime, datetime]]:
    """Yields (start, end) of this month and of the next ones."""
    today = datetime.fromtimestamp(now / 1000, UTC)
    months = [today.year * 12 + today.month - 1 + ahead for ahead in range(_MONTHS_AHEAD + 2)]
    firsts = [datetime(month // 12, month % 12 + 1, 1, tzinfo=UTC) for month in months]
    return pairwise(firsts)


def _epoch_ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


# Locks.


def lock(connection: Connection, name: str) -> None:
    """Acquires a named lock that ends with the transaction; waits for it."""
    connection.execute(select(func.pg_advisory_xact_lock(lock_number(name))))


def lock_session(connection: Connection, name: str) -> None:
    """Acquires a named lock that ends with the connection; waits for it."""
    connection.execute(select(func.pg_advisory_lock(lock_number(name))))


def lock_number(name: str) -> int:
    """Returns the number of a named lock: 64 bits, signed."""
    return int.from_bytes(hashlib.sha256(f"tally:{name}".encode()).digest()[:8], signed=True)
