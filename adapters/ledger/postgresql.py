"""What only PostgreSQL needs: ids that tell the time, partitions by time, dedupe keys in a table of their own, locks by name.

Ids of `inbox` and `timeline` are made of the server's clock (ms) and a number, those of `events` are positions (`positions`): a
range of ids is a range of time. The tables are partitioned by it, and whoever knows an id knows the partition. A unique key cannot
span partitions unless it holds what they are cut by; so what must be unique over all time, the dedupe keys of the inbox, stands in
`inbox_keys`, which is written in the statement that writes the row.
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

#: Tables that SQLite has not.
metadata = MetaData()
#: The dedupe keys of all inbox rows, and which row has each.
inbox_keys = Table(
    "inbox_keys",
    metadata,
    Column("dedupe_key", LargeBinary(32), primary_key=True),
    Column("inbox_id", BigInteger, nullable=False),
)

#: Bits of an id below the milliseconds.
_NUMBER_BITS = 20
#: Months of which there is a partition ahead of time.
_MONTHS_AHEAD = 3
#: For a lock that nobody waits for long, ms: who makes a partition must not stand in the door's way.
_LOCK_TIMEOUT_MS = 2_000


def is_postgresql(connection: Connection) -> bool:
    return connection.dialect.name == "postgresql"


# Ids and the inbox.

#: An id of now. Numbers wrap within a millisecond only after a million of them.
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
    """The least id of a moment, ms since the epoch."""
    return ms << _NUMBER_BITS


#: Tables that grow with time, and are cut by it; of each, the least id of a moment, ms.
PARTITIONED: Mapping[str, Callable[[int], int]] = {"inbox": first_id, "timeline": first_id, "events": first_position}


def insert_new_rows(
    connection: Connection,
    rows: Sequence[Row],
    *,
    counted: tuple[str, str] = ("", ""),
    signatures: Sequence[bytes | None] = (),
    every: Sequence[bytes] = (),
) -> set[bytes]:
    """Puts rows into the inbox whose keys are new, and adds their number to a sum (name, label); which dedupe keys were not put in.

    signatures: the key of each row's signature, if it has one. every: those, and others to be kept; each once, and sorted.
    One statement, so that the door needs no other in its transaction. No two of the rows have the same key.
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
    # Wrapped like this, IN looks into a hash table; as a join it would compare each with each.
    is_fresh = "(id IN (SELECT inbox_id FROM fresh)) IS"
    # All signatures, in their order, come before any dedupe key: two doors that share some of both wait in one order.
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
    """Takes rows that are no callbacks out of the inbox, and their keys: the same may come again. How many."""
    statement = """
        WITH gone AS (DELETE FROM inbox WHERE id = ANY(%b::bigint[]) AND kind <> 'callback' RETURNING dedupe_key)
        DELETE FROM inbox_keys USING gone WHERE inbox_keys.dedupe_key = gone.dedupe_key
    """
    return connection.exec_driver_sql(statement, (list(ids),)).rowcount if ids else 0


def id_of_key(connection: Connection, dedupe_key: bytes) -> int | None:
    """The inbox row that has this key."""
    return connection.scalar(select(inbox_keys.c.inbox_id).where(inbox_keys.c.dedupe_key == dedupe_key))


def drop_orphaned_key(connection: Connection, dedupe_key: bytes) -> None:
    """Drops this key if its row is gone, as with a partition that was detached."""
    row = select(inbox.c.id).where(inbox.c.id == inbox_keys.c.inbox_id).exists()
    connection.execute(delete(inbox_keys).where(inbox_keys.c.dedupe_key == dedupe_key, ~row))


# Partitions.


def make_partitions(connection: Connection, now: int) -> list[str]:
    """Makes the partitions of this month (by `now`, ms) and the next ones where they are missing; which ones those were."""
    wanted = [(f"{table}_{first:%Y%m}", table, first, until) for table in PARTITIONED for first, until in _month_ranges(now)]
    there = set(connection.scalars(text("SELECT relname FROM pg_class WHERE relispartition")))
    missing = [each for each in wanted if each[0] not in there]
    if missing:
        connection.execute(text(f"SET LOCAL lock_timeout = {_LOCK_TIMEOUT_MS}"))
        lock(connection, "partitions")
    for name, table, first, until in missing:
        _make_partition(connection, name, table, PARTITIONED[table](_epoch_ms(first)), PARTITIONED[table](_epoch_ms(until)))
    return [name for name, *_ in missing]


def _make_partition(connection: Connection, name: str, table: str, first: int, until: int) -> None:
    """What came before its partition was there lies in the table for the rest; it is moved, or it could not be attached."""
    connection.execute(text(f"CREATE TABLE IF NOT EXISTS {name} (LIKE {table} INCLUDING DEFAULTS INCLUDING STORAGE)"))
    if connection.scalar(text("SELECT relispartition FROM pg_class WHERE oid = to_regclass(:name)"), {"name": name}):
        return  # somebody else has made it meanwhile
    strays = f"DELETE FROM {table}_rest WHERE id >= {first} AND id < {until} RETURNING *"
    connection.execute(text(f"WITH moved AS ({strays}) INSERT INTO {name} SELECT * FROM moved"))
    connection.execute(text(f"ALTER TABLE {table} ATTACH PARTITION {name} FOR VALUES FROM ({first}) TO ({until})"))


def _month_ranges(now: int) -> Iterator[tuple[datetime, datetime]]:
    """(first moment, first moment of the next one) of this month and those ahead."""
    today = datetime.fromtimestamp(now / 1000, UTC)
    months = [today.year * 12 + today.month - 1 + ahead for ahead in range(_MONTHS_AHEAD + 2)]
    firsts = [datetime(month // 12, month % 12 + 1, 1, tzinfo=UTC) for month in months]
    return pairwise(firsts)


def _epoch_ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


# Locks.


def lock(connection: Connection, name: str) -> None:
    """Waits for a lock that ends with the transaction."""
    connection.execute(select(func.pg_advisory_xact_lock(lock_number(name))))


def lock_session(connection: Connection, name: str) -> None:
    """Waits for a lock that ends with the connection."""
    connection.execute(select(func.pg_advisory_lock(lock_number(name))))


def lock_number(name: str) -> int:
    """64 bits, signed."""
    return int.from_bytes(hashlib.sha256(f"tally:{name}".encode()).digest()[:8], signed=True)
