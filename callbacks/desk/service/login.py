"""Exchanges the code of a login link for its token.

The status page sends the code that stands after `#code=` in its address; browsers do not send that part to servers.
"""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from callbacks.desk.http import parameters, request_body
from callbacks.desk.http.access import count_wrong_token
from callbacks.desk.http.body_fields import BodyField, read_fields
from callbacks.desk.http.context import Desk
from callbacks.desk.http.json_schema import TEXT
from callbacks.desk.http.problems import Invalid
from callbacks.desk.http.responses import json_response

_EXAMPLE = '{"code": "..."}'


def _read_code_text(given: Any) -> str:
    if not isinstance(given, str):
        raise ValueError("must be the code of a login link, as text")
    return given


FIELDS = (BodyField(name="code", meaning="The code after `#code=`.", schema=TEXT, read=_read_code_text, required=True),)


async def log_in(desk: Desk, request: Request) -> Response:
    parameters.read_query((), request)
    code = _read_code(await request_body.read_body(request))
    token = desk.login_codes.redeem(code, desk.clock())
    if token is None:
        raise count_wrong_token(desk, request, "this login link was used, or has expired: `tally link` prints a new one")
    return json_response({"token": token.token.reveal(), "name": token.name, "role": token.role.value})


def _read_code(body: bytes) -> str:
    """Returns the code in the body. Raises Malformed, Invalid."""
    values, errors = read_fields(FIELDS, request_body.parse_document(body, _EXAMPLE))
    if errors:
        raise Invalid("the body has no login code", errors)
    return str(values["code"])
