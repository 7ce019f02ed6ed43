"""Builds Starlette routes from the endpoint table. Authorization happens here, before any handler runs."""

from collections.abc import Awaitable, Callable, Mapping, Sequence

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Route
from starlette.types import Scope

from callbacks.desk.http.access import authorize
from callbacks.desk.http.context import Desk
from callbacks.desk.http.endpoint import FreeEndpoint, GuardedEndpoint

Handle = Callable[[Request], Awaitable[Response]]


def build_routes(desk: Desk, endpoints: Sequence[GuardedEndpoint | FreeEndpoint]) -> list[BaseRoute]:
    """Returns one route for each path, so that `Allow` can name every method of the path."""
    by_path: dict[str, dict[str, Handle]] = {}
    for endpoint in endpoints:
        by_path.setdefault(endpoint.path, {})[endpoint.method] = _make_handler(desk, endpoint)
    # Literal paths come before paths with parameters that match them too: in /v1/callbacks/replay, `replay` is no id.
    paths = sorted(by_path, key=lambda path: path.count("{"))
    return [_PathRoute(path, _by_method(by_path[path]), methods=list(by_path[path])) for path in paths]


class _PathRoute(Route):
    """The only route of its path: for a wrong method no other route is searched, and `Allow` names the right ones."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        match, more = super().matches(scope)
        return Match.FULL if match is Match.PARTIAL else match, more


def _by_method(handles: Mapping[str, Handle]) -> Handle:
    async def handle(request: Request) -> Response:
        return await handles["GET" if request.method == "HEAD" else request.method](request)

    return handle


def _make_handler(desk: Desk, endpoint: GuardedEndpoint | FreeEndpoint) -> Handle:
    return _guarded_handler(desk, endpoint) if isinstance(endpoint, GuardedEndpoint) else _open_handler(desk, endpoint)


def _guarded_handler(desk: Desk, endpoint: GuardedEndpoint) -> Handle:
    async def handle(request: Request) -> Response:
        return await endpoint.handle(desk, request, authorize(desk, request, endpoint.role))

    return handle


def _open_handler(desk: Desk, endpoint: FreeEndpoint) -> Handle:
    async def handle(request: Request) -> Response:
        return await endpoint.handle(desk, request)

    return handle
