"""Builds JSON answers. `no-store`: no cache may keep what the desk says about tasks."""

import json
from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

NO_STORE = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


def json_bytes(content: Any) -> bytes:
    """Returns compact ASCII JSON: a vendor's text may contain half of a surrogate pair, which UTF-8 cannot encode."""
    return json.dumps(content, separators=(",", ":")).encode()


def json_response(
    content: Any, *, status: int = 200, headers: Mapping[str, str] | None = None, media_type: str = "application/json"
) -> Response:
    return json_bytes_response(json_bytes(content), status=status, headers=headers, media_type=media_type)


def json_bytes_response(
    content: bytes, *, status: int = 200, headers: Mapping[str, str] | None = None, media_type: str = "application/json"
) -> Response:
    """Returns an answer whose content is JSON already."""
    return Response(content, status_code=status, headers={**NO_STORE, **(headers or {})}, media_type=media_type)
