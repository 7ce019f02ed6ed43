"""Puts door and desk together into one ASGI application."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from starlette.applications import Starlette
from starlette.routing import Route

from adapters.ledger import Ledger
from adapters.metrics import Metrics
from adapters.settings import Settings
from adapters.tokens import Tokens
from adapters.vendors import DIALECTS
from callbacks.desk import Desk, desk_routes, exception_handlers
from callbacks.door import Door, WrongDoor
from callbacks.recorder import Recorder
from callbacks.refusals import Refusals


@dataclass(frozen=True, slots=True, kw_only=True)
class Ears:
    """What the application needs from outside. `clock`: ms since the epoch; `ring` wakes whoever applies the inbox."""

    ledger: Ledger
    settings: Settings
    metrics: Metrics
    clock: Callable[[], int]
    ring: Callable[[], None]


def make_app(ears: Ears) -> Starlette:
    """The application. Its lifespan starts and stops what writes callbacks down."""
    recorder = Recorder(ears.ledger, on_recorded=ears.ring)
    refusals = Refusals(ears.ledger)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        recorder.start()
        refusals.start()
        yield
        recorder.stop()
        refusals.stop()

    routes = [*_doors(ears, recorder, refusals), *desk_routes(_desk(ears))]
    app = Starlette(routes=routes, lifespan=lifespan, exception_handlers=exception_handlers())
    app.router.redirect_slashes = False  # a vendor does not follow, and behind TLS the redirect would name the wrong scheme
    return app


def _doors(ears: Ears, recorder: Recorder, refusals: Refusals) -> list[Route]:
    routes = []
    for name, dialect in DIALECTS.items():
        door = Door(dialect, ears.settings.secrets_of(name), recorder, refusals, ears.metrics, ears.clock)
        routes += [Route(f"/callbacks/{name}", door), Route(f"/callbacks/{name}/", door)]
    return [*routes, Route("/callbacks/{path:path}", WrongDoor(sorted(DIALECTS), refusals, ears.metrics, ears.clock))]


def _desk(ears: Ears) -> Desk:
    return Desk(
        ledger=ears.ledger,
        settings=ears.settings,
        tokens=Tokens(ears.settings.tokens),
        metrics=ears.metrics,
        clock=ears.clock,
        ring=ears.ring,
        spool_rows=lambda: 0,
    )
