"""Serves the application: the door opens first and shuts last.

When the process is told to end, everything else ends first, within a bound: the workers, event streams, requests to the API. The
door goes on listening and answering meanwhile, and shuts when no callback is under way. From then on nobody listens until the next
process does, so what can wait is not waited for: the process is crash-only, and whatever is cut short was never answered.
"""

import asyncio
import os
import socket
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import uvicorn

from adapters import logs
from adapters.logs import logger
from adapters.metrics import Metrics
from adapters.process import listening_sockets
from adapters.process.service_manager import notify_ready, notify_stopping
from adapters.settings.model import Server as ServerSettings
from callbacks.app import Application
from callbacks.client_address import Proxies
from callbacks.client_connection import Connection
from callbacks.connection_limits import ConnectionLimits, Connections

#: Workers and API requests may take so long to end while the door is open, s.
WORKERS_S, REQUESTS_S = 3.3, 1.8
#: The door shuts at a moment without a callback under way, or after so long, s; then those under way may take so long.
MOMENT_S = 0.5
CALLBACKS_S = 0.5
#: Who connected, or began a request, so shortly before may be about to send the rest: a round trip to a vendor far away, s.
FRESH_S = 0.3
#: What was accepted in the last moment is known as a connection after so long, s.
ACCEPTED_S = 0.02
#: Closing files and connections may take so long, s.
CLEANUP_S = 0.2
_LOOK_S = 0.005
#: Log lines that are not written by then are lost, s.
_FLUSH_S = 0.1

#: Something that may hang; it is called in a thread.
Step = Callable[[], object]

log = logger(__name__)


def connections_of(settings: ServerSettings, metrics: Metrics, most: int) -> Connections:
    """The bounds that are set. most: connections that the limit of open files allows."""
    limits = ConnectionLimits(
        most=most,
        waiting_per_client=max(1, min(settings.max_waiting_per_client, most // 2)),
        head_s=settings.head_timeout_s,
        body_s=settings.body_timeout_s,
        unfinished_bytes=settings.max_unfinished_mb * 1024 * 1024,
    )
    return Connections(limits, metrics, Proxies(settings.proxies))


class Server(uvicorn.Server):
    """`sockets`: listen already. `start_others`: starts the workers; it is called in a thread once the door is open.

    `stop_others`, `close`: called in a thread when the process is to end, before and after the door is shut.
    `status`: of the process, as it ends.
    """

    def __init__(
        self,
        app: Application,
        connections: Connections,
        sockets: Sequence[socket.socket],
        *,
        keep_alive_s: int = 75,
        start_others: Step = lambda: None,
        stop_others: Step = lambda: None,
        close: Step = lambda: None,
        status: Callable[[], int] = lambda: 0,
    ) -> None:
        super().__init__(_config(app, connections, keep_alive_s))
        self._app = app
        self._connections = connections
        self._sockets = list(sockets)
        self._start_others = start_others
        self._stop_others = stop_others
        self._close = close
        self._starting: asyncio.Task[None] | None = None
        self._watching: asyncio.Task[None] | None = None
        self._status = status
        self._failed = False

    def serve_until_told(self) -> None:
        """Serves until SIGTERM or SIGINT, then ends the process: 0; 1 if it could not start.

        Threads that hang would keep the interpreter for as long as they do, and nobody listens by then.
        """
        with asyncio.Runner(loop_factory=self.config.get_loop_factory()) as runner:
            runner.run(self._serve_and_leave())

    def stop(self) -> None:
        """Tells it to end, as a signal does that comes before it handles signals itself."""
        self.should_exit = True

    async def _serve_and_leave(self) -> None:
        await self.serve(sockets=self._sockets)
        leave(self._exit_status())

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        where = [(each.getsockname(), listening_sockets.address_of(each)) for each in self._sockets]
        await super().startup(sockets)
        if not self.started:
            return
        self._watching = asyncio.create_task(self._connections.watch())
        for address, text in where:
            host, port = address[:2] if isinstance(address, tuple) else (text, None)
            log.info("server.started", host=host, port=port)
        self._starting = asyncio.create_task(self._start())

    async def _start(self) -> None:
        try:
            await _in_thread(self._start_others)
        except Exception as error:
            log.error("server.failed", exc_info=error)
            self._failed = True
            self.should_exit = True
        else:
            notify_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        log.info("server.stopping")
        notify_stopping()
        with self._at_most(WORKERS_S + MOMENT_S + CALLBACKS_S + CLEANUP_S):
            self._connections.ending = True
            self._app.end_streams()
            self._app.hurry()
            await self._end_others()
            await self._until(self._no_callback, MOMENT_S)
            with self._at_most(CALLBACKS_S + CLEANUP_S):
                await self._shut(sockets)
                await self.lifespan.shutdown()
                await self._within(CLEANUP_S, "close", _in_thread(self._close))

    @contextmanager
    def _at_most(self, limit_s: float) -> Iterator[None]:
        """Ends the process if what is done here takes longer, though it may hold up the event loop."""
        timer = threading.Timer(limit_s, self._cut_short)
        timer.daemon = True
        timer.start()
        yield
        timer.cancel()

    def _exit_status(self) -> int:
        return 1 if self._failed or not self.started else self._status()

    def _cut_short(self) -> None:
        log.warning("server.cut_short", what="all")
        leave(self._exit_status())

    async def _end_others(self) -> None:
        """The workers, and the API requests that are under way; new ones are answered for as long as that takes."""
        under_way = [each.cycle for each in self._all() if each.answering and not each.hears_callback]
        await asyncio.gather(
            self._within(WORKERS_S, "workers", self._stop_started()),
            self._until(lambda: all(cycle.response_complete or cycle.disconnected for cycle in under_way), REQUESTS_S),
        )

    async def _stop_started(self) -> None:
        if self._starting is not None:
            await asyncio.wait({self._starting})
        await _in_thread(self._stop_others)

    async def _shut(self, sockets: list[socket.socket] | None) -> None:
        """Stops listening, and lets the callbacks be answered that are under way, or may be: who has just connected."""
        await asyncio.sleep(0)  # the kernel resets what it has not handed over yet
        for server in self.servers:
            server.close()
        for each in sockets or ():
            each.close()
        await asyncio.sleep(ACCEPTED_S)
        await self._until(self._no_callback_to_come, CALLBACKS_S)
        for connection in self._all():
            connection.cut()

    def _no_callback(self) -> bool:
        return not any(each.hears_callback for each in self._all())

    def _no_callback_to_come(self) -> bool:
        now = asyncio.get_running_loop().time()
        return not any(each.hears_callback or (each.is_awaited and now - each.since < FRESH_S) for each in self._all())

    def _all(self) -> Iterator[Connection]:
        return (each for each in list(self.server_state.connections) if isinstance(each, Connection))

    async def _within(self, limit_s: float, what: str, doing: Coroutine[Any, Any, None]) -> None:
        """Leaves behind what takes longer."""
        task = asyncio.create_task(doing)
        await self._until(task.done, limit_s)
        if not task.done():
            log.warning("server.cut_short", what=what)
            task.cancel()
        elif (error := task.exception()) is not None:
            log.error("server.cut_short", what=what, exc_info=error)

    async def _until(self, done: Callable[[], bool], limit_s: float) -> None:
        """Looks until it is so, the limit is over, or somebody pressed Ctrl-C again."""
        loop = asyncio.get_running_loop()
        until_s = loop.time() + limit_s
        while not done() and loop.time() < until_s and not self.force_exit:
            await asyncio.sleep(_LOOK_S)


def leave(status: int) -> None:
    """Ends the process at once, whatever its threads do."""
    logs.flush(_FLUSH_S)
    os._exit(status)


async def _in_thread(step: Step) -> None:
    """Waits for a thread of its own, which nobody else waits for when the process ends. Raises what the step raises."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()

    def settle(error: Exception | None) -> None:
        if done.done():
            return
        if error is None:
            done.set_result(None)
        else:
            done.set_exception(error)

    def run() -> None:
        error: Exception | None = None
        try:
            step()
        except Exception as raised:  # noqa: BLE001 - whoever waits gets it
            error = raised
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(settle, error)

    threading.Thread(target=run, name="step", daemon=True).start()
    await done


def _config(app: Application, connections: Connections, keep_alive_s: int) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        access_log=False,
        log_config=None,
        http=partial(Connection, connections=connections),  # type: ignore[arg-type]  # what makes a connection
        ws="none",
        proxy_headers=False,  # who asks must be judged by what the connection is, not by what it says
        server_header=False,
        backlog=listening_sockets.BACKLOG,
        timeout_keep_alive=keep_alive_s,
    )
