"""Bounds the memory of answers that were written and are not taken yet.

A page of the API has up to 4 MiB, and a client that reads nothing has 30 s for it: with 240 such connections the process grew by
450 MB. So there is a bound for all of them together. Where it is reached, the client that holds most of it loses the connection
that has waited longest; whoever reads, however slowly, holds less from moment to moment.
"""

from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar


class Writing(Protocol):
    """What is known here of a connection."""

    def unwritten(self) -> int:
        """Bytes that the client has not taken yet."""
        ...


W = TypeVar("W", bound=Writing)


class UntakenAnswers(Generic[W]):
    """Connections whose clients have much to take. most: bytes in all. cut: closes a connection and releases it."""

    def __init__(self, most: int, cut: Callable[[W], None]) -> None:
        self._most = most
        self._cut = cut
        #: Whose they are, the one that has waited longest in front; how much each held when it was last asked, and in sum.
        self._clients: OrderedDict[W, str] = OrderedDict()
        self._sizes: dict[W, int] = {}
        self._sum = 0

    def add(self, connection: W, client: str) -> None:
        """Counts what the client of a connection has not taken, and makes room if that is too much in all."""
        self._clients.setdefault(connection, client)
        self._weigh(connection)
        if self._sum > self._most:
            self._make_room()

    def release(self, connection: W) -> None:
        """Its client has taken almost all of it, or has gone."""
        if self._clients.pop(connection, None) is not None:
            self._sum -= self._sizes.pop(connection)

    def _weigh(self, connection: W) -> None:
        size = connection.unwritten()
        self._sum += size - self._sizes.get(connection, 0)
        self._sizes[connection] = size

    def _make_room(self) -> None:
        for connection in self._clients:
            self._weigh(connection)
        while self._sum > self._most:
            self._cut(self._longest_of_who_holds_most())

    def _longest_of_who_holds_most(self) -> W:
        held: Counter[str] = Counter()
        for connection, client in self._clients.items():
            held[client] += self._sizes[connection]
        ((most, _),) = held.most_common(1)
        return next(connection for connection, client in self._clients.items() if client == most)
