"""Who asks, and what they may.

The token says it. A proxy on this machine cannot be told from a local client (`proxy_pass` alone sets Host to 127.0.0.1 and adds
nothing), so a loopback address is no proof of anything. Tokens come in the header `Authorization` only, which no page of another
site can send; there are no cookies.

Only with `--open-desk`, and without tokens, whoever reaches the loopback address may do everything. A browser that was lured to a
name which now resolves to 127.0.0.1, a page of another site, and a proxy before us all reach it too: requests that look like theirs
are refused, as far as they can be known.
"""

import re
from dataclasses import dataclass

from starlette.requests import Request

from adapters.access.tokens import bearer_of
from adapters.settings import Role
from callbacks.desk.http.context import Desk
from callbacks.desk.http.problems import Forbidden, NotLocal, Problem, TooManyWrongTokens, Unauthenticated

_OWN_HOST = re.compile(r"(localhost|127\.0\.0\.1|\[::1\])(:[0-9]{1,5})?", re.IGNORECASE)
_OPEN = "the desk is open (--open-desk), and then answers only"
#: What proxies add. Not all of them add anything.
_OF_PROXIES = re.compile(
    r"forwarded|via|x[-_]forwarded.*|x-real-ip|x-client-ip|x-cluster-client-ip|x-original-.*|x-envoy-.*|x-azure-.*|x-amzn-.*|"
    r"client-ip|true-client-ip|cf-.*|cdn-loop|fastly-.*|fly-.*|akamai-.*|proxy-.*"
)


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
    """Who asks, if they may do what needs this role. Raises Unauthenticated, TooManyWrongTokens, NotLocal or Forbidden."""
    caller = _by_address(request) if desk.is_open else _by_token(desk, request)
    if caller.role < least:
        raise Forbidden(f"this needs the role {least}, and the token {caller.name} has {caller.role}")
    return caller


def refuse(desk: Desk, request: Request, why: str) -> Problem:
    """Counts and logs a token or login code that is not right; the problem to raise."""
    address = request.client.host if request.client else None
    desk.on_wrong_token(address, why)
    wait_s = desk.guesses.wait_s(address)
    return TooManyWrongTokens(f"{why}; wait before you send another one", retry_after_s=wait_s) if wait_s else Unauthenticated(why)


def _by_token(desk: Desk, request: Request) -> Caller:
    given = request.headers.get("authorization")
    if given is None:
        raise Unauthenticated(
            "send a token, as in Authorization: Bearer TOKEN; `tally curl` does, and `tally link` logs a browser in"
        )
    bearer = bearer_of(given)
    if bearer is None:
        raise refuse(desk, request, "the header Authorization must be: Bearer TOKEN")
    token = desk.tokens.find(bearer)
    if token is None:
        raise refuse(desk, request, "this token is not known: it was changed, or is of another service")
    return Caller(name=token.name, role=token.role)


def _by_address(request: Request) -> Caller:
    """Everybody, on this machine only."""
    hosts = request.headers.getlist("host")
    if len(hosts) != 1 or not _OWN_HOST.fullmatch(hosts[0]):
        raise NotLocal(f"{_OPEN} requests whose Host is localhost, 127.0.0.1 or [::1]")
    if any(_OF_PROXIES.fullmatch(name) for name in request.headers):
        raise NotLocal(f"{_OPEN} requests that no proxy forwarded (Forwarded, X-Forwarded-*, Via and the like)")
    origin = request.headers.get("origin")
    if request.method not in ("GET", "HEAD") and origin is not None and origin != f"http://{hosts[0]}":
        raise NotLocal(f"{_OPEN} its own page, not one of {origin[:100]}")
    return Caller(name="local", role=Role.ADMIN)
