"""The files of a recording (document 75125). Four payload versions, told apart by the keys that they have."""

from adapters.vendors.json_fields import Fields
from statemachine.facts import File


def record_files(data: Fields) -> tuple[File, ...]:
    """Returns the files of RecordFileList; an entry with neither ObjectKey nor Vid names no file."""
    entries = data.children("RecordFileList")
    return tuple(_file_of(entry) for entry in entries if entry.text("ObjectKey", "Vid") is not None)


def _file_of(entry: Fields) -> File:
    streams = entry.children("StreamList")
    return File(
        name=entry.text("ObjectKey"),
        file_id=entry.text("Vid"),
        # A file that mixes several users has no single user.
        user_id=streams[0].text("UserId") if len(streams) == 1 else None,
        started_at=entry.past_time("StartTime"),
        duration_ms=entry.integer("Duration"),
        size_bytes=entry.integer("Size"),
    )
