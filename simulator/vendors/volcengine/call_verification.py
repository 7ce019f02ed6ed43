"""Verifies calls (documents 69859 and 1178321), over the headers that SignedHeaders lists; in a query `+` is a space."""

import hashlib
import hmac
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import parse_qsl, quote

from simulator.messages import CallRefused, Request

_AUTHORIZATION = re.compile(
    r"HMAC-SHA256 Credential=(?P<key>[^/]+)/(?P<day>\d{8})/(?P<region>[^/]+)/(?P<service>[^/]+)/request, *"
    r"SignedHeaders=(?P<headers>[^, ]+), *Signature=(?P<signature>[0-9a-f]{64})"
)
_SERVICE = "rtc"
# Not documented; the usual value for this family of signatures.
_WINDOW_MS = 15 * 60 * 1000
_NEEDED = frozenset({"host", "x-date"})


@dataclass(frozen=True, slots=True)
class Signer:
    """The account that signed a call, and the region in its scope."""

    access_key_id: str
    region: str


def verify_call(request: Request, secret_of: Callable[[str], str | None], now: int) -> Signer:
    """Verifies a call; returns its signer. Raises CallRefused."""
    header = request.headers.get("authorization")
    if header is None:
        raise CallRefused("MissingAuthenticationToken", "The request has no Authorization header.", 401)
    parts = _AUTHORIZATION.fullmatch(header.strip())
    if parts is None:
        raise CallRefused("MissingSignature", "The Authorization header is not as documented.", 401)
    secret = secret_of(parts["key"])
    if secret is None:
        raise CallRefused("InvalidAccessKey", f"The access key {parts['key']} is not known.", 401)
    date = _checked_date(request, now)
    names = parts["headers"].lower().split(";")
    if not date.startswith(parts["day"]) or parts["service"] != _SERVICE or not _NEEDED.issubset(names):
        raise CallRefused("SignatureDoesNotMatch", "The credential scope or SignedHeaders do not fit the request.", 401)
    digest = hashlib.sha256(request.body).hexdigest()
    if request.headers.get("x-content-sha256", digest) != digest:
        raise CallRefused("SignatureDoesNotMatch", "X-Content-Sha256 is not that of the body.", 401)
    scope = f"{parts['day']}/{parts['region']}/{_SERVICE}/request"
    canonical = hashlib.sha256(_canonical_request(request, names, digest).encode()).hexdigest()
    words = "\n".join(["HMAC-SHA256", date, scope, canonical])
    signature = hmac.new(_signing_key(secret, parts["day"], parts["region"]), words.encode(), hashlib.sha256).hexdigest()
    if not hmac.compare_digest(signature, parts["signature"]):
        raise CallRefused("SignatureDoesNotMatch", "The request signature we calculated does not match the one provided.", 401)
    return Signer(parts["key"], parts["region"])


def _checked_date(request: Request, now: int) -> str:
    date = request.headers.get("x-date", "")
    try:
        at = datetime.strptime(date, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp() * 1000
    except ValueError:
        raise CallRefused("InvalidTimestamp", "X-Date must be like 20060102T150405Z.", 403) from None
    if abs(at - now) > _WINDOW_MS:
        raise CallRefused("InvalidTimestamp", "X-Date is too far from the server's time.", 403)
    return date


def _canonical_request(request: Request, names: list[str], digest: str) -> str:
    pairs = sorted(
        (_percent_encoded(name), _percent_encoded(value)) for name, value in parse_qsl(request.query, keep_blank_values=True)
    )
    query = "&".join(f"{name}={value}" for name, value in pairs)
    lines = "".join(f"{name}:{request.headers.get(name, '').strip()}\n" for name in names)
    return "\n".join([request.method, request.path or "/", query, lines, ";".join(names), digest])


def _percent_encoded(text: str) -> str:
    return quote(text, safe="-_.~")


def _signing_key(secret: str, day: str, region: str) -> bytes:
    key = secret.encode()
    for part in (day, region, _SERVICE, "request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return key
