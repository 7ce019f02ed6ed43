"""Decides which shards of the work belong to this worker process.

All rows of one task have the same shard, a number computed from its id. Worker processes divide the shards evenly, so that two
seldom work on one task. A worker whose view of the division is outdated is slower, not wrong: a save succeeds only over the version
that was read.

On PostgreSQL each worker holds a numbered seat: an advisory lock of its own session, which ends with the process in any case. A
worker counts while it holds a seat and has used that session recently; a hanging process is left out until it continues. On SQLite
there is one worker, and all shards are its own.
"""

import threading
from contextlib import ExitStack, suppress

from sqlalchemy import Connection, text

from adapters.clock import monotonic_s
from adapters.ledger.engine import ConflictError, Ledger, LedgerUnavailableError
from adapters.ledger.inbox import SHARDS

#: A worker whose session was idle for longer does not count, s.
_SILENT_S = 10
#: Class of our advisory locks among those of the database: "tall".
_LOCK_CLASS = 0x74616C6C

_TRY_SEAT = text("SELECT pg_try_advisory_lock(:class, :seat)")
_SEATS = text("""
    SELECT locks.objid FROM pg_locks AS locks JOIN pg_stat_activity AS sessions ON sessions.pid = locks.pid
    WHERE locks.locktype = 'advisory' AND locks.classid = :class AND locks.objsubid = 2 AND locks.granted
    AND locks.database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND (sessions.pid = pg_backend_pid() OR sessions.state_change > clock_timestamp() - make_interval(secs => :silent))
    ORDER BY locks.objid
""")


class Shards:
    """The seat and the shards of this worker process. Thread-safe. fresh_s: how long the list of workers is cached, s."""

    def __init__(self, ledger: Ledger, *, fresh_s: float = 1.0) -> None:
        self._ledger = ledger
        self._fresh_s = fresh_s
        self._lock = threading.Lock()
        self._session_stack = ExitStack()
        self._session: Connection | None = None
        self._seat = -1
        #: Generation of the ledger's connections when the session began.
        self._generation = 0
        self._owned: frozenset[int] | None = None
        self._read_at: float | None = None

    def owned(self) -> frozenset[int] | None:
        """Returns the shards of this process; None: all. Raises LedgerUnavailableError."""
        if self._ledger.path is not None:
            return None
        with self._lock:
            if self._read_at is None or monotonic_s() - self._read_at >= self._fresh_s:
                self._owned = self._read_share()
                self._read_at = monotonic_s()
            return self._owned

    def close(self) -> None:
        """Releases the seat: the other workers take over its shards."""
        with self._lock:
            self._release_seat()

    def _read_share(self) -> frozenset[int] | None:
        try:
            with self._ledger.translated_errors():
                session = self._session or self._acquire_seat()
                seats = list(session.scalars(_SEATS, {"class": _LOCK_CLASS, "silent": _SILENT_S}))
                self._ledger.leave_if_read_only(session)
        except Exception:
            self._release_seat()
            raise
        if self._seat not in seats or self._generation != self._ledger.generation:  # or the seat is on a server that was left
            self._release_seat()
            raise LedgerUnavailableError("this worker lost its seat; it will acquire another one")
        if len(seats) == 1:
            return None
        return frozenset(range(seats.index(self._seat), SHARDS, len(seats)))

    def _acquire_seat(self) -> Connection:
        self._generation = self._ledger.generation
        session = self._session_stack.enter_context(self._ledger.session())
        acquired = (seat for seat in range(SHARDS) if session.scalar(_TRY_SEAT, {"class": _LOCK_CLASS, "seat": seat}))
        seat = next(acquired, None)
        if seat is None:
            raise ConflictError  # as many workers as shards
        self._session, self._seat = session, seat
        return session

    def _release_seat(self) -> None:
        old_stack, self._session_stack = self._session_stack, ExitStack()
        self._session, self._seat, self._read_at = None, -1, None
        with suppress(LedgerUnavailableError):  # a lost connection cannot be closed normally
            old_stack.close()
