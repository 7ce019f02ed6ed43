"""The shapes of answers and errors (34270): always HTTP 200, and a content type without any parameter."""

import json
from typing import Any

from simulator.messages import Asked, Refused, Reply

_HEADERS = {"Content-Type": "application/json"}


def done(asked: Asked, result: dict[str, Any]) -> Reply:
    return _reply({**result, "RequestId": asked.request_id})


def failed(refused: Refused, request_id: str) -> Reply:
    return _reply({"Error": {"Code": refused.code, "Message": refused.message}, "RequestId": request_id})


def _reply(response: dict[str, Any]) -> Reply:
    return Reply(status=200, headers=_HEADERS, body=json.dumps({"Response": response}, separators=(",", ":")).encode())
