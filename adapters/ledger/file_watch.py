"""Notices that the files of a SQLite ledger are not those that were opened: deleted, moved away, or replaced under the process.

Names say nothing: what is committed into a file that has no name any more is gone when the process ends. So a file is known by its
device and inode, and a transaction is believed only if the names still lead there after it. The write-ahead log and the index of it
(`-wal`, `-shm`) are watched too: what was committed lies in them first. Three looks take 4 us, a transaction 150.
"""

import os
import threading
from pathlib import Path

from adapters.ledger.errors import LedgerFileError
from adapters.logs import logger

log = logger(__name__)

_SIDE_FILES = ("-wal", "-shm")
_Identity = tuple[int, int]


class FileWatch:
    """The files of one ledger, known since they were opened first. Thread-safe."""

    def __init__(self, path: Path) -> None:
        self._path = str(path)
        self._known: dict[str, _Identity] = {}
        self._lock = threading.Lock()
        self._lost = ""

    def connection_opened(self) -> None:
        """A connection was made. Raises LedgerFileError if it is one to another file than those before."""
        if self._path not in self._known and (found := _identity_of(self._path)) is not None:
            with self._lock:
                self._known = {self._path: found} | self._known
        self.check()

    def transaction_ended(self) -> None:
        """Something was read or written: what SQLite put beside the ledger stays there as long as it is connected."""
        self.check()
        if len(self._known) <= len(_SIDE_FILES):
            self._learn_side_files()

    def forget(self) -> None:
        """All connections are closed: SQLite deletes what it put beside the ledger."""
        with self._lock:
            self._known = {}

    def check(self) -> None:
        """Raises LedgerFileError unless each name leads to the file that was opened."""
        for name, known in self._known.items():
            found = _identity_of(name)
            if found != known:
                self._report_lost(name, found)
        if self._lost:
            self._report_found()

    def _learn_side_files(self) -> None:
        """With the lock, and as a new table: others go through the old one."""
        with self._lock:
            real = os.path.realpath(self._path)  # SQLite, too, puts them beside the file itself and not beside a link to it
            found = {name: _identity_of(name) for name in (real + ending for ending in _SIDE_FILES) if name not in self._known}
            if self._known:
                self._known = self._known | {name: identity for name, identity in found.items() if identity is not None}

    def _report_lost(self, name: str, found: _Identity | None) -> None:
        """Says it once, loudly. Raises LedgerFileError."""
        event, what = ("ledger.file_gone", "was deleted or moved away") if found is None else ("ledger.replaced", "was replaced")
        message = f"{name} {what} while it was in use: put the very file back, or stop this process, restore, and start it again"
        with self._lock:
            before, self._lost = self._lost, event + name
        if before != event + name:
            log.error(event, path=name, error=message)
        raise LedgerFileError(message)

    def _report_found(self) -> None:
        with self._lock:
            before, self._lost = self._lost, ""
        if before:
            log.warning("ledger.file_back", path=self._path)


def _identity_of(name: str) -> _Identity | None:
    """Of the file, not of a link to it; None: there is none."""
    try:
        found = os.stat(name)
    except OSError:
        return None
    return found.st_dev, found.st_ino
