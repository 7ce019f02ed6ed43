"""Reads JSON bodies, within bounds."""

import json
from collections.abc import Mapping, Sequence
from itertools import islice
from math import isfinite
from typing import Any, NoReturn

from starlette.requests import Request

from adapters.contract import masking
from callbacks.desk.http.problems import FieldError, Invalid, Malformed, TooLarge

#: Bytes of a body that is read.
_MAX_BODY = 64 * 1024
#: The same where it holds a vendor's parameters: layouts of many streams are long.
MAX_PARAMS_BODY = 256 * 1024
_NAME_SHOWN = 100
#: So many masked values are told at most, and so many characters of where each stands.
_MASKED_TOLD, _PATH_SHOWN = 100, 200


async def read(request: Request, most: int = _MAX_BODY) -> bytes:
    """Raises TooLarge. most: bytes."""
    body = bytearray()  # bytes would be copied with each of many small pieces
    async for chunk in request.stream():
        body += chunk
        if len(body) > most:
            raise TooLarge(f"the body has more than {most} bytes")
    return bytes(body)


async def read_none(request: Request) -> None:
    """Of a request that says no more than its path: nothing, or {}. Raises TooLarge, Malformed or Invalid."""
    body = await read(request)
    errors = unknown_members(document(body, "{}"), ()) if body.strip() else []
    if errors:
        raise Invalid("this request takes nothing", errors)


def document(body: bytes, example: str) -> Mapping[str, Any]:
    """The JSON object in a body. Raises Malformed, which shows the example."""
    try:
        found = json.loads(body, parse_constant=_refused, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise Malformed("the body must be JSON, in UTF-8") from error
    if not isinstance(found, dict):
        raise Malformed(f"the body must be a JSON object, as in {example}")
    return found


def unknown_members(document: Mapping[str, Any], known: Sequence[str]) -> list[FieldError]:
    """A problem for each member that is not one of these."""
    message = f"is not known; there are {', '.join(known)}" if known else "is not known; the body must be empty, or {}"
    return [FieldError(field=name[:_NAME_SHOWN], message=message) for name in document if name not in known]


def masked_members(given: Any, path: str = "") -> list[FieldError]:
    """A problem for each value that is our own mask, or a url and the like of which a part is."""
    message = f"is masked: send the real value, not the {masking.HIDDEN} that is shown in its place"
    found = islice(masking.masked_paths(given, path), _MASKED_TOLD)
    return [FieldError(field=at[:_PATH_SHOWN] or "params", message=message) for at in found]


def _refused(constant: str) -> NoReturn:
    """Python reads NaN and Infinity, and writes them; nobody else does."""
    raise ValueError(f"{constant} is not JSON")


def _finite(digits: str) -> float:
    number = float(digits)
    if not isfinite(number):
        raise ValueError("a number is too large")
    return number
