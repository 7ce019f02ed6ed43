"""Signs calls (documents 69859 and 1178321): HMAC-SHA256 over a canonical request, with a key derived per day."""

import hashlib
import hmac
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from adapters.http_messages import HttpRequest
from adapters.vendors.calls import Account, Call
from adapters.vendors.endpoints import Endpoint, parse_endpoint

_SERVICE = "rtc"
_ENDPOINT = "https://rtc.volcengineapi.com"
_REGION = "cn-north-1"
# As the vendor's SDKs sign; for the first host the pages name ap-southeast-1.
_REGION_OF_HOST = {"open-ap-singapore-1.volcengineapi.com": "ap-singapore-1", "open.byteplusapi.com": "ap-singapore-1"}


def sign_call(call: Call, account: Account, now_ms: int) -> HttpRequest:
    """Returns the signed HTTP request of a call."""
    endpoint = parse_endpoint(account.endpoint or _ENDPOINT)
    in_query = call.method == "GET"
    query = _canonical_query({"Action": call.action, "Version": call.version, **(call.params if in_query else {})})
    body = b"" if in_query else json.dumps(call.params, separators=(",", ":")).encode()
    headers = _signed_headers(call, account, endpoint, query, body, now_ms)
    return HttpRequest(method=call.method, url=f"{endpoint.url}?{query}", headers=headers, body=body)


def _signed_headers(call: Call, account: Account, endpoint: Endpoint, query: str, body: bytes, now_ms: int) -> dict[str, str]:
    date = datetime.fromtimestamp(now_ms // 1000, UTC).strftime("%Y%m%dT%H%M%SZ")
    digest = hashlib.sha256(body).hexdigest()
    headers = {"Host": endpoint.host, "X-Content-Sha256": digest, "X-Date": date}
    if call.method == "POST":
        headers["Content-Type"] = "application/json"
    names = ";".join(sorted(name.lower() for name in headers))
    lines = "".join(sorted(f"{name.lower()}:{value}\n" for name, value in headers.items()))
    request = "\n".join([call.method, endpoint.path, query, lines, names, digest])
    region = account.region or _REGION_OF_HOST.get(endpoint.host, _REGION)
    scope = f"{date[:8]}/{region}/{_SERVICE}/request"
    words = "\n".join(["HMAC-SHA256", date, scope, hashlib.sha256(request.encode()).hexdigest()])
    signature = hmac.new(_signing_key(account, date[:8], region), words.encode(), hashlib.sha256).hexdigest()
    credential = f"HMAC-SHA256 Credential={account.access_key_id}/{scope}"
    return headers | {"Authorization": f"{credential}, SignedHeaders={names}, Signature={signature}"}


def _signing_key(account: Account, day: str, region: str) -> bytes:
    key = account.secret_access_key.encode()
    for part in (day, region, _SERVICE, "request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return key


def _canonical_query(query: Mapping[str, Any]) -> str:
    """Returns the query sorted and percent-encoded by RFC 3986 (a space is %20); it is sent exactly so."""
    pairs = sorted((_percent_encoded(name), _percent_encoded(str(value))) for name, value in query.items())
    return "&".join(f"{name}={value}" for name, value in pairs)


def _percent_encoded(text: str) -> str:
    return quote(text, safe="-_.~", errors="replace")
