"""The table of endpoints as Starlette's routes: who may not, never reaches a handler."""

from collections.abc import Awaitable, Callable, Mapping

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Route
from starlette.types import Scope

from callbacks.desk.endpoints import ENDPOINTS
from callbacks.desk.http.access import admit
from callbacks.desk.http.context import Desk
from callbacks.desk.http.endpoint import FreeEndpoint, GuardedEndpoint

Handle = Callable[[Request], Awaitable[Response]]


def desk_routes(desk: Desk) -> list[BaseRoute]:
    """A route for each path, so that a refused method can be told all that the path takes."""
    by_path: dict[str, dict[str, Handle]] = {}
    for endpoint in ENDPOINTS:
        by_path.setdefault(endpoint.path, {})[endpoint.method] = _handle(desk, endpoint)
    # A path that is written out comes before one with a parameter that it would match too: `replay` is no callback's id.
    paths = sorted(by_path, key=lambda path: path.count("{"))
    return [_PathRoute(path, _by_method(by_path[path]), methods=list(by_path[path])) for path in paths]


class _PathRoute(Route):
    """The one route of its path: whatever method comes, no other route is looked for, and `Allow` names what the path takes."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        match, more = super().matches(scope)
        return Match.FULL if match is Match.PARTIAL else match, more


def _by_method(handles: Mapping[str, Handle]) -> Handle:
    async def handle(request: Request) -> Response:
        return await handles["GET" if request.method == "HEAD" else request.method](request)

    return handle


def _handle(desk: Desk, endpoint: GuardedEndpoint | FreeEndpoint) -> Handle:
    return _guarded(desk, endpoint) if isinstance(endpoint, GuardedEndpoint) else _free(desk, endpoint)


def _guarded(desk: Desk, endpoint: GuardedEndpoint) -> Handle:
    async def handle(request: Request) -> Response:
        return await endpoint.handle(desk, request, admit(desk, request, endpoint.role))

    return handle


def _free(desk: Desk, endpoint: FreeEndpoint) -> Handle:
    async def handle(request: Request) -> Response:
        return await endpoint.handle(desk, request)

    return handle
