"""Leaves a PostgreSQL server that is of no use any more: one error that says so ends all connections to it, readers' too.

After a failover the old primary may stay up, read-only, and keep its connections: whoever held one would be answered by it for
ever. So each connection belongs to a *generation*; an error that says that the server is of no use begins the next one, and a
connection of an older generation is replaced when it is taken next. A new connection finds what is behind the address now.

A server tells its clients unasked, with its next answer, that it takes no writes (`in_hot_standby` and
`default_transaction_read_only`, PostgreSQL 15, 55.2.7): a reader, which meets no error there, looks at what it was told. Where the
new connection is told the same, it is used for a while: the address may not have moved yet, and what a read-only server says is
better than nothing.
"""

import select
import threading
from math import inf
from typing import Any

from sqlalchemy import Engine, event
from sqlalchemy.exc import DisconnectionError, InvalidatePoolError

from adapters.clock import monotonic_s

#: A generation lasts for so long at the least, and so does a connection to a read-only server, s.
_MIN_AGE_S = 1.0
_READ_ONLY_PARAMETERS = ("in_hot_standby", "default_transaction_read_only")
_GENERATION, _MADE_AT = "tally.generation", "tally.made_at"


class PostgresqlServer:
    """The PostgreSQL server that a process is connected to. Thread-safe."""

    def __init__(self) -> None:
        self.generation = 0
        self._began_at = -inf
        self._lock = threading.Lock()

    def leave(self, seen: int) -> None:
        """Ends all connections, each when it is taken next; nothing if that was done since. seen: the failed one's generation."""
        with self._lock:
            now = monotonic_s()
            if seen == self.generation and now - self._began_at >= _MIN_AGE_S:
                self.generation, self._began_at = seen + 1, now

    def watch(self, engine: Engine) -> None:
        """Replaces connections of this engine that must not be used any more, as they are taken from its pool."""
        event.listen(engine, "connect", self._mark_generation)
        event.listen(engine, "checkout", self._check_generation)

    def _mark_generation(self, _connection: object, record: Any) -> None:
        record.info[_GENERATION], record.info[_MADE_AT] = self.generation, monotonic_s()

    def _check_generation(self, connection: Any, record: Any, _proxy: object) -> None:
        _reject_ended_connection(connection)
        if is_read_only_server(connection) and monotonic_s() - record.info[_MADE_AT] >= _MIN_AGE_S:
            self.leave(record.info[_GENERATION])
            raise DisconnectionError("the server takes no writes")
        if record.info[_GENERATION] != self.generation:
            raise DisconnectionError("the server was left")


def is_read_only_server(connection: Any) -> bool:
    """Whether the server has told this psycopg connection that it is a standby, or read-only."""
    return any(connection.info.parameter_status(name) == "on" for name in _READ_ONLY_PARAMETERS)


def _reject_ended_connection(connection: Any) -> None:
    """A server that ends says so on all connections: one on which something was said unasked is replaced, and all like it.

    So the first transaction after a restart finds the new server, and no transaction has to ask first: that took as long as the
    rest of a commit of few rows.
    """
    poll = select.poll()
    poll.register(connection.pgconn.socket, select.POLLIN)
    if poll.poll(0):
        raise InvalidatePoolError
