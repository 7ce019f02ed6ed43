"""Which part of the work is this process's.

Rows of one task have one shard, a number made from its id. Worker processes share the shards out evenly, so that they seldom meet
at a task; who is wrong about its part for a while is slower, not wrong, because what is saved is saved only over what was read.

On PostgreSQL each worker holds a numbered seat: a lock of a session of its own, which ends with the process however that ends. Who
holds a seat and has lately said something on that session is counted in; a process that hangs is left out until it moves again. On
SQLite there is one worker, and everything is its.
"""

import threading
from contextlib import ExitStack, suppress

from sqlalchemy import Connection, text

from adapters.clock import monotonic_s
from adapters.ledger.engine import ConflictError, Ledger, LedgerUnavailableError
from adapters.ledger.inbox import SHARDS

#: A worker that has said nothing for so long does not count, s.
_SILENT_S = 10
#: Names our locks among those of the database: "tall".
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
    """Thread-safe. fresh_s: who else is there is asked again after so long."""

    def __init__(self, ledger: Ledger, *, fresh_s: float = 1.0) -> None:
        self._ledger = ledger
        self._fresh_s = fresh_s
        self._lock = threading.Lock()
        self._session_stack = ExitStack()
        self._session: Connection | None = None
        self._seat = -1
        #: Of the ledger's connections, when the session began.
        self._generation = 0
        self._owned: frozenset[int] | None = None
        self._read_at: float | None = None

    def owned(self) -> frozenset[int] | None:
        """The shards of this process; None: all. Raises LedgerUnavailableError."""
        if self._ledger.path is not None:
            return None
        with self._lock:
            if self._read_at is None or monotonic_s() - self._read_at >= self._fresh_s:
                self._owned = self._read_share()
                self._read_at = monotonic_s()
            return self._owned

    def close(self) -> None:
        """Gives the seat back: from now on the others do this part too."""
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
        if self._seat not in seats or self._generation != self._ledger.generation:  # or on a server where nobody looks any more
            self._release_seat()
            raise LedgerUnavailableError("this worker lost its seat; it takes another one")
        if len(seats) == 1:
            return None
        return frozenset(range(seats.index(self._seat), SHARDS, len(seats)))

    def _acquire_seat(self) -> Connection:
        self._generation = self._ledger.generation
        session = self._session_stack.enter_context(self._ledger.session())
        taken = (seat for seat in range(SHARDS) if session.scalar(_TRY_SEAT, {"class": _LOCK_CLASS, "seat": seat}))
        seat = next(taken, None)
        if seat is None:
            raise ConflictError  # as many workers as shards
        self._session, self._seat = session, seat
        return session

    def _release_seat(self) -> None:
        held, self._session_stack = self._session_stack, ExitStack()
        self._session, self._seat, self._read_at = None, -1, None
        with suppress(LedgerUnavailableError):  # a connection that is lost cannot be closed politely
            held.close()
