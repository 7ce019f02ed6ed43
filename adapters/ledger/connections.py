"""Creates the SQLAlchemy engines of a ledger, configured so that commits are durable and no statement waits for ever."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, NullPool, create_engine, event

from adapters.ledger.failover import PostgresqlServer
from adapters.ledger.ledger_url import driver_url, hosts_of, sqlite_path
from adapters.ledger.process_locks import reject_other_name

#: Timeout of a SQLite writer that waits for another process's transaction, ms.
BUSY_TIMEOUT_MS = 10_000
#: Timeout of a transaction that waits for a free connection of the pool, s.
_POOL_TIMEOUT_S = 10
#: PostgreSQL: timeout of a new connection, s.
_CONNECT_TIMEOUT_S = 3
#: PostgreSQL: idle time before a connection is probed, interval and number of probes, and the limit for unacknowledged data (ms): a
#: server that vanished is noticed in 15 s.
_KEEPALIVES = {"keepalives_idle": 5, "keepalives_interval": 3, "keepalives_count": 3, "tcp_user_timeout": 15_000}
#: PostgreSQL ends a session whose open transaction has been idle for this time, ms: its process hangs and must not keep its locks.
_IDLE_IN_TRANSACTION_MS = 10_000


def sqlite_engine(url: str, pool_size: int, *, begin: str, on_connect: Callable[[], None]) -> Engine:
    """Creates an engine for a SQLite ledger.

    begin: the statement that begins a transaction. on_connect: called for each new connection; an exception from it rejects the
    connection.
    """
    # Bound parameters may be secret, and error texts are logged.
    engine = create_engine(url, pool_size=pool_size, max_overflow=8, pool_timeout=_POOL_TIMEOUT_S, hide_parameters=True)
    path = Path(sqlite_path(url) or "")
    event.listen(engine, "do_connect", lambda *_: reject_other_name(path))
    event.listen(engine, "connect", _prepare_connection)
    event.listen(engine, "connect", lambda *_: on_connect())
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql(begin))
    return engine


def migration_engine(url: str) -> Engine:
    """Creates the engine that migrations run on: its transactions include DDL and have no time limit.

    On SQLite the driver's own transactions end at DDL, so this engine begins them itself; the write lock is taken at their
    beginning. It has no pool: no connection outlives a failed migration.
    """
    if sqlite_path(url) is None:
        limits = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
        options = " ".join((*(f"-c {name}=0" for name in limits), "-c synchronous_commit=on"))
        settings = {
            "connect_timeout": _CONNECT_TIMEOUT_S,
            "application_name": "tally db upgrade",
            "options": options,
            **_network_settings(url),
        }
        return create_engine(driver_url(url), poolclass=NullPool, hide_parameters=True, connect_args=settings)
    engine = create_engine(url, poolclass=NullPool, hide_parameters=True)
    event.listen(engine, "connect", _prepare_connection)
    event.listen(engine, "connect", _prepare_for_migrations)
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    return engine


def _prepare_for_migrations(connection: Any, _record: object) -> None:
    # Alembic's batch mode drops a table after it was copied: with foreign keys on, that deletes what refers to its rows or
    # fails (sqlite.org/lang_altertable.html, "Making Other Kinds Of Table Schema Changes"); inside a transaction
    # it cannot be switched off.
    connection.execute("PRAGMA foreign_keys=OFF")
    # SQLite sorts the rows of a new index over millions of rows in a file, not in memory.
    connection.execute("PRAGMA temp_store=DEFAULT")


def _prepare_connection(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # the engine begins transactions, not the driver
    connection.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
    if not _is_foreign_database(connection):
        connection.execute("PRAGMA journal_mode=WAL")
    for pragma in (
        "synchronous=FULL",
        "foreign_keys=ON",
        "temp_store=MEMORY",
        "secure_delete=ON",  # deleted secrets must not stay in free pages; costs a tenth of the rows applied per second
        "cache_size=-65536",
        "wal_autocheckpoint=4000",
    ):
        connection.execute(f"PRAGMA {pragma}")


def postgresql_engine(
    url: str,
    pool_size: int,
    statement_timeout_s: float,
    *,
    server: PostgresqlServer,
    isolation_level: Any,
    plans: str = "force_custom_plan",
) -> Engine:
    """Creates an engine for a PostgreSQL ledger. plans: `plan_cache_mode`, by which the server decides when to plan a statement."""
    timeout_ms = round(statement_timeout_s * 1000)
    options = {
        "statement_timeout": timeout_ms,
        "lock_timeout": timeout_ms,
        "idle_in_transaction_session_timeout": _IDLE_IN_TRANSACTION_MS,
        "synchronous_commit": "on",  # a commit is on disk before it returns, whatever the server's default
        "timezone": "UTC",
        # A table can grow a thousandfold before its statistics are updated: a plan that was good once is not kept, and the index
        # scan that the statements are written for is not replaced by a plan that looks cheaper in a table that looks empty.
        "plan_cache_mode": plans,
        **{f"enable_{way}": "off" for way in ("seqscan", "bitmapscan", "hashjoin", "mergejoin")},
        # A seek costs little more than the next row: at the default 4, the planner searches all rows for the newest of a few old
        # ones.
        "random_page_cost": 1.1,
        "jit": "off",
    }
    engine = create_engine(
        driver_url(url),
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=_POOL_TIMEOUT_S,
        hide_parameters=True,
        isolation_level=isolation_level,
        connect_args={
            "connect_timeout": _CONNECT_TIMEOUT_S,
            "application_name": "tally",
            "options": " ".join(f"-c {name}={value}" for name, value in options.items()),
            **_network_settings(url),
        },
    )
    server.watch(engine)
    return engine


def _network_settings(url: str) -> dict[str, Any]:
    return {**_KEEPALIVES, **hosts_of(url)}


def _is_foreign_database(connection: Any) -> bool:
    """Returns whether the file has another program's tables: not even its journal mode, which is stored in it, may be changed."""
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    return not (tables <= {"alembic_version"} or tables >= {"alembic_version", "counters"})
