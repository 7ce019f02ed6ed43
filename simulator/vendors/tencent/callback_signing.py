"""The envelope of a callback and its signature (39558, 54912)."""

import base64
import hmac
import json

from simulator.messages import OutgoingEvent
from simulator.vendors.tencent.callbacks import INGEST


def sign_callback(news: OutgoingEvent, sent_at: int) -> tuple[bytes, dict[str, str]]:
    """CallbackTs is the time of sending, so a retry has other bytes. Group 7 calls it CallbackMsTs."""
    group = news.data["EventGroupId"]
    stamp = "CallbackMsTs" if group == INGEST else "CallbackTs"
    fields = {"EventGroupId": group, "EventType": int(news.event), stamp: sent_at, "EventInfo": news.data["EventInfo"]}
    body = json.dumps(fields, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace")
    sign = base64.b64encode(hmac.digest(news.app.callback_secret.encode(), body, "sha256")).decode()
    return body, {"Content-Type": "application/json", "SdkAppId": news.app.app_id, "Sign": sign}
