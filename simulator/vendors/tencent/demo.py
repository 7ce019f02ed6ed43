"""The app and the steps of the demonstration."""

from simulator.demo import Step
from simulator.tasks import App

APP = App(
    vendor="tencent",
    app_id="1400000042",
    callback_secret="demokey",  # noqa: S106 - public
    access_key_id="demo-secret-id",
    secret_access_key="demo-secret-key",  # noqa: S106 - public
)
_ROOM = {"SdkAppId": int(APP.app_id), "RoomId": "4242"}
_BUCKET = {"Vendor": 0, "Region": "1", "Bucket": "records", "AccessKey": "demo", "SecretKey": "demo"}
_STORAGE = {"StorageParams": {"CloudStorage": _BUCKET}}

STEPS: tuple[Step, ...] = (
    Step(
        2,
        APP,
        "StartPublishCdnStream",
        {
            **_ROOM,
            "RoomIdType": 0,
            "AgentParams": {"UserId": "relay-robot", "UserSig": "demo"},
            "WithTranscoding": 0,
            "PublishCdnParams": [{"PublishCdnUrl": "rtmp://cdn.example.com/live/4242?key=demo"}],
        },
        stop_after_s=130,
    ),
    Step(
        6,
        APP,
        "StartStreamIngest",
        {
            **_ROOM,
            "RoomIdType": 1,
            "UserId": "film-robot",
            "UserSig": "demo",
            "StreamUrl": "https://source.example.com/film.mp4",
        },
    ),
    Step(
        10,
        APP,
        "CreateCloudRecording",
        {
            **_ROOM,
            "RoomIdType": 1,
            "UserId": "record-robot",
            "UserSig": "demo",
            "RecordParams": {"RecordMode": 2, "OutputFormat": 3},
            **_STORAGE,
        },
        stop_after_s=140,
    ),
    Step(
        16,
        APP,
        "StartWebRecord",
        {"SdkAppId": int(APP.app_id), "RecordUrl": "https://example.com/board", **_STORAGE},
        stop_after_s=90,
    ),
)
