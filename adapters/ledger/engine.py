"""Opens the ledger and hands out transactions.

SQLite: WAL with `synchronous=FULL`, so that a commit survives a power cut; readers never wait for the one writer. A write
transaction takes the write lock at its beginning, because one that takes it halfway can fail in a way no waiting mends.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DatabaseError, DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

#: How long a SQLite writer waits for another process's transaction, ms.
_BUSY_TIMEOUT_MS = 10_000


class LedgerUnavailableError(Exception):
    """The ledger cannot be opened or reached."""


class Ledger:
    """One process's connections to the ledger. Thread-safe; opening one touches no file until it is used."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.path = sqlite_path(url)
        if self.path is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        self._reader = _engine(url, begin="BEGIN")
        self._writer = _engine(url, begin="BEGIN IMMEDIATE")

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that sees one state of the ledger. Raises LedgerUnavailableError."""
        with self._connected(self._reader) as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that is durable once the block has ended. Raises LedgerUnavailableError."""
        with self._connected(self._writer) as connection:
            yield connection

    @staticmethod
    @contextmanager
    def _connected(engine: Engine) -> Iterator[Connection]:
        try:
            with engine.begin() as connection:
                yield connection
        except PoolTimeoutError as error:
            raise LedgerUnavailableError("all connections to the ledger are busy") from error
        except DBAPIError as error:
            if not isinstance(error, OperationalError | InterfaceError) and type(error) is not DatabaseError:
                raise  # what one row did wrong; the ledger is well
            raise LedgerUnavailableError(f"{error.orig} ({without_password(str(engine.url))})") from error

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


def sqlite_path(url: str) -> Path | None:
    """The file of a SQLite ledger; None for any other."""
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        return None
    return Path(parsed.database or "tally.db")


def without_password(url: str) -> str:
    """The url as it may be shown."""
    return make_url(url).render_as_string(hide_password=True)


def _engine(url: str, *, begin: str) -> Engine:
    # What is bound to a statement may be a secret, and the text of an error comes into the log.
    engine = create_engine(url, pool_size=8, max_overflow=8, pool_timeout=10, hide_parameters=True)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare)
        event.listen(engine, "begin", lambda connection: connection.exec_driver_sql(begin))
    return engine


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
