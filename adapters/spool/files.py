"""One spool file, open and locked. Data before `durable_end` is on disk; data before `drained_end` is in the ledger."""

import fcntl
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from adapters.spool.records import (
    HEADER_SIZE,
    DamagedRange,
    NotASpoolError,
    Record,
    encode_header,
    encode_record,
    new_mark,
    read_mark,
    scan_records,
)

#: Readable by its owner only: it contains signed callbacks and stream keys.
_FILE_MODE = 0o600


class SpoolFile:
    """An open spool file; made by `create` or `adopt`. The lock ends when it is closed, or with the process."""

    def __init__(self, path: Path, fd: int, mark: bytes, end: int) -> None:
        self.path = path
        self._fd = fd
        self._mark = mark
        #: The process that opened it. A forked child must not use it: parent and child would overwrite each other's data.
        self._pid = os.getpid()
        self.drained_end = HEADER_SIZE
        self.durable_end = end
        #: Number of records between `drained_end` and `durable_end`.
        self.rows = 0
        #: False after a failed write: what the disk has behind `durable_end` is unknown then.
        self.is_appendable = True
        #: The name under which it is kept once it is drained; None: it is deleted.
        self.rename_to: Path | None = None

    @classmethod
    def create(cls, path: Path) -> "SpoolFile":
        """Creates an empty file. Raises OSError; FileExistsError also if another process adopted it in between."""
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _FILE_MODE)
        if not _try_lock(fd, path):
            os.close(fd)
            raise FileExistsError(path)
        return cls(path, fd, new_mark(), 0)

    @classmethod
    def adopt(cls, path: Path) -> "SpoolFile | None":
        """Takes over the file of a dead process. None: the process lives, or the file is gone. Raises OSError, NotASpoolError.

        Reads the file once, to count its records.
        """
        try:
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        if not _try_lock(fd, path):
            os.close(fd)
            return None
        try:
            mark = read_mark(os.pread(fd, HEADER_SIZE, 0))
            file = cls(path, fd, mark or b"", os.fstat(fd).st_size if mark else HEADER_SIZE)
            file.rows = sum(isinstance(item, Record) for item in file.scan_records())
        except (OSError, NotASpoolError):
            os.close(fd)
            raise
        file.is_appendable = False
        return file

    @property
    def is_ours(self) -> bool:
        """True in the process that opened it."""
        return self._pid == os.getpid()

    @property
    def is_drained(self) -> bool:
        return self.drained_end >= self.durable_end

    def append(self, payloads: Iterable[bytes]) -> None:
        """Appends records durably. The file's name is durable once its folder is synced. Raises OSError: then none was appended."""
        encoded = [encode_record(self._mark, payload) for payload in payloads]
        begin = self.durable_end or HEADER_SIZE
        try:
            if not self.durable_end:
                _write_all(self._fd, encode_header(self._mark), 0)
            _write_all(self._fd, b"".join(encoded), begin)
            os.fsync(self._fd)
        except OSError:
            self._truncate_failed_append()
            raise
        self.durable_end = begin + sum(map(len, encoded))
        self.rows += len(encoded)

    def _truncate_failed_append(self) -> None:
        """Removes a partial append.

        The file is not written to again: after a failed sync the kernel may treat pages as clean that never reached the disk.
        """
        self.is_appendable = False
        with suppress(OSError):
            os.ftruncate(self._fd, self.durable_end)

    def scan_records(self) -> Iterator[Record | DamagedRange]:
        """Yields the records and damaged ranges that are not drained yet. Raises OSError."""
        return scan_records(self.read_bytes, self._mark, self.drained_end, self.durable_end)

    def read_bytes(self, at: int, size: int) -> bytes:
        return os.pread(self._fd, size, at)

    def mark_drained(self, at: int, rows: int) -> None:
        """Records that the ledger has everything before this offset. rows: number of records since the last call."""
        self.drained_end = at
        self.rows -= rows

    def remove(self) -> None:
        """Deletes the drained file, or renames it to `rename_to`, and closes it."""
        with suppress(FileNotFoundError):
            if self.rename_to is None:
                self.path.unlink()
            else:
                self.path.rename(self.rename_to)
        self.close()

    def close(self) -> None:
        os.close(self._fd)


def count_new_records(path: Path, at: int, rows: int) -> tuple[int, int]:
    """Counts the records of a file of another process. Returns (offset up to which they are counted, number of records).

    at, rows: the result of the last call; 0 at first. Raises OSError, NotASpoolError.
    """
    with path.open("rb", buffering=0) as file:
        mark = read_mark(os.pread(file.fileno(), HEADER_SIZE, 0))
        if mark is None:
            return 0, 0
        size = os.fstat(file.fileno()).st_size
        for item in scan_records(lambda at, size: os.pread(file.fileno(), size, at), mark, at or HEADER_SIZE, size):
            if isinstance(item, DamagedRange) and item.end == size:
                break  # it is being written
            at = item.end
            rows += isinstance(item, Record)
    return at, rows


def make_folder(folder: Path, mode: int = 0o777) -> None:
    """Creates the folder and its parents; each name is synced, so that a power cut cannot lose the folder and its files."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    with suppress(FileExistsError):
        folder.mkdir(mode=mode)
    sync_folder(folder.parent)


def probe_write(path: Path, size: int) -> None:
    """Writes, syncs and deletes a file of this size, to prove that the disk has room. Raises OSError."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, _FILE_MODE)
    try:
        _write_all(fd, bytes(size), 0)
        os.fsync(fd)
    finally:
        os.close(fd)
        path.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _try_lock(fd: int, path: Path) -> bool:
    """Returns whether we locked it and it still has this name: the process that held it before may have removed it."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.path.samestat(os.fstat(fd), path.stat())
    except (BlockingIOError, FileNotFoundError):
        return False


def _write_all(fd: int, data: bytes, at: int) -> None:
    """Writes all data: the kernel may write less than requested, for example on a full disk."""
    view = memoryview(data)
    while view:
        written = os.pwrite(fd, view, at)
        view, at = view[written:], at + written
