"""Streams events as server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html).

A stream has a position, and reads the next events only when its client has accepted the previous ones. So a slow client costs no
memory. A client that reads nothing for too long is disconnected; with `Last-Event-ID` it continues where it was. A stream ends when
its client disconnects, or when the process is told to end.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from callbacks.client_connection import cutter_of
from callbacks.desk.events.tail import Tail, TailItem
from callbacks.desk.http.problems import NotReady, TooManyStreams
from callbacks.desk.http.responses import NO_STORE

#: Bytes sent at once, unless one event has more. The server holds little more than that for a client that reads slowly.
_PIECE = 32 * 1024
#: Reconnect delay for clients, ms.
_RETRY_MS = 2_000
_HEARTBEAT = b":\n\n"
_END = {"type": "http.response.body", "body": b"", "more_body": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamOwner:
    """The caller of a stream: its name, and whether it may see stream keys."""

    name: str
    keys: bool


class Streams:
    """Opens, limits and ends the streams of a process.

    most: limit of streams; one caller gets half of them at most, all viewers three quarters, so that operators always get one.
    heartbeat_s: a comment is sent after this time without an event. patience_s: a client that reads nothing for this time is
    disconnected; grace_s: the same at the end of a stream.
    """

    def __init__(
        self, tail: Tail, *, most: int = 200, heartbeat_s: float = 15.0, patience_s: float = 30.0, grace_s: float = 1.0
    ) -> None:
        self.tail = tail
        self.heartbeat_s = heartbeat_s
        self.patience_s = patience_s
        self.grace_s = grace_s
        self._most = most
        self._open: dict[asyncio.Task[None], StreamOwner] = {}
        self._over = False

    @property
    def open(self) -> int:
        """Returns the number of open streams."""
        return len(self._open)

    def close_all(self) -> None:
        """Ends all streams, and accepts no more. Called in the event loop."""
        self._over = True
        for pump in self._open:
            pump.cancel()

    @contextmanager
    def reserve(self, pump: asyncio.Task[None], whose: StreamOwner) -> Iterator[None]:
        """Reserves one stream for a sending task. Raises TooManyStreams, NotReady."""
        if self._over:
            raise NotReady("this process is about to end; try again")
        if len(self._open) >= self._most:
            raise TooManyStreams(f"this process has {self._most} streams, which is its limit; try again, or read pages")
        self._require_share(whose)
        self._open[pump] = whose
        try:
            yield
        finally:
            del self._open[pump]

    def _require_share(self, whose: StreamOwner) -> None:
        """Raises TooManyStreams."""
        of_caller = sum(each.name == whose.name for each in self._open.values())
        if of_caller >= max(1, self._most // 2):
            raise TooManyStreams(f"{whose.name} has {of_caller} streams, which is its limit; end some, or read pages")
        of_viewers = sum(not each.keys for each in self._open.values())
        if not whose.keys and of_viewers >= max(1, 3 * self._most // 4):
            raise TooManyStreams(f"viewers have {of_viewers} streams, and the rest are for operators; try again, or read pages")


class EventStream(Response):
    """Sends all events after a position, until the client or the process ends it."""

    media_type = "text/event-stream"

    def __init__(self, streams: Streams, after: int, whose: StreamOwner) -> None:
        self._streams = streams
        self._position = after
        self._resumed = False
        self._whose = whose
        self._keys = whose.keys
        self.status_code = 200
        self.background = None
        self.init_headers({**NO_STORE, "X-Accel-Buffering": "no"})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        start = {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
        if scope["method"] == "HEAD":
            await send(start)
            await send(_END)
            return
        pump = asyncio.create_task(self._send_events(start, send))
        gone = asyncio.create_task(_wait_for_disconnect(receive))
        gone.add_done_callback(lambda _: pump.cancel())
        try:
            with self._streams.reserve(pump, self._whose), self._streams.tail.listening(keys=self._keys):
                await asyncio.wait({pump})
            if not gone.done():
                await self._finish_stream(pump, gone, send, cutter_of(scope))
        finally:
            pump.cancel()
            gone.cancel()

    async def _send_events(self, start: dict[str, object], send: Send) -> None:
        """Sends until it is cancelled. Raises _SlowError."""
        await send(start)
        await self._send_piece(send, b"retry: %d\nid: %d\n\n" % (_RETRY_MS, self._position))
        while True:
            items = await self._next_items()
            for piece in _join_blocks([item.sse_block(keys=self._keys) for item in items]) if items else (_HEARTBEAT,):
                await self._send_piece(send, piece)
            self._position = items[-1].position if items else self._position

    async def _next_items(self) -> Sequence[TailItem]:
        """Returns the next events; none when it is time for a heartbeat."""
        try:
            async with asyncio.timeout(self._streams.heartbeat_s):
                if not self._resumed:  # the position may be of a ledger that was lost
                    self._position = await self._streams.tail.resume_position(self._position)
                    self._resumed = True
                return await self._streams.tail.next_items(self._position, keys=self._keys)
        except TimeoutError:
            return ()

    async def _send_piece(self, send: Send, piece: bytes) -> None:
        """Sends a piece; the server waits until the client has read most of what was sent before. Raises _SlowClientError."""
        try:
            async with asyncio.timeout(self._streams.patience_s):
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        except TimeoutError:
            raise _SlowClientError from None

    async def _finish_stream(
        self, pump: "asyncio.Task[None]", gone: "asyncio.Task[None]", send: Send, cut: Callable[[], None]
    ) -> None:
        if pump.cancelled():
            await self._end_response(send, cut)
        elif isinstance(pump.exception(), _SlowClientError):
            cut()
            await asyncio.wait({gone}, timeout=self._streams.grace_s)
        else:
            await pump  # a bug: raise it here

    async def _end_response(self, send: Send, cut: Callable[[], None]) -> None:
        """Ends the answer; the connection is cut after the grace, whatever the client has read."""
        asyncio.get_running_loop().call_later(self._streams.grace_s, cut)
        with suppress(TimeoutError):
            async with asyncio.timeout(2 * self._streams.grace_s):
                await send(_END)


class _SlowClientError(Exception):
    """The client reads nothing."""


async def _wait_for_disconnect(receive: Receive) -> None:
    """Returns when the client has disconnected."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _join_blocks(blocks: Sequence[bytes]) -> Iterator[bytes]:
    """Joins blocks to pieces of at most `_PIECE` bytes, unless one block is larger."""
    waiting: list[bytes] = []
    size = 0
    for block in blocks:
        if waiting and size + len(block) > _PIECE:
            yield b"".join(waiting)
            waiting, size = [], 0
        waiting.append(block)
        size += len(block)
    yield b"".join(waiting)
