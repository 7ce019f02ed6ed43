"""A subscriber to webhooks: a real server on loopback that notes what it gets, and answers as its mood is."""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

#: What to answer to an event: a status, or None for no answer at all.
Mood = Callable[[dict[str, Any]], int | None]


def content(_event: dict[str, Any]) -> int:
    """Takes everything."""
    return 200


class Subscriber:
    """`got`: (subject, sequence) of each event that was taken, in the order in which they came; `asked`: how often it was asked."""

    def __init__(self, mood: Mood = content) -> None:
        self.mood = mood
        self.got: list[tuple[str, int]] = []
        self.asked = 0
        #: The newest request, as it came.
        self.headers: dict[str, str] = {}
        self.body = b""
        self.port = 0
        self._lock = threading.Lock()
        self._loop = asyncio.new_event_loop()
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Transport] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.come()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    def come(self) -> None:
        """It listens, where it did before."""
        self._do(self._listen())

    def go(self) -> None:
        """Nobody is there any more."""
        self._do(self._leave())

    def close(self) -> None:
        self.go()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=10)
        self._loop.close()

    def by_subject(self) -> dict[str, list[int]]:
        """The sequences of each subject, in the order in which they came."""
        found: dict[str, list[int]] = {}
        with self._lock:
            for subject, sequence in self.got:
                found.setdefault(subject, []).append(sequence)
        return found

    def hear(self, headers: dict[str, str], body: bytes) -> int | None:
        event = json.loads(body)
        status = self.mood(event)
        with self._lock:
            self.asked += 1
            self.headers, self.body = headers, body
            if status is not None and 200 <= status < 300:
                self.got.append((event["subject"], event["sequence"]))
        return status

    def _do(self, what: Any) -> None:
        asyncio.run_coroutine_threadsafe(what, self._loop).result(timeout=10)

    async def _listen(self) -> None:
        self._server = await self._loop.create_server(lambda: _Connection(self), "127.0.0.1", self.port, reuse_address=True)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _leave(self) -> None:
        if self._server is not None:
            self._server.close()
        for transport in list(self._connections):
            transport.abort()

    def joined(self, transport: asyncio.Transport) -> None:
        self._connections.add(transport)

    def left(self, transport: asyncio.Transport) -> None:
        self._connections.discard(transport)


class _Connection(asyncio.Protocol):
    def __init__(self, subscriber: Subscriber) -> None:
        self._subscriber = subscriber
        self._got = b""

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._subscriber.joined(transport)

    def connection_lost(self, _error: Exception | None) -> None:
        self._subscriber.left(self._transport)

    def data_received(self, data: bytes) -> None:
        self._got += data
        head, found, rest = self._got.partition(b"\r\n\r\n")
        if not found:
            return
        lines = [line.partition(b":") for line in head.split(b"\r\n")[1:]]
        headers = {name.decode().strip().lower(): value.decode().strip() for name, _, value in lines}
        if len(rest) < int(headers["content-length"]):
            return
        self._got = b""
        status = self._subscriber.hear(headers, rest)
        if status is not None:
            self._transport.write(b"HTTP/1.1 %d Whatever\r\nContent-Length: 0\r\n\r\n" % status)


@contextmanager
def subscriber(mood: Mood = content) -> Iterator[Subscriber]:
    made = Subscriber(mood)
    yield made
    made.close()
