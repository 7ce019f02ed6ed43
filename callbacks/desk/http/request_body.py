"""Reads JSON request bodies within limits."""

import json
from collections.abc import Mapping, Sequence
from itertools import islice
from math import isfinite
from typing import Any, NoReturn

from starlette.requests import Request

from adapters.contract import masking
from adapters.text import FieldProblem, closest_word
from callbacks.desk.http.problems import Invalid, Malformed, TooLarge

#: The largest body, bytes.
_MAX_BODY = 64 * 1024
#: The largest body with a vendor's parameters, bytes: layouts of many streams are long.
MAX_PARAMS_BODY = 256 * 1024
_NAME_SHOWN = 100
#: Masked values that are reported at most, and characters of the path of each.
_MASKED_SHOWN, _PATH_SHOWN = 100, 200


async def read_body(request: Request, most: int = _MAX_BODY) -> bytes:
    """Returns the body. most: its limit, bytes. Raises TooLarge."""
    body = bytearray()  # bytes would be copied with each of many small pieces
    async for chunk in request.stream():
        body += chunk
        if len(body) > most:
            raise TooLarge(f"the body has more than {most} bytes")
    return bytes(body)


async def require_empty_body(request: Request) -> None:
    """Checks that the body is empty, or `{}`. Raises TooLarge, Malformed or Invalid."""
    body = await read_body(request)
    errors = unknown_members(parse_document(body, "{}"), ()) if body.strip() else []
    if errors:
        raise Invalid("this request takes no members", errors)


def parse_document(body: bytes, example: str) -> Mapping[str, Any]:
    """Returns the JSON object in a body. Raises Malformed, whose detail shows the example."""
    try:
        found = json.loads(body, parse_constant=_reject_constant, parse_float=_parse_finite)
    except (ValueError, RecursionError) as error:
        raise Malformed("the body must be JSON, in UTF-8") from error
    if not isinstance(found, dict):
        raise Malformed(f"the body must be a JSON object, as in {example}")
    return found


def unknown_members(document: Mapping[str, Any], known: Sequence[str]) -> list[FieldProblem]:
    """Returns an error for each member that is not one of these."""
    return [FieldProblem(field=name[:_NAME_SHOWN], message=_unknown_message(name, known)) for name in document if name not in known]


def _unknown_message(name: str, known: Sequence[str]) -> str:
    if not known:
        return "is not known; the body must be empty, or {}"
    near = closest_word(name, known)
    return f"is not known; did you mean {near}?" if near else f"is not known; there are {', '.join(known)}"


def masked_members(given: Any, path: str = "") -> list[FieldProblem]:
    """Returns an error for each value that is our own mask (`***`), or contains it as part of a url, a pair or JSON."""
    message = f"is masked: send the real value, not the {masking.HIDDEN} that is shown in its place"
    found = islice(masking.masked_paths(given, path), _MASKED_SHOWN)
    return [FieldProblem(field=at[:_PATH_SHOWN] or "params", message=message) for at in found]


def _reject_constant(constant: str) -> NoReturn:
    """Raises ValueError: NaN and Infinity are no JSON, though Python reads and writes them."""
    raise ValueError(f"{constant} is not JSON")


def _parse_finite(digits: str) -> float:
    number = float(digits)
    if not isfinite(number):
        raise ValueError("a number is too large")
    return number
