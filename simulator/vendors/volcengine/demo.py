"""The app and the steps of the demonstration."""

from simulator.demo import Step
from simulator.tasks import App

APP = App(
    vendor="volcengine",
    app_id="661e00000000000000000001",
    callback_secret="demo-callback-secret",  # noqa: S106 - public
    access_key_id="demo-access-key",
    secret_access_key="demo-secret-key",  # noqa: S106 - public
)
_ROOM = {"AppId": APP.app_id, "RoomId": "town-hall"}
_SOURCE = {"StreamUrl": "rtmp://source.example.com/live/stage", "VideoWidth": 1280, "VideoHeight": 720}
_RELAY = {"UserId": "stage-robot", "Token": "demo-token", "Control": _SOURCE}
_PUSH = {"PushURL": "rtmp://cdn.example.com/live/town-hall?key=demo", "Control": {"MaxIdleTime": 30}}
_STORAGE = {"StorageConfig": {"TosConfig": {"AccountId": "demo", "Bucket": "records"}}}

STEPS: tuple[Step, ...] = (
    Step(0, APP, "StartRelayStream", {**_ROOM, "TaskId": "stage", **_RELAY}, stop_after_s=150),
    Step(4, APP, "StartPushMixedStreamToCDN", {**_ROOM, "TaskId": "to-cdn", **_PUSH}),
    Step(8, APP, "StartPushSingleStreamToCDN", {**_ROOM, "TaskId": "host-only", "Stream": {"UserId": "host"}, **_PUSH}),
    Step(12, APP, "StartRecord", {**_ROOM, "TaskId": "archive", **_STORAGE}, stop_after_s=120),
    Step(
        20,
        APP,
        "StartWebcast",
        {**_ROOM, "TaskId": "slides", "UserId": "slides-robot", "SourceURL": "https://example.com/slides"},
    ),
)
