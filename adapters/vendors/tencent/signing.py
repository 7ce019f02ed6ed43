"""Signs calls: TC3-HMAC-SHA256 (API category 34260, "Signature v3"). Like the SDK, it signs only content-type and host."""

import hashlib
import hmac
import json
from datetime import UTC, datetime

from adapters.http_messages import HttpRequest
from adapters.vendors.calls import Account, Call
from adapters.vendors.endpoints import parse_endpoint

_SERVICE = "trtc"
_ENDPOINT = "https://trtc.intl.tencentcloudapi.com"
_REGION = "ap-singapore"
_REGION_OF_HOST = {"trtc.tencentcloudapi.com": "ap-guangzhou"}
_CONTENT_TYPE = "application/json"
_SIGNED = "content-type;host"


def sign_call(call: Call, account: Account, now_ms: int) -> HttpRequest:
    """Returns the signed HTTP request of a call."""
    endpoint = parse_endpoint(account.endpoint or _ENDPOINT)
    body = json.dumps(call.params, separators=(",", ":")).encode()
    now_s = now_ms // 1000
    lines = f"content-type:{_CONTENT_TYPE}\nhost:{endpoint.host}\n"
    request = f"{call.method}\n{endpoint.path}\n\n{lines}\n{_SIGNED}\n{hashlib.sha256(body).hexdigest()}"
    headers = {
        "Host": endpoint.host,
        "Content-Type": _CONTENT_TYPE,
        "X-TC-Action": call.action,
        "X-TC-Version": call.version,
        "X-TC-Timestamp": str(now_s),
        "X-TC-Region": account.region or _REGION_OF_HOST.get(endpoint.host, _REGION),
        "X-TC-Language": "en-US",
        "Authorization": _authorization_header(account, request, now_s),
    }
    return HttpRequest(method=call.method, url=endpoint.url, headers=headers, body=body)


def _authorization_header(account: Account, request: str, now_s: int) -> str:
    day = datetime.fromtimestamp(now_s, UTC).strftime("%Y-%m-%d")
    scope = f"{day}/{_SERVICE}/tc3_request"
    words = f"TC3-HMAC-SHA256\n{now_s}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
    key = f"TC3{account.secret_access_key}".encode()
    for part in (day, _SERVICE, "tc3_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    signature = hmac.new(key, words.encode(), hashlib.sha256).hexdigest()
    return f"TC3-HMAC-SHA256 Credential={account.access_key_id}/{scope}, SignedHeaders={_SIGNED}, Signature={signature}"
