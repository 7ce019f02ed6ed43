"""The shapes of answers and errors (1178322; sections 3 and 4 of the error codes)."""

import json
from typing import Any
from urllib.parse import parse_qsl

from simulator.messages import CallRefused, GatewayReply, ReceivedCall, Request

_HEADERS = {"Content-Type": "application/json; charset=utf-8"}
#: From this version on a failure is told by the HTTP status too.
_HONEST = "2023-07-20"
#: Of the gateway's own errors.
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


def success_reply(asked: ReceivedCall, result: Any) -> GatewayReply:
    metadata = _metadata(asked.request_id, asked.action, asked.version, asked.region)
    return _json_reply(200, {"Result": result, "ResponseMetadata": metadata})


def error_reply(request: Request, refused: CallRefused, request_id: str) -> GatewayReply:
    query = dict(parse_qsl(request.query))
    version = query.get("Version", "")
    error: dict[str, Any] = {"Code": refused.code, "Message": refused.message}
    number = _NUMBERS.get(refused.code)
    if number is not None:
        error = {"CodeN": number} | error
    metadata = _metadata(request_id, query.get("Action", ""), version, "cn-north-1")
    status = refused.status if number is not None or version >= _HONEST else 200
    return _json_reply(status, {"ResponseMetadata": metadata | {"Error": error}, "Result": {}})


def _metadata(request_id: str, action: str, version: str, region: str) -> dict[str, Any]:
    # As the vendor's own samples have it: a day and digits.
    plain = request_id.replace("-", "").upper()
    return {"RequestId": plain, "Action": action, "Version": version, "Service": "rtc", "Region": region}


def _json_reply(status: int, body: Any) -> GatewayReply:
    return GatewayReply(status=status, headers=_HEADERS, body=json.dumps(body, separators=(",", ":")).encode())
