"""Keeps the admin token of a desk that has no `[[tokens]]`: in a file that only its owner may read, beside the ledger.

The first `tally up` or `tally web` makes it, later ones and the command line read it. The file holds the token and a line break, so
that it serves as Prometheus' `credentials_file`, and as `token = "file:PATH"` of `[[tokens]]`. Who wants another token deletes
the file and restarts.
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
from adapters.settings import Role, Secret, Settings, Token
from adapters.settings.values import is_token
from adapters.spool import folder_of

#: The name under which audit lines tell who used the token.
NAME = "local"
#: Bytes that are read of the file; a token is far shorter.
_MOST = 4_096


class TokenFileError(Exception):
    """The token cannot be made, kept or read; the message names the file and says what would help."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A token in its file. `is_new`: it was made just now. `was_exposed`: other users of the machine could read it until now."""

    path: Path
    token: Token
    is_new: bool = False
    was_exposed: bool = False


def path_of(settings: Settings) -> Path:
    """Where the token is kept: beside the file of a SQLite ledger; for PostgreSQL beside the ledger's own spool folder."""
    ledger = sqlite_path(settings.database.url)
    if ledger is None:
        return _with_suffix(folder_of(Path(settings.spool.folder), settings.database.url))
    return _with_suffix(ledger) if ledger.suffix == ".token" else ledger.with_suffix(".token")


def _with_suffix(path: Path) -> Path:
    return path.with_name(f"{path.name}.token")


def with_token(settings: Settings) -> tuple[Settings, Kept | None]:
    """The settings with at least one token, and the one that stands in the file; None where it is not needed.

    Makes the token if there is none. Raises TokenFileError.
    """
    if settings.tokens or settings.server.open_desk:
        return settings, None
    kept = keep(path_of(settings))
    return replace(settings, tokens=(kept.token,)), kept


def read(path: Path) -> Kept:
    """The token that an earlier start has made. Raises TokenFileError."""
    try:
        with _opened(path, os.O_RDONLY) as number:
            text = _read(number)
    except FileNotFoundError as error:
        raise TokenFileError(f"there is no token at {path} yet: the first `tally up` (or `tally web`) makes it") from error
    except OSError as error:
        raise TokenFileError(f"the token in {path} cannot be read: {error.strerror}; it is for the user that runs tally") from error
    return Kept(path=path, token=_token(path, text))


def keep(path: Path) -> Kept:
    """The token in this file; made, and synced to disk, if there is none. Of processes that start at once one makes it.

    Raises TokenFileError.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return _found(path) or _made(path)
    except OSError as error:
        why = "it is a symbolic link" if error.errno == errno.ELOOP else error.strerror
        message = f"the desk's token cannot be kept in {path}: {why}. Let tally write there, or configure [[tokens]]"
        raise TokenFileError(message) from error


def _found(path: Path) -> Kept | None:
    """What is there; None where nothing was written yet. Raises OSError, TokenFileError."""
    try:
        with _opened(path, os.O_RDONLY) as number:
            was_exposed = _secure(path, number)
            text = _read(number)
    except FileNotFoundError:
        return None
    return Kept(path=path, token=_token(path, text), was_exposed=was_exposed) if text else None


def _made(path: Path) -> Kept:
    """Whoever comes second waits for the lock, and finds it written. Raises OSError, TokenFileError."""
    with _opened(path, os.O_RDWR | os.O_CREAT) as number:
        fcntl.flock(number, fcntl.LOCK_EX)
        was_exposed = _secure(path, number)
        if text := _read(number):
            return Kept(path=path, token=_token(path, text), was_exposed=was_exposed)
        text = generate()
        os.write(number, f"{text}\n".encode())
        os.fsync(number)
        _sync(path.parent)
        return Kept(path=path, token=_token(path, text), is_new=True)


@contextmanager
def _opened(path: Path, flags: int) -> Iterator[int]:
    """A link is not followed: in a folder that others can write to, it could lead anywhere. A pipe there is not waited for."""
    number = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    try:
        yield number
    finally:
        os.close(number)


def _secure(path: Path, number: int) -> bool:
    """Whether others could read the file until now; it is 0600 from now on. Raises OSError, TokenFileError."""
    found, us = os.fstat(number), os.geteuid()
    if not stat.S_ISREG(found.st_mode):
        raise TokenFileError(f"{path} must be a file, for the desk's token; move it away")
    if us != 0 and found.st_uid not in (us, 0):
        raise TokenFileError(f"{path} belongs to another user, who may have chosen the token in it; delete it")
    if us not in (found.st_uid, 0) or not found.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        return False
    os.fchmod(number, 0o600)
    return True


def _read(number: int) -> str:
    return os.pread(number, _MOST, 0).decode("ascii", errors="replace").strip("\r\n")


def _sync(folder: Path) -> None:
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def _token(path: Path, text: str) -> Token:
    if not is_token(text):
        raise TokenFileError(f"{path} holds no token: delete it, and the next start makes a new one")
    return Token(name=NAME, role=Role.ADMIN, token=Secret(text))
