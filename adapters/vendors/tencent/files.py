"""The files that recordings tell (documents 54914 and 45169; 304, 307, 310 and 311)."""

from dataclasses import replace

from adapters.vendors.json_fields import Fields, UnreadableError
from statemachine.facts import File
from statemachine.states import FileState

_S = 1000


def playlist(payload: Fields) -> tuple[File, ...]:
    """304: FileList is one name, as text."""
    return _some(tuple(File(name=name) for name in payload.texts("FileList")))


def slice_of(payload: Fields) -> tuple[File, ...]:
    """307: one file, still being written."""
    if payload.text("FileName") is None:
        raise UnreadableError("FileName is missing")
    return (_named(payload),)


def mp4s(payload: Fields, state: FileState) -> tuple[File, ...]:
    """310: the names of FileList with what FileMessage says of them, and those that only FileMessage names."""
    files = {name: File(name=name) for name in payload.texts("FileList")}
    files |= {name: _named(entry) for entry in payload.children("FileMessage") if (name := entry.text("FileName"))}
    return tuple(replace(file, state=state) for file in files.values())


def vod_file(payload: Fields, state: FileState) -> tuple[File, ...]:
    """311: one file in TencentVod; older callbacks have its fields in Payload itself, and its begin in seconds."""
    vod = payload.child("TencentVod") if isinstance(payload.raw.get("TencentVod"), dict) else payload
    if vod.text("CacheFile", "FileId") is None:
        raise UnreadableError("neither CacheFile nor FileId tells which file")
    message = payload.message("Errmsg")
    file = _file(vod, "CacheFile")
    begin = file.started_at or vod.moment("BeginTimeStamp", unit_ms=_S)
    file_id, url = vod.text("FileId"), vod.text("VideoUrl")
    return (replace(file, file_id=file_id, url=url, state=state, message=message, started_at=begin),)


def _named(entry: Fields) -> File:
    return _file(entry, "FileName")


def _file(entry: Fields, name: str) -> File:
    return File(
        name=entry.text(name),
        user_id=entry.text("UserId"),
        track=entry.text("TrackType"),
        media=entry.text("MediaId"),
        started_at=entry.moment("StartTimeStamp") or entry.moment("BeginTimeStamp"),
        ended_at=entry.moment("EndTimeStamp"),
    )


def _some(files: tuple[File, ...]) -> tuple[File, ...]:
    if not files:
        raise UnreadableError("no file is named")
    return files


def stored(response: Fields) -> tuple[File, ...]:
    """DescribeCloudRecording's StorageFileList; the unit of its BeginTimeStamp is not documented."""
    entries = [entry for entry in response.children("StorageFileList") if entry.text("FileName") is not None]
    return tuple(replace(_named(entry), started_at=_begin(entry)) for entry in entries)


def _begin(entry: Fields) -> int | None:
    return entry.moment("BeginTimeStamp") or entry.moment("BeginTimeStamp", unit_ms=_S)
