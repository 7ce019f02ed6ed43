"""The envelope of a callback and its signature (39558, 54912)."""

import base64
import hmac
import json

from simulator.messages import OutgoingEvent
from simulator.vendors.tencent.callbacks import INGEST


def sign_callback(event: OutgoingEvent, sent_at: int) -> tuple[bytes, dict[str, str]]:
    """Signs an event as a callback. CallbackTs (in group 7 CallbackMsTs) is the time of sending, so a retry has other bytes."""
    group = event.data["EventGroupId"]
    stamp = "CallbackMsTs" if group == INGEST else "CallbackTs"
    fields = {"EventGroupId": group, "EventType": int(event.event_type), stamp: sent_at, "EventInfo": event.data["EventInfo"]}
    body = json.dumps(fields, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace")
    sign = base64.b64encode(hmac.digest(event.app.callback_secret.encode(), body, "sha256")).decode()
    return body, {"Content-Type": "application/json", "SdkAppId": event.app.app_id, "Sign": sign}
