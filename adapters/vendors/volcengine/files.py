"""The files of a recording (document 75125). Four payload versions, told apart by which keys they hold."""

from adapters.vendors.json_fields import Fields
from statemachine.facts import File


def record_files(data: Fields) -> tuple[File, ...]:
    """The files of RecordFileList; an entry with neither ObjectKey nor Vid names no file."""
    entries = data.children("RecordFileList")
    return tuple(_file(entry) for entry in entries if entry.text("ObjectKey", "Vid") is not None)


def _file(entry: Fields) -> File:
    streams = entry.children("StreamList")
    return File(
        name=entry.text("ObjectKey"),
        file_id=entry.text("Vid"),
        # A mix of several users belongs to none of them.
        user_id=streams[0].text("UserId") if len(streams) == 1 else None,
        started_at=entry.moment("StartTime"),
        duration_ms=entry.integer("Duration"),
        size_bytes=entry.integer("Size"),
    )
