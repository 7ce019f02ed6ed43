"""One spool file, open and locked. Durable is what stands before `end`; recorded is what stands before `at`."""

import fcntl
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from adapters.spool.records import HEADER_SIZE, Damage, NotASpoolError, Record, header, mark_of, new_mark, record, walk

#: Only its owner may read it: it holds signed callbacks and stream keys.
_MODE = 0o600


class SpoolFile:
    """Made by `create` or `adopt`. The lock goes when it is closed, or with the process, however that ends."""

    def __init__(self, path: Path, fd: int, mark: bytes, end: int) -> None:
        self.path = path
        self._fd = fd
        self._mark = mark
        #: In a process that was forked off it is not ours: parent and child would write over each other.
        self._pid = os.getpid()
        self.at = HEADER_SIZE
        self.end = end
        #: How many records wait between `at` and `end`.
        self.rows = 0
        #: After a failed write nobody knows what the disk has behind `end`.
        self.takes_more = True
        #: The name under which it stays when it is drained; None: it is deleted then.
        self.kept_as: Path | None = None

    @classmethod
    def create(cls, path: Path) -> "SpoolFile":
        """An empty one. Raises OSError; FileExistsError also if it was taken for that of a dead process."""
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _MODE)
        if not _locked(fd, path):
            os.close(fd)
            raise FileExistsError(path)
        return cls(path, fd, new_mark(), 0)

    @classmethod
    def adopt(cls, path: Path) -> "SpoolFile | None":
        """The file of a process that is gone; None if it is not, or the file. Reads it once. Raises OSError, NotASpoolError."""
        try:
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        if not _locked(fd, path):
            os.close(fd)
            return None
        try:
            mark = mark_of(os.pread(fd, HEADER_SIZE, 0))
            file = cls(path, fd, mark or b"", os.fstat(fd).st_size if mark else HEADER_SIZE)
            file.rows = sum(isinstance(found, Record) for found in file.walk())
        except (OSError, NotASpoolError):
            os.close(fd)
            raise
        file.takes_more = False
        return file

    @property
    def is_ours(self) -> bool:
        return self._pid == os.getpid()

    @property
    def is_drained(self) -> bool:
        return self.at >= self.end

    def append(self, payloads: Iterable[bytes]) -> None:
        """They are durable when this returns; for the file's name, sync its folder. Raises OSError: then none of them is in it."""
        packed = [record(self._mark, payload) for payload in payloads]
        begin = self.end or HEADER_SIZE
        try:
            if not self.end:
                _write(self._fd, header(self._mark), 0)
            _write(self._fd, b"".join(packed), begin)
            os.fsync(self._fd)
        except OSError:
            self._undo()
            raise
        self.end = begin + sum(map(len, packed))
        self.rows += len(packed)

    def _undo(self) -> None:
        """Takes away what came half onto the disk.

        The file is not written to again: after a failed sync the kernel may take pages for clean that never reached the disk.
        """
        self.takes_more = False
        with suppress(OSError):
            os.ftruncate(self._fd, self.end)

    def walk(self) -> Iterator[Record | Damage]:
        """What waits in it. Raises OSError."""
        return walk(self.read, self._mark, self.at, self.end)

    def read(self, at: int, size: int) -> bytes:
        return os.pread(self._fd, size, at)

    def drained_to(self, at: int, rows: int) -> None:
        self.at = at
        self.rows -= rows

    def remove(self) -> None:
        with suppress(FileNotFoundError):
            if self.kept_as is None:
                self.path.unlink()
            else:
                self.path.rename(self.kept_as)
        self.close()

    def close(self) -> None:
        os.close(self._fd)


def count_more(path: Path, at: int, rows: int) -> tuple[int, int]:
    """Of a file that another process holds: up to where its records were counted, and how many they are.

    at, rows: what this returned the last time; 0 at first. Raises OSError, NotASpoolError.
    """
    with path.open("rb", buffering=0) as file:
        mark = mark_of(os.pread(file.fileno(), HEADER_SIZE, 0))
        if mark is None:
            return 0, 0
        size = os.fstat(file.fileno()).st_size
        for found in walk(lambda at, size: os.pread(file.fileno(), size, at), mark, at or HEADER_SIZE, size):
            if isinstance(found, Damage) and found.end == size:
                break  # it is being written
            at = found.end
            rows += isinstance(found, Record)
    return at, rows


def make_folder(folder: Path, mode: int = 0o777) -> None:
    """Makes it and what it lies in; each name is synced, so that a power cut does not take the folder and with it the files."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    with suppress(FileExistsError):
        folder.mkdir(mode=mode)
    sync_folder(folder.parent)


def write_and_remove(path: Path, size: int) -> None:
    """Whether the disk takes so many bytes. Raises OSError."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, _MODE)
    try:
        _write(fd, bytes(size), 0)
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


def _locked(fd: int, path: Path) -> bool:
    """Whether we hold it now, and it is still the file of this name: who held it before may have removed it meanwhile."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.path.samestat(os.fstat(fd), path.stat())
    except (BlockingIOError, FileNotFoundError):
        return False


def _write(fd: int, data: bytes, at: int) -> None:
    """All of it: the kernel may write less than it is given, as when the disk is full."""
    view = memoryview(data)
    while view:
        written = os.pwrite(fd, view, at)
        view, at = view[written:], at + written
