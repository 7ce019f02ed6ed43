"""Copies a SQLite ledger while it is served, with the callbacks that wait in its spool, into one self-contained file.

The copy shows one moment: it is read within one transaction, so no commit restarts it (as with the shell's `.backup`), and no
writer waits for it. Commits made meanwhile stay in the write-ahead log until the copy is complete; then the log is emptied.
The copy is written under a temporary name beside its target, synced, checked, and renamed at the end: a killed run leaves the
earlier backup as it was, and a temporary file that the next run removes.

A backup carries a mark, so that it is not served by mistake (`require_no_backup`); `tally restore` makes a ledger of it.
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

#: Pages per step: 16 MiB. The copy is synced after each step: with one sync of the whole copy at the end, the door had to wait.
_PAGES_PER_STEP = 4096
#: Pause between two steps, s: the served ledger uses the same disk.
_PAUSE_S = 0.005
_MARK = ("backup", "made_at")
_SIDE_FILES = ("-wal", "-shm", "-journal")


class BackupError(Exception):
    """A backup cannot be made or used; the message says what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupReport:
    """A finished backup. spooled: number of added callbacks from the spool. log_bytes: size of the write-ahead log at the end."""

    path: Path
    size: int
    took_s: float
    revision: str
    spooled: int
    log_bytes: int


def back_up(source: Path, target: Path, spooled: Iterator[Arrival], now: int, *, thorough: bool = False) -> BackupReport:
    """Copies a ledger's file. spooled: the callbacks that waited in its spool before the copy. now: ms. Raises BackupError.

    thorough: also check the whole copy against its indexes, which takes several times as long.
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
    """Raises BackupError unless the target is free or an earlier backup, which may be replaced."""
    if not target.parent.is_dir():
        raise BackupError(f"there is no folder {target.parent}")
    if str(target) in {f"{source.absolute()}{end}" for end in ("", *_SIDE_FILES)} or (target.exists() and target.samefile(source)):
        raise BackupError(f"{target} is the ledger itself: give the backup another name")
    if target.is_dir():
        raise BackupError(f"{target} is a folder: give the backup a name in it")
    if target.exists() and made_at(target) is None:
        raise BackupError(f"{target} exists and is no backup: it is not overwritten; give another name, or move it away")


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
    """Creates an empty file beside the target, readable only by its owner and locked while it is written."""
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
    """Removes the files that killed runs have left beside the target: those that no process has locked."""
    for path in target.parent.glob(f".{glob_escape(target.name)}.{word}-*"):
        with suppress(OSError), path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()


def glob_escape(name: str) -> str:
    return "".join(f"[{c}]" if c in "*?[" else c for c in name)


def _copy_pages(source: Path, copy: Path, fd: int) -> int:
    """Copies all pages as of one moment; returns the size of the write-ahead log at the end, bytes."""

    def sync_and_pause(_status: int, _left: int, _all: int) -> None:
        os.fdatasync(fd)
        threading.Event().wait(_PAUSE_S)

    try:
        with closing(_open_sqlite(source)) as read, closing(_open_sqlite(copy)) as write:
            for pragma in ("journal_mode=OFF", "synchronous=OFF"):  # this function syncs, and a failed copy is discarded
                write.execute(f"PRAGMA {pragma}")
            read.execute("BEGIN")
            read.execute("SELECT count(*) FROM sqlite_master").fetchone()  # takes the snapshot
            read.backup(write, pages=_PAGES_PER_STEP, progress=sync_and_pause)
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
    """Adds the spool's callbacks and the backup mark to the copy; returns (number of new callbacks, the schema's revision)."""
    with closing(_open_sqlite(copy)) as own_connection:
        own_connection.execute("PRAGMA journal_mode=DELETE")
    with exclusive_transaction(copy) as connection:
        revision = revision_of(connection)
        if revision is None:
            raise BackupError("the file is no ledger: it has no schema revision")
        added = sum(_record_arrivals(connection, batch) for batch in _in_batches(spooled))
        connection.exec_driver_sql("DELETE FROM counters WHERE name = ?", (_MARK[0],))
        connection.exec_driver_sql("INSERT INTO counters (name, label, value) VALUES (?, ?, ?)", (*_MARK, now))
    return added, revision


def _record_arrivals(connection: Connection, arrivals: Sequence[Arrival]) -> int:
    """Records callbacks; returns the number of new ones. A callback that the database rejects stays in the spool only."""
    try:
        with connection.begin_nested():
            return len(inbox.record(connection, arrivals))
    except DBAPIError:
        return sum(_record_arrivals(connection, [arrival]) for arrival in arrivals) if len(arrivals) > 1 else 0


def _in_batches(arrivals: Iterator[Arrival]) -> Iterator[Sequence[Arrival]]:
    batch: list[Arrival] = []
    for arrival in arrivals:
        batch.append(arrival)
        if len(batch) == 500:
            yield batch
            batch = []
    if batch:
        yield batch


@contextmanager
def exclusive_transaction(path: Path) -> Iterator[Connection]:
    """Opens a transaction on a file that no other process uses. It leaves no log beside the file."""
    engine = create_engine("sqlite://", creator=lambda: _open_sqlite(path), poolclass=NullPool, hide_parameters=True)
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    with engine.begin() as connection:
        yield connection


def revision_of(connection: Connection) -> str | None:
    exists = connection.exec_driver_sql("SELECT count(*) FROM sqlite_master WHERE name = 'alembic_version'").scalar()
    return connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar() if exists else None


def check_integrity(path: Path, *, thorough: bool = False) -> None:
    """Raises BackupError if the file is damaged."""
    pragma = "integrity_check" if thorough else "quick_check"
    try:
        with closing(_open_sqlite(path)) as connection:
            findings = [row[0] for row in connection.execute(f"PRAGMA {pragma}(3)")]
    except sqlite3.DatabaseError as error:
        findings = [str(error)]
    if findings != ["ok"]:
        raise BackupError(f"{path} is damaged: {'; '.join(findings)}")


def made_at(path: Path) -> int | None:
    """Returns when a backup was made, ms; None: the file is no backup. Does not change the file."""
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)) as connection:
            row = connection.execute("SELECT value FROM counters WHERE name = ? AND label = ?", _MARK).fetchone()
    except sqlite3.DatabaseError:
        return None
    return int(row[0]) if row is not None else None


def remove_mark(connection: Connection) -> None:
    """Removes the backup mark: the file becomes a ledger."""
    connection.exec_driver_sql("DELETE FROM counters WHERE name = ?", (_MARK[0],))


def require_no_backup(ledger: Ledger) -> None:
    """Raises LedgerUnavailableError if the ledger's file is a backup that was put there by hand.

    Served as it is, it would repeat calls, ids and events of the lost ledger.
    """
    if ledger.path is None or not ledger.path.is_file():
        return
    require_no_foreign_log(ledger.path)
    if made_at(ledger.path) is not None:
        raise LedgerUnavailableError(
            f"{ledger.path} is a backup that was put there by hand: run `tally db new-epoch` to make a ledger of it"
            " (`tally restore FILE` does both steps)"
        )


def require_no_foreign_log(path: Path) -> None:
    """Raises LedgerUnavailableError if a foreign write-ahead log lies beside the file: SQLite would write it into the file."""
    if _has_foreign_log(path):
        raise LedgerUnavailableError(
            f"{path}-wal belongs to another file than {path}, which was put beside it by hand, and would damage it: move"
            f" {path.name}-wal and {path.name}-shm away (keep them), then run `tally db new-epoch`"
        )


def _has_foreign_log(path: Path) -> bool:
    """Returns whether a log lies beside a file that is not in WAL mode (header bytes 18 and 19 are 1), as backups are not."""
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
