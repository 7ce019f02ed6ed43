"""Declares what an endpoint is: method, path, parameters, body, answers, role, handler."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from starlette.requests import Request
from starlette.responses import Response

from adapters.settings import Role
from callbacks.desk.http.access import ApiCaller
from callbacks.desk.http.context import Desk
from callbacks.desk.http.parameters import Param

Guarded = Callable[[Desk, Request, ApiCaller], Awaitable[Response]]
Free = Callable[[Desk, Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """The common part of all endpoints."""

    method: str
    path: str
    #: The operationId in the OpenAPI document.
    name: str
    #: The heading under which the document lists it.
    tag: str
    summary: str
    meaning: str = ""
    params: tuple[Param, ...] = ()
    #: Parameters in header fields.
    headers: tuple[Param, ...] = ()
    #: The name of the schema of its JSON body.
    body: str | None = None
    #: Whether the body may be left out.
    body_optional: bool = False
    #: Status -> (meaning, the name of the schema of its body or its media type).
    answers: Mapping[int, tuple[str, str | None]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardedEndpoint(Endpoint):
    """An endpoint that needs a token with this role or a higher one."""

    role: Role = Role.VIEWER
    handle: Guarded


@dataclass(frozen=True, slots=True, kw_only=True)
class FreeEndpoint(Endpoint):
    """An endpoint without a token: it shows nothing about tasks."""

    handle: Free
