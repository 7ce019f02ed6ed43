"""Signing of calls: TC3-HMAC-SHA256 (API category 34260, "Signature v3"). Like its SDK it signs only content-type and host."""

import hashlib
import hmac
import json
from datetime import UTC, datetime

from adapters.http_messages import HttpRequest
from adapters.vendors.calls import Account, Call
from adapters.vendors.endpoints import target

_SERVICE = "trtc"
_ENDPOINT = "https://trtc.intl.tencentcloudapi.com"
_REGION = "ap-singapore"
_REGION_OF_HOST = {"trtc.tencentcloudapi.com": "ap-guangzhou"}
_CONTENT_TYPE = "application/json"
_SIGNED = "content-type;host"


def signed(call: Call, account: Account, now_ms: int) -> HttpRequest:
    to = target(account.endpoint or _ENDPOINT)
    body = json.dumps(call.params, separators=(",", ":")).encode()
    now_s = now_ms // 1000
    lines = f"content-type:{_CONTENT_TYPE}\nhost:{to.host}\n"
    request = f"{call.method}\n{to.path}\n\n{lines}\n{_SIGNED}\n{hashlib.sha256(body).hexdigest()}"
    headers = {
        "Host": to.host,
        "Content-Type": _CONTENT_TYPE,
        "X-TC-Action": call.action,
        "X-TC-Version": call.version,
        "X-TC-Timestamp": str(now_s),
        "X-TC-Region": account.region or _REGION_OF_HOST.get(to.host, _REGION),
        "X-TC-Language": "en-US",
        "Authorization": _authorization(account, request, now_s),
    }
    return HttpRequest(method=call.method, url=to.url, headers=headers, body=body)


def _authorization(account: Account, request: str, now_s: int) -> str:
    day = datetime.fromtimestamp(now_s, UTC).strftime("%Y-%m-%d")
    scope = f"{day}/{_SERVICE}/tc3_request"
    words = f"TC3-HMAC-SHA256\n{now_s}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
    key = f"TC3{account.secret_access_key}".encode()
    for part in (day, _SERVICE, "tc3_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    signature = hmac.new(key, words.encode(), hashlib.sha256).hexdigest()
    return f"TC3-HMAC-SHA256 Credential={account.access_key_id}/{scope}, SignedHeaders={_SIGNED}, Signature={signature}"
