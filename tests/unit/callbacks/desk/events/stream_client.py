"""Clients of the stream of events, in the event loop of a test."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlencode

from starlette.types import ASGIApp

from adapters.settings import Role
from tests.unit.callbacks.desk.desk_harness import TOKENS, DeskHarness

#: What has not come after this never will, s.
LATE_S = 20


class StreamClient:
    """Hears what an application sends, and takes it only while `takes` is set."""

    def __init__(self, after: int | None, last: str | None, role: Role, method: str) -> None:
        query = {} if after is None else {"after": after}
        headers = {"host": "localhost:8080", "authorization": f"Bearer {TOKENS[role]}", **({"last-event-id": last} if last else {})}
        self._scope = {
            "type": "http",
            "http_version": "1.1",
            "scheme": "http",
            "method": method,
            "path": "/v1/events/stream",
            "query_string": urlencode(query).encode(),
            "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
            "state": {"connection": self},  # of which only `cut` is used
        }
        self.takes = asyncio.Event()
        self.takes.set()
        #: There was something that it did not take.
        self.offered = asyncio.Event()
        #: Either side has ended the connection.
        self.left = asyncio.Event()
        self.was_cut = False
        self.has_ended = False
        self.started: asyncio.Future[Mapping[str, Any]] = asyncio.get_running_loop().create_future()
        self._asked = False
        self._blocks: asyncio.Queue[str] = asyncio.Queue()
        self._rest = ""

    async def run(self, app: ASGIApp) -> None:
        await app(self._scope, self._receive, self._send)

    def cut(self) -> None:
        self.was_cut = True
        self.left.set()

    async def _receive(self) -> dict[str, Any]:
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        if not self.takes.is_set():
            self.offered.set()
        await self.takes.wait()
        if message["type"] == "http.response.start":
            self.started.set_result(message)
            return
        self.has_ended = not message.get("more_body", False)
        *blocks, self._rest = (self._rest + message["body"].decode()).split("\n\n")
        for block in blocks:
            self._blocks.put_nowait(block)

    async def status(self) -> int:
        return int((await asyncio.wait_for(asyncio.shield(self.started), LATE_S))["status"])

    async def headers(self) -> dict[str, str]:
        started = await asyncio.wait_for(asyncio.shield(self.started), LATE_S)
        return {name.decode(): value.decode() for name, value in started["headers"]}

    async def block(self) -> str:
        """The next one, whatever it is."""
        return await asyncio.wait_for(self._blocks.get(), LATE_S)

    async def heard(self, number: int) -> list[int]:
        """The positions of the next events."""
        return [position for position, _ in await self.events(number)]

    async def events(self, number: int) -> list[tuple[int, Any]]:
        """(position, CloudEvent) of the next events."""
        found: list[tuple[int, Any]] = []
        while len(found) < number:
            lines = (await self.block()).split("\n")
            if len(lines) == 2 and lines[1].startswith("data: "):
                found.append((int(lines[0].removeprefix("id: ")), json.loads(lines[1].removeprefix("data: "))))
        return found


@asynccontextmanager
async def listening(
    world: DeskHarness, after: int | None = None, *, last: str | None = None, role: Role = Role.OPERATOR, method: str = "GET"
) -> AsyncIterator[StreamClient]:
    """A client that goes at the end, if nobody ended its stream before."""
    listener = StreamClient(after, last, role, method)
    running = asyncio.create_task(listener.run(world.app))
    try:
        yield listener
    finally:
        listener.left.set()
        await asyncio.wait_for(running, LATE_S)


async def until(holds: Callable[[], bool]) -> None:
    """Lets others go on until this is so."""
    async with asyncio.timeout(LATE_S):
        while not holds():
            await asyncio.sleep(0)


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    """Runs it in an event loop of its own; nothing may go on after it."""

    async def whole() -> None:
        await scenario()
        await until(lambda: asyncio.all_tasks() == {asyncio.current_task()})

    asyncio.run(whole())
