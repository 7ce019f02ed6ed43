"""JSON answers. Nothing that the desk says of tasks may be kept by a cache."""

import json
from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

NO_STORE = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


def json_bytes(content: Any) -> bytes:
    """ASCII: a vendor's text may hold half of a surrogate pair, which UTF-8 cannot."""
    return json.dumps(content, separators=(",", ":")).encode()


def answer(
    content: Any, *, status: int = 200, headers: Mapping[str, str] | None = None, media_type: str = "application/json"
) -> Response:
    return answer_bytes(json_bytes(content), status=status, headers=headers, media_type=media_type)


def answer_bytes(
    content: bytes, *, status: int = 200, headers: Mapping[str, str] | None = None, media_type: str = "application/json"
) -> Response:
    """An answer that is JSON already."""
    return Response(content, status_code=status, headers={**NO_STORE, **(headers or {})}, media_type=media_type)
