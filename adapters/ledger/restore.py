"""Puts a backup in the place of a SQLite ledger, and opens a new epoch in it. What it replaces is moved aside, and never deleted.

The ledger is made whole under a name of its own, with the epoch begun, before anything is touched. Then a plan is written down
(`LEDGER.restore`), and from then on the restore has happened: whoever is killed in the middle of it is finished by the next start
(`finish`), which does what the plan says and is not done yet. Before, nothing has happened.
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
    """A restore. made_at: of the backup, ms (None: a file that was copied by other means). aside: what was replaced."""

    begun: NewEpoch
    made_at: int | None
    aside: Path | None


def restore(file: Path, target: Path, now: int, *, replace: bool = False, with_wal: bool = False) -> RestoreReport:
    """Makes a ledger of a backup. Whoever calls holds the locks of the target. Raises BackupError.

    replace: a ledger that ended without closing is moved aside with its log. with_wal: the file's own log is taken in.
    """
    if not file.is_file():
        raise BackupError(f"there is no file {file}")
    if target.exists() and target.samefile(file):
        raise BackupError(f"{file} is the ledger itself: restore from another file")
    _require_no_side_files(file, with_wal=with_wal)
    if not replace:
        _require_closed(target, file)
    made = made_at(file)
    target.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(target, "restoring")
    with _locked_copy(file, target, with_wal=with_wal) as copy:
        begun = _begin_epoch(copy, file, now, _old_high_water_marks(target))
        aside = _commit_plan(target, copy, now)
    return RestoreReport(begun=begun, made_at=made, aside=aside)


def _side_files(path: Path) -> list[Path]:
    """What SQLite has put beside a file, and holds anything."""
    found = [Path(f"{path}{end}") for end in _SIDE_FILES]
    return [each for each in found if each.is_file() and each.stat().st_size]


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
            f"{_joined_names(beside)} lies beside {target}: the ledger there ended without closing (`kill -9`, a power cut), and its log"
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
        if not _plan_of(target).exists():  # else it has happened, and this is what it needs
            for end in ("", *_SIDE_FILES, ".upgrade.lock"):
                Path(f"{copy}{end}").unlink(missing_ok=True)
        os.close(fd)


def _begin_epoch(copy: Path, file: Path, now: int, beyond: list[HighWaterMark]) -> NewEpoch:
    """Checks the copy, and opens the epoch in it."""
    try:
        check_integrity(copy)
    except BackupError as error:
        raise BackupError(f"{file} is damaged, or no SQLite database: it is not restored ({error})") from error
    with closing(sqlite3.connect(copy)) as alone:
        alone.execute("PRAGMA journal_mode=DELETE")
    _require_known(copy, file)
    ledger = Ledger(f"sqlite:///{copy}")
    try:
        upgrade(ledger)
    finally:
        ledger.close()
    with closing(sqlite3.connect(copy)) as alone:
        alone.execute("PRAGMA journal_mode=DELETE")
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
        raise BackupError(f"{file} is no ledger of Tallylight: nothing is in it")


def _old_high_water_marks(target: Path) -> list[HighWaterMark]:
    """How far the ledger went that is to be replaced, if it can be read: nothing of it is repeated, even if the clock is wrong."""
    if not target.exists():
        return []
    try:
        with closing(sqlite3.connect(f"{target.absolute().as_uri()}?mode=ro&immutable=1", uri=True)) as connection:
            found = dict(
                connection.execute(
                    "SELECT name, max(value) FROM counters WHERE name IN ('epoch', 'position') AND label IN"
                    " ('number', 'events') GROUP BY name"
                )
            )
    except sqlite3.DatabaseError:
        return []
    return [HighWaterMark(epoch=found.get("epoch", 0), position=found.get("position", 0))]


def _commit_plan(target: Path, copy: Path, now: int) -> Path | None:
    """From when the plan is there, the restore has happened."""
    with copy.open("rb") as file:
        os.fsync(file.fileno())
    stamp = to_rfc3339(now).replace(":", "").replace("-", "").replace(".", "")
    there = target.exists() or _side_files(target)
    plan = {"new": copy.name, "aside": f"{target.name}.replaced-{stamp}" if there else None}
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
    """Does what of the plan is not done. Until the new file stands in its place, what stands there is the old one."""
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
    """Finishes a restore that was killed half way, and says so. Waits while one is under way."""
    if not _plan_of(target).exists():
        return
    with UpgradeLock(target):
        if not _plan_of(target).exists():
            return
        plan = json.loads(_plan_of(target).read_text())
        _execute_plan(target, plan)
        log.warning("ledger.restore_finished", path=str(target), aside=plan["aside"])
