"""Detects that the files of a SQLite ledger are no longer those that were opened: deleted, moved away, or replaced.

SQLite does not notice it, and data committed to a file without a name is lost when the process ends. So a file is identified by its
device and inode, and a transaction counts only if the names still lead to the same files after it. The write-ahead log and its
index (`-wal`, `-shm`) are watched too: commits are in them first. Three checks take 4 us, a transaction 150.
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
    """The identities of one ledger's files since they were first opened. Thread-safe."""

    def __init__(self, path: Path) -> None:
        self._path = str(path)
        self._known: dict[str, _Identity] = {}
        self._lock = threading.Lock()
        self._lost = ""

    def connection_opened(self) -> None:
        """Records a new connection. Raises LedgerFileError if it leads to another file than those before."""
        if self._path not in self._known and (identity := _identity_of(self._path)) is not None:
            with self._lock:
                self._known = {self._path: identity} | self._known
        self.check()

    def transaction_ended(self) -> None:
        """Checks the files after a transaction, and records SQLite's files beside the ledger, which stay while it is connected."""
        self.check()
        if len(self._known) <= len(_SIDE_FILES):
            self._learn_side_files()

    def forget(self) -> None:
        """Forgets all identities, when all connections are closed: SQLite then deletes its files beside the ledger."""
        with self._lock:
            self._known = {}

    def check(self) -> None:
        """Raises LedgerFileError unless each name leads to the file that was opened."""
        for name, known in self._known.items():
            identity = _identity_of(name)
            if identity != known:
                self._report_lost(name, identity)
        if self._lost:
            self._report_found()

    def _learn_side_files(self) -> None:
        """Records SQLite's files beside the ledger. It builds a new dict, because other threads iterate over the old one."""
        with self._lock:
            real = os.path.realpath(self._path)  # SQLite creates them beside the file itself, not beside a link to it
            side_files = {name: _identity_of(name) for name in (real + ending for ending in _SIDE_FILES) if name not in self._known}
            if self._known:
                self._known = self._known | {name: identity for name, identity in side_files.items() if identity is not None}

    def _report_lost(self, name: str, identity: _Identity | None) -> None:
        """Logs the loss once. Raises LedgerFileError."""
        event, what = ("ledger.file_gone", "was deleted or moved away") if identity is None else ("ledger.replaced", "was replaced")
        message = (
            f"{name} {what} while it was in use: put the same file back, or stop this process, restore a backup, and restart it"
        )
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
    """Returns the identity of a file, not of a link to it; None: it does not exist."""
    try:
        status = os.stat(name)
    except OSError:
        return None
    return status.st_dev, status.st_ino
