"""Events as they come, as server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html).

Nothing is pushed: a stream has a position, and reads on only once its client took what was read before. So a slow client costs
no memory, and one that takes nothing for too long is cut off; by `Last-Event-ID` it goes on where it was. No stream outlives its
client, nor the moment when the process is told to end.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from callbacks.client_connection import cutter_of
from callbacks.desk.events.tail import Item, Tail
from callbacks.desk.http.problems import NotReady, TooManyStreams
from callbacks.desk.http.responses import NO_STORE

#: Bytes that are handed over at once, unless one event has more. The server holds little more than that for who reads slowly.
_PIECE = 32 * 1024
#: A client that lost its stream comes back after this, ms.
_RETRY_MS = 2_000
_HEARTBEAT = b":\n\n"
_END = {"type": "http.response.body", "body": b"", "more_body": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """Whose stream it is: the caller's name, and whether it may see stream keys."""

    name: str
    keys: bool


class Streams:
    """All streams of a process.

    most: more are refused; of one caller half of them are taken, and of all viewers three quarters, so that nobody takes them all
    and operators get one. heartbeat_s: after so long without an event a comment is sent. patience_s: a client that takes nothing
    for so long is cut off; grace_s: one whose stream is over.
    """

    def __init__(
        self, tail: Tail, *, most: int = 200, heartbeat_s: float = 15.0, patience_s: float = 30.0, grace_s: float = 1.0
    ) -> None:
        self.tail = tail
        self.heartbeat_s = heartbeat_s
        self.patience_s = patience_s
        self.grace_s = grace_s
        self._most = most
        self._open: dict[asyncio.Task[None], Listener] = {}
        self._over = False

    @property
    def open(self) -> int:
        """How many there are."""
        return len(self._open)

    def end(self) -> None:
        """Ends them all, and takes no more. In the event loop."""
        self._over = True
        for pump in self._open:
            pump.cancel()

    @contextmanager
    def place(self, pump: asyncio.Task[None], whose: Listener) -> Iterator[None]:
        """A place for who sends. Raises TooManyStreams, NotReady."""
        if self._over:
            raise NotReady("this process is about to end; ask again")
        if len(self._open) >= self._most:
            raise TooManyStreams(f"this process has {self._most} streams and takes no more; ask again, or read pages")
        self._require_share(whose)
        self._open[pump] = whose
        try:
            yield
        finally:
            del self._open[pump]

    def _require_share(self, whose: Listener) -> None:
        """Raises TooManyStreams."""
        of_caller = sum(each.name == whose.name for each in self._open.values())
        if of_caller >= max(1, self._most // 2):
            raise TooManyStreams(f"{whose.name} has {of_caller} streams, half of what this process takes; end some, or read pages")
        of_viewers = sum(not each.keys for each in self._open.values())
        if not whose.keys and of_viewers >= max(1, 3 * self._most // 4):
            raise TooManyStreams(f"viewers have {of_viewers} streams, and the rest are for operators; ask again, or read pages")


class EventStream(Response):
    """Sends what is behind a position, event by event, until somebody ends it."""

    media_type = "text/event-stream"

    def __init__(self, streams: Streams, after: int, whose: Listener) -> None:
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
        pump = asyncio.create_task(self._pump(start, send))
        gone = asyncio.create_task(_gone(receive))
        gone.add_done_callback(lambda _: pump.cancel())
        try:
            with self._streams.place(pump, self._whose), self._streams.tail.joined(keys=self._keys):
                await asyncio.wait({pump})
            if not gone.done():
                await self._finish(pump, gone, send, cutter_of(scope))
        finally:
            pump.cancel()
            gone.cancel()

    async def _pump(self, start: dict[str, object], send: Send) -> None:
        """Sends until it is cancelled. Raises _SlowError."""
        await send(start)
        await self._say(send, b"retry: %d\nid: %d\n\n" % (_RETRY_MS, self._position))
        while True:
            items = await self._next()
            for piece in _pieces([item.block(keys=self._keys) for item in items]) if items else (_HEARTBEAT,):
                await self._say(send, piece)
            self._position = items[-1].position if items else self._position

    async def _next(self) -> Sequence[Item]:
        """What comes next; nothing when it is time for a heartbeat."""
        try:
            async with asyncio.timeout(self._streams.heartbeat_s):
                if not self._resumed:  # it may come from a ledger that was lost
                    self._position = await self._streams.tail.resumed(self._position)
                    self._resumed = True
                return await self._streams.tail.behind(self._position, keys=self._keys)
        except TimeoutError:
            return ()

    async def _say(self, send: Send, piece: bytes) -> None:
        """The server waits with it until the client has taken most of what came before."""
        try:
            async with asyncio.timeout(self._streams.patience_s):
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        except TimeoutError:
            raise _SlowError from None

    async def _finish(self, pump: "asyncio.Task[None]", gone: "asyncio.Task[None]", send: Send, cut: Callable[[], None]) -> None:
        if pump.cancelled():
            await self._end(send, cut)
        elif isinstance(pump.exception(), _SlowError):
            cut()
            await asyncio.wait({gone}, timeout=self._streams.grace_s)
        else:
            await pump  # a bug: whoever called sees it

    async def _end(self, send: Send, cut: Callable[[], None]) -> None:
        """Ends the answer; what the client does not take within the grace it will not get."""
        asyncio.get_running_loop().call_later(self._streams.grace_s, cut)
        with suppress(TimeoutError):
            async with asyncio.timeout(2 * self._streams.grace_s):
                await send(_END)


class _SlowError(Exception):
    """The client takes nothing."""


async def _gone(receive: Receive) -> None:
    """Returns once the client has."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _pieces(blocks: Sequence[bytes]) -> Iterator[bytes]:
    """The same bytes, in pieces that are no longer than needs be."""
    waiting: list[bytes] = []
    size = 0
    for block in blocks:
        if waiting and size + len(block) > _PIECE:
            yield b"".join(waiting)
            waiting, size = [], 0
        waiting.append(block)
        size += len(block)
    yield b"".join(waiting)
