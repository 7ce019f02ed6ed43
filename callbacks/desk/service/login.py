"""Exchanges the code of a login link for the token that it stands for.

The status page does this with the code after `#code=` in its address, which browsers send to nobody.
"""

from starlette.requests import Request
from starlette.responses import Response

from callbacks.desk.http import parameters, request_body
from callbacks.desk.http.access import refuse
from callbacks.desk.http.context import Desk
from callbacks.desk.http.problems import FieldError, Invalid
from callbacks.desk.http.responses import answer

_EXAMPLE = '{"code": "..."}'


async def log_in(desk: Desk, request: Request) -> Response:
    parameters.from_query((), request)
    code = _code(await request_body.read(request))
    token = desk.codes.redeem(code, desk.clock())
    if token is None:
        raise refuse(desk, request, "this login link was used, or has expired: `tally link` prints a new one")
    return answer({"token": token.token.reveal(), "name": token.name, "role": token.role.value})


def _code(body: bytes) -> str:
    """Raises Malformed, Invalid."""
    document = request_body.document(body, _EXAMPLE)
    errors = request_body.unknown_members(document, ("code",))
    code = document.get("code")
    if not isinstance(code, str):
        errors.append(FieldError(field="code", message="must be the code of a login link, as text"))
    if errors:
        raise Invalid("this is no login", errors)
    return str(code)
