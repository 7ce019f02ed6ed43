"""The envelope of a callback and its signature (documents 39558 and 54912).

The `SdkAppId` header names the app, the `Sign` header signs the raw body. A signed JSON object is accepted with any content;
`Tencent.read` interprets it.
"""

import base64
import hmac
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from adapters.vendors.json_fields import NotAnObjectError, TooDeepError, as_bytes, as_integer, as_text, dedupe_key, json_object
from adapters.vendors.protocol import CallbackRejected, Envelope, Rejection, SecretsOf

_APP_ID = re.compile(r"[0-9]{1,20}")
_START_TIME = "_StartTimeMs_"
_SUFFIX = re.compile(rf"(?<=.){_START_TIME}[0-9]{{13}}\Z", re.DOTALL)
# Bytes that may come before a JSON object: a byte order mark and white space.
_BEFORE_JSON = b"\xef\xbb\xbf \t\r\n"


def verify_callback(headers: Mapping[str, str], body: bytes, secrets_of: SecretsOf) -> Envelope:
    """Verifies a callback and returns its envelope; one of its app's secrets must have signed it. Raises CallbackRejected."""
    app_id = headers.get("sdkappid", "").strip()
    if not _APP_ID.fullmatch(app_id):
        raise CallbackRejected(Rejection.MALFORMED, "the header SdkAppId must be there and be the app's number")
    secrets = secrets_of(app_id)
    if secrets is None:
        raise CallbackRejected(Rejection.UNKNOWN_APP, f"no tencent app {app_id} is configured", app_id=app_id)
    if not _is_signed(headers.get("sign", ""), body, secrets):
        detail = "the header Sign must be the HMAC-SHA256 of the raw body, in base64, that a callback secret of this app gives"
        raise CallbackRejected(Rejection.BAD_SIGNATURE, detail, app_id=app_id)
    callback = _parsed_body(body, app_id)
    event_type = as_integer(callback.get("EventType"))
    return Envelope(
        app_id=app_id,
        event_type="" if event_type is None else str(event_type),
        dedupe_key=_dedupe_key(callback, body),
        vendor_task_id=_task_id(callback),
    )


def bare_task_id(task_id: str) -> str:
    """Returns the TaskId without the start time that events of a page's mp4 files append to it (document 72325)."""
    return _SUFFIX.sub("", task_id) if _START_TIME in task_id else task_id


def _task_id(callback: Mapping[str, Any]) -> str:
    info = callback.get("EventInfo")
    return bare_task_id(as_text(info.get("TaskId")) or "") if isinstance(info, dict) else ""


def _is_signed(sign: str, body: bytes, secrets: Sequence[str]) -> bool:
    """Returns whether any secret produces the signature; all are tried, so that timing does not tell which one did."""
    signature = as_bytes(sign.strip())
    digests = [base64.b64encode(hmac.digest(as_bytes(secret), body, "sha256")) for secret in secrets]
    matches = [hmac.compare_digest(digest, signature) for digest in digests]
    return any(matches)


def _parsed_body(body: bytes, app_id: str) -> dict[str, Any]:
    """Returns the body's fields; empty if it is nested too deep to be read, which is no reason to lose the callback."""
    try:
        return json_object(body)
    except TooDeepError:
        if body.lstrip(_BEFORE_JSON).startswith(b"{"):
            return {}
        raise CallbackRejected(Rejection.MALFORMED, "the body must be a JSON object", app_id=app_id) from None
    except NotAnObjectError as error:
        detail = f"the body must be a JSON object: {error}"
        raise CallbackRejected(Rejection.MALFORMED, detail, app_id=app_id) from None


def _dedupe_key(callback: Mapping[str, Any], body: bytes) -> str:
    """Returns the dedupe key: of the event itself, as deliveries have no id and CallbackTs may differ between deliveries."""
    info = callback.get("EventInfo")
    if info is None:
        return dedupe_key(None, body)
    try:
        parts = [_canonical_json(callback.get(name)) for name in ("EventGroupId", "EventType", "EventInfo")]
    except RecursionError:
        return dedupe_key(None, body)
    return dedupe_key(_event_time(info), *parts)


def _event_time(info: Any) -> int | None:
    """Returns the event's own time, ms; the same in all deliveries. None if it has none."""
    if not isinstance(info, dict):
        return None
    ms, s = as_integer(info.get("EventMsTs")), as_integer(info.get("EventTs"))
    return ms if ms is not None or s is None else s * 1000


def _canonical_json(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
