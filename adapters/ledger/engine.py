"""Opens the ledger and provides its transactions.

SQLite: WAL with `synchronous=FULL`, so that a commit survives a power cut; readers never wait for the one writer. A write
transaction takes the write lock at its beginning, because one that takes it later can fail in a way that waiting does not solve.

PostgreSQL: a reader sees one snapshot; a writer sees what is committed when each statement begins. The next transaction replaces a
lost connection; no transaction waits for a server for longer than the settings allow.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from adapters.ledger import read_cancellation
from adapters.ledger.connections import BUSY_TIMEOUT_MS, postgresql_engine, sqlite_engine
from adapters.ledger.errors import ConflictError, LedgerUnavailableError, is_server_unusable, translated_errors
from adapters.ledger.failover import PostgresqlServer, is_read_only_server
from adapters.ledger.file_watch import FileWatch
from adapters.ledger.ledger_url import driver_url, sqlite_path, without_password
from adapters.ledger.writer_queue import WriterQueue

__all__ = ["ConflictError", "Ledger", "LedgerUnavailableError", "driver_url", "sqlite_path", "without_password"]


class Ledger:
    """The connections of one process to the ledger. Thread-safe; creating one touches no database file until it is used.

    pool_size: connections kept for reading, and as many for writing. statement_timeout_s: PostgreSQL cancels longer statements.
    """

    def __init__(self, url: str, *, pool_size: int = 8, statement_timeout_s: float = 10.0) -> None:
        """Creates the folder of a SQLite ledger. Raises LedgerUnavailableError if that fails."""
        self.url = url
        self.path = sqlite_path(url)
        self._server = PostgresqlServer()
        if self.path is not None:
            _make_folder(self.path.parent)
            self._files = FileWatch(self.path)
            self._reader = sqlite_engine(url, pool_size, begin="BEGIN", on_connect=self._files.connection_opened)
            self._writer = sqlite_engine(url, pool_size, begin="BEGIN IMMEDIATE", on_connect=self._files.connection_opened)
            self._writer_queue: WriterQueue | None = WriterQueue(BUSY_TIMEOUT_MS / 1_000)
        else:
            self._writer_queue = None
            self._reader = self._postgresql_pool(pool_size, statement_timeout_s, "REPEATABLE READ")
            self._writer = self._postgresql_pool(pool_size, statement_timeout_s, "READ COMMITTED")
            self._single = self._postgresql_pool(pool_size, statement_timeout_s, "AUTOCOMMIT", plans="auto")

    def _postgresql_pool(self, size: int, statement_timeout_s: float, isolation_level: str, **more: str) -> Engine:
        return postgresql_engine(self.url, size, statement_timeout_s, server=self._server, isolation_level=isolation_level, **more)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Opens a transaction that sees one state of the ledger. Raises LedgerUnavailableError."""
        reads = read_cancellation.current()
        if reads is None:
            with self._transaction_on(self._reader) as connection:
                yield connection
            return
        if reads.cancelled:
            raise LedgerUnavailableError("the read was cancelled")
        with self._transaction_on(self._reader) as connection, reads.running_on(connection):
            yield connection
            if reads.cancelled:
                raise LedgerUnavailableError("the read was cancelled")

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Opens a transaction that is durable once the block has ended. Raises LedgerUnavailableError, ConflictError."""
        with self._write_turn(first=False), self._transaction_on(self._writer) as connection:
            yield connection

    @contextmanager
    def write_once(self) -> Iterator[Connection]:
        """Opens a transaction of one statement that is durable once the statement has run.

        On SQLite it may have several statements and is durable once the block has ended. For callers that a client waits for: on
        PostgreSQL it saves two round trips, on SQLite it goes to the front of the queue. Raises LedgerUnavailableError,
        ConflictError.
        """
        engine = self._writer if self.path is not None else self._single
        with self._write_turn(first=True), self._transaction_on(engine) as connection:
            yield connection

    @contextmanager
    def _write_turn(self, *, first: bool) -> Iterator[None]:
        """SQLite: makes this thread the only writer of its process within the block. Raises LedgerUnavailableError."""
        if self._writer_queue is None:
            yield
            return
        try:
            self._writer_queue.acquire(first=first)
        except TimeoutError as error:
            raise LedgerUnavailableError(str(error)) from error
        try:
            yield
        finally:
            self._writer_queue.release()

    @contextmanager
    def session(self) -> Iterator[Connection]:
        """Opens a connection on which every statement is its own transaction, for locks that last as long as the connection.

        It is always closed at the end of the block: no other user of the pool gets it with its locks and settings. Raises
        LedgerUnavailableError.
        """
        with self.translated_errors(), self._writer.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.detach()
            yield connection

    @property
    def generation(self) -> int:
        """PostgreSQL: a number that grows each time a server is left. Locks of sessions from an older generation are void."""
        return self._server.generation

    def leave_if_read_only(self, session: Connection) -> None:
        """Leaves the server if it has reported to this session (from `session()`) that it takes no writes."""
        driver_connection = session.connection.driver_connection
        if driver_connection is not None and is_read_only_server(driver_connection):
            self._server.leave(self._server.generation)

    @contextmanager
    def translated_errors(self) -> Iterator[None]:
        """Translates database errors in the block by their cause. Raises LedgerUnavailableError, ConflictError."""
        with translated_errors(self.url), self._leaves_unusable_server():
            yield

    @contextmanager
    def _leaves_unusable_server(self) -> Iterator[None]:
        """Ends all connections to the server when an error in the block says that the server is unusable."""
        generation = self._server.generation
        try:
            yield
        except (DBAPIError, psycopg.Error) as error:
            if is_server_unusable(error):
                self._server.leave(generation)
            raise

    @contextmanager
    def _transaction_on(self, engine: Engine) -> Iterator[Connection]:
        if self.path is None:
            with translated_errors(self.url), engine.begin() as connection, self._leaves_unusable_server():
                yield connection
            return
        self._files.check()
        with translated_errors(self.url), engine.begin() as connection:
            yield connection
        self._files.transaction_ended()

    def checkpoint(self) -> None:
        """SQLite: empties the write-ahead log, which still holds overwritten data; does nothing while other connections use it."""
        if self.path is None:
            return
        connection = self._writer.raw_connection()
        try:
            for pragma in ("busy_timeout=50", "wal_checkpoint(TRUNCATE)", f"busy_timeout={BUSY_TIMEOUT_MS}"):
                connection.cursor().execute(f"PRAGMA {pragma}")
        finally:
            connection.close()

    def close(self) -> None:
        self._reader.dispose()
        self._writer.dispose()
        if self.path is None:
            self._single.dispose()
        else:
            self._files.forget()


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LedgerUnavailableError(f"the ledger's folder {folder} cannot be created: {error.strerror}") from error
