"""Builds the parts of a serving process once, starts them in order and stops them in reverse order: the composition root.

`tally up` serves the web part (door and desk) and the workers in one process; `tally web` and `tally work` serve one of them. What
both use is opened here, once, and handed to them. `callbacks.app` and `workers.process` build the rest of their own room from it.

A process with a door stops in two steps: the workers while the door is still open, the rest after it is shut (docs/decisions/0016).
"""

import gc
import os
import signal
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from dramatiq import Broker

from adapters.access import login_link
from adapters.access.token_file import TokenFile, ensure_token
from adapters.clock import monotonic_s, now_ms
from adapters.clock_watch import ClockWatch
from adapters.downstream import Sink, open_sinks
from adapters.http import HttpClient
from adapters.ledger import Ledger
from adapters.ledger.availability import LedgerCheck
from adapters.ledger.file_permissions import require_writable
from adapters.ledger.process_locks import AlreadyServedError, ServingLock
from adapters.logs import logger
from adapters.metrics import Metrics
from adapters.process.file_limits import max_connections_within, raise_file_limit
from adapters.process.listening_sockets import ListenError, is_local, open_sockets
from adapters.process.service_manager import notify_ready, notify_stopping
from adapters.queue import Hints, Notifier, open_broker, open_hints
from adapters.settings import Settings
from adapters.supervision import Health, end_process, exit_status
from adapters.vendors.accounts import Accounts
from callbacks.app import AppDependencies, make_app
from callbacks.server import Server, make_connections
from workers.process import WorkerProcess

#: The roles of a process; it holds a `ServingLock` for each.
WEB, WORK = "web", "work"
#: Time that deliveries in progress have to finish when a process with a door ends, s: they are sent again.
DELIVERIES_S = 1.5
#: The same for calls to vendors, s: the outcome of an abandoned call is unknown, and to query it takes minutes.
CALLS_S = 3.0
#: A process whose door is shut ends within this time, s.
_ENDING_S = 1.5
#: Fewer open files are usually too few for a server.
_FEW_FILES = 1_024

log = logger(__name__)


class Part(Protocol):
    """A part of a process that runs between `start` and `stop`. `stop` also cleans up after a `start` that failed."""

    def start(self) -> None: ...

    def stop(self) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedParts:
    """The parts that the web part and the workers of one process share."""

    ledger: Ledger
    settings: Settings
    broker: Broker
    hints: Hints
    health: Health
    notifier: Notifier
    accounts: Accounts
    #: By type; see `open_sinks`.
    sinks: Mapping[str, Sink]


def serve_workers(ledger: Ledger, settings: Settings) -> int:
    """Runs the workers alone until SIGTERM or SIGINT; returns the exit status.

    Raises AlreadyServedError, LedgerUnavailableError.
    """
    with ExitStack() as running:
        require_writable(ledger.path)
        _acquire_role(ledger, WORK)
        shared = _open_shared_parts(ledger, settings, running)
        workers = _make_workers(shared)
        check, clock_watch = LedgerCheck(ledger, shared.health), ClockWatch(shared.health)
        stopped = threading.Event()
        _on_stop_signal(stopped.set)
        for part in (shared.health, clock_watch, check, shared.notifier, workers):
            start_part(part, running)
        _tune_garbage_collector()
        log.info("worker.started")
        notify_ready()
        stopped.wait()
        notify_stopping()
    return exit_status(shared.health)


def serve_web(ledger: Ledger, settings: Settings, sockets: Sequence[socket.socket], *, with_workers: bool) -> int:
    """Runs door and desk, and the workers too if `with_workers`, until SIGTERM or SIGINT; then ends the process.

    sockets: to listen on; without any it opens its own. Returns 1 only if it could not start. Raises AlreadyServedError,
    LedgerUnavailableError, ListenError, TokenFileError.
    """
    with ExitStack() as background, ExitStack() as work:
        require_writable(ledger.path)
        sockets = _open_listening_sockets(settings, sockets)
        for role in (WEB, WORK) if with_workers else (WEB,):
            _acquire_role(ledger, role)
        settings, token_in_file = ensure_token(settings)
        shared = _open_shared_parts(ledger, settings, background)
        workers = _make_workers(shared) if with_workers else None
        clock_watch = ClockWatch(shared.health)

        def start() -> None:
            for part in (shared.health, clock_watch):
                start_part(part, background)
            start_part(shared.notifier, work)
            if workers is not None:
                work.callback(workers.stop, calls_s=CALLS_S, deliveries_s=DELIVERIES_S)
                workers.start()
            _tune_garbage_collector()
            _announce_access(settings, token_in_file, sockets[0])

        server = _make_server(shared, clock_watch, sockets, start=start, stop_work=work.close, stop_background=background.close)
        _on_stop_signal(server.request_stop)
        server.serve_until_stopped()
    return 1


def start_part(part: Part, running: ExitStack) -> None:
    """Starts a part; `running` stops it, also if its start fails half way."""
    running.callback(part.stop)
    part.start()


def _open_listening_sockets(settings: Settings, sockets: Sequence[socket.socket]) -> Sequence[socket.socket]:
    """Returns listening sockets: the given ones, else new ones. Raises ListenError."""
    sockets = sockets or open_sockets(settings.server.host, settings.server.port, environ=os.environ)
    if not settings.tokens and not all(is_local(listening) for listening in sockets):
        raise ListenError("the socket of the service manager is not on a loopback address, so configure [[tokens]]")
    return sockets


def _acquire_role(ledger: Ledger, role: str) -> None:
    """Waits for a process that is about to end: its door is shut, and closing its files takes a moment.

    Raises AlreadyServedError, LedgerUnavailableError.
    """
    lock = ServingLock(ledger.url, role)
    until_s, pause = monotonic_s() + _ENDING_S, threading.Event()
    while True:
        try:
            lock.acquire()
        except AlreadyServedError:
            if monotonic_s() > until_s:
                raise
            pause.wait(0.01)
        else:
            return


def _open_shared_parts(ledger: Ledger, settings: Settings, running: ExitStack) -> SharedParts:
    """Opens what needs no start; `running` closes it, the ledger last."""
    running.callback(ledger.close)
    broker, hints = open_broker(settings.queue.url), open_hints(settings.queue.url)
    running.callback(broker.close)
    sinks = open_sinks(settings)
    for sink in sinks.values():
        running.callback(sink.close)
    health = Health(on_end=end_process)
    return SharedParts(
        ledger=ledger,
        settings=settings,
        broker=broker,
        hints=hints,
        health=health,
        notifier=Notifier(broker, hints, lambda error: log.warning("hint.failed", error=str(error)), health),
        accounts=Accounts(settings),
        sinks=sinks,
    )


def _make_workers(shared: SharedParts) -> WorkerProcess:
    return WorkerProcess(
        shared.ledger,
        shared.broker,
        shared.hints,
        now_ms,
        shared.accounts,
        HttpClient(),
        shared.notifier.notify,
        shared.sinks,
        keep_days=shared.settings.deliveries.keep_days,
        health=shared.health,
    )


def _make_server(
    shared: SharedParts,
    clock_watch: ClockWatch,
    sockets: Sequence[socket.socket],
    *,
    start: Callable[[], None],
    stop_work: Callable[[], None],
    stop_background: Callable[[], None],
) -> Server:
    """start: called once the door is open. stop_work, stop_background: called before and after the door is shut."""
    metrics = Metrics()
    dependencies = AppDependencies(
        ledger=shared.ledger,
        settings=shared.settings,
        metrics=metrics,
        clock=now_ms,
        notify_workers=shared.notifier.notify,
        accounts=shared.accounts,
        sinks=shared.sinks,
        health=shared.health,
        clock_watch=clock_watch,
    )
    about = shared.settings.server
    return Server(
        make_app(dependencies),
        make_connections(about, metrics, _max_connections(shared.settings)),
        sockets,
        keep_alive_s=about.keep_alive_s,
        start_others=start,
        stop_others=stop_work,
        close=stop_background,
        status=partial(exit_status, shared.health),
    )


def _max_connections(settings: Settings) -> int:
    """Returns how many clients may connect, after raising the limit of open files."""
    files = raise_file_limit()
    connections = max_connections_within(files, settings.server.max_connections)
    if files < _FEW_FILES or connections < settings.server.max_connections:
        log.warning("server.few_files", files=files, connections=connections)
    return connections


def _tune_garbage_collector() -> None:
    """Leaves the objects of the start out of garbage collection, and collects less often.

    They stay until the process ends, and what a callback allocates has no cycles: scanning it all took 15% of the time of applying.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)


def _on_stop_signal(stop: Callable[[], object]) -> None:
    """Calls `stop` on SIGTERM and SIGINT. SIGHUP only logs a line: settings are read at the start."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop())
    signal.signal(signal.SIGHUP, lambda *_: log.warning("server.hangup"))


def _announce_access(settings: Settings, token_in_file: TokenFile | None, listening: socket.socket) -> None:
    """Logs where the desk's token is, but not the token itself: logs are shipped. A login link goes to the terminal only."""
    if settings.server.open_desk:
        hint = "every client of this port may do everything: never put a proxy before it; without --open-desk a token is created"
        log.warning("server.open_desk", hint=hint)
    elif token_in_file is not None:
        if token_in_file.was_exposed:
            log.warning("server.token_exposed", file=str(token_in_file.path))
        log.info("server.token_file", file=str(token_in_file.path), new=token_in_file.is_new)
        if listening.family is not socket.AF_UNIX:  # a browser cannot open a Unix socket
            login_link.print_on_terminal(settings, listening.getsockname()[1])
