"""The table of endpoints as Starlette's routes: who may not, never reaches a handler."""

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from callbacks.desk.access import admit
from callbacks.desk.desk import Desk
from callbacks.desk.endpoint import FreeEndpoint, GuardedEndpoint
from callbacks.desk.endpoints import ENDPOINTS


def desk_routes(desk: Desk) -> list[BaseRoute]:
    return [_route(desk, endpoint) for endpoint in ENDPOINTS]


def _route(desk: Desk, endpoint: GuardedEndpoint | FreeEndpoint) -> Route:
    handle = _guarded(desk, endpoint) if isinstance(endpoint, GuardedEndpoint) else _free(desk, endpoint)
    return Route(endpoint.path, handle, methods=[endpoint.method], name=endpoint.name)


def _guarded(desk: Desk, endpoint: GuardedEndpoint) -> Callable[[Request], Awaitable[Response]]:
    async def handle(request: Request) -> Response:
        return await endpoint.handle(desk, request, admit(desk, request, endpoint.role))

    return handle


def _free(desk: Desk, endpoint: FreeEndpoint) -> Callable[[Request], Awaitable[Response]]:
    async def handle(request: Request) -> Response:
        return await endpoint.handle(desk, request)

    return handle
