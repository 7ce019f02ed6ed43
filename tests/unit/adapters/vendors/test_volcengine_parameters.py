"""Wrong parameters of Volcengine's calls are reported field by field, as its API pages require."""

from typing import Any

import pytest

from adapters.vendors.volcengine import Volcengine
from tests.unit.adapters.vendors.changed_params import GONE, changed, wrong

volcengine = Volcengine()
IDS = {"AppId": "661e543c", "RoomId": "Room1", "TaskId": "Task1"}
RTMP = "rtmp://push.example.com/live/s1?k=v"
SINGLE = IDS | {"PushURL": RTMP, "Stream": {"UserId": "u", "StreamType": 0}, "Control": {"MediaType": 0, "MaxIdleTime": 180}}
MIXED = IDS | {"PushURL": RTMP}
# The sample of the API page.
RELAY = IDS | {
    "BusinessId": "B23",
    "UserId": "user1",
    "Token": "001661e",
    "MaxIdleTime": 300,
    "Control": {
        "StreamUrl": "rtmp://xxx",
        "MediaType": 0,
        "StreamMode": 0,
        "StartTimeStamp": 0,
        "Loop": False,
        "VideoWidth": 640,
        "VideoHeight": 480,
        "FrameRate": 15,
        "Bitrate": 6000,
    },
}
OLD_RECORD = IDS | {"RecordMode": 0, "Vod": {"AccountId": "1", "Space": "s"}}
RECORD = IDS | {"StorageConfig": {"TosConfig": {"AccountId": "1", "Region": 0, "Bucket": "b"}}}
PAGE = IDS | {"UserId": "webcast_1", "SourceURL": "https://example.com/?a=b"}
OLDEST, NEWEST = "2020-12-01", "2023-11-01"


@pytest.mark.parametrize(
    ("action", "version", "params"),
    [
        ("StartPushSingleStreamToCDN", OLDEST, SINGLE),
        ("StartPushSingleStreamToCDN", "2023-06-01", SINGLE),
        ("StartPushSingleStreamToCDN", NEWEST, SINGLE),
        ("StartPushMixedStreamToCDN", None, MIXED),
        ("UpdatePushMixedStreamToCDN", None, IDS | {"SequenceNumber": 2, "IsUpdatePartialParam": True}),
        ("StopPushStreamToCDN", None, IDS),
        ("GetPushSingleStreamToCDNTask", None, IDS),
        ("GetPushMixedStreamToCDNTask", None, {"AppId": "a", "RoomId": "r", "UserId": "u"}),
        ("StartRecord", OLDEST, OLD_RECORD),
        ("StartRecord", "2022-06-01", RECORD),
        ("StartRecord", NEWEST, RECORD),
        ("UpdateRecord", None, IDS | {"Layout": {"LayoutMode": 2}}),
        ("StopRecord", None, IDS | {"BusinessId": "b"}),
        ("GetRecordTask", None, IDS),
        ("StartRelayStream", OLDEST, RELAY),
        ("StartRelayStream", NEWEST, RELAY),
        ("UpdateRelayStream", None, IDS | {"Control": {"StreamUrl": "https://a.b/c.mp4", "StreamMode": 1}}),
        ("StopRelayStream", None, IDS),
        ("ListRelayStream", None, {"AppId": "a", "RoomId": "r", "Offset": 0, "Limit": 100, "Order": 0}),
        ("StartWebcast", None, PAGE),
        ("StopWebcast", None, IDS),
        ("GetWebCastTask", None, IDS),
    ],
)
def test_a_good_call_has_no_problem(action: str, version: str | None, params: dict[str, Any]):
    assert wrong(volcengine, action, version, params) == {}


@pytest.mark.parametrize("name", ["AppId", "RoomId", "TaskId", "UserId", "Token", "Control"])
def test_what_the_page_requires_must_be_there(name: str):
    message = wrong(volcengine, "StartRelayStream", NEWEST, changed(RELAY, {name: GONE}))[name]
    assert message.startswith("is missing; it must be ")


RELAY_WRONGS = [
    ({"TaskId": "a b"}, "TaskId", r"must be text that matches [a-zA-Z0-9_@\-\.]{1,128}"),
    ({"TaskId": "a" * 129}, "TaskId", r"must be text that matches [a-zA-Z0-9_@\-\.]{1,128}"),
    ({"RoomId": "raum-ü"}, "RoomId", r"must be text that matches [a-zA-Z0-9_@\-\.]{1,128}"),
    ({"UserId": "user1\n"}, "UserId", r"must be text that matches [a-zA-Z0-9_@\-\.]{1,128}"),
    ({"AppId": 661}, "AppId", "must be text, not empty"),
    ({"Token": ""}, "Token", "must be text, not empty"),
    ({"BusinessId": None}, "BusinessId", r"must be text that matches [a-zA-Z0-9_@\-\.]{1,128}"),
    ({"MaxIdleTime": 4}, "MaxIdleTime", "must be a whole number from 5 to 600"),
    ({"MaxIdleTime": 601}, "MaxIdleTime", "must be a whole number from 5 to 600"),
    ({"MaxIdleTime": "300"}, "MaxIdleTime", "must be a whole number from 5 to 600"),
    ({"MaxIdleTime": True}, "MaxIdleTime", "must be a whole number from 5 to 600"),
    ({"Control": []}, "Control", "must be an object"),
    ({"Control.StreamUrl": "ftp://a/b"}, "Control.StreamUrl", "must be a url that begins with http:// or https:// or rtmp://"),
    ({"Control.StreamUrl": "rtmp://"}, "Control.StreamUrl", "must be a url that begins with http:// or https:// or rtmp://"),
    ({"Control.StreamUrl": GONE}, "Control.StreamUrl", "is missing; it must be a url"),
    ({"Control.MediaType": 3}, "Control.MediaType", "must be 0, 1 or 2"),
    ({"Control.MediaType": 1.0}, "Control.MediaType", "must be 0, 1 or 2"),
    ({"Control.StreamMode": 2}, "Control.StreamMode", "must be 0 or 1"),
    ({"Control.Loop": 0}, "Control.Loop", "must be true or false"),
    ({"Control.StartTimeStamp": -1}, "Control.StartTimeStamp", "must be a whole number from 0 up"),
    ({"Control.VideoWidth": 641}, "Control.VideoWidth", "must be an even number from 16 to 1920"),
    ({"Control.VideoHeight": 1922}, "Control.VideoHeight", "must be an even number from 16 to 1920"),
    ({"Control.VideoWidth": GONE}, "Control.VideoWidth", "is missing; it must be given if StreamMode is 0 (transcode)"),
    ({"Control.FrameRate": 31}, "Control.FrameRate", "must be a whole number from 1 to 30"),
    ({"Control.Bitrate": 0}, "Control.Bitrate", "must be a whole number from 1 up"),
    ({"Control.MaxIdelTime": 5}, "Control.MaxIdelTime", "is not a parameter of this call"),
    ({"Tokn": "t"}, "Tokn", "is not a parameter of this call; did you mean Token?"),
    ({"taskid": "t"}, "taskid", "is not a parameter of this call; did you mean TaskId?"),
    ({"Token": "a\x00"}, "Token", "must not contain NUL characters or lone surrogates"),
]


@pytest.mark.parametrize(("changes", "field", "message"), RELAY_WRONGS)
def test_one_wrong_field_of_a_relay_is_one_problem(changes: dict[str, Any], field: str, message: str):
    told = wrong(volcengine, "StartRelayStream", NEWEST, changed(RELAY, changes))
    assert list(told) == [field]
    assert told[field].startswith(message)


def test_all_wrong_fields_are_told_at_once():
    told = wrong(volcengine, "StartRelayStream", None, {"MaxIdleTime": 0, "Control": {"MediaType": 9}})
    missing = {"AppId", "RoomId", "TaskId", "UserId", "Token", "Control.StreamUrl", "Control.VideoWidth", "Control.VideoHeight"}
    assert told.keys() == missing | {"MaxIdleTime", "Control.MediaType"}


@pytest.mark.parametrize("changes", [{"Control.StreamMode": 1}, {"Control.MediaType": 1}])
def test_a_size_is_needed_only_where_video_is_transcoded(changes: dict[str, Any]):
    params = changed(RELAY, changes | {"Control.VideoWidth": GONE, "Control.VideoHeight": GONE})
    assert wrong(volcengine, "StartRelayStream", None, params) == {}


def streams(count: int, **more: Any) -> dict[str, Any]:
    return {"StreamList": [{"Index": number, "UserId": f"u{number}", **more} for number in range(count)]}


PUSH_WRONGS = [
    ("StartPushSingleStreamToCDN", SINGLE, {"PushURL": "https://a/b"}, "PushURL"),
    ("StartPushSingleStreamToCDN", SINGLE, {"PushURL": "rtmps://a/b"}, "PushURL"),
    ("StartPushSingleStreamToCDN", SINGLE, {"Stream": GONE}, "Stream"),
    ("StartPushSingleStreamToCDN", SINGLE, {"Stream.UserId": GONE}, "Stream.UserId"),
    ("StartPushSingleStreamToCDN", SINGLE, {"Control": GONE}, "Control"),
    ("StartPushSingleStreamToCDN", SINGLE, {"Control.MaxIdleTime": 9}, "Control.MaxIdleTime"),
    ("StartPushSingleStreamToCDN", SINGLE, {"Control.MaxIdleTime": 86_401}, "Control.MaxIdleTime"),
    ("StartPushSingleStreamToCDN", SINGLE, {"Control.MediaType": 2}, "Control.MediaType"),
    ("StartPushMixedStreamToCDN", MIXED, {"PushURL": GONE}, "PushURL"),
    ("StartPushMixedStreamToCDN", MIXED, {"Encode.VideoWidth": 3}, "Encode.VideoWidth"),
    ("StartPushMixedStreamToCDN", MIXED, {"Encode.VideoHeight": 1922}, "Encode.VideoHeight"),
    ("StartPushMixedStreamToCDN", MIXED, {"Encode.VideoFps": 0}, "Encode.VideoFps"),
    ("StartPushMixedStreamToCDN", MIXED, {"Encode.VideoBitrate": 10_001}, "Encode.VideoBitrate"),
    ("StartPushMixedStreamToCDN", MIXED, {"Encode.AudioSampleRate": 8000}, "Encode.AudioSampleRate"),
    ("StartPushMixedStreamToCDN", MIXED, {"Encode.AudioBitrate": 31}, "Encode.AudioBitrate"),
    ("StartPushMixedStreamToCDN", MIXED, {"Layout.LayoutMode": 4}, "Layout.LayoutMode"),
    ("StartPushMixedStreamToCDN", MIXED, {"Control.PushStreamMode": 2}, "Control.PushStreamMode"),
    ("StartPushMixedStreamToCDN", MIXED, {"TargetStreams": streams(18)}, "TargetStreams.StreamList"),
    ("UpdatePushMixedStreamToCDN", IDS, {"Layout.LayoutMode": 1}, "Layout.LayoutMode"),
    ("UpdatePushMixedStreamToCDN", IDS, {"PushURL": RTMP}, "PushURL"),
    ("GetPushMixedStreamToCDNTask", IDS, {"TaskId": GONE}, "TaskId"),
]
RECORD_WRONGS = [
    ("StartRecord", RECORD, {"StorageConfig": GONE}, "StorageConfig"),
    ("StartRecord", RECORD, {"StorageConfig.Type": 3}, "StorageConfig.Type"),
    ("StartRecord", RECORD, {"StorageConfig.TosConfig": GONE}, "StorageConfig.TosConfig"),
    ("StartRecord", RECORD, {"StorageConfig.TosConfig.Bucket": GONE}, "StorageConfig.TosConfig.Bucket"),
    ("StartRecord", RECORD, {"StorageConfig.VodConfig": {"AccountId": "1", "Space": "s"}}, "StorageConfig.VodConfig"),
    ("StartRecord", RECORD, {"RecordMode": 2}, "RecordMode"),
    ("StartRecord", RECORD, {"Vod": {}}, "Vod"),
    ("StartRecord", RECORD, {"Control.MaxIdleTime": 9}, "Control.MaxIdleTime"),
    ("StartRecord", RECORD, {"Control.MaxRecordTime": -1}, "Control.MaxRecordTime"),
    ("StartRecord", RECORD, {"Control.MaxSilenceSeconds": 59}, "Control.MaxSilenceSeconds"),
    ("StartRecord", RECORD, {"FileFormatConfig.FileFormat": ["MP4", "WAV"]}, "FileFormatConfig.FileFormat[1]"),
    ("StartRecord", RECORD, {"TargetStreams": streams(18), "Layout.LayoutMode": 2}, "TargetStreams.StreamList"),
    ("StartRecord", RECORD, {"ExcludeStreams": streams(18)}, "ExcludeStreams.StreamList"),
    ("UpdateRecord", IDS, {"Layout.LayoutMode": 3}, "Layout.LayoutMode"),
]
OTHER_WRONGS = [
    ("ListRelayStream", {"AppId": "a", "RoomId": "r"}, {"Limit": 101}, "Limit"),
    ("ListRelayStream", {"AppId": "a", "RoomId": "r"}, {"Offset": 10_000}, "Offset"),
    ("StartWebcast", PAGE, {"SourceURL": "rtmp://a/b"}, "SourceURL"),
    ("StartWebcast", PAGE, {"SourceURL": "https://a/" + "b" * 1024}, "SourceURL"),
    ("StartWebcast", PAGE, {"MaxRunningTime": 9}, "MaxRunningTime"),
    ("StartWebcast", PAGE, {"UserId": GONE}, "UserId"),
]


@pytest.mark.parametrize(("action", "good", "changes", "field"), [*PUSH_WRONGS, *RECORD_WRONGS, *OTHER_WRONGS])
def test_one_wrong_field_is_one_problem(action: str, good: dict[str, Any], changes: dict[str, Any], field: str):
    assert list(wrong(volcengine, action, NEWEST, changed(good, changes))) == [field]


def test_a_custom_layout_mixes_up_to_30_streams():
    custom = MIXED | {"Layout": {"LayoutMode": 2}}
    assert wrong(volcengine, "StartPushMixedStreamToCDN", None, custom | {"TargetStreams": streams(30)}) == {}
    told = wrong(volcengine, "StartPushMixedStreamToCDN", None, custom | {"TargetStreams": streams(31)})
    assert told == {"TargetStreams.StreamList": "must hold at most 30 streams in this layout"}


def test_a_stream_is_not_both_wanted_and_not_wanted_and_no_screen_is_excluded():
    excluded = {"StreamList": [{"UserId": "u1"}, {"UserId": "u1", "StreamType": 1}]}
    told = wrong(volcengine, "StartPushMixedStreamToCDN", None, MIXED | {"TargetStreams": streams(2), "ExcludeStreams": excluded})
    assert told == {
        "ExcludeStreams.StreamList[0]": "is in TargetStreams too; a stream may be in one of them only",
        "ExcludeStreams.StreamList[1].StreamType": "must be 0: screens cannot be excluded",
    }


@pytest.mark.parametrize(
    ("kind", "name", "config"),
    [
        (1, "VodConfig", {"AccountId": "1", "Space": "s"}),
        (2, "CustomConfig", {"Bucket": "b", "AccessKey": "a", "SecretKey": "s"}),
    ],
)
def test_storage_is_what_its_type_says(kind: int, name: str, config: dict[str, str]):
    good = IDS | {"StorageConfig": {"Type": kind, name: config}}
    assert wrong(volcengine, "StartRecord", NEWEST, good) == {}
    told = wrong(volcengine, "StartRecord", NEWEST, changed(good, {f"StorageConfig.{name}": GONE}))
    assert told == {f"StorageConfig.{name}": f"is missing; Type {kind} needs it"}


def test_the_oldest_record_stores_by_vod():
    assert list(wrong(volcengine, "StartRecord", OLDEST, RECORD)) == ["Vod", "StorageConfig"]


def test_objects_that_the_page_does_not_spell_out_stay_open():
    params = changed(SINGLE, {"Control.Newer": 1, "Stream.Newer": {}})
    assert wrong(volcengine, "StartPushSingleStreamToCDN", OLDEST, params) == {}


def test_an_unknown_action_or_version_is_a_problem_of_its_own():
    told = wrong(volcengine, "StartRelaystream", None, RELAY)
    assert told == {"action": "StartRelaystream is not an action of this vendor; did you mean StartRelayStream?"}
    assert wrong(volcengine, "x", None, RELAY)["action"].endswith(
        "it must be one of StartPushSingleStreamToCDN, StartPushMixedStreamToCDN, StartRecord, StartRelayStream, StartWebcast"
    )
    told = wrong(volcengine, "StartRelayStream", "2023-06-01", RELAY)
    assert told == {"version": "must be one of 2020-12-01, 2023-11-01, or left out"}


def test_params_must_be_an_object():
    assert wrong(volcengine, "StartRelayStream", None, [RELAY]) == {"params": "must be an object"}


def test_what_is_nested_too_deep_is_a_problem_also_in_open_objects():
    deep: Any = 1
    for _ in range(20_000):
        deep = [deep]
    told = wrong(
        volcengine,
        "StartPushSingleStreamToCDN",
        None,
        changed(SINGLE, {"Control.Newer": None}) | {"Stream": {"UserId": "u", "x": deep}},
    )
    assert list(told.values()) == ["is nested deeper than 30 levels"]


def test_no_more_than_a_hundred_problems_are_told():
    assert len(wrong(volcengine, "StopRecord", None, dict.fromkeys(map(str, range(500)), 1))) == 100
