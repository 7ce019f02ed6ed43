"""The bytes of a spool file: a header, then records, each of which shows by itself whether it is whole.

    header   magic (16 bytes), mark (8), crc32 of both
    record   mark (8), length of the payload (4), crc32 of mark, length and payload (4), payload

The mark is drawn anew for each file, so nothing that a callback's sender can write looks like a record, nor do the remains of
another file in recycled blocks. It also lets a reader find the next record behind a damaged one. The crc is against power cuts and
failing disks, not against forgery, for which the folder's mode stands: so 32 bits are enough, and they cost next to nothing. It
covers the length too, which may be what was damaged.
"""

import os
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

_MAGIC = b"tally spool 1\n\0\0"
_HEADER = struct.Struct(">16s8sI")
_RECORD = struct.Struct(">8sII")
#: Of one payload: a body of 1 MiB, and headers, with room. More than that is a damaged length.
_MAX_PAYLOAD = 4 * 1024 * 1024
#: How much is looked through at a time for the next mark.
_WINDOW = 1024 * 1024

HEADER_SIZE = _HEADER.size
#: Of a record, without its payload.
RECORD_SIZE = _RECORD.size

#: (offset, size) -> the bytes there; fewer at the end of the file.
Read = Callable[[int, int], bytes]


class NotASpoolError(Exception):
    """The file does not begin as a spool file of this version does."""


@dataclass(frozen=True, slots=True)
class Record:
    #: Where it ends, counted from the file's beginning.
    end: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class Damage:
    """Bytes that are no record. At the end of a file: an append that a crash cut off."""

    at: int
    end: int


def new_mark() -> bytes:
    return os.urandom(8)


def header(mark: bytes) -> bytes:
    return _HEADER.pack(_MAGIC, mark, zlib.crc32(_MAGIC + mark))


def mark_of(begin: bytes) -> bytes | None:
    """The mark of a file that begins so. None: it ends within the header, so nothing in it was promised to anybody.

    Raises NotASpoolError.
    """
    if len(begin) < HEADER_SIZE:
        return None
    magic, mark, crc = _HEADER.unpack(begin[:HEADER_SIZE])
    if magic != _MAGIC or crc != zlib.crc32(magic + mark):
        raise NotASpoolError
    return bytes(mark)


def record(mark: bytes, payload: bytes) -> bytes:
    length = len(payload)
    return _RECORD.pack(mark, length, _crc(mark, length, payload)) + payload


def walk(read: Read, mark: bytes, at: int, end: int) -> Iterator[Record | Damage]:
    """What stands between two offsets, in order: every record that is whole, and every stretch between such."""
    while at < end:
        found = _record_at(read, mark, at, end)
        if found is None:
            begin, at = at, _next_record(read, mark, at + 1, end)
            yield Damage(begin, at)
        else:
            at = found.end
            yield found


def _record_at(read: Read, mark: bytes, at: int, end: int) -> Record | None:
    head = read(at, _RECORD.size)
    if len(head) < _RECORD.size:
        return None
    found, length, crc = _RECORD.unpack(head)
    after = at + _RECORD.size + length
    if found != mark or length > _MAX_PAYLOAD or after > end:
        return None
    payload = read(at + _RECORD.size, length)
    return Record(after, payload) if crc == _crc(mark, length, payload) else None


def _next_record(read: Read, mark: bytes, at: int, end: int) -> int:
    """Where the next whole record begins; `end` if there is none."""
    while at < end:
        window = read(at, min(_WINDOW, end - at))
        place = window.find(mark)
        if place < 0:
            at += max(len(window) - len(mark) + 1, 1)  # a mark may begin in this window and end in the next
        elif _record_at(read, mark, at + place, end) is not None:
            return at + place
        else:
            at += place + 1
    return end


def _crc(mark: bytes, length: int, payload: bytes) -> int:
    return zlib.crc32(payload, zlib.crc32(mark + length.to_bytes(4, "big")))
