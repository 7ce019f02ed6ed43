"""Opens the ledger and hands out transactions.

SQLite: WAL with `synchronous=FULL`, so that a commit survives a power cut; readers never wait for the one writer. A write
transaction takes the write lock at its beginning, because one that takes it halfway can fail in a way no waiting mends.

PostgreSQL: readers see one snapshot, writers what is committed when each statement begins. A connection that was lost is replaced
by the next transaction; nothing waits for a server for longer than the settings allow.
"""

import select
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import Connection, Engine, NullPool, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError, InvalidatePoolError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from adapters.ledger.line import Line

#: How long a SQLite writer waits for another process's transaction, ms.
_BUSY_TIMEOUT_MS = 10_000
#: How long a transaction waits for a free connection of the pool, s.
_POOL_TIMEOUT_S = 10
#: PostgreSQL: how long a new connection may take, s.
_CONNECT_TIMEOUT_S = 3
#: PostgreSQL: when a silent connection is probed, how often, and when it is given up: a server that vanished is noticed in 15 s.
_KEEPALIVES = {"keepalives_idle": 5, "keepalives_interval": 3, "keepalives_count": 3, "tcp_user_timeout": 15_000}
#: PostgreSQL ends a session that holds a transaction open and says nothing for so long: its process hangs, its locks must not, ms.
_IDLE_IN_TRANSACTION_MS = 10_000

#: Two transactions stood in each other's way: the one that was ended can be tried again (SQLSTATE class 40).
_CONTENTION = "40"
#: It is not the statement's fault: connection, resources, an operator, the system, an internal error (SQLSTATE classes).
_UNWELL = ("08", "53", "55", "57", "58", "XX")
#: The same, of classes that say something else too: a standby that took over an address and takes no writes (yet); a session that
#: the server ended because a transaction said nothing, or took too long; tables, columns or functions that are not there, or not
#: yet, as before an upgrade; a right that is missing.
_UNWELL_STATES = ("25006", "25P03", "25P04", "42P01", "42703", "42883", "42501")


class LedgerUnavailableError(Exception):
    """The ledger cannot be opened or reached."""


class ConflictError(Exception):
    """Somebody else has saved what was read meanwhile: read it again and decide again."""


class Ledger:
    """One process's connections to the ledger. Thread-safe; opening one touches no file until it is used.

    pool_size: connections kept for reading, and as many for writing. statement_timeout_s: PostgreSQL ends what takes longer.
    """

    def __init__(self, url: str, *, pool_size: int = 8, statement_timeout_s: float = 10.0) -> None:
        self.url = url
        self.path = sqlite_path(url)
        if self.path is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._reader = _sqlite(url, pool_size, begin="BEGIN")
            self._writer = _sqlite(url, pool_size, begin="BEGIN IMMEDIATE")
            self._line: Line | None = Line(_BUSY_TIMEOUT_MS / 1_000)
        else:
            self._line = None
            self._reader = _postgresql(url, pool_size, statement_timeout_s, isolation_level="REPEATABLE READ")
            self._writer = _postgresql(url, pool_size, statement_timeout_s, isolation_level="READ COMMITTED")
            self._single = _postgresql(url, pool_size, statement_timeout_s, isolation_level="AUTOCOMMIT", plans="auto")

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that sees one state of the ledger. Raises LedgerUnavailableError."""
        with self._connected(self._reader) as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that is durable once the block has ended. Raises LedgerUnavailableError, ConflictError."""
        with self._turn(first=False), self._connected(self._writer) as connection:
            yield connection

    @contextmanager
    def write_once(self) -> Iterator[Connection]:
        """A transaction of one statement, durable once it was made. On SQLite of any number, durable once the block has ended.

        For whoever is waited for: on PostgreSQL it saves two round trips, on SQLite it is first in line. Raises
        LedgerUnavailableError, ConflictError.
        """
        engine = self._writer if self.path is not None else self._single
        with self._turn(first=True), self._connected(engine) as connection:
            yield connection

    @contextmanager
    def _turn(self, *, first: bool) -> Iterator[None]:
        """SQLite: of the threads of this process it is this one's turn to write. Raises LedgerUnavailableError."""
        if self._line is None:
            yield
            return
        try:
            self._line.take(first=first)
        except TimeoutError as error:
            raise LedgerUnavailableError(str(error)) from error
        try:
            yield
        finally:
            self._line.leave()

    @contextmanager
    def session(self) -> Iterator[Connection]:
        """A connection on which every statement is a transaction of its own, for locks that are held as long as it lives.

        It is closed at the end, however that comes: nobody else gets it with its locks and settings. Raises LedgerUnavailableError.
        """
        with _told(self._writer), self._writer.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.detach()
            yield connection

    @contextmanager
    def told(self) -> Iterator[None]:
        """What goes wrong inside is told by whose fault it is. Raises LedgerUnavailableError, ConflictError."""
        with _told(self._writer):
            yield

    @staticmethod
    @contextmanager
    def _connected(engine: Engine) -> Iterator[Connection]:
        with _told(engine), engine.begin() as connection:
            yield connection

    def checkpoint(self) -> None:
        """SQLite: empties the write-ahead log, where what was overwritten lies on; not if others are busy with it."""
        if self.path is None:
            return
        connection = self._writer.raw_connection()
        try:
            for pragma in ("busy_timeout=50", "wal_checkpoint(TRUNCATE)", f"busy_timeout={_BUSY_TIMEOUT_MS}"):
                connection.cursor().execute(f"PRAGMA {pragma}")
        finally:
            connection.close()

    def close(self) -> None:
        self._reader.dispose()
        self._writer.dispose()
        if self.path is None:
            self._single.dispose()


@contextmanager
def _told(engine: Engine) -> Iterator[None]:
    """What goes wrong inside, by whose fault it is."""
    try:
        yield
    except PoolTimeoutError as error:
        raise LedgerUnavailableError("all connections to the ledger are busy") from error
    except (DBAPIError, sqlite3.Error, psycopg.Error) as error:
        cause = error.orig if isinstance(error, DBAPIError) else error
        if _is_contention(cause):
            raise ConflictError from error
        if not _is_unwell(cause):
            _hide_row(error, cause)
            raise  # what one row did wrong; the ledger is well
        raise LedgerUnavailableError(f"{cause} ({without_password(str(engine.url))})") from error


def _hide_row(error: BaseException, cause: BaseException | None) -> None:
    """PostgreSQL tells what the row held; that may be a secret, and the text of an error comes into the log."""
    detail = cause.diag.message_detail if isinstance(cause, psycopg.Error) else None
    for each in (error, cause):
        if detail and each is not None:
            each.args = tuple(str(text).replace(detail, "(hidden)") for text in each.args)


def _is_contention(error: BaseException | None) -> bool:
    return isinstance(error, psycopg.Error) and (error.sqlstate or "").startswith(_CONTENTION)


def _is_unwell(error: BaseException | None) -> bool:
    """Whether the ledger is, and not what was asked of it."""
    if isinstance(error, psycopg.Error):
        state = error.sqlstate
        lost = state is None and isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
        return lost or (state is not None and (state.startswith(_UNWELL) or state in _UNWELL_STATES))
    return isinstance(error, sqlite3.OperationalError | sqlite3.InterfaceError) or type(error) is sqlite3.DatabaseError


def sqlite_path(url: str) -> Path | None:
    """The file of a SQLite ledger; None for any other."""
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        return None
    return Path(parsed.database or "tally.db")


def without_password(url: str) -> str:
    """The url as it may be shown. Drivers take passwords among the options, too."""
    parsed = make_url(url)
    options = {name: "hidden" for name in parsed.query if "password" in name}
    return parsed.update_query_dict(options).render_as_string(hide_password=True)


def driver_url(url: str) -> URL:
    """The url with the driver that is used."""
    parsed = make_url(url)
    return parsed if parsed.get_backend_name() == "sqlite" else parsed.set(drivername="postgresql+psycopg")


def _sqlite(url: str, pool_size: int, *, begin: str) -> Engine:
    # What is bound to a statement may be a secret, and the text of an error comes into the log.
    engine = create_engine(url, pool_size=pool_size, max_overflow=8, pool_timeout=_POOL_TIMEOUT_S, hide_parameters=True)
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql(begin))
    return engine


def migration_engine(url: str) -> Engine:
    """Makes the engine that migrations run on: each transaction is a real one, DDL included, and none has a limit of time.

    On SQLite the driver's own transactions end at DDL, so they are ours; the write lock is taken at their beginning. Without a pool:
    no connection outlives a migration that fails.
    """
    if sqlite_path(url) is None:
        limits = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
        options = " ".join((*(f"-c {name}=0" for name in limits), "-c synchronous_commit=on"))
        settings = {"connect_timeout": _CONNECT_TIMEOUT_S, "application_name": "tally db upgrade", "options": options, **_KEEPALIVES}
        return create_engine(driver_url(url), poolclass=NullPool, hide_parameters=True, connect_args=settings)
    engine = create_engine(url, poolclass=NullPool, hide_parameters=True)
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "connect", _prepare_for_migrations)
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    return engine


def _prepare_for_migrations(connection: Any, _record: object) -> None:
    # Alembic's batch mode drops a table after it was copied: with foreign keys on, that deletes what refers to its rows or fails
    # (sqlite.org/lang_altertable.html, "Making Other Kinds Of Table Schema Changes"); inside a transaction it cannot be switched off.
    connection.execute("PRAGMA foreign_keys=OFF")
    # An index over millions of rows is sorted in a file, not in memory.
    connection.execute("PRAGMA temp_store=DEFAULT")


def _prepare(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # transactions are ours, not the driver's
    for pragma in (
        f"busy_timeout={_BUSY_TIMEOUT_MS}",
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
        "temp_store=MEMORY",
        "secure_delete=ON",  # what is wiped must not lie on in free pages; costs a tenth of the rows applied per second
        "cache_size=-65536",
        "wal_autocheckpoint=4000",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _postgresql(
    url: str, pool_size: int, statement_timeout_s: float, *, isolation_level: Any, plans: str = "force_custom_plan"
) -> Engine:
    """plans: whether a statement is planned anew each time."""
    timeout_ms = round(statement_timeout_s * 1000)
    options = {
        "statement_timeout": timeout_ms,
        "lock_timeout": timeout_ms,
        "idle_in_transaction_session_timeout": _IDLE_IN_TRANSACTION_MS,
        "synchronous_commit": "on",  # what is answered is on disk, whatever the server's default
        "timezone": "UTC",
        # A table can grow a thousandfold before its statistics are new: a plan that was good is not kept, and what the statements
        # are made for, a walk along an index, is not given up for what looks cheaper in a table that looks empty.
        "plan_cache_mode": plans,
        **{f"enable_{way}": "off" for way in ("seqscan", "bitmapscan", "hashjoin", "mergejoin")},
        # A seek costs little more than the next row: at the usual 4, the newest of a few old rows is looked for among all others.
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
            **_KEEPALIVES,
        },
    )
    event.listen(engine, "checkout", _refuse_ended)
    return engine


def _refuse_ended(connection: Any, _record: object, _proxy: object) -> None:
    """A server that ends says so on all connections: one on which something was said unasked is replaced, and all like it.

    So the first transaction after a restart finds the new server, and no transaction has to ask first: that took as long as the
    rest of a commit of few rows.
    """
    poll = select.poll()
    poll.register(connection.pgconn.socket, select.POLLIN)
    if poll.poll(0):
        raise InvalidatePoolError
