"""Limits the memory of answers that were written and that clients have not read yet.

A page of the API has up to 4 MiB, and a client that reads nothing has 30 s for it: with 240 such connections the process grew by
450 MB. So there is a limit for all of them together. When it is reached, the client with the most unread bytes loses the connection
that has waited longest. A client that does read, even slowly, has fewer unread bytes all the time.
"""

from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar


class BufferedConnection(Protocol):
    """A connection as `UnsentResponses` sees it."""

    def unsent_bytes(self) -> int:
        """Returns the bytes that were written and that the client has not read yet."""
        ...


W = TypeVar("W", bound=BufferedConnection)


class UnsentResponses(Generic[W]):
    """Connections with many unsent bytes. most: bytes in all. cut: closes a connection and releases it."""

    def __init__(self, most: int, cut: Callable[[W], None]) -> None:
        self._max_bytes = most
        self._cut = cut
        #: The client of each connection, the one that has waited longest first; its unsent bytes at the last look, and their sum.
        self._clients: OrderedDict[W, str] = OrderedDict()
        self._sizes: dict[W, int] = {}
        self._total_bytes = 0

    def add(self, connection: W, client: str) -> None:
        """Counts the unsent bytes of a connection, and makes room if they are too many in all."""
        self._clients.setdefault(connection, client)
        self._measure_connection(connection)
        if self._total_bytes > self._max_bytes:
            self._make_room()

    def release(self, connection: W) -> None:
        """Removes a connection: its client has read almost all of it, or has gone."""
        if self._clients.pop(connection, None) is not None:
            self._total_bytes -= self._sizes.pop(connection)

    def _measure_connection(self, connection: W) -> None:
        size = connection.unsent_bytes()
        self._total_bytes += size - self._sizes.get(connection, 0)
        self._sizes[connection] = size

    def _make_room(self) -> None:
        for connection in self._clients:
            self._measure_connection(connection)
        while self._total_bytes > self._max_bytes:
            self._cut(self._longest_waiting_of_largest_client())

    def _longest_waiting_of_largest_client(self) -> W:
        sizes: Counter[str] = Counter()
        for connection, client in self._clients.items():
            sizes[client] += self._sizes[connection]
        ((most, _),) = sizes.most_common(1)
        return next(connection for connection, client in self._clients.items() if client == most)
