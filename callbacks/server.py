"""Serves the application: the door opens first and shuts last.

When the process is told to end, everything else ends first, within a time limit: the workers, event streams, requests to the API.
Meanwhile the door goes on listening and answering, and it shuts when no callback is in progress. From then on callbacks are refused
until the next process listens, so the rest is not waited for: the process is crash-only, and what is cut short was never answered.
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
from adapters.settings.model import ServerSettings as ServerSettings
from callbacks.app import Application
from callbacks.client_address import Proxies
from callbacks.client_connection import Connection
from callbacks.connection_limits import ConnectionLimits, Connections

#: Time that workers and API requests have to end while the door is open, s.
WORKERS_LIMIT_S, REQUESTS_LIMIT_S = 3.3, 1.8
#: The longest wait for a moment without a callback in progress, s; then the time that those in progress have to end.
QUIET_WAIT_S = 0.5
CALLBACKS_LIMIT_S = 0.5
#: A client that connected or began a request within this time may be about to send the rest, s: a round trip to a distant vendor.
FRESH_CONNECTION_S = 0.3
#: Time until a socket that was accepted last is known as a connection, s.
ACCEPT_WAIT_S = 0.02
#: Time that closing files and connections may take, s.
CLEANUP_LIMIT_S = 0.2
_POLL_INTERVAL_S = 0.005
#: Time to write the last log lines, s; the others are lost.
_FLUSH_S = 0.1

#: A step that may hang; it is called in a thread of its own.
BlockingStep = Callable[[], object]

log = logger(__name__)


def make_connections(settings: ServerSettings, metrics: Metrics, most: int) -> Connections:
    """Returns the connections of a server, with the limits of the settings.

    most: connections that the limit of open files allows.
    """
    limits = ConnectionLimits(
        max_connections=most,
        waiting_per_client=max(1, min(settings.max_waiting_per_client, most // 2)),
        head_s=settings.head_timeout_s,
        body_s=settings.body_timeout_s,
        unfinished_bytes=settings.max_unfinished_mb * 1024 * 1024,
    )
    return Connections(limits, metrics, Proxies(settings.proxies))


class Server(uvicorn.Server):
    """sockets: already listening. start_others: starts the workers; called in a thread once the door is open.

    stop_others, close: called in a thread when the process is to end, before and after the door is shut. status: returns the exit
    status of the process, as it ends.
    """

    def __init__(
        self,
        app: Application,
        connections: Connections,
        sockets: Sequence[socket.socket],
        *,
        keep_alive_s: int = 75,
        start_others: BlockingStep = lambda: None,
        stop_others: BlockingStep = lambda: None,
        close: BlockingStep = lambda: None,
        status: Callable[[], int] = lambda: 0,
    ) -> None:
        super().__init__(_uvicorn_config(app, connections, keep_alive_s))
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

    def serve_until_stopped(self) -> None:
        """Serves until SIGTERM or SIGINT, then ends the process, with `status`; with 1 if it could not start.

        It does not return, since threads that hang would then keep the process alive, with the door already shut.
        """
        with asyncio.Runner(loop_factory=self.config.get_loop_factory()) as runner:
            runner.run(self._serve_and_exit())

    def request_stop(self) -> None:
        """Makes it stop, as SIGTERM does; for signals that come before it handles them itself."""
        self.should_exit = True

    async def _serve_and_exit(self) -> None:
        await self.serve(sockets=self._sockets)
        exit_now(self._exit_status())

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        addresses = [(listening.getsockname(), listening_sockets.address_of(listening)) for listening in self._sockets]
        await super().startup(sockets)
        if not self.started:
            return
        self._watching = asyncio.create_task(self._connections.watch())
        for address, text in addresses:
            host, port = address[:2] if isinstance(address, tuple) else (text, None)
            log.info("server.started", host=host, port=port)
        self._starting = asyncio.create_task(self._start())

    async def _start(self) -> None:
        try:
            await _run_in_thread(self._start_others)
        except Exception as error:
            log.error("server.failed", exc_info=error)
            self._failed = True
            self.should_exit = True
        else:
            notify_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        log.info("server.stopping")
        notify_stopping()
        with self._exit_after(WORKERS_LIMIT_S + QUIET_WAIT_S + CALLBACKS_LIMIT_S + CLEANUP_LIMIT_S):
            self._connections.is_ending = True
            self._app.end_streams()
            self._app.shorten_ledger_wait()
            await self._end_others()
            await self._wait_until(self._has_no_callback, QUIET_WAIT_S)
            with self._exit_after(CALLBACKS_LIMIT_S + CLEANUP_LIMIT_S):
                await self._close_door(sockets)
                await self.lifespan.shutdown()
                await self._run_within(CLEANUP_LIMIT_S, "close", _run_in_thread(self._close))

    @contextmanager
    def _exit_after(self, limit_s: float) -> Iterator[None]:
        """Ends the process if the block takes longer, even if it blocks the event loop."""
        timer = threading.Timer(limit_s, self._exit_early)
        timer.daemon = True
        timer.start()
        yield
        timer.cancel()

    def _exit_status(self) -> int:
        return 1 if self._failed or not self.started else self._status()

    def _exit_early(self) -> None:
        log.warning("server.cut_short", what="all")
        exit_now(self._exit_status())

    async def _end_others(self) -> None:
        """Ends the workers and the API requests in progress; new requests are answered meanwhile."""
        cycles = [
            connection.cycle
            for connection in self._client_connections()
            if connection.is_answering and not connection.is_answering_callback
        ]
        await asyncio.gather(
            self._run_within(WORKERS_LIMIT_S, "workers", self._stop_started()),
            self._wait_until(lambda: all(cycle.response_complete or cycle.disconnected for cycle in cycles), REQUESTS_LIMIT_S),
        )

    async def _stop_started(self) -> None:
        if self._starting is not None:
            await asyncio.wait({self._starting})
        await _run_in_thread(self._stop_others)

    async def _close_door(self, sockets: list[socket.socket] | None) -> None:
        """Stops listening, then waits for callbacks in progress, and for clients that have just connected and may send one."""
        await asyncio.sleep(0)  # accepts what waits: the kernel resets connections that are not accepted
        for server in self.servers:
            server.close()
        for listening in sockets or ():
            listening.close()
        await asyncio.sleep(ACCEPT_WAIT_S)
        await self._wait_until(self._expects_no_callback, CALLBACKS_LIMIT_S)
        for connection in self._client_connections():
            connection.cut()

    def _has_no_callback(self) -> bool:
        return not any(connection.is_answering_callback for connection in self._client_connections())

    def _expects_no_callback(self) -> bool:
        now = asyncio.get_running_loop().time()
        return not any(
            connection.is_answering_callback or (connection.is_receiving and now - connection.stage_since_s < FRESH_CONNECTION_S)
            for connection in self._client_connections()
        )

    def _client_connections(self) -> Iterator[Connection]:
        return (connection for connection in list(self.server_state.connections) if isinstance(connection, Connection))

    async def _run_within(self, limit_s: float, what: str, coroutine: Coroutine[Any, Any, None]) -> None:
        """Runs a coroutine and abandons it if it takes longer."""
        task = asyncio.create_task(coroutine)
        await self._wait_until(task.done, limit_s)
        if not task.done():
            log.warning("server.cut_short", what=what)
            task.cancel()
        elif (error := task.exception()) is not None:
            log.error("server.cut_short", what=what, exc_info=error)

    async def _wait_until(self, done: Callable[[], bool], limit_s: float) -> None:
        """Waits until `done` returns true, the time is over, or Ctrl-C is pressed again."""
        loop = asyncio.get_running_loop()
        until_s = loop.time() + limit_s
        while not done() and loop.time() < until_s and not self.force_exit:
            await asyncio.sleep(_POLL_INTERVAL_S)


def exit_now(status: int) -> None:
    """Ends the process at once, whatever its threads do; writes the last log lines."""
    logs.flush(_FLUSH_S)
    os._exit(status)


async def _run_in_thread(step: BlockingStep) -> None:
    """Runs a step in a daemon thread of its own, so that the process can end while it hangs. Raises what the step raises."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()

    def resolve(error: Exception | None) -> None:
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
        except Exception as raised:  # noqa: BLE001 - the coroutine that waits raises it
            error = raised
        with suppress(RuntimeError):  # the loop is closed: no coroutine waits any more
            loop.call_soon_threadsafe(resolve, error)

    threading.Thread(target=run, name="step", daemon=True).start()
    await done


def _uvicorn_config(app: Application, connections: Connections, keep_alive_s: int) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        access_log=False,
        log_config=None,
        http=partial(Connection, connections=connections),  # type: ignore[arg-type]  # a factory of connections
        ws="none",
        proxy_headers=False,  # clients are judged by their connection, not by the headers that they send
        server_header=False,
        backlog=listening_sockets.BACKLOG,
        timeout_keep_alive=keep_alive_s,
    )
