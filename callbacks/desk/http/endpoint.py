"""What an endpoint is, before anything is known of what it does."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from starlette.requests import Request
from starlette.responses import Response

from adapters.settings import Role
from callbacks.desk.http.access import Caller
from callbacks.desk.http.context import Desk
from callbacks.desk.http.parameters import Param

Guarded = Callable[[Desk, Request, Caller], Awaitable[Response]]
Free = Callable[[Desk, Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    method: str
    path: str
    #: Its name in the OpenAPI document.
    name: str
    #: The heading under which it is shown.
    tag: str
    summary: str
    meaning: str = ""
    params: tuple[Param, ...] = ()
    #: What it takes in headers.
    headers: tuple[Param, ...] = ()
    #: The schema of its JSON body, by name.
    body: str | None = None
    #: Whether that may be left out.
    body_optional: bool = False
    #: status -> what it says, and the schema of its body by name, or its media type.
    answers: Mapping[int, tuple[str, str | None]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardedEndpoint(Endpoint):
    """Needs a token of this role or a higher one."""

    role: Role = Role.VIEWER
    handle: Guarded


@dataclass(frozen=True, slots=True, kw_only=True)
class FreeEndpoint(Endpoint):
    """Open to everybody: it says nothing of tasks."""

    handle: Free
