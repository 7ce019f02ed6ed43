"""Puts a backup in the place of a SQLite ledger and begins a new epoch in it. The replaced files are moved aside, never deleted.

The new ledger is completed under a temporary name, with the epoch begun, before any existing file is changed. Then a plan is
written (`LEDGER.restore`): this commits the restore. If the process is killed after that, the next start executes the rest of the
plan (`finish_interrupted`). If it is killed before, nothing has changed.
"""

import fcntl
import json
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.exc import DBAPIError

from adapters.clock import to_rfc3339
from adapters.ledger import epochs
from adapters.ledger.backup import (
    BackupError,
    check_integrity,
    exclusive_transaction,
    made_at,
    remove_leftovers,
    remove_mark,
    sync_folder,
)
from adapters.ledger.engine import Ledger
from adapters.ledger.epochs import HighWaterMark, NewEpoch
from adapters.ledger.migrate import upgrade
from adapters.ledger.process_locks import UpgradeLock
from adapters.ledger.schema_state import SchemaError, revision_of
from adapters.logs import logger

_SIDE_FILES = ("-wal", "-shm", "-journal")

log = logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreReport:
    """A finished restore.

    made_at: time of the backup, ms (None: a file that was copied by other means). aside: name of the replaced ledger.
    """

    begun: NewEpoch
    made_at: int | None
    aside: Path | None


def restore(file: Path, target: Path, now: int, *, replace: bool = False, with_wal: bool = False) -> RestoreReport:
    """Makes a ledger of a backup. The caller holds the locks of the target. Raises BackupError.

    replace: a ledger that was not closed properly is moved aside with its log. with_wal: the file's own log is included.
    """
    if not file.is_file():
        raise BackupError(f"there is no file {file}")
    if target.exists() and target.samefile(file):
        raise BackupError(f"{file} is the ledger itself: restore from another file")
    _require_no_side_files(file, with_wal=with_wal)
    if not replace:
        _require_closed(target, file)
    backup_time = made_at(file)
    target.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(target, "restoring")
    with _locked_copy(file, target, with_wal=with_wal) as copy:
        begun = _begin_epoch(copy, file, now, _old_high_water_marks(target))
        aside = _commit_plan(target, copy, now)
    return RestoreReport(begun=begun, made_at=backup_time, aside=aside)


def _side_files(path: Path) -> list[Path]:
    """Returns SQLite's files beside a database file that are not empty."""
    candidates = [Path(f"{path}{end}") for end in _SIDE_FILES]
    return [file for file in candidates if file.is_file() and file.stat().st_size]


def _joined_names(paths: list[Path]) -> str:
    return ", ".join(map(str, paths))


def _require_no_side_files(file: Path, *, with_wal: bool) -> None:
    beside = _side_files(file)
    if not beside or (with_wal and not Path(f"{file}-journal").exists()):
        return
    raise BackupError(
        f"{_joined_names(beside)} lies beside {file}: it is no backup that `tally backup` made, but a ledger, or a copy of one."
        " If something serves it, make a backup of it. If file and log were copied together while nothing served them, add"
        " --with-wal. If the log is of another file, move it away"
    )


def _require_closed(target: Path, file: Path) -> None:
    beside = _side_files(target)
    if beside:
        raise BackupError(
            f"{_joined_names(beside)} lies beside {target}: the ledger there was not closed (`kill -9`, a power cut), and its log"
            f" would be mixed with the backup. `tally restore {file} --replace` moves both aside together, and deletes neither"
        )


@contextmanager
def _locked_copy(file: Path, target: Path, *, with_wal: bool) -> Iterator[Path]:
    copy = target.with_name(f".{target.name}.restoring-{os.getpid()}")
    try:
        fd = os.open(copy, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise BackupError(f"{target.parent} cannot be written: {error.strerror}") from error
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        shutil.copyfile(file, copy)
        if with_wal and Path(f"{file}-wal").exists():
            shutil.copyfile(f"{file}-wal", f"{copy}-wal")
        yield copy
    except (OSError, sqlite3.Error, DBAPIError) as error:
        cause = error.orig if isinstance(error, DBAPIError) else error
        raise BackupError(f"{file} could not be restored to {target}: {cause}") from error
    finally:
        if not _plan_of(target).exists():  # otherwise the restore is committed and needs the copy
            for end in ("", *_SIDE_FILES, ".upgrade.lock"):
                Path(f"{copy}{end}").unlink(missing_ok=True)
        os.close(fd)


def _begin_epoch(copy: Path, file: Path, now: int, beyond: list[HighWaterMark]) -> NewEpoch:
    """Checks the copy, upgrades it, and begins the epoch in it."""
    try:
        check_integrity(copy)
    except BackupError as error:
        raise BackupError(f"{file} is damaged, or no SQLite database: it is not restored ({error})") from error
    with closing(sqlite3.connect(copy)) as own_connection:
        own_connection.execute("PRAGMA journal_mode=DELETE")
    _require_known(copy, file)
    ledger = Ledger(f"sqlite:///{copy}")
    try:
        upgrade(ledger)
    finally:
        ledger.close()
    with closing(sqlite3.connect(copy)) as own_connection:
        own_connection.execute("PRAGMA journal_mode=DELETE")
    with exclusive_transaction(copy) as connection:
        remove_mark(connection)
        return epochs.begin(connection, now, beyond=beyond)


def _require_known(copy: Path, file: Path) -> None:
    try:
        with exclusive_transaction(copy) as connection:
            revision = revision_of(connection)
    except SchemaError as error:
        raise BackupError(f"{file} is not restored: {error}") from error
    if revision is None:
        raise BackupError(f"{file} is no ledger of Tallylight: it is empty")


def _old_high_water_marks(target: Path) -> list[HighWaterMark]:
    """Returns the marks of the ledger to be replaced, if it can be read: its ids are not repeated, even if the clock is wrong."""
    if not target.exists():
        return []
    try:
        with closing(sqlite3.connect(f"{target.absolute().as_uri()}?mode=ro&immutable=1", uri=True)) as connection:
            values = dict(
                connection.execute(
                    "SELECT name, max(value) FROM counters WHERE name IN ('epoch', 'position') AND label IN"
                    " ('number', 'events') GROUP BY name"
                )
            )
    except sqlite3.DatabaseError:
        return []
    return [HighWaterMark(epoch=values.get("epoch", 0), position=values.get("position", 0))]


def _commit_plan(target: Path, copy: Path, now: int) -> Path | None:
    """Writes the plan, which commits the restore, and executes it; returns the name of the replaced ledger, if there was one."""
    with copy.open("rb") as file:
        os.fsync(file.fileno())
    stamp = to_rfc3339(now).replace(":", "").replace("-", "").replace(".", "")
    exists = target.exists() or _side_files(target)
    plan = {"new": copy.name, "aside": f"{target.name}.replaced-{stamp}" if exists else None}
    written = _plan_of(target).with_suffix(".restore-new")
    with written.open("w") as file_:
        json.dump(plan, file_)
        file_.flush()
        os.fsync(file_.fileno())
    written.rename(_plan_of(target))
    sync_folder(target.parent)
    _execute_plan(target, plan)
    return target.with_name(plan["aside"]) if plan["aside"] else None


def _plan_of(target: Path) -> Path:
    return target.with_name(f"{target.name}.restore")


def _execute_plan(target: Path, plan: dict[str, str | None]) -> None:
    """Executes the steps of the plan that are not done yet. As long as `new` exists, the old ledger is still in place."""
    new, aside = target.with_name(str(plan["new"])), plan["aside"]
    if new.exists():
        for end in (*_SIDE_FILES, "") if aside else ():
            with suppress(FileNotFoundError):
                Path(f"{target}{end}").rename(target.with_name(f"{aside}{end}"))
        sync_folder(target.parent)
        new.rename(target)
        sync_folder(target.parent)
    _plan_of(target).unlink(missing_ok=True)
    sync_folder(target.parent)


def finish_interrupted(target: Path) -> None:
    """Finishes an interrupted restore and logs it. Waits while a restore is running."""
    if not _plan_of(target).exists():
        return
    with UpgradeLock(target):
        if not _plan_of(target).exists():
            return
        plan = json.loads(_plan_of(target).read_text())
        _execute_plan(target, plan)
        log.warning("ledger.restore_finished", path=str(target), aside=plan["aside"])
