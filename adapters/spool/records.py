"""The byte format of a spool file: a header, then records, each of which shows by itself whether it is complete.

    header   magic (16 bytes), mark (8), crc32 of both
    record   mark (8), length of the payload (4), crc32 of mark, length and payload (4), payload

The mark is random for each file, so neither text of a callback's sender nor remains of another file in reused disk blocks can
look like a record. It also lets a reader find the next record after a damaged one. The crc protects against power cuts and failing
disks, not against forgery (the folder's mode does), so 32 bits are enough and cost almost nothing. It covers the length too, which
may be the damaged part.
"""

import os
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

_MAGIC = b"tally spool 1\n\0\0"
_HEADER = struct.Struct(">16s8sI")
_RECORD = struct.Struct(">8sII")
#: Bytes of a payload at most: a body of 1 MiB, headers, and a margin. A greater length is damage.
_MAX_PAYLOAD = 4 * 1024 * 1024
#: Bytes that are searched at a time for the next mark.
_SEARCH_WINDOW = 1024 * 1024

HEADER_SIZE = _HEADER.size
#: Bytes of a record without its payload.
RECORD_SIZE = _RECORD.size

#: (offset, size) -> bytes; fewer at the end of the file.
Read = Callable[[int, int], bytes]


class NotASpoolError(Exception):
    """Raised for a file without the header of a spool file of this version."""


@dataclass(frozen=True, slots=True)
class Record:
    """A complete record."""

    #: Offset of its end in the file.
    end: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class DamagedRange:
    """Bytes that are no complete record. At the end of a file: an append that a crash interrupted."""

    at: int
    end: int


def new_mark() -> bytes:
    return os.urandom(8)


def encode_header(mark: bytes) -> bytes:
    return _HEADER.pack(_MAGIC, mark, zlib.crc32(_MAGIC + mark))


def read_mark(begin: bytes) -> bytes | None:
    """Returns the mark of a file with these first bytes. None: it ends within the header, so no callback in it was acknowledged.

    Raises NotASpoolError.
    """
    if len(begin) < HEADER_SIZE:
        return None
    magic, mark, crc = _HEADER.unpack(begin[:HEADER_SIZE])
    if magic != _MAGIC or crc != zlib.crc32(magic + mark):
        raise NotASpoolError
    return bytes(mark)


def encode_record(mark: bytes, payload: bytes) -> bytes:
    length = len(payload)
    return _RECORD.pack(mark, length, _record_crc(mark, length, payload)) + payload


def scan_records(read: Read, mark: bytes, at: int, end: int) -> Iterator[Record | DamagedRange]:
    """Yields what stands between two offsets, in order: every complete record, and every damaged range between them."""
    while at < end:
        complete = _record_at(read, mark, at, end)
        if complete is None:
            begin, at = at, _next_record(read, mark, at + 1, end)
            yield DamagedRange(begin, at)
        else:
            at = complete.end
            yield complete


def _record_at(read: Read, mark: bytes, at: int, end: int) -> Record | None:
    head = read(at, _RECORD.size)
    if len(head) < _RECORD.size:
        return None
    found_mark, length, crc = _RECORD.unpack(head)
    after = at + _RECORD.size + length
    if found_mark != mark or length > _MAX_PAYLOAD or after > end:
        return None
    payload = read(at + _RECORD.size, length)
    return Record(after, payload) if crc == _record_crc(mark, length, payload) else None


def _next_record(read: Read, mark: bytes, at: int, end: int) -> int:
    """Returns the offset of the next complete record; `end` if there is none."""
    while at < end:
        window = read(at, min(_SEARCH_WINDOW, end - at))
        place = window.find(mark)
        if place < 0:
            at += max(len(window) - len(mark) + 1, 1)  # a mark may begin in this window and end in the next
        elif _record_at(read, mark, at + place, end) is not None:
            return at + place
        else:
            at += place + 1
    return end


def _record_crc(mark: bytes, length: int, payload: bytes) -> int:
    return zlib.crc32(payload, zlib.crc32(mark + length.to_bytes(4, "big")))
