"""Locks of a SQLite ledger: one process plays each role for it, and one upgrades it. Other ledgers need none of them.

A second server would not be wrong, but slow in ways nobody understands; under another name of the same file (a hard link) it would
be wrong: SQLite keeps a write-ahead log beside each name. So a role is locked twice. A lock file beside the ledger says which
process has it. And a byte of the ledger itself is locked, far behind its end and behind the bytes that SQLite locks, so that the
file is known whatever it is called, and whoever deletes lock files: with an "open file description lock" (Linux, fcntl(2)).

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

#: The bytes of a ledger that stand for roles. SQLite locks bytes at 2^30, and its files end below 2^48.
_BYTES = {"web": 1 << 60, "work": (1 << 60) + 1}
_SUPPORTED = hasattr(fcntl, "F_OFD_SETLK")
#: By device and inode: descriptors of ledgers, never closed.
_DESCRIPTORS: dict[tuple[int, int], int] = {}
_LOCK = threading.Lock()


class AlreadyServedError(Exception):
    """Another process serves this ledger; the message names it."""


class ServingLock:
    """Held by a process while it plays a role (`web` or `work`) for a ledger.

    The kernel lets go of it when the process ends, however it ends.
    """

    def __init__(self, url: str, role: str) -> None:
        path = sqlite_path(url)
        self._ledger = None if path is None else path.resolve()
        self._role = role
        self._file: int | None = None

    def acquire(self) -> None:
        """Raises AlreadyServedError, LedgerUnavailableError."""
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
                f"another process already plays `{self._role}` for this very file, under another name or with its lock file "
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
    """Waits until nobody else upgrades the ledger; held within the block. Raises LedgerUnavailableError."""

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
        found = ledger.stat()
    except OSError:
        return
    several = S_ISREG(found.st_mode) and found.st_nlink > 1
    real = ledger.resolve()
    for role in _BYTES if several else ():
        if _is_byte_locked(real, role) and not _is_lock_file_held(_lock_path(real, role)):
            raise LedgerUnavailableError(f"{ledger} is served under another name of the same file (a hard link): use that one")


def _lock_path(ledger: Path, role: str) -> Path:
    return Path(f"{ledger}.{role}.lock")


def _open_lock_file(path: Path) -> int:
    """For reading at the least: who may not write into the file of another user can lock it all the same."""
    try:
        try:
            return os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        except PermissionError:
            return os.open(path, os.O_RDONLY)
    except OSError as error:
        why = "the folder cannot be written" if isinstance(error, FileNotFoundError) else error.strerror
        message = f"the lock file {path} cannot be opened by user {os.geteuid()}: {why}; give file and folder to that user"
        raise LedgerUnavailableError(message) from error


def _write_pid(file: int) -> None:
    """Says whose it is, where that may be written."""
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
    """Whether it is ours now; True where the system has no such locks, or there is no file yet."""
    descriptor = _ledger_descriptor(ledger)
    if descriptor is None:
        return True
    try:
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _flock_struct(fcntl.F_WRLCK, role))
    except (BlockingIOError, PermissionError):
        return False
    except OSError:
        return True  # a file system without them
    return True


def _unlock_byte(ledger: Path, role: str) -> None:
    descriptor = _ledger_descriptor(ledger)
    if descriptor is not None:
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _flock_struct(fcntl.F_UNLCK, role))


def _is_byte_locked(ledger: Path, role: str) -> bool:
    """Whether another process has it."""
    descriptor = _ledger_descriptor(ledger)
    if descriptor is None:
        return False
    try:
        answer = fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, _flock_struct(fcntl.F_WRLCK, role))
    except OSError:
        return False
    return bool(struct.unpack_from("h", answer)[0] != fcntl.F_UNLCK)


def _ledger_descriptor(ledger: Path) -> int | None:
    """Of the ledger's file, the same for the whole life of the process. Raises LedgerUnavailableError."""
    if not _SUPPORTED:
        return None
    with _LOCK:
        try:
            found = ledger.stat()
            known = (found.st_dev, found.st_ino)
            if known not in _DESCRIPTORS:
                _DESCRIPTORS[known] = os.open(ledger, os.O_RDWR)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise LedgerUnavailableError(f"the ledger {ledger} cannot be written: {error.strerror}") from error
        return _DESCRIPTORS[known]


def _flock_struct(kind: int, role: str) -> bytes:
    """A `struct flock` for one byte: type, from where, start, length, process (must be 0)."""
    return struct.pack("hhqqi0q", kind, os.SEEK_SET, _BYTES[role], 1, 0)
