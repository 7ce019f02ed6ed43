"""Copies a SQLite ledger while it is served, with the callbacks that wait in its spool, into one file that stands alone.

The copy is of one moment: it is read within one transaction, so no commit makes it begin anew (as the shell's `.backup` does), and
no writer waits for it. What is written meanwhile stays in the write-ahead log until the copy is made; then that is emptied.
The copy is written under a name of its own beside its target, synced, checked, and renamed at the end: whoever kills it leaves the
earlier backup as it was, and a leftover that the next run removes.

A backup says of itself that it is one, so that nobody serves it by mistake (`require_no_backup`); `tally restore` makes a ledger of
it.
"""

import fcntl
import os
import secrets
import shutil
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, NullPool, create_engine, event
from sqlalchemy.exc import DBAPIError

from adapters.clock import monotonic_s
from adapters.ledger import inbox
from adapters.ledger.engine import Ledger, LedgerUnavailableError
from adapters.ledger.inbox import Arrival

#: Pages that are copied in one step: 16 MiB. After each the copy is synced: with all of it to write at the end, the door waited.
_PAGES_PER_STEP = 4096
#: Between two steps, s: the disk is others' too.
_PAUSE_S = 0.005
_MARK = ("backup", "made_at")
_SIDE_FILES = ("-wal", "-shm", "-journal")


class BackupError(Exception):
    """The backup cannot be made, or cannot be used; the message says what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupReport:
    """A backup. spooled: callbacks of the spool that are in it. log_bytes: how long the write-ahead log was at the end."""

    path: Path
    size: int
    took_s: float
    revision: str
    spooled: int
    log_bytes: int


def back_up(source: Path, target: Path, spooled: Iterator[Arrival], now: int, *, thorough: bool = False) -> BackupReport:
    """Copies a ledger's file. spooled: callbacks that wait in its spool, as of before. now: ms. Raises BackupError.

    thorough: the whole copy is checked against its indices too, which takes several times as long.
    """
    began = monotonic_s()
    if not source.is_file():
        raise BackupError(f"there is no ledger at {source}")
    target = target.absolute() if not target.is_symlink() else target.resolve()
    _require_free_name(source, target)
    remove_leftovers(target, "partial")
    _require_room(source, target.parent)
    with _new_file(target, "partial") as (copy, fd):
        log_bytes = _copy_pages(source, copy, fd)
        added, revision = _finish_copy(copy, spooled, now)
        check_integrity(copy, thorough=thorough)
        os.fsync(fd)
        copy.rename(target)
        sync_folder(target.parent)
    return BackupReport(
        path=target,
        size=target.stat().st_size,
        took_s=monotonic_s() - began,
        revision=revision,
        spooled=added,
        log_bytes=log_bytes,
    )


def _require_free_name(source: Path, target: Path) -> None:
    """An earlier backup is replaced, and nothing else is."""
    if not target.parent.is_dir():
        raise BackupError(f"there is no folder {target.parent}")
    if str(target) in {f"{source.absolute()}{end}" for end in ("", *_SIDE_FILES)} or (target.exists() and target.samefile(source)):
        raise BackupError(f"{target} is the ledger itself: give the backup another name")
    if target.is_dir():
        raise BackupError(f"{target} is a folder: give the backup a name in it")
    if target.exists() and made_at(target) is None:
        raise BackupError(f"{target} is there and is no backup: it is not overwritten; give another name, or move it away")


def _require_room(source: Path, folder: Path) -> None:
    needed = source.stat().st_size + _size_of(Path(f"{source}-wal"))
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise BackupError(f"the backup needs {needed} bytes, and {folder} has {free} left")


def _size_of(path: Path) -> int:
    with suppress(FileNotFoundError):
        return path.stat().st_size
    return 0


@contextmanager
def _new_file(target: Path, word: str) -> Iterator[tuple[Path, int]]:
    """An empty file beside the target, its owner's alone, locked while it is written."""
    path = target.with_name(f".{target.name}.{word}-{os.getpid()}-{secrets.token_hex(4)}")
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise BackupError(f"{path.parent} cannot be written: {error.strerror}") from error
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield path, fd
    except (OSError, sqlite3.Error) as error:
        raise BackupError(f"the backup could not be written to {path.parent}: {error}") from error
    finally:
        for end in ("", *_SIDE_FILES):
            with suppress(FileNotFoundError):
                Path(f"{path}{end}").unlink()
        os.close(fd)


def remove_leftovers(target: Path, word: str) -> None:
    """Removes what killed runs have left beside this target: what nobody holds locked."""
    for path in target.parent.glob(f".{glob_escape(target.name)}.{word}-*"):
        with suppress(OSError), path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()


def glob_escape(name: str) -> str:
    return "".join(f"[{c}]" if c in "*?[" else c for c in name)


def _copy_pages(source: Path, copy: Path, fd: int) -> int:
    """Copies all pages as of one moment; how long the write-ahead log was at the end, bytes."""

    def breathe(_status: int, _left: int, _all: int) -> None:
        os.fdatasync(fd)
        threading.Event().wait(_PAUSE_S)

    try:
        with closing(_open_sqlite(source)) as read, closing(_open_sqlite(copy)) as write:
            for pragma in ("journal_mode=OFF", "synchronous=OFF"):  # it is synced here, and begun anew if it fails
                write.execute(f"PRAGMA {pragma}")
            read.execute("BEGIN")
            read.execute("SELECT count(*) FROM sqlite_master").fetchone()  # from here on it sees one moment
            read.backup(write, pages=_PAGES_PER_STEP, progress=breathe)
            log_bytes = _size_of(Path(f"{source}-wal"))
            read.execute("COMMIT")
    except sqlite3.DatabaseError as error:
        raise BackupError(f"{source} could not be copied: {error}") from error
    return log_bytes


def _open_sqlite(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, timeout=10)
    connection.execute("PRAGMA cache_size=-8192")
    return connection


def _finish_copy(copy: Path, spooled: Iterator[Arrival], now: int) -> tuple[int, str]:
    """Puts what waits in the spool into the copy, and the mark of a backup; (how many were new, the schema's revision)."""
    with closing(_open_sqlite(copy)) as alone:
        alone.execute("PRAGMA journal_mode=DELETE")
    with exclusive_transaction(copy) as connection:
        revision = revision_of(connection)
        if revision is None:
            raise BackupError("it is no ledger: it has no revision of a schema")
        added = sum(_record_arrivals(connection, some) for some in _in_batches(spooled))
        connection.exec_driver_sql("DELETE FROM counters WHERE name = ?", (_MARK[0],))
        connection.exec_driver_sql("INSERT INTO counters (name, label, value) VALUES (?, ?, ?)", (*_MARK, now))
    return added, revision


def _record_arrivals(connection: Connection, arrivals: Sequence[Arrival]) -> int:
    """Records callbacks; how many were new. What the ledger refuses for what it is stays in the spool."""
    try:
        with connection.begin_nested():
            return len(inbox.record(connection, arrivals))
    except DBAPIError:
        return sum(_record_arrivals(connection, [each]) for each in arrivals) if len(arrivals) > 1 else 0


def _in_batches(arrivals: Iterator[Arrival]) -> Iterator[Sequence[Arrival]]:
    some: list[Arrival] = []
    for arrival in arrivals:
        some.append(arrival)
        if len(some) == 500:
            yield some
            some = []
    if some:
        yield some


@contextmanager
def exclusive_transaction(path: Path) -> Iterator[Connection]:
    """A transaction on a file that nobody else has. No log stays beside it."""
    engine = create_engine("sqlite://", creator=lambda: _open_sqlite(path), poolclass=NullPool, hide_parameters=True)
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    with engine.begin() as connection:
        yield connection


def revision_of(connection: Connection) -> str | None:
    there = connection.exec_driver_sql("SELECT count(*) FROM sqlite_master WHERE name = 'alembic_version'").scalar()
    return connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar() if there else None


def check_integrity(path: Path, *, thorough: bool = False) -> None:
    """Raises BackupError if the file is damaged."""
    asked = "integrity_check" if thorough else "quick_check"
    try:
        with closing(_open_sqlite(path)) as connection:
            found = [row[0] for row in connection.execute(f"PRAGMA {asked}(3)")]
    except sqlite3.DatabaseError as error:
        found = [str(error)]
    if found != ["ok"]:
        raise BackupError(f"{path} is damaged: {'; '.join(found)}")


def made_at(path: Path) -> int | None:
    """When the backup in this file was made, ms; None: it is none. Changes nothing."""
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)) as connection:
            row = connection.execute("SELECT value FROM counters WHERE name = ? AND label = ?", _MARK).fetchone()
    except sqlite3.DatabaseError:
        return None
    return int(row[0]) if row is not None else None


def remove_mark(connection: Connection) -> None:
    """It is a ledger now."""
    connection.exec_driver_sql("DELETE FROM counters WHERE name = ?", (_MARK[0],))


def require_no_backup(ledger: Ledger) -> None:
    """A file that is a backup, put in a ledger's place by hand, is not served: it would repeat what the lost ledger did and said.

    Raises LedgerUnavailableError.
    """
    if ledger.path is None or not ledger.path.is_file():
        return
    require_no_foreign_log(ledger.path)
    if made_at(ledger.path) is not None:
        raise LedgerUnavailableError(
            f"{ledger.path} is a backup that was put there by hand: run `tally db new-epoch` to make a ledger of it"
            " (`tally restore FILE` does all of that)"
        )


def require_no_foreign_log(path: Path) -> None:
    """Raises LedgerUnavailableError if a write-ahead log lies beside a file that has none: SQLite would write it into the file."""
    if _has_foreign_log(path):
        raise LedgerUnavailableError(
            f"{path}-wal belongs to another file than {path}, which was put beside it by hand, and would damage it: move"
            f" {path.name}-wal and {path.name}-shm away (keep them), then run `tally db new-epoch`"
        )


def _has_foreign_log(path: Path) -> bool:
    """A file that is not in WAL mode (bytes 18 and 19 of its header are 1), as backups are, never has a log of its own."""
    if not _size_of(Path(f"{path}-wal")):
        return False
    with path.open("rb") as file:
        header = file.read(20)
    return header[:15] == b"SQLite format 3" and header[18:20] == b"\x01\x01"


def sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
