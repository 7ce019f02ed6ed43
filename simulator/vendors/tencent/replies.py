"""The shapes of replies and errors (34270): always HTTP 200, with a content type without parameters."""

import json
from typing import Any

from simulator.messages import CallRefused, GatewayReply, ReceivedCall

_HEADERS = {"Content-Type": "application/json"}


def success_reply(call: ReceivedCall, result: dict[str, Any]) -> GatewayReply:
    return _json_reply({**result, "RequestId": call.request_id})


def error_reply(refusal: CallRefused, request_id: str) -> GatewayReply:
    return _json_reply({"Error": {"Code": refusal.code, "Message": refusal.message}, "RequestId": request_id})


def _json_reply(response: dict[str, Any]) -> GatewayReply:
    return GatewayReply(status=200, headers=_HEADERS, body=json.dumps({"Response": response}, separators=(",", ":")).encode())
