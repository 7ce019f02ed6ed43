"""Calls a world as a customer would, and follows what it tells."""

import json
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from adapters.simulator import DEMO_APPS, App, Callback, Truth, World
from adapters.vendors import DIALECTS
from adapters.vendors.calls import Account, Answer, Call, TaskRef, WireError
from statemachine.decide import decide
from statemachine.events import Heard
from statemachine.facts import Fact, TaskKey
from statemachine.states import Kind
from statemachine.tasks import Lineage

T0 = 1_700_000_000_000
SECOND, MINUTE, HOUR = 1000, 60_000, 3_600_000
URL = "http://127.0.0.1:8090"
VOLCENGINE, TENCENT = DEMO_APPS
APPS = {app.vendor: app for app in DEMO_APPS}

_TOS = {"TosConfig": {"AccountId": "a", "Bucket": "b"}}
_COS = {"Vendor": 0, "Region": "1", "Bucket": "b", "AccessKey": "a", "SecretKey": "s"}
_RTMP = "rtmp://push.example.com/live/s1"

#: (vendor, action) -> its parameters, ids apart.
STARTS: Mapping[tuple[str, str], dict[str, Any]] = {
    ("volcengine", "StartPushSingleStreamToCDN"): {"Stream": {"UserId": "host"}, "PushURL": _RTMP, "Control": {}},
    ("volcengine", "StartPushMixedStreamToCDN"): {"PushURL": _RTMP},
    ("volcengine", "StartRelayStream"): {
        "UserId": "robot",
        "Token": "t",
        "Control": {"StreamUrl": "rtmp://source.example.com/a", "VideoWidth": 640, "VideoHeight": 360},
    },
    ("volcengine", "StartRecord"): {"StorageConfig": _TOS},
    ("volcengine", "StartWebcast"): {"UserId": "robot", "SourceURL": "https://example.com/"},
    ("tencent", "StartPublishCdnStream"): {
        "RoomIdType": 0,
        "AgentParams": {"UserId": "robot", "UserSig": "s"},
        "WithTranscoding": 0,
        "PublishCdnParams": [{"PublishCdnUrl": _RTMP}, {"PublishCdnUrl": "rtmp://push.example.com/live/s2"}],
    },
    ("tencent", "StartStreamIngest"): {
        "RoomIdType": 1,
        "UserId": "robot",
        "UserSig": "s",
        "StreamUrl": "https://source.example.com/a.mp4",
    },
    ("tencent", "CreateCloudRecording"): {
        "RoomIdType": 1,
        "UserId": "robot",
        "UserSig": "s",
        "RecordParams": {"RecordMode": 2, "OutputFormat": 3},
        "StorageParams": {"CloudStorage": _COS},
    },
    ("tencent", "StartWebRecord"): {"RecordUrl": "https://example.com/", "StorageParams": {"CloudStorage": _COS}},
}


def params(vendor: str, action: str, number: int = 1, **more: Any) -> dict[str, Any]:
    """A start call's parameters; each number in a room of its own."""
    if vendor == "volcengine":
        ids: dict[str, Any] = {"AppId": VOLCENGINE.app_id, "RoomId": f"r{number}", "TaskId": f"t{number}"}
    else:
        ids = {"SdkAppId": int(TENCENT.app_id), "RoomId": str(number)}
        if action == "StartWebRecord":
            del ids["RoomId"]
    return json.loads(json.dumps(STARTS[vendor, action])) | ids | more


class Customer:
    """Calls one world; `now` is when. All its callbacks are kept."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.now = world.now
        self.heard: list[Callback] = []

    def start(self, vendor: str, action: str, number: int = 1, *, version: str | None = None, **more: Any) -> Answer:
        return self.call(vendor, DIALECTS[vendor].start(action, version, params(vendor, action, number, **more)))

    def call(self, vendor: str, call: Call | None, app: App | None = None, *, signed_at: int | None = None) -> Answer:
        assert call is not None
        app = app or APPS[vendor]
        account = Account(access_key_id=app.access_key_id, secret_access_key=app.secret_access_key, endpoint=URL)
        request = DIALECTS[vendor].sign(call, account, self.now if signed_at is None else signed_at)
        query = request.url.partition("?")[2]
        reply = self.world.handle(vendor, request.method, "/", query, request.headers, request.body, self.now)
        status, error = (None, WireError.CUT_OFF) if reply.dropped else (reply.status, None)
        return DIALECTS[vendor].read_answer(call, status, reply.headers, reply.body, error, received_at=self.now)

    def ref(self, number: int = 0) -> TaskRef:
        """The task that was started as the n-th."""
        order = self.world.tasks.all[number].order
        return TaskRef(
            kind=order.kind,
            app_id=order.app.app_id,
            room_id=order.room_id,
            vendor_task_id=order.vendor_task_id,
            robot=order.robot,
            action=order.action,
            version=order.version,
            params=order.params,
        )

    def stop(self, number: int = 0) -> Answer:
        vendor = self.world.tasks.all[number].order.app.vendor
        return self.call(vendor, DIALECTS[vendor].stop(self.ref(number)))

    def inspect(self, number: int = 0) -> Answer:
        vendor = self.world.tasks.all[number].order.app.vendor
        return self.call(vendor, DIALECTS[vendor].inspect(self.ref(number))[0])

    def wait(self, ms: int, status: int | None = 200) -> list[Callback]:
        """Lets time pass; all callbacks of that time, each answered so."""
        until, heard = self.now + ms, []
        while (at := self.world.next_event_ms()) is not None and at <= until:
            heard += self.world.advance_to(at)
            for callback in heard[len(heard) - len(heard) :]:
                pass
            self.now = at
            for callback in self._unanswered(heard):
                self.world.answered(callback, status, at)
        self.now = until
        self.world.advance_to(until)
        self.heard += heard
        return heard

    def _unanswered(self, heard: list[Callback]) -> list[Callback]:
        fresh = heard[getattr(self, "_answered", 0) :]
        return fresh

    def truth(self, number: int = 0) -> Truth:
        return self.world.truth()[number]
