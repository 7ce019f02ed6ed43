"""One serving process group per SQLite ledger: a second one would not be wrong, but slow in ways nobody understands."""

import fcntl
import os
from pathlib import Path
from typing import TextIO

from adapters.ledger.engine import sqlite_path


class AlreadyServedError(Exception):
    """Another process serves this ledger; the message names it."""


class ServingLock:
    """Held by a process while it plays a role (`web` or `work`) for a SQLite ledger; other ledgers need none.

    The kernel lets go of it when the process ends, however it ends.
    """

    def __init__(self, url: str, role: str) -> None:
        path = sqlite_path(url)
        self._path = None if path is None else Path(f"{path}.{role}.lock")
        self._role = role
        self._file: TextIO | None = None

    def acquire(self) -> None:
        """Raises AlreadyServedError."""
        if self._path is None:
            return
        self._file = self._path.open("a+")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._file.seek(0)
            holder = self._file.read().strip() or "unknown"
            self._file.close()
            message = f"process {holder} already plays `{self._role}` for this ledger ({self._path}); stop it first"
            raise AlreadyServedError(message) from error
        self._file.truncate(0)
        self._file.write(str(os.getpid()))
        self._file.flush()

    def release(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
