"""Process locks of a SQLite ledger: one process has each role (`web`, `work`) for it, and one upgrades it.

Ledgers on PostgreSQL need none of them. A second server would work, but slowly and for no visible reason; under another name of the
same file (a hard link) it would corrupt data, because SQLite keeps a write-ahead log beside each name. So a role has two locks. A
lock file beside the ledger names the process that has it. And a byte of the ledger itself is locked, far behind its end and behind
the bytes that SQLite locks: this lock works under any name of the file, and if lock files are deleted. It is an "open file
description lock" (Linux, fcntl(2)).

SQLite's own locks are of the older kind, which a process loses when it closes *any* descriptor of the file. So the descriptors here
are kept until the process ends.
"""

import fcntl
import os
import struct
import threading
from pathlib import Path
from stat import S_ISREG
from types import TracebackType
from typing import Self

from adapters.ledger.errors import LedgerUnavailableError
from adapters.ledger.ledger_url import sqlite_path

#: Role -> the byte of the ledger that is locked. SQLite locks bytes at 2^30, and its files end below 2^48.
_BYTES = {"web": 1 << 60, "work": (1 << 60) + 1}
_SUPPORTED = hasattr(fcntl, "F_OFD_SETLK")
#: (device, inode) -> descriptor of a ledger; never closed.
_DESCRIPTORS: dict[tuple[int, int], int] = {}
_LOCK = threading.Lock()


class AlreadyServedError(Exception):
    """Another process serves this ledger; the message names it."""


class ServingLock:
    """The lock of a process that has a role (`web` or `work`) for a ledger.

    The kernel releases it when the process ends, however it ends.
    """

    def __init__(self, url: str, role: str) -> None:
        path = sqlite_path(url)
        self._ledger = None if path is None else path.resolve()
        self._role = role
        self._file: int | None = None

    def acquire(self) -> None:
        """Acquires both locks of the role. Raises AlreadyServedError, LedgerUnavailableError."""
        if self._ledger is None:
            return
        path = _lock_path(self._ledger, self._role)
        file = _open_lock_file(path)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(file, 20, 0).decode(errors="replace").strip() or "unknown"
            os.close(file)
            message = f"process {holder} already plays `{self._role}` for this ledger ({path}); stop it first"
            raise AlreadyServedError(message) from error
        if not _lock_byte(self._ledger, self._role):
            os.close(file)
            raise AlreadyServedError(
                f"another process already plays `{self._role}` for the same file, under another name or with its lock file "
                f"deleted ({self._ledger}); stop it first"
            )
        self._file = file
        _write_pid(file)

    def release(self) -> None:
        if self._file is not None and self._ledger is not None:
            _unlock_byte(self._ledger, self._role)
            os.close(self._file)
            self._file = None


class UpgradeLock:
    """The lock of the process that upgrades the ledger; waits for it, and holds it in the block. Raises LedgerUnavailableError."""

    def __init__(self, ledger: Path) -> None:
        self._path = Path(f"{ledger.resolve()}.upgrade.lock")
        self._file = -1

    def __enter__(self) -> Self:
        self._file = _open_lock_file(self._path)
        fcntl.flock(self._file, fcntl.LOCK_EX)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        os.close(self._file)


def reject_other_name(ledger: Path) -> None:
    """Raises LedgerUnavailableError if the file has several names and is served under another one than this."""
    try:
        status = ledger.stat()
    except OSError:
        return
    several = S_ISREG(status.st_mode) and status.st_nlink > 1
    real = ledger.resolve()
    for role in _BYTES if several else ():
        if _is_byte_locked(real, role) and not _is_lock_file_held(_lock_path(real, role)):
            raise LedgerUnavailableError(f"{ledger} is served under another name of the same file (a hard link): use that one")


def _lock_path(ledger: Path, role: str) -> Path:
    return Path(f"{ledger}.{role}.lock")


def _open_lock_file(path: Path) -> int:
    """Opens a lock file, at least for reading: that suffices to lock a file of another user that this one may not write."""
    try:
        try:
            return os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        except PermissionError:
            return os.open(path, os.O_RDONLY)
    except OSError as error:
        why = "the folder cannot be written" if isinstance(error, FileNotFoundError) else error.strerror
        message = (
            f"the lock file {path} cannot be opened by user {os.geteuid()}: {why}; make that user the owner of file and folder"
        )
        raise LedgerUnavailableError(message) from error


def _write_pid(file: int) -> None:
    """Writes the process id into the lock file, if it may be written."""
    try:
        os.ftruncate(file, 0)
        os.pwrite(file, str(os.getpid()).encode(), 0)
    except OSError:
        pass


def _is_lock_file_held(path: Path) -> bool:
    try:
        file = os.open(path, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(file)
    return False


# Bytes of the ledger.


def _lock_byte(ledger: Path, role: str) -> bool:
    """Locks a role's byte; returns whether this process has it. True where such locks are not supported or the file is missing."""
    descriptor = _ledger_descriptor(ledger)
    if descriptor is None:
        return True
    try:
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _flock_struct(fcntl.F_WRLCK, role))
    except (BlockingIOError, PermissionError):
        return False
    except OSError:
        return True  # the file system does not support them
    return True


def _unlock_byte(ledger: Path, role: str) -> None:
    descriptor = _ledger_descriptor(ledger)
    if descriptor is not None:
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _flock_struct(fcntl.F_UNLCK, role))


def _is_byte_locked(ledger: Path, role: str) -> bool:
    """Returns whether another process has locked the role's byte."""
    descriptor = _ledger_descriptor(ledger)
    if descriptor is None:
        return False
    try:
        answer = fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, _flock_struct(fcntl.F_WRLCK, role))
    except OSError:
        return False
    return bool(struct.unpack_from("h", answer)[0] != fcntl.F_UNLCK)


def _ledger_descriptor(ledger: Path) -> int | None:
    """Returns the descriptor of the ledger's file, the same for the life of the process. Raises LedgerUnavailableError."""
    if not _SUPPORTED:
        return None
    with _LOCK:
        try:
            status = ledger.stat()
            identity = (status.st_dev, status.st_ino)
            if identity not in _DESCRIPTORS:
                _DESCRIPTORS[identity] = os.open(ledger, os.O_RDWR)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise LedgerUnavailableError(f"the ledger {ledger} cannot be written: {error.strerror}") from error
        return _DESCRIPTORS[identity]


def _flock_struct(kind: int, role: str) -> bytes:
    """Returns a `struct flock` for one byte: type, whence, start, length, process (must be 0)."""
    return struct.pack("hhqqi0q", kind, os.SEEK_SET, _BYTES[role], 1, 0)
