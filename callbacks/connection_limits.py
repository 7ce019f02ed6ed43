"""Counts a process's connections and keeps them within bounds.

Whoever knows no key can still open connections, say half a request and wait. So a connection that waits (nothing of a request
came yet, or not all of it) is worth little: when there are too many, of one client or in all, the oldest of these is closed. A
connection on which a signed callback came has proven its worth, and is never closed to make room; nor is one that is being
answered.

Deadlines are looked after once a second for all connections together: a timer for each request would cost more than the rest of
this.
"""

import asyncio
from collections import Counter, OrderedDict
from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol

from adapters.logs import logger
from adapters.metrics import Metrics
from callbacks.client_address import Proxies, client_key
from callbacks.write_buffers import UntakenAnswers

_MIB = 1024 * 1024
#: One client may hold this part of the memory for unfinished bodies.
_SHARE = 4
#: Looked at for one that waits, before it is given up: those that are being answered stand in between.
_LOOKED_AT = 64
#: A client takes nothing of its answer for so long, s; as event streams have it.
_TAKES_S = 30.0
#: What was written last may take so long to leave after the connection was closed, s.
_CLOSES_S = 5.0
#: Between two log lines about the same, s.
_TELL_S = 60.0

log = logger(__name__)


class Stage(Enum):
    """How far a request has come in."""

    #: None is under way: nothing of it came yet.
    NONE = auto()
    HEAD = auto()
    BODY = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionLimits:
    """In seconds, bytes and numbers; `[server]` sets them."""

    most: int = 8_192
    waiting_per_client: int = 256
    head_s: float = 10.0
    body_s: float = 20.0
    unfinished_bytes: int = 64 * _MIB
    untaken_bytes: int = 32 * _MIB


class Connected(Protocol):
    """What is known here of a connection."""

    #: Since when it is at this stage, s of the event loop.
    since: float
    stage: Stage
    #: The client that it counts for; None: a configured proxy's own.
    client_key: str | None
    proven: bool
    #: Bytes of an unfinished body that count.
    held: int
    #: Bytes written and not taken when it was last looked at, and since when there are no fewer, s.
    untaken: int
    untaken_since: float

    @property
    def answering(self) -> bool:
        """Whether a whole request is being answered."""
        ...

    @property
    def closing(self) -> bool: ...

    def unwritten(self) -> int:
        """Bytes that the client has not taken yet."""
        ...

    def time_out(self, reason: str) -> None:
        """Answers that the rest of a request did not come in time, and closes."""
        ...

    def cut(self) -> None:
        """Closes at once, whatever was not sent yet."""
        ...


class Connections:
    """All connections of a process. `proxies`: the peers that name their clients."""

    def __init__(self, limits: ConnectionLimits, metrics: Metrics, proxies: Proxies | None = None) -> None:
        self.limits = limits
        self.proxies = proxies or Proxies(())
        self._metrics = metrics
        self._most_held_of_one = limits.unfinished_bytes // _SHARE
        self._open: set[Connected] = set()
        #: Those that have not proven their worth, the oldest first: all of them, and by client.
        self._unproven: OrderedDict[Connected, None] = OrderedDict()
        self._by_client: dict[str, OrderedDict[Connected, None]] = {}
        #: Those with an unfinished body and whose it is, the one that began first in front; what they hold, in all and by client.
        self._unfinished: OrderedDict[Connected, str] = OrderedDict()
        self._unfinished_by_client: dict[str, OrderedDict[Connected, None]] = {}
        self._held = 0
        self._held_by_client: Counter[str] = Counter()
        #: Answers that clients do not take.
        self._untaken: UntakenAnswers[Connected] = UntakenAnswers(limits.untaken_bytes, self._cut_untaken)
        #: Whether the process ends: no connection is kept.
        self.ending = False
        #: What was not told yet, by reason; and when that reason was told last, s.
        self._untold: Counter[str] = Counter()
        self._told_at: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._open)

    # A connection's life.

    def opened(self, connection: Connected, peer: str | None) -> None:
        """Makes room for it, or refuses it. peer: its address; None: it has none, as over a Unix socket."""
        if len(self._open) >= self.limits.most and not self._close_one(self._unproven, "connection_limit"):
            self._metrics.connections_refused.labels("connection_limit").inc()
            self._untold["refused"] += 1
            connection.cut()
            return
        self._open.add(connection)
        if peer is None or (self.proxies and self.proxies.trusts(peer)):
            return
        connection.client_key = key = client_key(peer)
        of_client = self._by_client.setdefault(key, OrderedDict())
        if len(of_client) >= self.limits.waiting_per_client:
            self._close_one(of_client, "client_limit")
        self._unproven[connection] = of_client[connection] = None

    def closed(self, connection: Connected) -> None:
        self._open.discard(connection)
        self._leave_unproven(connection)
        self.release(connection)
        self._untaken.release(connection)

    def proved(self, connection: Connected) -> None:
        """A signed callback came on it."""
        self._leave_unproven(connection)

    def hold(self, connection: Connected, client: str, size: int) -> None:
        """Counts an unfinished body of so many bytes for the client; what is too much costs the oldest unfinished one."""
        key = self._unfinished.setdefault(connection, client)
        of_client = self._unfinished_by_client.setdefault(key, OrderedDict())
        of_client[connection] = None
        self._add(connection, key, size - connection.held)
        while of_client and (self._held_by_client[key] > self._most_held_of_one or len(of_client) > self.limits.waiting_per_client):
            self._count_cut(next(iter(of_client)), "unfinished_bodies")
        while self._held > self.limits.unfinished_bytes:
            self._count_cut(next(iter(self._unfinished)), "unfinished_bodies")

    def release(self, connection: Connected) -> None:
        """Its body is whole, or is not wanted any more."""
        key = self._unfinished.pop(connection, None)
        if key is None:
            return
        self._add(connection, key, -connection.held)
        of_client = self._unfinished_by_client[key]
        del of_client[connection]
        if not of_client:
            del self._unfinished_by_client[key], self._held_by_client[key]

    def _add(self, connection: Connected, key: str, size: int) -> None:
        connection.held += size
        self._held += size
        self._held_by_client[key] += size

    def pause(self, connection: Connected, client: str) -> None:
        """Its client takes what is written more slowly than it comes; what is too much in all costs one of who has most."""
        self._untaken.add(connection, client)

    def resume(self, connection: Connected) -> None:
        """Its client has taken almost all of what was written."""
        self._untaken.release(connection)

    def _cut_untaken(self, connection: Connected) -> None:
        self._count_cut(connection, "untaken_answers")

    def count_cut(self, reason: str) -> None:
        """A connection is cut, or its request refused, for this reason."""
        self._metrics.connections_cut.labels(reason).inc()
        self._untold[reason] += 1

    def count_upgrade(self) -> None:
        """Somebody asked for another protocol, and is answered in this one."""
        self._metrics.upgrades_ignored.inc()

    # Room.

    def _leave_unproven(self, connection: Connected) -> None:
        self._unproven.pop(connection, None)
        key = connection.client_key
        if key is None or (of_client := self._by_client.get(key)) is None:
            return
        of_client.pop(connection, None)
        if not of_client:
            del self._by_client[key]

    def _close_one(self, of: OrderedDict[Connected, None], reason: str) -> bool:
        """Closes the oldest that waits; whether there was one."""
        for _ in range(min(len(of), _LOOKED_AT)):
            oldest = next(iter(of))
            if not oldest.answering:
                self._count_cut(oldest, reason)
                return True
            of.move_to_end(oldest)
        return False

    def _count_cut(self, connection: Connected, reason: str) -> None:
        self.count_cut(reason)
        self.closed(connection)  # at once, for whoever makes room counts on it
        connection.cut()

    # Once a second.

    async def watch(self) -> None:
        """Looks after deadlines until it is cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(1.0)
            try:
                self.look(loop.time())
            except Exception as error:
                log.exception("connections.failed", error=str(error))

    def look(self, now: float) -> None:
        """Ends what takes too long. now: s of the event loop."""
        for connection in list(self._open):
            self._look_at(connection, now)
        self._metrics.connections_open.set(len(self._open))
        self._tell(now)

    def _look_at(self, connection: Connected, now: float) -> None:
        if connection.closing or (connection.answering and connection.unwritten()):
            self._look_at_written(connection, now)
            return
        connection.untaken = 0
        if connection.answering:
            return
        if connection.stage is Stage.BODY and now - connection.since > self.limits.body_s:
            connection.time_out("body_timeout")
        elif connection.stage is Stage.HEAD and now - connection.since > self.limits.head_s:
            connection.time_out("head_timeout")

    def _look_at_written(self, connection: Connected, now: float) -> None:
        """Cuts it if its client takes nothing of what was written."""
        unwritten = connection.unwritten()
        if not connection.untaken or unwritten < connection.untaken:
            connection.untaken, connection.untaken_since = max(1, unwritten), now
        elif now - connection.untaken_since > (_CLOSES_S if connection.closing else _TAKES_S):
            self._count_cut(connection, "answer_not_taken")

    def _tell(self, now: float) -> None:
        """A line for each reason, once in a while: whoever causes them must not fill the log."""
        for reason in [reason for reason, number in self._untold.items() if number]:
            if now - self._told_at.get(reason, -_TELL_S) >= _TELL_S:
                self._told_at[reason] = now
                log.warning("connections.cut", reason=reason, connections=self._untold.pop(reason), open=len(self._open))
