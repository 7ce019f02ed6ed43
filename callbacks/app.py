"""Puts door and desk together into one ASGI application."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from starlette.applications import Starlette
from starlette.types import ASGIApp, Receive, Scope, Send

from adapters.access.tokens import Tokens
from adapters.clock_watch import ClockWatch
from adapters.downstream import Sink, open_sinks
from adapters.ledger import Ledger
from adapters.ledger.availability import LedgerCheck
from adapters.metrics import Metrics
from adapters.settings import Settings
from adapters.spool import Spool, folder_of
from adapters.supervision import Health
from adapters.vendors import DIALECTS
from callbacks.client_connection import DOORS
from callbacks.desk import Desk, desk_routes, exception_handlers
from callbacks.desk.events.sse import Streams
from callbacks.desk.events.tail import Tail
from callbacks.door import Door, WrongDoor
from callbacks.recorder import Limits, Recorder
from callbacks.rejections import Refusals


@dataclass(frozen=True, slots=True, kw_only=True)
class Ears:
    """What the application needs from outside. `clock`: ms since the epoch; `ring` wakes whoever applies the inbox."""

    ledger: Ledger
    settings: Settings
    metrics: Metrics
    clock: Callable[[], int]
    ring: Callable[[], None]
    limits: Limits = field(default_factory=Limits)
    #: Where the parts of the process register; whoever made it starts and stops it.
    health: Health = field(default_factory=Health)
    #: Tells when the clock is set; whoever made it starts and stops it.
    clock_watch: ClockWatch = field(default_factory=ClockWatch)


class Application:
    """The door for what comes under its path, past all that a framework does for others; the desk for the rest."""

    def __init__(
        self, doors: Mapping[str, ASGIApp], wrong_door: ASGIApp, desk: ASGIApp, streams: Streams, recorder: Recorder
    ) -> None:
        self._doors = doors
        self._wrong_door = wrong_door
        self._desk = desk
        self._streams = streams
        self._recorder = recorder

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith(DOORS):
            door = self._doors.get(scope["path"], self._wrong_door)
            await door(scope, receive, send)
        else:
            await self._desk(scope, receive, send)

    def end_streams(self) -> None:
        """Of itself a stream never ends, and who stops the server waits for all answers."""
        self._streams.end()

    def hurry(self) -> None:
        """The process is about to end: callbacks wait less for the ledger, and go to the spool instead."""
        self._recorder.hurry()


def make_app(ears: Ears) -> Application:
    """The application. Its lifespan starts and stops what writes callbacks down."""
    spool = Spool(
        folder_of(Path(ears.settings.spool.folder), ears.ledger.url), ears.settings.spool.max_mb * 1024 * 1024, ears.clock
    )
    recorder = Recorder(ears.ledger, spool, ears.metrics, on_recorded=ears.ring, limits=ears.limits, health=ears.health)
    return app_with(ears, spool, recorder)


def app_with(ears: Ears, spool: Spool, recorder: Recorder) -> Application:
    """The application with a recorder of one's own."""
    ears.clock_watch.tell(lambda _step: ears.metrics.clock_steps.inc())
    refusals = Refusals(ears.ledger, ears.metrics, ears.health)
    sinks = open_sinks(ears.settings)
    check = LedgerCheck(ears.ledger, ears.health)
    streams = Streams(Tail(ears.ledger))
    made = _desk(ears, spool, streams, sinks, refusals)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        spool.open()
        recorder.start()
        refusals.start()
        await asyncio.to_thread(check.start)
        yield
        check.stop()
        made.queries.close()
        recorder.stop()
        refusals.stop()
        spool.close()
        for sink in sinks.values():
            sink.close()

    desk = Starlette(routes=desk_routes(made), lifespan=lifespan, exception_handlers=exception_handlers())
    desk.router.redirect_slashes = False  # behind TLS the redirect would name the wrong scheme
    return Application(_doors(ears, recorder, refusals), WrongDoor(sorted(DIALECTS), refusals, ears.clock), desk, streams, recorder)


def _doors(ears: Ears, recorder: Recorder, refusals: Refusals) -> dict[str, ASGIApp]:
    """By path. A vendor follows no redirect, so a slash too many is forgiven."""
    doors: dict[str, ASGIApp] = {}
    for name, dialect in DIALECTS.items():
        door = Door(dialect, ears.settings.secrets_of(name), recorder, refusals, ears.metrics, ears.clock)
        doors[f"{DOORS}{name}"] = doors[f"{DOORS}{name}/"] = door
    return doors


def _desk(ears: Ears, spool: Spool, streams: Streams, sinks: Mapping[str, Sink], refusals: Refusals) -> Desk:
    return Desk(
        ledger=ears.ledger,
        settings=ears.settings,
        tokens=Tokens(ears.settings.tokens),
        metrics=ears.metrics,
        clock=ears.clock,
        ring=ears.ring,
        spool_rows=spool.rows,
        streams=streams,
        sinks=sinks,
        health=ears.health,
        clock_watch=ears.clock_watch,
        unrecorded=refusals.unwritten,
        on_wrong_token=refusals.wrong_token,
    )
