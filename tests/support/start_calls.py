"""Start calls of every kind, and a customer that calls a simulated world and follows its callbacks."""

import json
import random
from collections.abc import Mapping
from typing import Any

from adapters.http_messages import WireError
from adapters.vendors import DIALECTS
from adapters.vendors.calls import Account, Call, CallAnswer, TaskRef
from simulator import DEMO_APPS, App, CallbackDelivery, GatewayReply, Truth, World
from simulator.tasks import StartOrder
from statemachine.decide import decide
from statemachine.events import CallbackReceived
from statemachine.facts import Fact
from statemachine.states import Kind
from statemachine.tasks import Lineage, TaskKey

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


def start_call(vendor: str, action: str, number: int = 1, *, version: str | None = None, **more: Any) -> Call:
    return DIALECTS[vendor].start(action, version, params(vendor, action, number, **more))


class Customer:
    """Calls one world; `now` is when. All its callbacks are kept."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.now = world.now
        self.heard: list[CallbackDelivery] = []

    def start(self, vendor: str, action: str, number: int = 1, *, version: str | None = None, **more: Any) -> CallAnswer:
        return self.call(vendor, start_call(vendor, action, number, version=version, **more))

    def call(self, vendor: str, call: Call | None, **changes: Any) -> CallAnswer:
        """changes: see `send`."""
        assert call is not None
        reply = self.send(vendor, call, **changes)
        status, error = (None, WireError.CUT_OFF) if reply.dropped else (reply.status, None)
        return DIALECTS[vendor].read_answer(call, status, reply.headers, reply.body, error, received_at=self.now)

    def send(
        self,
        vendor: str,
        call: Call,
        *,
        app: App | None = None,
        signed_at: int | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> GatewayReply:
        """Sends the call as this app's account signs it; headers and body are changed after signing."""
        app = app or APPS[vendor]
        account = Account(access_key_id=app.access_key_id, secret_access_key=app.secret_access_key, endpoint=URL)
        request = DIALECTS[vendor].sign(call, account, self.now if signed_at is None else signed_at)
        sent = {**request.headers, **(headers or {})}
        query = request.url.partition("?")[2]
        return self.world.handle(vendor, request.method, "/", query, sent, request.body if body is None else body, self.now)

    def ref(self, number: int = 0) -> TaskRef:
        """Returns the task of the n-th start."""
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

    def stop(self, number: int = 0) -> CallAnswer:
        vendor = self.world.tasks.all[number].order.app.vendor
        return self.call(vendor, DIALECTS[vendor].stop(self.ref(number)))

    def inspect(self, number: int = 0) -> CallAnswer:
        vendor = self.world.tasks.all[number].order.app.vendor
        return self.call(vendor, DIALECTS[vendor].inspect(self.ref(number))[0])

    def wait(self, ms: int, status: int | None = 200) -> list[CallbackDelivery]:
        """Lets time pass; returns all callbacks of that time. status: the answer to each."""
        until, heard = self.now + ms, []
        while (at := self.world.next_event_ms()) is not None and at <= until:
            for callback in self.world.advance_to(at):
                self.world.record_answer(callback, status, at)
                heard.append(callback)
        self.world.advance_to(until)
        self.now = until
        self.heard += heard
        return heard

    def truth(self, number: int = 0) -> Truth:
        return self.world.truth()[number]


def read(callback: CallbackDelivery) -> tuple[TaskKey, Fact]:
    """Verifies and reads a callback; it is always about a task."""
    dialect = DIALECTS[callback.vendor]
    secrets = {app.app_id: (app.callback_secret,) for app in DEMO_APPS}
    headers = {name.lower(): value for name, value in callback.headers.items()}
    envelope = dialect.verify(headers, callback.body, secrets.get)
    key = envelope.dedupe_key
    reading = dialect.read(envelope.app_id, callback.body, received_at=callback.due_at, source=key, dedupe_key=key)
    assert reading.key is not None, (reading, callback)
    assert reading.fact is not None, (reading, callback)
    return reading.key, reading.fact


def follow(world: World, callbacks: list[CallbackDelivery], seed: int | None = None) -> dict[TaskKey, Lineage]:
    """Applies callbacks with the state machine, in their order or in one that the seed shuffles."""
    order = list(callbacks)
    if seed is not None:
        random.Random(seed).shuffle(order)
    params_of = {key_of(task.order): task.order.params for task in world.tasks.all}
    lineages: dict[TaskKey, Lineage] = {}
    for callback in order:
        key, fact = read(callback)
        dialect, params = DIALECTS[key.vendor], params_of[key]
        kinds = [kind for kind in Kind if dialect.family_of(kind) == key.family]
        lineages[key] = decide(
            lineages.get(key) or Lineage(key=key),
            CallbackReceived(fact=fact),
            fact.received_at,
            lambda kind, _, dialect=dialect, params=params: dialect.rules(kind, params),
            kind=kinds[0] if len(kinds) == 1 else None,
        ).lineage
    return lineages


def key_of(order: StartOrder) -> TaskKey:
    """Returns the key that a task's callbacks have."""
    dialect, vendor = DIALECTS[order.app.vendor], order.app.vendor
    return TaskKey(
        vendor=vendor,
        app_id=order.app.app_id,
        room_id=order.room_id if vendor == "volcengine" else "",
        vendor_task_id=order.vendor_task_id,
        family=dialect.family_of(order.kind),
    )
