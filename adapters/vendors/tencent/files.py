"""The files that recording events name (documents 54914 and 45169; events 304, 307, 310 and 311)."""

from dataclasses import replace

from adapters.vendors.json_fields import Fields, UnreadableError
from statemachine.facts import File
from statemachine.states import FileState

_S = 1000


def playlist_files(payload: Fields) -> tuple[File, ...]:
    """Reads 304: FileList is one name, as text."""
    return _at_least_one(tuple(File(name=name) for name in payload.texts("FileList")))


def slice_file(payload: Fields) -> tuple[File, ...]:
    """Reads 307: one file that is still being written."""
    if payload.text("FileName") is None:
        raise UnreadableError("FileName is missing")
    return (_named_file(payload),)


def mp4_files(payload: Fields, state: FileState) -> tuple[File, ...]:
    """Reads 310: the names in FileList, with their details in FileMessage, and the names that only FileMessage has."""
    files = {name: File(name=name) for name in payload.texts("FileList")}
    files |= {name: _named_file(entry) for entry in payload.children("FileMessage") if (name := entry.text("FileName"))}
    return tuple(replace(file, state=state) for file in files.values())


def vod_file(payload: Fields, state: FileState) -> tuple[File, ...]:
    """Reads 311: one file in TencentVod. Older callbacks have its fields in Payload itself, and its begin in seconds."""
    vod = payload.child("TencentVod") if isinstance(payload.raw.get("TencentVod"), dict) else payload
    if vod.text("CacheFile", "FileId") is None:
        raise UnreadableError("CacheFile and FileId are both missing")
    message = payload.message("Errmsg")
    file = _file_of(vod, "CacheFile")
    begin = file.started_at or vod.past_time("BeginTimeStamp", unit_ms=_S)
    file_id, url = vod.text("FileId"), vod.text("VideoUrl")
    return (replace(file, file_id=file_id, url=url, state=state, message=message, started_at=begin),)


def _named_file(entry: Fields) -> File:
    return _file_of(entry, "FileName")


def _file_of(entry: Fields, name: str) -> File:
    return File(
        name=entry.text(name),
        user_id=entry.text("UserId"),
        track=entry.text("TrackType"),
        media=entry.text("MediaId"),
        started_at=entry.past_time("StartTimeStamp") or entry.past_time("BeginTimeStamp"),
        ended_at=entry.past_time("EndTimeStamp"),
    )


def _at_least_one(files: tuple[File, ...]) -> tuple[File, ...]:
    if not files:
        raise UnreadableError("no file is named")
    return files


def stored_files(response: Fields) -> tuple[File, ...]:
    """Reads StorageFileList of DescribeCloudRecording; the unit of its BeginTimeStamp is not documented."""
    entries = [entry for entry in response.children("StorageFileList") if entry.text("FileName") is not None]
    return tuple(replace(_named_file(entry), started_at=_begin_time(entry)) for entry in entries)


def _begin_time(entry: Fields) -> int | None:
    return entry.past_time("BeginTimeStamp") or entry.past_time("BeginTimeStamp", unit_ms=_S)
