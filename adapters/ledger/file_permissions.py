"""Tells before a SQLite ledger is served whether this process may write it."""

import os
from pathlib import Path

from adapters.ledger.errors import LedgerUnavailableError


def require_writable(ledger: Path | None) -> None:
    """Raises LedgerUnavailableError unless the file, what SQLite keeps beside it, and their folder may be written.

    Without this the door would open, spool all that comes, and no worker would get anywhere: as after a command that root ran.
    """
    if ledger is None:
        return
    real = ledger.resolve()
    for path in (real.parent, real, Path(f"{real}-wal"), Path(f"{real}-shm")):
        if path.exists() and not os.access(path, os.W_OK | (os.X_OK if path.is_dir() else 0)):
            found = path.stat()
            raise LedgerUnavailableError(
                f"{path} cannot be written by user {os.geteuid()}: it is user {found.st_uid}'s, mode {found.st_mode & 0o777:o}; "
                "give it to the user that runs this program"
            )
