"""The parameters of each action (the API pages in their 2020-12-01 and 2023-11-01 versions, 69835 for shared objects).

Record, relay, push and page share ids and streams; section 4.1 of the pages lists the versions of each action.
"""

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
    matching,
    needed_when,
    obj,
    some_of,
    text,
    url,
    value_at,
)

# 69828, 1188218: BusinessId, RoomId, TaskId and UserId.
_ID = matching(r"[a-zA-Z0-9_@\-\.]{1,128}")
_RTMP = keyed(url("rtmp"))
_SCREEN = 1
_CUSTOM_LAYOUT = 2
_STREAMS_LIMIT, _CUSTOM_STREAMS_LIMIT = 17, 30

TASK: Mapping[str, Field] = {"AppId*": text(), "RoomId*": _ID, "TaskId*": _ID}
_OF_BUSINESS: Mapping[str, Field] = {**TASK, "BusinessId": _ID}

_STREAM = obj({"UserId*": _ID, "StreamType": choice(0, 1), "Index": integer(0)})
_STREAMS = obj({"StreamList": many(_STREAM)})
_ENCODE = obj(
    {
        "VideoWidth": integer(2, 1920, even=True),
        "VideoHeight": integer(2, 1920, even=True),
        "VideoFps": integer(1, 60),
        "VideoBitrate": integer(0, 10_000),
        "VideoCodec": choice(0, 1),
        "VideoGop": integer(1, 5),
        "AudioCodec": choice(0),
        "AudioProfile": choice(0, 1, 2),
        "AudioBitrate": integer(32, 192),
        "AudioSampleRate": choice(32_000, 44_100, 48_000),
        "AudioChannels": choice(1, 2),
    }
)
_CANVAS = obj({"Width": integer(2, 1920, even=True), "Height": integer(2, 1920, even=True)})
_LAYOUT = obj({"LayoutMode": choice(0, 1, 2, 3), "CustomLayout": obj({"Canvas": _CANVAS, "Regions": many(obj())})})
_CONTROL: Mapping[str, Field] = {"MediaType": choice(0, 1), "MaxIdleTime": integer(10, 86_400)}
_MIXED_CONTROL: Mapping[str, Field] = {**_CONTROL, "FrameInterpolationMode": choice(0, 1)}


# --- rules ---


def _stream_list(params: Params, name: str) -> list[Any]:
    streams = value_at(params, f"{name}.StreamList")
    return streams if isinstance(streams, list) else []


def _stream_limit(name: str, *, custom: int = _STREAMS_LIMIT) -> Rule:
    def rule(params: Params) -> Problems:
        limit = custom if value_at(params, "Layout.LayoutMode") == _CUSTOM_LAYOUT else _STREAMS_LIMIT
        if len(_stream_list(params, name)) > limit:
            yield FieldProblem(field=f"{name}.StreamList", message=f"must hold at most {limit} streams in this layout")

    return rule


def _stream_id(stream: Any) -> tuple[Any, Any]:
    return value_at(stream, "UserId"), value_at(stream, "StreamType") or 0


def _excluded_streams(params: Params) -> Problems:
    """Checks that no stream is in both lists, and that no screen is excluded."""
    targets = _stream_list(params, "TargetStreams")[:_CUSTOM_STREAMS_LIMIT]
    for number, stream in enumerate(_stream_list(params, "ExcludeStreams")):
        path = f"ExcludeStreams.StreamList[{number}]"
        if any(_stream_id(stream) == _stream_id(target) for target in targets):
            yield FieldProblem(field=path, message="is in TargetStreams too; a stream may be in one of them only")
        elif value_at(stream, "StreamType") == _SCREEN:
            yield FieldProblem(field=f"{path}.StreamType", message="must be 0: screens cannot be excluded")


_CONFIG_OF_TYPE = {0: "TosConfig", 1: "VodConfig", 2: "CustomConfig"}


def _storage_of_its_type(params: Params) -> Problems:
    storage = value_at(params, "StorageConfig")
    kind = value_at(storage, "Type")
    needed = _CONFIG_OF_TYPE.get(kind or 0) if kind is None or type(kind) is int else None
    if not isinstance(storage, Mapping) or needed is None:
        return
    for name in _CONFIG_OF_TYPE.values():
        path = f"StorageConfig.{name}"
        if name == needed and name not in storage:
            yield FieldProblem(field=path, message=f"is missing; Type {kind or 0} needs it")
        elif name != needed and name in storage:
            yield FieldProblem(field=path, message=f"must be left out: Type {kind or 0} uses {needed}")


def _is_transcoded(params: Params) -> bool:
    """Returns whether the relay transcodes video: StreamMode 0, and not audio alone (MediaType 1), which has no size."""
    mode, media = value_at(params, "Control.StreamMode"), value_at(params, "Control.MediaType")
    return isinstance(value_at(params, "Control"), Mapping) and mode in (None, 0) and bool(media != 1)


_SIZED = needed_when(("Control.VideoWidth", "Control.VideoHeight"), _is_transcoded, "if StreamMode is 0 (transcode)")


# --- push (69821; 1188216, 1188218) ---

SINGLE_PUSH = Shape(
    {**_OF_BUSINESS, "Stream*": _STREAM, "PushURL*": _RTMP, "Control*": obj(_CONTROL)},
)
_MIXED_FIELDS: Mapping[str, Field] = {
    **_OF_BUSINESS,
    "TargetStreams": _STREAMS,
    "ExcludeStreams": _STREAMS,
    "Encode": _ENCODE,
    "Layout": _LAYOUT,
    "Control": obj({**_MIXED_CONTROL, "PushStreamMode": choice(0, 1), "SpatialConfig": obj(), "SEIConfig": obj()}),
}
MIXED_PUSH = Shape(
    {**_MIXED_FIELDS, "PushURL*": _RTMP},
    (_stream_limit("TargetStreams", custom=_CUSTOM_STREAMS_LIMIT), _excluded_streams),
)


def _custom_layout_only(params: Params) -> Problems:
    if value_at(params, "Layout.LayoutMode") not in (None, _CUSTOM_LAYOUT):
        yield FieldProblem(field="Layout.LayoutMode", message="must be 2: only custom layouts can be updated")


MIXED_PUSH_UPDATE = Shape(
    {
        **{name: one for name, one in _MIXED_FIELDS.items() if name != "ExcludeStreams"},
        "IsUpdatePartialParam": flag(),
        "SequenceNumber": integer(),
    },
    (_stream_limit("TargetStreams", custom=_CUSTOM_STREAMS_LIMIT), _custom_layout_only),
)
STOPPED = Shape(TASK)
PUSH_QUERY = Shape({"AppId*": text(), "RoomId*": _ID, "TaskId": text(), "UserId": _ID}, (some_of("TaskId", "UserId"),))

# --- record (69822, 106873; 1188213) ---

_RECORD_FIELDS: Mapping[str, Field] = {
    **_OF_BUSINESS,
    "RecordMode": choice(0, 1),
    "TargetStreams": _STREAMS,
    "ExcludeStreams": _STREAMS,
    "Encode": _ENCODE,
    "Layout": _LAYOUT,
    "Control": obj(
        {
            **_MIXED_CONTROL,
            "MaxRecordTime": integer(0),
            "MaxSilenceSeconds": integer(60, 3600),
            "EnableSyncUpload": flag(),
        }
    ),
}
_RECORD_RULES = (_stream_limit("TargetStreams"), _stream_limit("ExcludeStreams"), _excluded_streams)
OLDEST_RECORD = Shape(
    {**_RECORD_FIELDS, "Vod*": obj({"AccountId": text(), "Space": text()}), "RecordFileNamePattern": text()}, _RECORD_RULES
)
_STORAGE = obj(
    {
        "Type": choice(0, 1, 2),
        "TosConfig": obj({"AccountId*": text(), "Region": integer(0), "Bucket*": text()}),
        "VodConfig": obj(
            {
                "AccountId*": text(),
                "Region": integer(0),
                "Space*": text(),
                "StorageClass": choice(1, 2, 3),
                "AutoSetFileExtension": flag(),
            }
        ),
        "CustomConfig": obj(
            {
                "Vendor": integer(0),
                "Region": integer(0),
                "Bucket*": text(),
                "AccessKey*": hidden(text()),
                "SecretKey*": hidden(text()),
                "SecurityToken": hidden(text()),
            }
        ),
    }
)
RECORD = Shape(
    {
        **_RECORD_FIELDS,
        "StorageConfig*": _STORAGE,
        "FileFormatConfig": obj({"FileFormat": many(choice("MP4", "HLS", "FLV", "MP3", "AAC", "M4A"))}),
        "FileNameConfig": obj({"Prefix": many(text()), "Pattern": text()}),
    },
    (*_RECORD_RULES, _storage_of_its_type),
)
RECORD_UPDATE = Shape(
    {**_OF_BUSINESS, "TargetStreams": _STREAMS, "Layout": _LAYOUT}, (_stream_limit("TargetStreams"), _custom_layout_only)
)
RECORD_STOP = Shape(_OF_BUSINESS)

# --- relay (1188210, 105188; 1188201) ---

_RELAY_CONTROL: Mapping[str, Field] = {
    "StreamUrl*": keyed(url("http", "https", "rtmp", "rtmps")),
    "MediaType": choice(0, 1, 2),
    "StreamMode": choice(0, 1),
    "StartTimeStamp": integer(0),
    "Loop": flag(),
    "VideoWidth": integer(16, 1920, even=True),
    "VideoHeight": integer(16, 1920, even=True),
    "FrameRate": integer(1, 30),
    "Bitrate": integer(1),
}
RELAY = Shape(
    {
        **_OF_BUSINESS,
        "UserId*": _ID,
        "Token*": hidden(text()),
        "MaxIdleTime": integer(5, 600),
        # The page lists all fields of this object.
        "Control*": obj(_RELAY_CONTROL, closed=True),
    },
    (_SIZED,),
)
RELAY_UPDATE = Shape({**TASK, "Control*": obj(_RELAY_CONTROL)}, (_SIZED,))
RELAY_LIST = Shape({"AppId*": text(), "RoomId*": _ID, "Offset": integer(0, 9999), "Limit": integer(1, 100), "Order": choice(0, 1)})


# --- page (1188209) ---


def _page_url(value: str) -> bool:
    return re.match(r"https?://[^\s/]", value) is not None and len(value) <= 1024


PAGE = Shape(
    {
        **_OF_BUSINESS,
        "UserId*": _ID,
        "SourceURL*": keyed(text("an http:// or https:// url of at most 1024 characters", _page_url)),
        "MaxRunningTime": integer(10, 86_400),
        "EventNotifyConfig": obj(),
        "MonitorConfig": obj(),
        "VideoSolutions": many(obj()),
    }
)
