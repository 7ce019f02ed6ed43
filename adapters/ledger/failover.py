"""Leaves a PostgreSQL server that has become unusable: one error that says so ends all connections to it, also those of readers.

After a failover the old primary may stay up, read-only, and keep its connections: they would lead to it for ever. So each
connection belongs to a *generation*. An error that says that the server is unusable begins the next generation, and a connection of
an older one is replaced when it is next taken from the pool. A new connection reaches the server that now has the address.

A server reports to its clients, unasked and with its next answer, that it takes no writes (`in_hot_standby` and
`default_transaction_read_only`, PostgreSQL 15, 55.2.7). A reader gets no error from such a server, so its connection's reported
parameters are checked. If a new connection reports the same, it is used for a while: the address may not have moved yet, and a
read-only server is better than none.
"""

import select
import threading
from math import inf
from typing import Any

from sqlalchemy import Engine, event
from sqlalchemy.exc import DisconnectionError, InvalidatePoolError

from adapters.clock import monotonic_s

#: Minimum life of a generation, and of a connection to a read-only server, s.
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
        """Ends all connections, each when it is next taken from the pool. Does nothing if that has been done since.

        seen: the generation of the failed connection.
        """
        with self._lock:
            now = monotonic_s()
            if seen == self.generation and now - self._began_at >= _MIN_AGE_S:
                self.generation, self._began_at = seen + 1, now

    def watch(self, engine: Engine) -> None:
        """Replaces connections of this engine that must not be used any more, when they are taken from its pool."""
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
    """Returns whether the server has reported to this psycopg connection that it is a standby or read-only."""
    return any(connection.info.parameter_status(name) == "on" for name in _READ_ONLY_PARAMETERS)


def _reject_ended_connection(connection: Any) -> None:
    """Raises InvalidatePoolError if the idle connection has unread data: a server that shuts down notifies all its clients.

    All connections like it are replaced too. So the first transaction after a restart reaches the new server, and no transaction
    needs a ping first, which took as long as the rest of a commit of few rows.
    """
    poll = select.poll()
    poll.register(connection.pgconn.socket, select.POLLIN)
    if poll.poll(0):
        raise InvalidatePoolError
