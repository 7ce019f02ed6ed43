"""The apps of the vendors' sample callbacks: their settings, and callbacks signed as the vendors sign them."""

import base64
import hashlib
import hmac
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from adapters.settings import AccountSettings, AppSettings, DatabaseSettings, Secret, ServerSettings, Settings

SAMPLES = Path(__file__).parents[1] / "samples"
TENCENT_APP, TENCENT_KEY = "1400000001", "123654"
VOLCENGINE_APPS, VOLCENGINE_KEY = ("Your_AppId", "appId"), "1234"
#: Needs no token: access is tested in tests/unit/callbacks/desk/http/test_access.py and tests/processes/test_tokens.py.
OPEN = ServerSettings(open_desk=True)


def settings(url: str, *, accounts: bool = False) -> Settings:
    """accounts: whether each app has one; else its tasks are only observed."""
    apps = [AppSettings(vendor="volcengine", app_id=app, callback_secrets=(Secret(VOLCENGINE_KEY),)) for app in VOLCENGINE_APPS]
    apps.append(AppSettings(vendor="tencent", app_id=TENCENT_APP, callback_secrets=(Secret(TENCENT_KEY),)))
    if not accounts:
        return Settings(server=OPEN, apps=tuple(apps), database=DatabaseSettings(url=url))
    keys = {"access_key_id": "AK", "secret_access_key": Secret("SK")}
    made = tuple(AccountSettings(name=f"{vendor}-1", vendor=vendor, **keys) for vendor in ("volcengine", "tencent"))
    named = tuple(replace(app, account=f"{app.vendor}-1") for app in apps)
    return Settings(server=OPEN, accounts=made, apps=named, database=DatabaseSettings(url=url))


def tencent(body: dict[str, Any] | bytes, key: str = TENCENT_KEY, app: str = TENCENT_APP) -> tuple[str, bytes, dict[str, str]]:
    """A callback as Tencent would sign it: (vendor, body, headers)."""
    raw = body if isinstance(body, bytes) else json.dumps(body, separators=(",", ":")).encode()
    sign = base64.b64encode(hmac.new(key.encode(), raw, hashlib.sha256).digest()).decode()
    return "tencent", raw, {"Content-Type": "application/json", "SdkAppId": app, "Sign": sign}


def volcengine(
    event_type: str,
    data: dict[str, Any] | str,
    event_time: str,
    event_id: str = "e1",
    *,
    app: str = "Your_AppId",
    key: str = VOLCENGINE_KEY,
    nonce_name: str = "Nonce",
    nonce: str = "aaBc",
) -> tuple[str, bytes, dict[str, str]]:
    """A callback as Volcengine would sign it: (vendor, body, headers)."""
    text = data if isinstance(data, str) else json.dumps(data, separators=(",", ":"))
    values = [event_type, text, event_time, event_id, app, "2020-12-01", nonce]
    signature = hashlib.sha256("".join(sorted([*values, key], key=lambda v: v.encode())).encode()).hexdigest()
    names = ["EventType", "EventData", "EventTime", "EventId", "AppId", "Version", nonce_name]
    body = dict(zip(names, values, strict=True)) | {"Signature": signature}
    return "volcengine", json.dumps(body).encode(), {"Content-Type": "application/json"}
