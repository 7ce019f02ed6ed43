"""Who asks, and what they may.

With tokens, the token says it. On a loopback address without any, whoever reaches it may do everything; but a browser that was
lured to a name which now resolves to 127.0.0.1, a page of another site, and a proxy before us all reach it too: requests that
look like theirs are refused.
"""

import re
from dataclasses import dataclass

from starlette.requests import Request

from adapters.settings import Role
from adapters.tokens import bearer_of
from callbacks.desk.desk import Desk
from callbacks.desk.problems import Forbidden, NotLocal, Unauthenticated

_OWN_HOST = re.compile(r"(localhost|127\.0\.0\.1|\[::1\])(:[0-9]{1,5})?", re.IGNORECASE)
_OPEN = "the desk is open because no [[tokens]] are configured, and then answers only"


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who asks. `name`: the token's."""

    name: str
    role: Role

    @property
    def sees_keys(self) -> bool:
        """Whether stream keys and raw callbacks are shown."""
        return self.role >= Role.OPERATOR


def admit(desk: Desk, request: Request, least: Role) -> Caller:
    """Who asks, if they may do what needs this role. Raises Unauthenticated, NotLocal or Forbidden."""
    caller = _by_token(desk, request) if desk.settings.tokens else _by_address(desk, request)
    if caller.role < least:
        raise Forbidden(f"this needs the role {least}, and the token {caller.name} has {caller.role}")
    return caller


def _by_token(desk: Desk, request: Request) -> Caller:
    bearer = bearer_of(request.headers.get("authorization"))
    if bearer is None:
        raise Unauthenticated("send a token, as in Authorization: Bearer TOKEN")
    token = desk.tokens.find(bearer)
    if token is None:
        raise Unauthenticated("this token is not one of those configured")
    return Caller(name=token.name, role=token.role)


def _by_address(desk: Desk, request: Request) -> Caller:
    """Everybody, on this machine only."""
    if not desk.settings.server.is_loopback:
        raise NotLocal("no [[tokens]] are configured, so nobody may use the desk")
    hosts = request.headers.getlist("host")
    if len(hosts) != 1 or not _OWN_HOST.fullmatch(hosts[0]):
        raise NotLocal(f"{_OPEN} requests whose Host is localhost, 127.0.0.1 or [::1]")
    if any(name == "forwarded" or name.startswith("x-forwarded-") for name in request.headers):
        raise NotLocal(f"{_OPEN} requests that no proxy forwarded (Forwarded, X-Forwarded-*)")
    origin = request.headers.get("origin")
    if request.method not in ("GET", "HEAD") and origin is not None and origin != f"http://{hosts[0]}":
        raise NotLocal(f"{_OPEN} its own page, not one of {origin[:100]}")
    return Caller(name="local", role=Role.ADMIN)
