"""A whole Tallylight in one process for tests: a real ledger, the real door and desk, and workers that work when told to."""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from starlette.testclient import TestClient

from adapters.clock_watch import ClockWatch
from adapters.downstream import open_sinks
from adapters.ledger import Ledger
from adapters.ledger.migrate import upgrade
from adapters.ledger.shards import Shards
from adapters.metrics import Metrics
from adapters.settings import AccountSettings, AppSettings, DatabaseSettings, Secret, ServerSettings, Settings, SpoolSettings
from adapters.supervision import Health
from adapters.vendors.accounts import Accounts
from callbacks.app import AppDependencies, make_app
from callbacks.recorder import RecorderLimits
from workers.apply.applier import Applier
from workers.sweep import Sweep

SAMPLES = Path(__file__).parents[1] / "samples"
TENCENT_APP, TENCENT_KEY = "1400000001", "123654"
VOLCENGINE_APPS, VOLCENGINE_KEY = ("Your_AppId", "appId"), "1234"
#: On a busy machine a commit may take seconds, and what then went to the spool would be applied later than a test expects.
PATIENT = RecorderLimits(ledger_timeout_s=60, answer_timeout_s=60)
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


class InProcessApp:
    """`now`: ms, moved by the test. `elapsed_s`: what a clock says that nobody can set; for `clock_watch`, which is not started."""

    def __init__(
        self, folder: Path, now: int, *, accounts: bool = False, made: Settings | None = None, health: Health | None = None
    ) -> None:
        self.now, self.elapsed_s = now, 0.0
        self.clock_watch = ClockWatch(wall=self.clock, elapsed_s=lambda: self.elapsed_s)
        made = made or settings(f"sqlite:///{folder}/tally.db", accounts=accounts)
        self.settings = replace(made, spool=SpoolSettings(folder=f"{folder}/spool"))
        self.ledger = Ledger(self.settings.database.url)
        upgrade(self.ledger)
        self.rung = 0
        self.on_ring: Callable[[], None] = lambda: None
        self.app = make_app(
            AppDependencies(
                ledger=self.ledger,
                settings=self.settings,
                metrics=Metrics(),
                clock=self.clock,
                notify_workers=self._ring,
                accounts=Accounts(self.settings),
                sinks=open_sinks(self.settings),
                limits=PATIENT,
                health=health or Health(),
                clock_watch=self.clock_watch,
            )
        )
        self.shards = Shards(self.ledger)
        self.applier = Applier(self.ledger, self.clock, Accounts(self.settings), self.shards)
        self.sweep = Sweep(self.ledger, self.applier, self.clock, self.shards)

    def clock(self) -> int:
        return self.now

    def _ring(self) -> None:
        self.rung += 1
        self.on_ring()

    @contextmanager
    def open(self) -> Iterator["InProcessApp"]:
        with TestClient(self.app, base_url="http://127.0.0.1:8080") as client:
            self.client = client
            yield self
        self.shards.close()
        self.ledger.close()

    def post(self, vendor: str, body: bytes, headers: dict[str, str]) -> int:
        return self.client.post(f"/callbacks/{vendor}", content=body, headers=headers).status_code

    def hear(self, vendor: str, body: bytes, headers: dict[str, str]) -> None:
        """Posts a callback and applies it, without letting deadlines pass."""
        assert self.post(vendor, body, headers) == 200
        self.applier.apply_waiting()

    def get(self, path: str) -> Any:
        answer = self.client.get(path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def tasks(self) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = self.get("/v1/tasks")["items"]
        return items


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
