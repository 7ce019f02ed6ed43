"""Ends a reader's statement from another thread: because it takes too long, or because nobody waits for it any more.

SQLite asks a progress handler every few thousand steps of its virtual machine (https://sqlite.org/c3ref/progress_handler.html);
PostgreSQL is sent a cancel request. What was ended so raises LedgerUnavailableError in the thread that ran it.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
from sqlalchemy import Connection

#: Steps of SQLite's virtual machine between two questions: some 100 us, where a question costs 0.1 us.
_STEPS = 5_000
#: How long a cancel request may take, s: it is a connection of its own.
_CANCEL_TIMEOUT_S = 2.0

_current = threading.local()


class CancellableReads:
    """What one thread reads from ledgers, and another one may stop."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._cancelled = False
        self._connection: Any = None

    @property
    def cancelled(self) -> bool:
        return self._cancelled

    def cancel(self) -> None:
        """Ends the statement under way, and lets none begin. On PostgreSQL it may wait up to 2 s for the server."""
        with self._lock:
            self._cancelled = True
            if isinstance(self._connection, psycopg.Connection):
                with suppress(psycopg.Error):
                    self._connection.cancel_safe(timeout=_CANCEL_TIMEOUT_S)

    @contextmanager
    def for_this_thread(self) -> Iterator[None]:
        """What this thread reads inside is this reading."""
        _current.reading = self
        try:
            yield
        finally:
            _current.reading = None

    @contextmanager
    def running_on(self, connection: Connection) -> Iterator[None]:
        """It can be stopped inside. A cancel request may come late: a connection that was sent one is not used again."""
        raw = connection.connection.driver_connection
        self._attach_connection(raw)
        try:
            yield
        finally:
            if self._detach_connection():
                connection.invalidate()

    def _attach_connection(self, raw: Any) -> None:
        with self._lock:
            self._connection = raw
        if not isinstance(raw, psycopg.Connection):
            raw.set_progress_handler(lambda: self._cancelled, _STEPS)

    def _detach_connection(self) -> bool:
        """Whether the connection is spoiled."""
        with self._lock:
            raw, self._connection = self._connection, None
        if isinstance(raw, psycopg.Connection):
            return self._cancelled
        raw.set_progress_handler(None, 0)
        return False


def current() -> CancellableReads | None:
    """What the calling thread's transactions belong to."""
    return getattr(_current, "reading", None)
