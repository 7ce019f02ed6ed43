"""Lists every endpoint of the desk once: routes, roles and the OpenAPI document are made from this table."""

from collections.abc import Mapping
from functools import cache
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from callbacks.desk.callbacks.endpoints import ENDPOINTS as CALLBACKS
from callbacks.desk.events.endpoints import ENDPOINTS as EVENTS
from callbacks.desk.http import docs_page
from callbacks.desk.http.context import Desk
from callbacks.desk.http.endpoint import FreeEndpoint, GuardedEndpoint
from callbacks.desk.http.html_page import html_response
from callbacks.desk.http.openapi import openapi_document
from callbacks.desk.http.responses import json_response
from callbacks.desk.http.routes import build_routes
from callbacks.desk.schemas import schemas
from callbacks.desk.service.endpoints import ENDPOINTS as SERVICE
from callbacks.desk.subscriptions.endpoints import ENDPOINTS as SUBSCRIPTIONS
from callbacks.desk.tasks.endpoints import ENDPOINTS as TASKS


@cache
def openapi() -> Mapping[str, Any]:
    """Returns the OpenAPI 3.1 document. Made once; do not change it."""
    return openapi_document(ENDPOINTS, schemas())


async def show_openapi(desk: Desk, request: Request) -> Response:
    return json_response(openapi())


async def show_docs(desk: Desk, request: Request) -> Response:
    return html_response(docs_page.render_html(openapi()))


DESCRIPTION = (
    FreeEndpoint(
        method="GET",
        path="/openapi.json",
        name="getOpenapi",
        tag="Service",
        summary="Get this document",
        answers={200: ("An OpenAPI 3.1 document.", "application/json")},
        handle=show_openapi,
    ),
    FreeEndpoint(
        method="GET",
        path="/docs",
        name="getDocs",
        tag="Service",
        summary="Show this document as a page",
        answers={200: ("The page.", "text/html")},
        handle=show_docs,
    ),
)
ENDPOINTS: tuple[GuardedEndpoint | FreeEndpoint, ...] = (*TASKS, *CALLBACKS, *EVENTS, *SUBSCRIPTIONS, *SERVICE, *DESCRIPTION)


def desk_routes(desk: Desk) -> list[BaseRoute]:
    """Returns the desk's routes."""
    return build_routes(desk, ENDPOINTS)
