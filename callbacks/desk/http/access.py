"""Authenticates and authorizes API requests by their bearer token.

A loopback address proves nothing: a proxy on this machine looks like a local client (`proxy_pass` alone sets Host to 127.0.0.1 and
adds nothing). Tokens are read only from the header `Authorization`, which a page of another site cannot send; there are no cookies.

Only with `--open-desk`, and without tokens, every client of the loopback address may do everything. A browser whose DNS name was
rebound to 127.0.0.1, a page of another site, and a proxy reach that address too: requests that look like theirs are refused, as far
as they can be recognised.
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
#: Header fields that proxies add. Some proxies add none.
_OF_PROXIES = re.compile(
    r"forwarded|via|x[-_]forwarded.*|x-real-ip|x-client-ip|x-cluster-client-ip|x-original-.*|x-envoy-.*|x-azure-.*|x-amzn-.*|"
    r"client-ip|true-client-ip|cf-.*|cdn-loop|fastly-.*|fly-.*|akamai-.*|proxy-.*"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiCaller:
    """The client of a request. `name`: the name of its token."""

    name: str
    role: Role

    @property
    def sees_keys(self) -> bool:
        """Returns whether stream keys and raw callbacks are shown to this client."""
        return self.role >= Role.OPERATOR


def authorize(desk: Desk, request: Request, least: Role) -> ApiCaller:
    """Returns the client if its role is `least` or higher. Raises Unauthenticated, TooManyWrongTokens, NotLocal or Forbidden."""
    caller = _local_caller(request) if desk.is_open else _caller_of_token(desk, request)
    if caller.role < least:
        raise Forbidden(f"this needs the role {least}, and the token {caller.name} has {caller.role}")
    return caller


def count_wrong_token(desk: Desk, request: Request, why: str) -> Problem:
    """Counts and logs a wrong token or login code; returns the problem to raise."""
    address = request.client.host if request.client else None
    desk.on_wrong_token(address, why)
    wait_s = desk.wrong_tokens.record_wrong_token(address)
    return TooManyWrongTokens(f"{why}; wait before you send another one", retry_after_s=wait_s) if wait_s else Unauthenticated(why)


def _caller_of_token(desk: Desk, request: Request) -> ApiCaller:
    given = request.headers.get("authorization")
    if given is None:
        raise Unauthenticated(
            "send a token, as in Authorization: Bearer TOKEN; `tally curl` does, and `tally link` logs a browser in"
        )
    bearer = bearer_of(given)
    if bearer is None:
        raise count_wrong_token(desk, request, "the header Authorization must be: Bearer TOKEN")
    token = desk.tokens.find(bearer)
    if token is None:
        raise count_wrong_token(desk, request, "this token is not known: it was changed, or belongs to another service")
    return ApiCaller(name=token.name, role=token.role)


def _local_caller(request: Request) -> ApiCaller:
    """Returns the admin caller for a request from this machine. Raises NotLocal."""
    hosts = request.headers.getlist("host")
    if len(hosts) != 1 or not _OWN_HOST.fullmatch(hosts[0]):
        raise NotLocal(f"{_OPEN} requests whose Host is localhost, 127.0.0.1 or [::1]")
    if any(_OF_PROXIES.fullmatch(name) for name in request.headers):
        raise NotLocal(f"{_OPEN} requests that no proxy forwarded (Forwarded, X-Forwarded-*, Via and the like)")
    origin = request.headers.get("origin")
    if request.method not in ("GET", "HEAD") and origin is not None and origin != f"http://{hosts[0]}":
        raise NotLocal(f"{_OPEN} its own page, not one of {origin[:100]}")
    return ApiCaller(name="local", role=Role.ADMIN)
