"""Wrong parameters of Tencent's calls are reported field by field, as its API pages require."""

from typing import Any

import pytest

from adapters.vendors.tencent import Tencent
from tests.unit.adapters.vendors.changed_params import GONE, changed, wrong

tencent = Tencent()
VERSION = "2019-07-22"
TASK = {"SdkAppId": 1400188366, "TaskId": "-m9l"}
CDN = {"PublishCdnUrl": "rtmp://3891.livepush.example.com/live/test1", "IsTencentCdn": 1}
BACK = {"RoomId": "630777", "RoomIdType": 0, "UserId": "bot2", "UserSig": "sig"}
# Example 1 of the API page, shortened.
RELAY = {
    "SdkAppId": 1400188366,
    "RoomId": "295066",
    "RoomIdType": 0,
    "AgentParams": {"UserId": "bot1", "UserSig": "sig", "MaxIdleTime": 30},
    "WithTranscoding": 1,
    "AudioParams": {"AudioEncode": {"SampleRate": 48000, "Codec": 0, "BitRate": 64, "Channel": 2}},
    "VideoParams": {
        "VideoEncode": {"Height": 720, "Width": 1280, "Fps": 15, "BitRate": 1536, "Gop": 2},
        "LayoutParams": {"MixLayoutMode": 4, "MixLayoutList": [{"LocationX": 0}]},
        "BackGroundColor": "0xFF0000",
        "WaterMarkList": [{"WaterMarkType": 0}],
    },
    "PublishCdnParams": [CDN],
}
INGEST = {
    "SdkAppId": 1234567890,
    "RoomId": "room123",
    "RoomIdType": 0,
    "UserId": "robot123",
    "UserSig": "sig",
    "PrivateMapKey": "key",
    "StreamUrl": "https://a.b/test.mp4",
}
COS = {"Vendor": 0, "Region": "ap-x", "Bucket": "b", "AccessKey": "a", "SecretKey": "s"}
RECORD = {
    "SdkAppId": 14,
    "RoomId": "7",
    "UserId": "bot",
    "UserSig": "sig",
    "RecordParams": {"RecordMode": 2, "MaxIdleTime": 30},
    "StorageParams": {"CloudStorage": COS},
}
PAGE = {"SdkAppId": 14, "RecordUrl": "https://a.b/c", "StorageParams": {"CloudVod": {"TencentVod": {}}}}


@pytest.mark.parametrize(
    ("action", "params"),
    [
        ("StartPublishCdnStream", RELAY),
        ("StartPublishCdnStream", changed(RELAY, {"PublishCdnParams": GONE, "FeedBackRoomParams": [BACK]})),
        ("StartPublishCdnStream", changed(RELAY, {"SingleSubscribeParams": {}, "WithTranscoding": 0})),
        ("UpdatePublishCdnStream", TASK | {"SequenceNumber": 1, "WithTranscoding": 1, "PublishCdnParams": [CDN]}),
        ("StopPublishCdnStream", TASK | {"RecordKey": "k"}),
        ("StartStreamIngest", INGEST),
        ("StartStreamIngest", INGEST | {"RepeatNum": -1, "MaxDuration": 10_080, "Volume": 100, "Tempo": 2, "AutoPush": True}),
        ("UpdateStreamIngest", TASK | {"IsPause": True, "StreamUrl": "rtmp://a/b"}),
        ("StopStreamIngest", TASK),
        ("DescribeStreamIngest", TASK),
        ("CreateCloudRecording", RECORD),
        ("CreateCloudRecording", RECORD | {"RoomId": "room", "RoomIdType": 0, "ResourceExpiredHour": 720}),
        ("ModifyCloudRecording", TASK | {"MixLayoutParams": {"MixLayoutMode": 3}}),
        ("DeleteCloudRecording", TASK),
        ("DescribeCloudRecording", TASK),
        ("StartWebRecord", PAGE | {"RecordId": "a" * 31, "MaxDurationLimit": 1800, "PublishCdnParams": [CDN]}),
        ("StopWebRecord", {"TaskId": "t"}),
        ("DescribeWebRecord", {"TaskId": "t"}),
        ("DescribeWebRecord", {"RecordId": "r", "SdkAppId": 14}),
    ],
)
def test_a_good_call_has_no_problem(action: str, params: dict[str, Any]):
    assert wrong(tencent, action, VERSION, params) == wrong(tencent, action, None, params) == {}


@pytest.mark.parametrize(
    ("action", "good", "names"),
    [
        ("StartPublishCdnStream", RELAY, "SdkAppId RoomId RoomIdType AgentParams WithTranscoding PublishCdnParams"),
        ("StartStreamIngest", INGEST, "SdkAppId RoomId RoomIdType UserId UserSig StreamUrl"),
        ("CreateCloudRecording", RECORD, "SdkAppId RoomId UserId UserSig RecordParams StorageParams"),
        ("StartWebRecord", PAGE, "SdkAppId RecordUrl StorageParams"),
        ("StopStreamIngest", TASK, "SdkAppId TaskId"),
        ("DescribeWebRecord", {"TaskId": "t"}, "TaskId"),
    ],
)
def test_what_the_page_requires_must_be_there(action: str, good: dict[str, Any], names: str):
    for name in names.split():
        told = wrong(tencent, action, VERSION, changed(good, {name: GONE}))
        assert list(told) == [name]
        assert told[name].startswith("is missing; ")


WRONGS = [
    ("StartPublishCdnStream", RELAY, {"SdkAppId": "1400188366"}, "SdkAppId"),
    ("StartPublishCdnStream", RELAY, {"RoomId": 295066}, "RoomId"),
    ("StartPublishCdnStream", RELAY, {"RoomIdType": 2}, "RoomIdType"),
    ("StartPublishCdnStream", RELAY, {"RoomId": "room"}, "RoomId"),
    ("StartPublishCdnStream", RELAY, {"RoomId": "0"}, "RoomId"),
    ("StartPublishCdnStream", RELAY, {"RoomId": "4294967295"}, "RoomId"),
    ("StartPublishCdnStream", RELAY, {"AgentParams.UserSig": GONE}, "AgentParams.UserSig"),
    ("StartPublishCdnStream", RELAY, {"AgentParams.MaxIdleTime": 4}, "AgentParams.MaxIdleTime"),
    ("StartPublishCdnStream", RELAY, {"AgentParams.MaxIdleTime": 86_401}, "AgentParams.MaxIdleTime"),
    ("StartPublishCdnStream", RELAY, {"WithTranscoding": True}, "WithTranscoding"),
    ("StartPublishCdnStream", RELAY, {"SingleSubscribeParams": {}}, "WithTranscoding"),
    ("StartPublishCdnStream", RELAY, {"PublishCdnParams": []}, "PublishCdnParams"),
    ("StartPublishCdnStream", RELAY, {"PublishCdnParams": [CDN] * 11}, "PublishCdnParams"),
    ("StartPublishCdnStream", RELAY, {"PublishCdnParams": [{}]}, "PublishCdnParams[0].PublishCdnUrl"),
    (
        "StartPublishCdnStream",
        RELAY,
        {"PublishCdnParams": [CDN, CDN | {"PublishCdnUrl": "srt://a"}]},
        "PublishCdnParams[1].PublishCdnUrl",
    ),
    ("StartPublishCdnStream", RELAY, {"PublishCdnParams": [CDN | {"IsTencentCdn": 2}]}, "PublishCdnParams[0].IsTencentCdn"),
    ("StartPublishCdnStream", RELAY, {"FeedBackRoomParams": [BACK] * 11}, "FeedBackRoomParams"),
    ("StartPublishCdnStream", RELAY, {"FeedBackRoomParams": [BACK | {"RoomId": "room"}]}, "FeedBackRoomParams[0].RoomId"),
    ("StartPublishCdnStream", RELAY, {"FeedBackRoomParams": ["x"]}, "FeedBackRoomParams[0]"),
    ("StartPublishCdnStream", RELAY, {"VideoParams.VideoEncode.Width": 1921}, "VideoParams.VideoEncode.Width"),
    ("StartPublishCdnStream", RELAY, {"AudioParams.AudioEncode.Channel": 3}, "AudioParams.AudioEncode.Channel"),
    ("StartPublishCdnStream", RELAY, {"PublishCdnParam": [CDN]}, "PublishCdnParam"),
    ("UpdatePublishCdnStream", TASK | {"WithTranscoding": 1}, {}, "SequenceNumber"),
    ("StartStreamIngest", INGEST, {"RoomIdType": 1}, "RoomId"),
    ("StartStreamIngest", INGEST, {"StreamUrl": "a.b/test.mp4"}, "StreamUrl"),
    ("StartStreamIngest", INGEST, {"StreamUrl": "file:///etc/passwd"}, "StreamUrl"),
    ("StartStreamIngest", INGEST, {"RepeatNum": 0}, "RepeatNum"),
    ("StartStreamIngest", INGEST, {"RepeatNum": -2}, "RepeatNum"),
    ("StartStreamIngest", INGEST, {"RepeatNum": 1001}, "RepeatNum"),
    ("StartStreamIngest", INGEST, {"MaxDuration": 10}, "MaxDuration"),
    ("StartStreamIngest", INGEST, {"MaxDuration": 10, "RepeatNum": 1}, "MaxDuration"),
    ("StartStreamIngest", INGEST, {"MaxDuration": 10_081, "RepeatNum": -1}, "MaxDuration"),
    ("StartStreamIngest", INGEST, {"Volume": 101}, "Volume"),
    ("StartStreamIngest", INGEST, {"AutoPush": 1}, "AutoPush"),
    ("StartStreamIngest", INGEST, {"Tempo": 3}, "Tempo"),
    ("StartStreamIngest", INGEST, {"IdleTimeout": 601}, "IdleTimeout"),
    ("StartStreamIngest", INGEST, {"SourceUrl": ["x"]}, "SourceUrl[0]"),
    ("CreateCloudRecording", RECORD, {"RoomId": "room"}, "RoomId"),
    ("CreateCloudRecording", RECORD, {"RoomId": "room", "RoomIdType": 1}, "RoomId"),
    ("CreateCloudRecording", RECORD, {"RecordParams.RecordMode": 0}, "RecordParams.RecordMode"),
    ("CreateCloudRecording", RECORD, {"RecordParams.MaxIdleTime": 4}, "RecordParams.MaxIdleTime"),
    ("CreateCloudRecording", RECORD, {"RecordParams.OutputFormat": 5}, "RecordParams.OutputFormat"),
    ("CreateCloudRecording", RECORD, {"RecordParams.MaxMediaFileDuration": 1441}, "RecordParams.MaxMediaFileDuration"),
    ("CreateCloudRecording", RECORD, {"StorageParams": {}}, "StorageParams"),
    ("CreateCloudRecording", RECORD, {"StorageParams.CloudVod": {}}, "StorageParams"),
    ("CreateCloudRecording", RECORD, {"StorageParams.CloudStorage.SecretKey": GONE}, "StorageParams.CloudStorage.SecretKey"),
    ("CreateCloudRecording", RECORD, {"ResourceExpiredHour": 5}, "ResourceExpiredHour"),
    ("CreateCloudRecording", RECORD, {"ResourceExpiredHour": 721}, "ResourceExpiredHour"),
    ("StartWebRecord", PAGE, {"RecordUrl": "example.com"}, "RecordUrl"),
    ("StartWebRecord", PAGE, {"MaxDurationLimit": 1799}, "MaxDurationLimit"),
    ("StartWebRecord", PAGE, {"MaxDurationLimit": 86_401}, "MaxDurationLimit"),
    ("StartWebRecord", PAGE, {"RecordId": "a" * 32}, "RecordId"),
    ("StartWebRecord", PAGE, {"RecordId": "ü" * 16}, "RecordId"),
    ("StartWebRecord", PAGE, {"ReadyTimeout": 61}, "ReadyTimeout"),
    ("StartWebRecord", PAGE, {"WebRecordVideoParams.Format": "aac"}, "WebRecordVideoParams.Format"),
    ("DescribeWebRecord", {"RecordId": "r"}, {}, "SdkAppId"),
]


@pytest.mark.parametrize(("action", "good", "changes", "field"), WRONGS)
def test_one_wrong_field_is_one_problem(action: str, good: dict[str, Any], changes: dict[str, Any], field: str):
    assert list(wrong(tencent, action, VERSION, changed(good, changes))) == [field]


@pytest.mark.parametrize(
    ("action", "good", "integers"),
    [("StartPublishCdnStream", RELAY, 0), ("StartStreamIngest", INGEST, 1), ("CreateCloudRecording", RECORD, 1)],
)
def test_room_id_type_means_the_opposite_from_api_to_api(action: str, good: dict[str, Any], integers: int):
    named = good | {"RoomId": "a room"}
    told = wrong(tencent, action, VERSION, named | {"RoomIdType": integers})
    assert told == {"RoomId": f"must be digits from 1 to 4294967294 if RoomIdType is {integers} (integer rooms)"}
    assert wrong(tencent, action, VERSION, named | {"RoomIdType": 1 - integers}) == {}


def test_messages_say_what_would_be_right():
    told = wrong(tencent, "StartPublishCdnStream", VERSION, changed(RELAY, {"PublishCdnParams": GONE}))
    assert told == {
        "PublishCdnParams": "is missing; PublishCdnParams or FeedBackRoomParams must be given, and not empty",
    }
    told = wrong(tencent, "StartStreamIngest", VERSION, INGEST | {"RepeatNum": 0, "MaxDuration": 5})
    assert told == {
        "RepeatNum": "must be a whole number from -1 to 1000 and not 0",
        "MaxDuration": "is allowed only if RepeatNum is -1; leave it out",
    }


def test_an_unknown_action_or_version_is_a_problem_of_its_own():
    assert list(wrong(tencent, "StartRelayStream", None, {})) == ["action"]
    assert wrong(tencent, "StopWebRecord", "2020-12-01", {}) == {"version": "must be one of 2019-07-22, or left out"}
