"""Builds the ASGI application of a web process: the door and the desk, and the parts that only they use."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

from starlette.applications import Starlette
from starlette.types import ASGIApp, Receive, Scope, Send

from adapters.access.tokens import Tokens
from adapters.clock_watch import ClockWatch
from adapters.downstream import Sink
from adapters.ledger import Ledger
from adapters.ledger.availability import LedgerCheck
from adapters.metrics import Metrics
from adapters.settings import Settings
from adapters.spool import Spool, ledger_folder
from adapters.supervision import Health
from adapters.vendors import DIALECTS
from adapters.vendors.accounts import Accounts
from callbacks.client_connection import DOOR_PATH
from callbacks.desk import Desk, desk_routes, exception_handlers
from callbacks.desk.events.sse import Streams
from callbacks.desk.events.tail import Tail
from callbacks.door import Door, UnknownDoor
from callbacks.recorder import Recorder, RecorderLimits
from callbacks.rejections import Rejections


@dataclass(frozen=True, slots=True, kw_only=True)
class AppDependencies:
    """The parts that the application gets from outside; the caller opens, starts, stops and closes them."""

    ledger: Ledger
    settings: Settings
    metrics: Metrics
    #: Returns the time, ms since the epoch.
    clock: Callable[[], int]
    #: Wakes the workers that apply the inbox; must not wait, and may be called from any thread.
    notify_workers: Callable[[], None]
    accounts: Accounts
    #: By type; see `open_sinks`.
    sinks: Mapping[str, Sink]
    limits: RecorderLimits = field(default_factory=RecorderLimits)
    #: The parts of the process register here.
    health: Health = field(default_factory=Health)
    clock_watch: ClockWatch = field(default_factory=ClockWatch)
    #: Returns a new text each time, which no other process returns.
    random_id: Callable[[], str] = lambda: str(uuid4())


class Application:
    """Sends requests under the door's path to the door, without a framework around it, and all others to the desk."""

    def __init__(
        self, doors: Mapping[str, ASGIApp], wrong_door: ASGIApp, desk: ASGIApp, streams: Streams, recorder: Recorder
    ) -> None:
        self._doors = doors
        self._unknown_door = wrong_door
        self._desk = desk
        self._streams = streams
        self._recorder = recorder

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith(DOOR_PATH):
            door = self._doors.get(scope["path"], self._unknown_door)
            await door(scope, receive, send)
        else:
            await self._desk(scope, receive, send)

    def end_streams(self) -> None:
        """Ends the event streams: none ends by itself, and the server waits for all responses before it stops."""
        self._streams.close_all()

    def shorten_ledger_wait(self) -> None:
        """Makes callbacks wait less for the ledger and go to the spool instead, since the process is about to end."""
        self._recorder.shorten_ledger_wait()


def make_app(dependencies: AppDependencies) -> Application:
    """Returns the application. Its lifespan starts and stops the parts that make callbacks durable."""
    settings, ledger = dependencies.settings, dependencies.ledger
    spool = Spool(ledger_folder(Path(settings.spool.folder), ledger.url), settings.spool.max_mb * 1024 * 1024, dependencies.clock)
    recorder = Recorder(
        ledger,
        spool,
        dependencies.metrics,
        on_recorded=dependencies.notify_workers,
        limits=dependencies.limits,
        health=dependencies.health,
    )
    return make_app_with_recorder(dependencies, spool, recorder)


def make_app_with_recorder(dependencies: AppDependencies, spool: Spool, recorder: Recorder) -> Application:
    """Returns the application with this spool and recorder; see `make_app`."""
    dependencies.clock_watch.add_listener(lambda _step: dependencies.metrics.clock_steps.inc())
    rejections = Rejections(dependencies.ledger, dependencies.metrics, dependencies.health)
    check = LedgerCheck(dependencies.ledger, dependencies.health)
    streams = Streams(Tail(dependencies.ledger))
    desk = _make_desk(dependencies, spool, streams, rejections)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        with ExitStack() as running:
            spool.open()
            running.callback(spool.close)
            running.callback(rejections.stop)
            rejections.start()
            running.callback(recorder.stop)  # before `rejections`: what it cannot record is counted there
            recorder.start()
            running.callback(desk.query_pool.close)
            running.callback(check.stop)
            await asyncio.to_thread(check.start)
            yield

    desk_app = Starlette(routes=desk_routes(desk), lifespan=lifespan, exception_handlers=exception_handlers())
    desk_app.router.redirect_slashes = False  # behind TLS the redirect would name the wrong scheme
    wrong_door = UnknownDoor(sorted(DIALECTS), rejections, dependencies.clock)
    return Application(_make_doors(dependencies, recorder, rejections), wrong_door, desk_app, streams, recorder)


def _make_doors(dependencies: AppDependencies, recorder: Recorder, rejections: Rejections) -> dict[str, ASGIApp]:
    """Returns a door per path. A vendor follows no redirect, so each path is also served with a slash at its end."""
    doors: dict[str, ASGIApp] = {}
    for name, dialect in DIALECTS.items():
        secrets_of = dependencies.settings.secrets_of(name)
        door = Door(dialect, secrets_of, recorder, rejections, dependencies.metrics, dependencies.clock)
        doors[f"{DOOR_PATH}{name}"] = doors[f"{DOOR_PATH}{name}/"] = door
    return doors


def _make_desk(dependencies: AppDependencies, spool: Spool, streams: Streams, rejections: Rejections) -> Desk:
    return Desk(
        ledger=dependencies.ledger,
        settings=dependencies.settings,
        tokens=Tokens(dependencies.settings.tokens),
        metrics=dependencies.metrics,
        clock=dependencies.clock,
        random_id=dependencies.random_id,
        wake_workers=dependencies.notify_workers,
        spool_rows=spool.rows,
        streams=streams,
        sinks=dependencies.sinks,
        accounts=dependencies.accounts,
        health=dependencies.health,
        clock_watch=dependencies.clock_watch,
        unrecorded=rejections.unsaved_unrecorded,
        on_wrong_token=rejections.report_wrong_token,
    )
