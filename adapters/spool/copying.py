"""Reads what waits in a spool that others write and drain, and takes nothing away."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from adapters.ledger.inbox import Arrival
from adapters.spool.payloads import UnreadablePayloadError, arrival
from adapters.spool.records import HEADER_SIZE, NotASpoolError, Record, mark_of, walk

#: Files that wait to be drained. What the ledger has refused, or nobody can read, stays where it is.
_SPOOL = ".spool"


@contextmanager
def waiting_arrivals(folder: Path) -> Iterator[Iterator[Arrival]]:
    """What waits there from now on, to be read when it is wanted: a file that is drained meanwhile is still read."""
    with ExitStack() as stack:
        files: list[BinaryIO] = []
        with suppress(FileNotFoundError):
            for path in sorted(path for path in folder.iterdir() if path.suffix == _SPOOL):
                with suppress(FileNotFoundError):
                    files.append(stack.enter_context(path.open("rb", buffering=0)))
        yield (each for file in files for each in _arrivals(file.fileno()))


def _arrivals(fd: int) -> Iterator[Arrival]:
    """What is torn or unreadable stays in the spool, where a person finds it."""
    try:
        mark = mark_of(os.pread(fd, HEADER_SIZE, 0))
    except NotASpoolError:
        return
    if mark is None:
        return
    for found in walk(lambda at, size: os.pread(fd, size, at), mark, HEADER_SIZE, os.fstat(fd).st_size):
        if isinstance(found, Record):
            with suppress(UnreadablePayloadError):
                yield arrival(found.payload)
