"""Counts the connections of a process and keeps them within limits.

A client without any key can still open connections, send half a request and wait. So a waiting connection (a request is incomplete
or has not begun) may be closed: when there are too many connections, of one client or in all, the oldest waiting one is closed. A
connection on which a signed callback came is verified and never closed to make room; nor is one that is being answered.

Timeouts are checked once a second for all connections together: a timer for each request would cost more than all the rest of this.
"""

import asyncio
from collections import Counter, OrderedDict
from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol

from adapters.logs import logger
from adapters.metrics import Metrics
from callbacks.client_address import Proxies, client_key
from callbacks.write_buffers import UnsentResponses

_MIB = 1024 * 1024
#: Divisor: one client may use this fraction of the memory for unfinished bodies.
_CLIENT_SHARE = 4
#: Connections that are searched for a waiting one at most: those that are being answered stand among them.
_MAX_SCANNED = 64
#: A client that reads nothing of its answer for this time is cut, s; the same as for event streams.
_UNSENT_TIMEOUT_S = 30.0
#: Time that the last bytes have to leave after the connection was closed, s.
_CLOSE_TIMEOUT_S = 5.0
#: Interval between two log lines with the same reason, s.
_LOG_INTERVAL_S = 60.0

log = logger(__name__)


class Stage(Enum):
    """The part of a request that a connection waits for."""

    #: Nothing of a request came yet.
    NONE = auto()
    HEAD = auto()
    BODY = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionLimits:
    """Limits in seconds, bytes and connections; set by `[server]`."""

    max_connections: int = 8_192
    waiting_per_client: int = 256
    head_s: float = 10.0
    body_s: float = 20.0
    unfinished_bytes: int = 64 * _MIB
    unsent_bytes: int = 32 * _MIB


class ManagedConnection(Protocol):
    """A connection as `Connections` sees it."""

    #: When this stage began, s of the event loop.
    stage_since_s: float
    stage: Stage
    #: The client that it counts for; None: it is a configured proxy's.
    client_key: str | None
    is_verified: bool
    #: Bytes of its unfinished body that are counted.
    unfinished_bytes: int
    #: Unsent bytes at the last check, and the time since which they have not become fewer, s.
    last_unsent_bytes: int
    unsent_since_s: float

    @property
    def is_answering(self) -> bool:
        """True while a complete request is being answered."""
        ...

    @property
    def is_closing(self) -> bool: ...

    def unsent_bytes(self) -> int:
        """Returns the bytes that were written and that the client has not read yet."""
        ...

    def time_out(self, reason: str) -> None:
        """Answers that the rest of a request did not come in time, and closes the connection."""
        ...

    def cut(self) -> None:
        """Closes it at once, even with unsent bytes."""
        ...


class Connections:
    """The connections of a process. proxies: peers whose headers name their clients."""

    def __init__(self, limits: ConnectionLimits, metrics: Metrics, proxies: Proxies | None = None) -> None:
        self.limits = limits
        self.proxies = proxies or Proxies(())
        self._metrics = metrics
        self._max_bytes_per_client = limits.unfinished_bytes // _CLIENT_SHARE
        self._open: set[ManagedConnection] = set()
        #: Connections that are not verified, the oldest first: all of them, and by client.
        self._unverified: OrderedDict[ManagedConnection, None] = OrderedDict()
        self._by_client: dict[str, OrderedDict[ManagedConnection, None]] = {}
        #: Connections with an unfinished body and their clients, the oldest first; the bytes of these bodies, in all and by client.
        self._unfinished: OrderedDict[ManagedConnection, str] = OrderedDict()
        self._unfinished_by_client: dict[str, OrderedDict[ManagedConnection, None]] = {}
        self._unfinished_bytes = 0
        self._unfinished_bytes_by_client: Counter[str] = Counter()
        #: Answers that clients do not read.
        self._unsent_responses: UnsentResponses[ManagedConnection] = UnsentResponses(limits.unsent_bytes, self._cut_slow_reader)
        #: True when the process ends: no connection is kept alive.
        self.is_ending = False
        #: Cuts that are not logged yet, by reason; and when each reason was logged last, s.
        self._unlogged: Counter[str] = Counter()
        self._logged_at_s: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._open)

    # A connection's life.

    def opened(self, connection: ManagedConnection, peer: str | None) -> None:
        """Adds a connection, after making room for it; cuts it if there is no room. peer: its address; None over a Unix socket."""
        if len(self._open) >= self.limits.max_connections and not self._close_oldest(self._unverified, "connection_limit"):
            self._metrics.connections_refused.labels("connection_limit").inc()
            self._unlogged["refused"] += 1
            connection.cut()
            return
        self._open.add(connection)
        if peer is None or (self.proxies and self.proxies.trusts(peer)):
            return
        connection.client_key = key = client_key(peer)
        of_client = self._by_client.setdefault(key, OrderedDict())
        if len(of_client) >= self.limits.waiting_per_client:
            self._close_oldest(of_client, "client_limit")
        self._unverified[connection] = of_client[connection] = None

    def closed(self, connection: ManagedConnection) -> None:
        self._open.discard(connection)
        self._drop_unverified(connection)
        self.drop_unfinished(connection)
        self._unsent_responses.release(connection)

    def mark_verified(self, connection: ManagedConnection) -> None:
        """A signed callback came on it."""
        self._drop_unverified(connection)

    def count_unfinished(self, connection: ManagedConnection, client: str, size: int) -> None:
        """Counts an unfinished body of `size` bytes for the client; above a limit the oldest unfinished one is cut."""
        key = self._unfinished.setdefault(connection, client)
        of_client = self._unfinished_by_client.setdefault(key, OrderedDict())
        of_client[connection] = None
        self._add_bytes(connection, key, size - connection.unfinished_bytes)
        while of_client and (
            self._unfinished_bytes_by_client[key] > self._max_bytes_per_client or len(of_client) > self.limits.waiting_per_client
        ):
            self._cut_and_count(next(iter(of_client)), "unfinished_bodies")
        while self._unfinished_bytes > self.limits.unfinished_bytes:
            self._cut_and_count(next(iter(self._unfinished)), "unfinished_bodies")

    def drop_unfinished(self, connection: ManagedConnection) -> None:
        """Ends the count of its body: it is complete, or not needed any more."""
        key = self._unfinished.pop(connection, None)
        if key is None:
            return
        self._add_bytes(connection, key, -connection.unfinished_bytes)
        of_client = self._unfinished_by_client[key]
        del of_client[connection]
        if not of_client:
            del self._unfinished_by_client[key], self._unfinished_bytes_by_client[key]

    def _add_bytes(self, connection: ManagedConnection, key: str, size: int) -> None:
        connection.unfinished_bytes += size
        self._unfinished_bytes += size
        self._unfinished_bytes_by_client[key] += size

    def add_slow_reader(self, connection: ManagedConnection, client: str) -> None:
        """Adds a connection whose client reads slowly; above the limit a connection of the client with the most bytes is cut."""
        self._unsent_responses.add(connection, client)

    def remove_slow_reader(self, connection: ManagedConnection) -> None:
        """Removes a connection whose client has read almost all that was written."""
        self._unsent_responses.release(connection)

    def _cut_slow_reader(self, connection: ManagedConnection) -> None:
        self._cut_and_count(connection, "untaken_answers")

    def count_cut(self, reason: str) -> None:
        """Counts a connection that is cut, or whose request is rejected, for this reason."""
        self._metrics.connections_cut.labels(reason).inc()
        self._unlogged[reason] += 1

    def count_upgrade(self) -> None:
        """Counts a request for another protocol; it is answered in HTTP/1.1."""
        self._metrics.upgrades_ignored.inc()

    # Making room.

    def _drop_unverified(self, connection: ManagedConnection) -> None:
        self._unverified.pop(connection, None)
        key = connection.client_key
        if key is None or (of_client := self._by_client.get(key)) is None:
            return
        of_client.pop(connection, None)
        if not of_client:
            del self._by_client[key]

    def _close_oldest(self, of: OrderedDict[ManagedConnection, None], reason: str) -> bool:
        """Closes the oldest waiting connection; returns whether there was one."""
        for _ in range(min(len(of), _MAX_SCANNED)):
            oldest = next(iter(of))
            if not oldest.is_answering:
                self._cut_and_count(oldest, reason)
                return True
            of.move_to_end(oldest)
        return False

    def _cut_and_count(self, connection: ManagedConnection, reason: str) -> None:
        self.count_cut(reason)
        self.closed(connection)  # at once: the caller needs the room now
        connection.cut()

    # Once a second.

    async def watch(self) -> None:
        """Checks timeouts once a second until it is cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(1.0)
            try:
                self.check_deadlines(loop.time())
            except Exception as error:
                log.exception("connections.failed", error=str(error))

    def check_deadlines(self, now: float) -> None:
        """Ends requests and connections that take too long. now: s of the event loop."""
        for connection in list(self._open):
            self._check_connection(connection, now)
        self._metrics.connections_open.set(len(self._open))
        self._log_cuts(now)

    def _check_connection(self, connection: ManagedConnection, now: float) -> None:
        if connection.is_closing or (connection.is_answering and connection.unsent_bytes()):
            self._check_unsent(connection, now)
            return
        connection.last_unsent_bytes = 0
        if connection.is_answering:
            return
        if connection.stage is Stage.BODY and now - connection.stage_since_s > self.limits.body_s:
            connection.time_out("body_timeout")
        elif connection.stage is Stage.HEAD and now - connection.stage_since_s > self.limits.head_s:
            connection.time_out("head_timeout")

    def _check_unsent(self, connection: ManagedConnection, now: float) -> None:
        """Cuts it if its client reads nothing of what was written."""
        unwritten = connection.unsent_bytes()
        if not connection.last_unsent_bytes or unwritten < connection.last_unsent_bytes:
            connection.last_unsent_bytes, connection.unsent_since_s = max(1, unwritten), now
        elif now - connection.unsent_since_s > (_CLOSE_TIMEOUT_S if connection.is_closing else _UNSENT_TIMEOUT_S):
            self._cut_and_count(connection, "answer_not_taken")

    def _log_cuts(self, now: float) -> None:
        """Logs a line for each reason, but not often: an attacker must not fill the log."""
        for reason in [reason for reason, number in self._unlogged.items() if number]:
            if now - self._logged_at_s.get(reason, -_LOG_INTERVAL_S) >= _LOG_INTERVAL_S:
                self._logged_at_s[reason] = now
                log.warning("connections.cut", reason=reason, connections=self._unlogged.pop(reason), open=len(self._open))
