"""Reads the callbacks that wait in a spool, without draining it, while other processes write and drain it."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from adapters.ledger.inbox import Arrival
from adapters.spool.payloads import UnreadablePayloadError, decode_arrival
from adapters.spool.records import HEADER_SIZE, NotASpoolError, Record, read_mark, scan_records

#: Suffix of files that wait to be drained. Files that were set aside are not read.
_SPOOL = ".spool"


@contextmanager
def snapshot_arrivals(folder: Path) -> Iterator[Iterator[Arrival]]:
    """Yields an iterator over the callbacks that wait in the folder now; lazy, and files drained meanwhile are still read."""
    with ExitStack() as stack:
        files: list[BinaryIO] = []
        with suppress(FileNotFoundError):
            for path in sorted(path for path in folder.iterdir() if path.suffix == _SPOOL):
                with suppress(FileNotFoundError):
                    files.append(stack.enter_context(path.open("rb", buffering=0)))
        yield (arrival for file in files for arrival in _read_arrivals(file.fileno()))


def _read_arrivals(fd: int) -> Iterator[Arrival]:
    """Yields the callbacks of one file; damaged or unreadable records are skipped, and stay in the spool for the operator."""
    try:
        mark = read_mark(os.pread(fd, HEADER_SIZE, 0))
    except NotASpoolError:
        return
    if mark is None:
        return
    for item in scan_records(lambda at, size: os.pread(fd, size, at), mark, HEADER_SIZE, os.fstat(fd).st_size):
        if isinstance(item, Record):
            with suppress(UnreadablePayloadError):
                yield decode_arrival(item.payload)
