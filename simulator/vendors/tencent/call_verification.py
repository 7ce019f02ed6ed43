"""Verifies calls: TC3-HMAC-SHA256 (34260), over the headers that SignedHeaders lists."""

import hashlib
import hmac
import re
from collections.abc import Callable
from datetime import UTC, datetime

from simulator.messages import CallRefused, Request

_AUTHORIZATION = re.compile(
    r"TC3-HMAC-SHA256 Credential=(?P<id>[^/]+)/(?P<day>\d{4}-\d{2}-\d{2})/(?P<service>[^/]+)/tc3_request, *"
    r"SignedHeaders=(?P<headers>[^, ]+), *Signature=(?P<signature>[0-9a-f]{64})"
)
_SERVICE = "trtc"
_WINDOW_S = 300
_NEEDED = frozenset({"content-type", "host"})


def verify_call(request: Request, secret_of: Callable[[str], str | None], now: int) -> str:
    """Verifies a call; returns the id of the secret that signed it. Raises CallRefused."""
    parts = _AUTHORIZATION.fullmatch(request.headers.get("authorization", "").strip())
    if parts is None:
        raise CallRefused("AuthFailure.InvalidAuthorization", "The Authorization header is not as documented.")
    secret = secret_of(parts["id"])
    if secret is None:
        raise CallRefused("AuthFailure.SecretIdNotFound", "The SecretId is not found.")
    seconds = _checked_timestamp(request, now)
    names = parts["headers"].lower().split(";")
    in_scope = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d") == parts["day"] and parts["service"] == _SERVICE
    if not in_scope or not _NEEDED.issubset(names) or not _has_valid_signature(request, secret, parts, seconds, names):
        raise CallRefused("AuthFailure.SignatureFailure", "The provided credentials could not be validated.")
    return parts["id"]


def _checked_timestamp(request: Request, now: int) -> int:
    text = request.headers.get("x-tc-timestamp", "")
    if not re.fullmatch(r"[0-9]{1,11}", text):
        raise CallRefused("InvalidParameter", "X-TC-Timestamp must be a number of seconds.")
    if abs(int(text) - now // 1000) > _WINDOW_S:
        raise CallRefused("AuthFailure.SignatureExpire", "The signature has expired.")
    return int(text)


def _has_valid_signature(request: Request, secret: str, parts: re.Match[str], seconds: int, names: list[str]) -> bool:
    lines = "".join(f"{name}:{request.headers.get(name, '').strip().lower()}\n" for name in names)
    digest = hashlib.sha256(request.body).hexdigest()
    canonical = "\n".join([request.method, request.path or "/", request.query, lines, ";".join(names), digest])
    scope = f"{parts['day']}/{_SERVICE}/tc3_request"
    words = f"TC3-HMAC-SHA256\n{seconds}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = f"TC3{secret}".encode()
    for part in (parts["day"], _SERVICE, "tc3_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    signature = hmac.new(key, words.encode(), hashlib.sha256).hexdigest()
    return hmac.compare_digest(signature, parts["signature"])
