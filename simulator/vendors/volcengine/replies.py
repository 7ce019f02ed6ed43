"""The shapes of replies and errors (1178322; sections 3 and 4 of the error codes)."""

import json
from typing import Any
from urllib.parse import parse_qsl

from simulator.messages import CallRefused, GatewayReply, ReceivedCall, Request

_HEADERS = {"Content-Type": "application/json; charset=utf-8"}
#: From this version on, errors have an HTTP error status too.
_STATUS_SINCE = "2023-07-20"
#: CodeN of the gateway's own errors.
_NUMBERS = {
    "MissingParameter": 100002,
    "MissingAuthenticationToken": 100003,
    "MissingRequestInfo": 100004,
    "MissingSignature": 100005,
    "InvalidTimestamp": 100006,
    "InvalidActionOrVersion": 100008,
    "InvalidAccessKey": 100009,
    "SignatureDoesNotMatch": 100010,
    "FlowLimitExceeded": 100027,
}

STARTED_BEFORE = "The task has been started. Please do not call the startup task interface repeatedly"


def success_reply(call: ReceivedCall, result: Any) -> GatewayReply:
    metadata = _response_metadata(call.request_id, call.action, call.version, call.region)
    return _json_reply(200, {"Result": result, "ResponseMetadata": metadata})


def error_reply(request: Request, refusal: CallRefused, request_id: str) -> GatewayReply:
    query = dict(parse_qsl(request.query))
    version = query.get("Version", "")
    error: dict[str, Any] = {"Code": refusal.code, "Message": refusal.message}
    number = _NUMBERS.get(refusal.code)
    if number is not None:
        error = {"CodeN": number} | error
    metadata = _response_metadata(request_id, query.get("Action", ""), version, "cn-north-1")
    status = refusal.status if number is not None or version >= _STATUS_SINCE else 200
    return _json_reply(status, {"ResponseMetadata": metadata | {"Error": error}, "Result": {}})


def _response_metadata(request_id: str, action: str, version: str, region: str) -> dict[str, Any]:
    # As in the vendor's samples: letters and digits without hyphens.
    plain = request_id.replace("-", "").upper()
    return {"RequestId": plain, "Action": action, "Version": version, "Service": "rtc", "Region": region}


def _json_reply(status: int, body: Any) -> GatewayReply:
    return GatewayReply(status=status, headers=_HEADERS, body=json.dumps(body, separators=(",", ":")).encode())
