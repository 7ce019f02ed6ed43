"""Cancels a reader's statement from another thread: because it takes too long, or because no client waits for it any more.

SQLite calls a progress handler every few thousand steps of its virtual machine (https://sqlite.org/c3ref/progress_handler.html);
PostgreSQL is sent a cancel request. A cancelled read raises LedgerUnavailableError in the thread that ran it.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
from sqlalchemy import Connection

#: Steps of SQLite's virtual machine between two calls of the handler: some 100 us, where a call costs 0.1 us.
_STEPS = 5_000
#: Timeout of a cancel request, s: it opens a connection of its own.
_CANCEL_TIMEOUT_S = 2.0

_current = threading.local()


class CancellableReads:
    """The reads of one thread, which another thread can cancel."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._cancelled = False
        self._connection: Any = None

    @property
    def cancelled(self) -> bool:
        return self._cancelled

    def cancel(self) -> None:
        """Ends the running statement and prevents further ones. On PostgreSQL it may wait up to 2 s for the server."""
        with self._lock:
            self._cancelled = True
            if isinstance(self._connection, psycopg.Connection):
                with suppress(psycopg.Error):
                    self._connection.cancel_safe(timeout=_CANCEL_TIMEOUT_S)

    @contextmanager
    def for_this_thread(self) -> Iterator[None]:
        """Makes the reads of the calling thread within the block cancellable through this object."""
        _current.reading = self
        try:
            yield
        finally:
            _current.reading = None

    @contextmanager
    def running_on(self, connection: Connection) -> Iterator[None]:
        """Makes statements on the connection cancellable within the block.

        A cancel request may arrive late, so a connection that was sent one is not used again.
        """
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
        """Returns whether the connection must not be used again."""
        with self._lock:
            raw, self._connection = self._connection, None
        if isinstance(raw, psycopg.Connection):
            return self._cancelled
        raw.set_progress_handler(None, 0)
        return False


def current() -> CancellableReads | None:
    """Returns the reads that the calling thread's transactions belong to, if any."""
    return getattr(_current, "reading", None)
