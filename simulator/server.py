"""The simulator on the network: an ASGI application around a world, and the server that runs it.

Calls to all vendors come to `/`; the request tells which vendor is meant. `/truth` shows the true state of all tasks, as JSON.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, MutableMapping
from contextlib import asynccontextmanager
from typing import Any, cast

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from simulator.demo import Step
from simulator.messages import GatewayReply, Request
from simulator.realtime import Simulation

#: Key of an ASGI scope: the function that cuts the connection.
_CUT = "tally.cut"
_TASKS_SHOWN = 200


def make_app(simulation: Callable[[], Simulation], steps: tuple[Step, ...] = ()) -> Starlette:
    """Returns the application. simulation: called inside the running loop. steps: the demonstration, if any."""

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[dict[str, Simulation]]:
        running = simulation()
        pump = asyncio.create_task(running.run())
        running.play_demo(steps)
        yield {"simulation": running}
        pump.cancel()
        await asyncio.gather(pump, return_exceptions=True)

    return Starlette(routes=[Route("/", _CallEndpoint()), Route("/truth", _truth_json)], lifespan=lifespan)


class _CallEndpoint:
    """The endpoint for the vendors' API calls."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        http = HttpRequest(scope, receive)
        simulation: Simulation = http.state.simulation
        request = Request(
            method=http.method,
            path=http.url.path,
            query=scope["query_string"].decode("ascii", "replace"),
            headers=dict(http.headers),
            body=await http.body(),
        )
        vendor = simulation.world.vendor_of(request)
        if vendor is None:
            await _info_page(simulation)(scope, receive, send)
            return
        reply = simulation.handle(vendor, request)
        await asyncio.sleep(reply.after_ms / 1000)
        if reply.dropped:
            scope[_CUT]()
            await _wait_for_disconnect(receive)
        else:
            await _to_response(reply)(scope, receive, send)


async def _wait_for_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _to_response(reply: GatewayReply) -> Response:
    """Returns the response with exactly the vendor's headers: clients may compare the content type exactly."""
    response = Response(reply.body, reply.status)
    for name, value in reply.headers.items():
        response.headers[name] = value
    return response


def _info_page(simulation: Simulation) -> Response:
    truths = simulation.world.truth()
    living = sum(truth.alive for truth in truths)
    lines = [
        "A simulated vendor: nothing here is real, and nothing costs money.",
        "Send it the vendors' own signed API calls; GET /truth shows the true state of all tasks, as JSON.",
        f"{len(truths)} task(s) were started, {living} of them live. The newest:",
        "",
        *(
            f"{truth.vendor} {truth.kind} {truth.vendor_task_id} "
            f"{truth.phase or 'starting' if truth.alive else f'ended: {truth.cause}'}"
            for truth in truths[: -_TASKS_SHOWN - 1 : -1]
        ),
    ]
    return PlainTextResponse("\n".join(lines) + "\n")


def _truth_json(http: HttpRequest) -> Response:
    world = http.state.simulation.world
    return JSONResponse({"tasks": [truth.as_json() for truth in world.truth()], "counters": world.counters.as_json()})


class _AbortableProtocol(H11Protocol):
    """An HTTP protocol that lets the application cut the connection without an answer."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        app = self.app

        async def cuttable(scope: Any, receive: Any, send: Any) -> None:
            cast(MutableMapping[str, Any], scope)[_CUT] = transport.abort
            await app(scope, receive, send)

        self.app = cuttable


class Server(uvicorn.Server):
    """The simulator's HTTP server. on_started: called with the port once it listens."""

    def __init__(self, app: Starlette, host: str, port: int, on_started: Callable[[int], None]) -> None:
        config = uvicorn.Config(
            app,
            host=host,
            port=port,
            http=_AbortableProtocol,
            access_log=False,
            log_config=None,
            server_header=False,
            timeout_graceful_shutdown=5,
        )
        super().__init__(config)
        self._on_started = on_started

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._on_started(self.servers[0].sockets[0].getsockname()[1])
