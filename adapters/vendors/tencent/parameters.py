"""The parameters of each action, version 2019-07-22 (API pages 46960 and others of 34260; the newest SDK's docstrings)."""

import re
from collections.abc import Mapping
from typing import Any

from adapters.text import FieldProblem
from adapters.vendors.parameters import (
    Field,
    Params,
    Problems,
    Rule,
    Shape,
    choice,
    flag,
    hidden,
    integer,
    keyed,
    many,
    obj,
    one_of,
    only_with,
    short,
    some_of,
    text,
    url,
    value_at,
)

_APP = integer(1)
_LARGEST_ROOM = 2**32 - 2
_OUTPUTS_LIMIT = 10
_USERS_LIMIT = 32
_TEMPO = choice(0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0)
_SIG = hidden(text())

_CLOUD_STORAGE = obj(
    {
        "Vendor*": integer(0),
        "Region*": text(),
        "Bucket*": text(),
        "AccessKey*": hidden(text()),
        "SecretKey*": hidden(text()),
        "FileNamePrefix": many(text()),
    }
)
_STORAGE = obj(
    {
        "CloudStorage": _CLOUD_STORAGE,
        "CloudVod": obj({"TencentVod": obj({"ExpireTime": integer(0), "MediaType": choice(0, 1, 2, 3, 4)})}),
    }
)

TASK: Mapping[str, Field] = {"SdkAppId*": _APP, "TaskId*": text()}

# --- relay: StartPublishCdnStream, UpdatePublishCdnStream, StopPublishCdnStream ---

_CDN = obj({"PublishCdnUrl*": keyed(url("rtmp")), "IsTencentCdn": choice(0, 1)})
_ROOM_BACK = obj({"RoomId*": text(), "RoomIdType*": choice(0, 1), "UserId*": text(), "UserSig*": _SIG})
_AUDIO = obj(
    {
        "AudioEncode": obj(
            {
                "SampleRate": choice(48_000, 44_100, 32_000, 24_000, 16_000, 8_000),
                "Channel": choice(1, 2),
                "BitRate": integer(8, 500),
                "Codec": choice(0, 1, 2),
            }
        ),
        "SubscribeAudioList": many(obj()),
        "UnSubscribeAudioList": many(obj()),
    }
)
_VIDEO = obj(
    {
        "VideoEncode": obj(
            {
                "Width": integer(0, 1920),
                "Height": integer(0, 1920),
                "Fps": integer(1, 60),
                "BitRate": integer(1, 10_000),
                "Gop": integer(1, 5),
            }
        ),
        "LayoutParams": obj({"MixLayoutMode": integer(), "MixLayoutList": many(obj())}),
        "BackGroundColor": text(),
        "WaterMarkList": many(obj()),
    }
)
_RELAYED: Mapping[str, Field] = {
    "WithTranscoding*": choice(0, 1),
    "AudioParams": _AUDIO,
    "VideoParams": _VIDEO,
    "SingleSubscribeParams": obj(),
    "PublishCdnParams": many(_CDN, at_most=_OUTPUTS_LIMIT),
    "SeiParams": obj(),
    "FeedBackRoomParams": many(_ROOM_BACK, at_most=_OUTPUTS_LIMIT),
}


def _integer_room(room: Any, room_type: Any, integer_type: int, path: str) -> Problems:
    """Checks the number of an integer room. The RoomIdType that means integer rooms differs from API to API."""
    if isinstance(room, str) and type(room_type) is int and room_type == integer_type and not _is_room_number(room):
        expected = f"digits from 1 to {_LARGEST_ROOM} if RoomIdType is {integer_type} (integer rooms)"
        yield FieldProblem(field=path, message=f"must be {expected}")


def _is_room_number(room: str) -> bool:
    return re.fullmatch(r"[1-9][0-9]{0,9}", room) is not None and int(room) <= _LARGEST_ROOM


def _room_rule(integer_type: int, default: int | None = None) -> Rule:
    def rule(params: Params) -> Problems:
        return _integer_room(params.get("RoomId"), params.get("RoomIdType", default), integer_type, "RoomId")

    return rule


def _rooms_back(params: Params) -> Problems:
    listed = params.get("FeedBackRoomParams")
    for number, room in enumerate(listed if isinstance(listed, list) else []):
        yield from _integer_room(value_at(room, "RoomId"), value_at(room, "RoomIdType"), 0, f"FeedBackRoomParams[{number}].RoomId")


def _single_is_not_transcoded(params: Params) -> Problems:
    if params.get("SingleSubscribeParams") is not None and params.get("WithTranscoding") == 1:
        yield FieldProblem(field="WithTranscoding", message="must be 0 if SingleSubscribeParams is given")


RELAY = Shape(
    {
        "SdkAppId*": _APP,
        "RoomId*": text(),
        "RoomIdType*": choice(0, 1),
        "AgentParams*": obj({"UserId*": text(), "UserSig*": _SIG, "MaxIdleTime": integer(5, 86_400)}),
        **_RELAYED,
        "RecordParams": obj({"McuStorageParams": obj({"CloudStorage": _CLOUD_STORAGE})}),
    },
    (some_of("PublishCdnParams", "FeedBackRoomParams"), _room_rule(0), _rooms_back, _single_is_not_transcoded),
)
RELAY_UPDATE = Shape({**TASK, "SequenceNumber*": integer(), **_RELAYED}, (_rooms_back, _single_is_not_transcoded))
RELAY_STOP = Shape({**TASK, "RecordKey": text()})

# --- ingest: StartStreamIngest and its kin ---

_SOURCE = keyed(url("http", "https", "rtmp", "rtmps"))
_PLAYED: Mapping[str, Field] = {"Volume": integer(0, 100), "EnableProgress": flag(), "Tempo": _TEMPO}
INGEST = Shape(
    {
        "SdkAppId*": _APP,
        "RoomId*": text(),
        "RoomIdType*": choice(0, 1),
        "UserId*": text(),
        "UserSig*": _SIG,
        # Optional by the page; required by the SDK, and by the vendor in fact.
        "StreamUrl*": _SOURCE,
        "PrivateMapKey": _SIG,
        "SeekSecond": integer(0),
        "AutoPush": flag(),
        "RepeatNum": integer(-1, 1000, but=(0,)),
        "MaxDuration": integer(1, 10_080),
        **_PLAYED,
        "IdleTimeout": integer(0, 600),
        # Deprecated.
        "VideoEncodeParams": obj(),
        "AudioEncodeParams": obj(),
        "SourceUrl": many(_SOURCE),
    },
    (_room_rule(1), only_with("MaxDuration", "RepeatNum", (-1,))),
)
INGEST_UPDATE = Shape({**TASK, "StreamUrl": _SOURCE, **_PLAYED, "IsPause": flag()})
BY_TASK = Shape(TASK)

# --- record: CreateCloudRecording and its kin ---

_USERS = obj(
    {
        name: many(text(), at_most=_USERS_LIMIT)
        for name in (
            "SubscribeAudioUserIds",
            "UnSubscribeAudioUserIds",
            "SubscribeVideoUserIds",
            "UnSubscribeVideoUserIds",
        )
    }
)
_MIX_LAYOUT = obj({"MixLayoutMode": choice(1, 2, 3, 4), "MixLayoutList": many(obj(), at_most=25)})
_STORED = one_of("StorageParams", "CloudStorage", "CloudVod")
RECORD = Shape(
    {
        "SdkAppId*": _APP,
        "RoomId*": text(),
        "RoomIdType": choice(0, 1),
        "UserId*": text(),
        "UserSig*": _SIG,
        "RecordParams*": obj(
            {
                "RecordMode*": choice(1, 2),
                "MaxIdleTime": integer(5, 86_400),
                "StreamType": choice(0, 1, 2),
                "SubscribeStreamUserIds": _USERS,
                "OutputFormat": choice(0, 1, 2, 3, 4),
                "AvMerge": choice(0, 1),
                "MaxMediaFileDuration": integer(1, 1440),
                "MediaId": choice(0, 1, 2),
            }
        ),
        "StorageParams*": _STORAGE,
        "MixTranscodeParams": obj(),
        "MixLayoutParams": _MIX_LAYOUT,
        "ResourceExpiredHour": integer(6, 720),
        "PrivateMapKey": _SIG,
    },
    (_room_rule(1, default=1), _STORED),
)
RECORD_UPDATE = Shape({**TASK, "MixLayoutParams": _MIX_LAYOUT, "SubscribeStreamUserIds": _USERS})
RECORD_QUERY = Shape({**TASK, "RecorderKey": text()})

# --- page: StartWebRecord and its kin ---

#: "Smaller than 32 bytes".
RECORD_ID_LIMIT = 31
PAGE = Shape(
    {
        "SdkAppId*": _APP,
        "RecordUrl*": keyed(url("http", "https")),
        "StorageParams*": _STORAGE,
        "MaxDurationLimit": integer(1800, 86_400),
        "WebRecordVideoParams": obj(
            {
                "Width": integer(0, 1920),
                "Height": integer(0, 1080),
                "Format": choice("hls", "mp4"),
                "MaxMediaFileDuration": integer(1, 1440),
            }
        ),
        "RecordId": short(RECORD_ID_LIMIT),
        "PublishCdnParams": many(_CDN, at_most=_OUTPUTS_LIMIT),
        "ReadyTimeout": integer(0, 60),
        "EmulateMobileParams": obj(),
    },
    (_STORED,),
)
PAGE_STOP = Shape({"TaskId*": text()})


def _app_of_record_id(params: Params) -> Problems:
    if params.get("RecordId") is not None and params.get("SdkAppId") is None:
        yield FieldProblem(field="SdkAppId", message="is missing; RecordId needs it")


PAGE_QUERY = Shape(
    {"TaskId": text(), "SdkAppId": _APP, "RecordId": short(RECORD_ID_LIMIT)},
    (some_of("TaskId", "RecordId"), _app_of_record_id),
)
