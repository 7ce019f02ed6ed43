"""A recording's files: RecordFileList in its four payload versions. A new file begins every four hours."""

from collections.abc import Callable
from typing import Any

from simulator.tasks import VendorTask

_FILE_MS = 4 * 3600 * 1000
_OLDEST = "2020-12-01"
_BYTES_PER_S = 90_000


def file_names(task: VendorTask) -> tuple[str, ...]:
    """Returns object keys, or ids of the media library in the oldest version."""
    order, starts = task.order, _start_times(task)
    if order.version == _OLDEST or task.params.get("StorageConfig", {}).get("Type") == 1:
        return tuple(f"v0{task.number:06}g1{number:04}" for number in range(len(starts)))
    return tuple(f"records/{order.vendor_task_id}_{order.room_id}_{start}.mp4" for start in starts)


def file_list(task: VendorTask, outside_ms: Callable[[int], int]) -> list[dict[str, Any]]:
    if not task.files:
        return []
    starts = _start_times(task)
    ends = [*starts[1:], task.ended_at or 0]
    return [
        _file_entry(task, name, outside_ms(start), outside_ms(end))
        for name, start, end in zip(task.files, starts, ends, strict=True)
    ]


def _start_times(task: VendorTask) -> list[int]:
    first, ended_at = task.media_at or 0, task.ended_at or 0
    return list(range(first, max(ended_at, first + 1), _FILE_MS))


def _file_entry(task: VendorTask, name: str, start: int, end: int) -> dict[str, Any]:
    in_library = not name.startswith("records/")
    where = {"Vid": name} if in_library else {"Vid": "", "ObjectKey": name}
    if in_library and task.order.version != _OLDEST:
        where["ObjectKey"] = ""
    return where | {
        "Duration": end - start,
        "Size": (end - start) // 1000 * _BYTES_PER_S,
        "StartTime": start,
        "StreamList": [{"UserId": "host", "StreamType": 0}],
        "VideoCodec": "h264",
        "AudioCodec": "aac",
        "VideoWidth": 640,
        "VideoHeight": 360,
    }
