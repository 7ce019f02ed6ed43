"""The files of recordings and pages (54914, 45169). A new one begins when MaxMediaFileDuration, at most a day, is full."""

from collections.abc import Callable
from typing import Any

from simulator.tasks import VendorTask
from statemachine.states import Kind

_MINUTE_MS = 60_000
_LONGEST_MINUTES = 1440
#: World time -> outside time, ms.
ToOutsideMs = Callable[[int], int]


def file_names(task: VendorTask) -> tuple[str, ...]:
    """Returns the names of mp4 files, or of the playlist of a recording without mp4."""
    count = len(_start_times(task))
    stem = f"{task.order.app.app_id}_{task.order.room_id or 'page'}_{task.number}"
    if task.order.kind is Kind.RECORD and "CloudStorage" in task.params["StorageParams"]:
        with_mp4 = task.params["RecordParams"].get("OutputFormat", 0) in (1, 3)
        return (playlist_name(task), *(f"{stem}_{n}.mp4" for n in range(count))) if with_mp4 else (playlist_name(task),)
    return tuple(f"{stem}_{n}.mp4" for n in range(count))


def playlist_name(task: VendorTask) -> str:
    return f"{task.order.app.app_id}_{task.order.room_id}_{task.number}.m3u8"


def playlist(task: VendorTask) -> dict[str, Any]:
    """Returns the payload of 304: one name, as text."""
    return {"FileList": playlist_name(task)}


def slice_payload(task: VendorTask, outside_ms: ToOutsideMs) -> dict[str, Any]:
    """Returns the payload of 307. BeginTimeStamp is text in the new table, a number in the old."""
    begin = outside_ms(task.media_at or 0)
    about = {"FileName": playlist_name(task), "UserId": "host", "TrackType": "audio_video"}
    return about | {"BeginTimeStamp": str(begin) if task.number % 2 else begin}


def mp4_payload(task: VendorTask, outside_ms: ToOutsideMs, *, stuck: bool) -> dict[str, Any]:
    names = [name for name in task.files if name.endswith(".mp4")]
    entries = [_file_entry(task, n, outside_ms) | {"FileName": name} for n, name in enumerate(names)]
    return {"Status": int(stuck), "FileList": names, "FileMessage": entries}


def vod_payload(task: VendorTask, number: int, outside_ms: ToOutsideMs, *, stuck: bool) -> dict[str, Any]:
    file = _file_entry(task, number, outside_ms) | {"CacheFile": task.files[number]}
    if stuck:
        return {"Status": 1, "Errmsg": "upload is late", "TencentVod": file}
    where = {"FileId": f"52858907{task.number:06}{number:02}", "VideoUrl": f"https://vod.example.com/{task.files[number]}"}
    return {"Status": 0, "TencentVod": file | where}


def _file_entry(task: VendorTask, number: int, outside_ms: ToOutsideMs) -> dict[str, Any]:
    starts = _start_times(task)
    end = [*starts[1:], task.ended_at or 0][number]
    about = {"UserId": "host", "TrackType": "audio_video", "MediaId": "main"}
    return about | {"StartTimeStamp": outside_ms(starts[number]), "EndTimeStamp": outside_ms(end)}


def _start_times(task: VendorTask) -> list[int]:
    first, ended_at = task.media_at or 0, task.ended_at or 0
    minutes = task.params.get("RecordParams", {}).get("MaxMediaFileDuration", _LONGEST_MINUTES)
    return list(range(first, max(ended_at, first + 1), minutes * _MINUTE_MS))
