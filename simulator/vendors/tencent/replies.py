"""The shapes of answers and errors (34270): always HTTP 200, and a content type without any parameter."""

import json
from typing import Any

from simulator.messages import CallRefused, GatewayReply, ReceivedCall

_HEADERS = {"Content-Type": "application/json"}


def success_reply(asked: ReceivedCall, result: dict[str, Any]) -> GatewayReply:
    return _json_reply({**result, "RequestId": asked.request_id})


def error_reply(refused: CallRefused, request_id: str) -> GatewayReply:
    return _json_reply({"Error": {"Code": refused.code, "Message": refused.message}, "RequestId": request_id})


def _json_reply(response: dict[str, Any]) -> GatewayReply:
    return GatewayReply(status=200, headers=_HEADERS, body=json.dumps({"Response": response}, separators=(",", ":")).encode())
