"""Keeps the admin token of a desk that has no `[[tokens]]`: in a file that only its owner may read, beside the ledger.

The first `tally up` or `tally web` creates it; later ones and the command line read it. The file contains the token and a line
break, so that it serves as Prometheus' `credentials_file`, and as `token = "file:PATH"` of `[[tokens]]`. To get another token,
delete the file and restart.
"""

import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from adapters.access.tokens import generate
from adapters.ledger.engine import sqlite_path
from adapters.settings import Role, Secret, Settings, TokenSettings
from adapters.settings.values import is_token
from adapters.spool import ledger_folder

#: The name of the token in audit lines.
LOCAL_NAME = "local"
#: Bytes of the file that are read, at most; a token is far shorter.
_MAX_BYTES = 4_096


class TokenFileError(Exception):
    """The token file cannot be created or read; the message names the file and says what would help."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenFile:
    """A token and its file. is_new: it was created just now. was_exposed: other users of the machine could read it until now."""

    path: Path
    token: TokenSettings
    is_new: bool = False
    was_exposed: bool = False


def token_path(settings: Settings) -> Path:
    """Returns the path of the token file: beside a SQLite ledger; for PostgreSQL beside the ledger's own spool folder."""
    ledger = sqlite_path(settings.database.url)
    if ledger is None:
        return _with_suffix(ledger_folder(Path(settings.spool.folder), settings.database.url))
    return _with_suffix(ledger) if ledger.suffix == ".token" else ledger.with_suffix(".token")


def _with_suffix(path: Path) -> Path:
    return path.with_name(f"{path.name}.token")


def ensure_token(settings: Settings) -> tuple[Settings, TokenFile | None]:
    """Returns settings that have a token or an open desk, and the token file; None if no token file is needed.

    Creates the token file if there is none. Raises TokenFileError.
    """
    if settings.tokens or settings.server.open_desk:
        return settings, None
    token_file = read_or_create(token_path(settings))
    return replace(settings, tokens=(token_file.token,)), token_file


def read(path: Path) -> TokenFile:
    """Reads the token file that an earlier start has created. Raises TokenFileError."""
    try:
        with _open_descriptor(path, os.O_RDONLY) as number:
            text = _read(number)
    except FileNotFoundError as error:
        raise TokenFileError(f"there is no token at {path} yet: the first `tally up` (or `tally web`) creates it") from error
    except OSError as error:
        raise TokenFileError(f"the token in {path} cannot be read: {error.strerror}; run this as the user of tally") from error
    return TokenFile(path=path, token=_parse_token(path, text))


def read_or_create(path: Path) -> TokenFile:
    """Reads the token file; creates it, synced to disk, if there is none. Of processes that start at once, one creates it.

    Raises TokenFileError.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return _read_existing(path) or _create_token(path)
    except OSError as error:
        why = "it is a symbolic link" if error.errno == errno.ELOOP else error.strerror
        message = f"the desk's token cannot be saved in {path}: {why}. Allow tally to write there, or configure [[tokens]]"
        raise TokenFileError(message) from error


def _read_existing(path: Path) -> TokenFile | None:
    """Returns the token file; None if nothing was written yet. Raises OSError, TokenFileError."""
    try:
        with _open_descriptor(path, os.O_RDONLY) as number:
            was_exposed = _make_private(path, number)
            text = _read(number)
    except FileNotFoundError:
        return None
    return TokenFile(path=path, token=_parse_token(path, text), was_exposed=was_exposed) if text else None


def _create_token(path: Path) -> TokenFile:
    """Creates the token file under a lock; a second process waits for it and finds it written. Raises OSError, TokenFileError."""
    with _open_descriptor(path, os.O_RDWR | os.O_CREAT) as number:
        fcntl.flock(number, fcntl.LOCK_EX)
        was_exposed = _make_private(path, number)
        if text := _read(number):
            return TokenFile(path=path, token=_parse_token(path, text), was_exposed=was_exposed)
        text = generate()
        os.write(number, f"{text}\n".encode())
        os.fsync(number)
        _sync_folder(path.parent)
        return TokenFile(path=path, token=_parse_token(path, text), is_new=True)


@contextmanager
def _open_descriptor(path: Path, flags: int) -> Iterator[int]:
    """Opens a file, but follows no symbolic link: in a folder that others can write to, it could lead anywhere.

    Never waits for a pipe.
    """
    number = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    try:
        yield number
    finally:
        os.close(number)


def _make_private(path: Path, number: int) -> bool:
    """Sets the file to 0600; returns whether other users could read it until now. Raises OSError, TokenFileError."""
    status, us = os.fstat(number), os.geteuid()
    if not stat.S_ISREG(status.st_mode):
        raise TokenFileError(f"{path} must be a regular file with the desk's token; move it away")
    if us != 0 and status.st_uid not in (us, 0):
        raise TokenFileError(f"{path} belongs to another user, who may have chosen the token in it; delete it")
    if us not in (status.st_uid, 0) or not status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        return False
    os.fchmod(number, 0o600)
    return True


def _read(number: int) -> str:
    return os.pread(number, _MAX_BYTES, 0).decode("ascii", errors="replace").strip("\r\n")


def _sync_folder(folder: Path) -> None:
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def _parse_token(path: Path, text: str) -> TokenSettings:
    if not is_token(text):
        raise TokenFileError(f"{path} contains no token: delete it, and the next start creates a new one")
    return TokenSettings(name=LOCAL_NAME, role=Role.ADMIN, token=Secret(text))
