"""Checks before a SQLite ledger is served that this process may write it."""

import os
from pathlib import Path

from adapters.ledger.errors import LedgerUnavailableError


def require_writable(ledger: Path | None) -> None:
    """Raises LedgerUnavailableError unless the ledger's file, SQLite's files beside it, and their folder may be written.

    Without this check the door would open and spool all callbacks while no worker could proceed, as after a command that root ran.
    """
    if ledger is None:
        return
    real = ledger.resolve()
    for path in (real.parent, real, Path(f"{real}-wal"), Path(f"{real}-shm")):
        if path.exists() and not os.access(path, os.W_OK | (os.X_OK if path.is_dir() else 0)):
            status = path.stat()
            raise LedgerUnavailableError(
                f"{path} cannot be written by user {os.geteuid()}: its owner is {status.st_uid}, mode {status.st_mode & 0o777:o}; "
                "change its owner to the user that runs this program"
            )
