"""Reads JSON bodies, within bounds."""

import json
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request

from callbacks.desk.problems import Malformed, TooLarge

#: Bytes of a body that is read.
_MAX_BODY = 64 * 1024


async def read(request: Request) -> bytes:
    """Raises TooLarge."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MAX_BODY:
            raise TooLarge(f"the body has more than {_MAX_BODY} bytes")
    return body


def document(body: bytes, example: str) -> Mapping[str, Any]:
    """The JSON object in a body. Raises Malformed, which shows the example."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Malformed("the body must be JSON, in UTF-8") from error
    if not isinstance(found, dict):
        raise Malformed(f"the body must be a JSON object, as in {example}")
    return found
