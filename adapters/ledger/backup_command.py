"""The commands `tally backup`, `tally restore` and `tally db new-epoch`: their output and exit status."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from sqlalchemy import text

from adapters.clock import now_ms, to_rfc3339
from adapters.ledger import epochs
from adapters.ledger.backup import BackupError, back_up, remove_mark, require_no_foreign_log
from adapters.ledger.engine import Ledger, LedgerUnavailableError
from adapters.ledger.migrate import upgrade
from adapters.ledger.process_locks import ServingLock, UpgradeLock
from adapters.ledger.restore import restore
from adapters.spool.snapshot import snapshot_arrivals

_EXIT_UNSUPPORTED = 2
_POSTGRESQL_BACKUP = """tally: this ledger is a PostgreSQL database, which PostgreSQL's own tools back up while it is used:
    pg_dump --format=custom --file=tally.dump DATABASE_URL       a copy of one moment
    pg_basebackup and archived WAL                               any moment (https://www.postgresql.org/docs/current/backup.html)
Callbacks that wait in a spool (tally_spool_rows) are in neither: back up the folder of `spool.folder` too.
"""
_POSTGRESQL_RESTORE = """tally: this ledger is a PostgreSQL database: stop all `tally` processes, restore it with PostgreSQL's tools
(pg_restore, or a base backup and archived WAL), and then run, before anything is started:
    tally db new-epoch
"""


def run_backup(ledger: Ledger, file: Path, spool: Path, *, thorough: bool) -> int:
    """Makes a backup; returns the exit status. spool: folder of the ledger's spool. Raises BackupError."""
    if ledger.path is None:
        sys.stderr.write(_POSTGRESQL_BACKUP)
        return _EXIT_UNSUPPORTED
    with snapshot_arrivals(spool) as spooled:
        backup = back_up(ledger.path, file, spooled, now_ms(), thorough=thorough)
    _print_line(f"backup     {backup.path}")
    _print_line(f"size       {backup.size:,} bytes, made and checked in {backup.took_s:.1f} s")
    _print_line(f"schema     {backup.revision}")
    _print_line(f"spool      {backup.spooled} callback(s) that waited in the spool were added to it")
    return 0


def run_restore(ledger: Ledger, file: Path, spool: Path, *, replace: bool, with_wal: bool) -> int:
    """Restores a backup; returns the exit status. Raises BackupError, AlreadyServedError."""
    if ledger.path is None:
        sys.stderr.write(_POSTGRESQL_RESTORE)
        return _EXIT_UNSUPPORTED
    target = ledger.path.resolve()
    target.parent.mkdir(parents=True, exist_ok=True)
    with _exclusive_access(ledger), UpgradeLock(target):
        report = restore(file, target, now_ms(), replace=replace, with_wal=with_wal)
    time = to_rfc3339(report.made_at) if report.made_at is not None else None
    _print_line(f"restored   {file}, {f'a backup of {time}' if time else 'a copy that `tally backup` did not make'}, to {target}")
    _print_line(
        f"replaced   {f'the previous ledger is kept as {report.aside}' if report.aside else 'nothing: there was no ledger'}"
    )
    _print_epoch(report.begun)
    _print_line(f"spool      the next start records the callbacks in {spool}; copy another machine's spool files there first")
    return 0


def begin_epoch(ledger: Ledger) -> int:
    """Begins a new epoch in a ledger that was restored by other means; returns the exit status.

    Raises BackupError, AlreadyServedError.
    """
    if ledger.path is not None:
        if not ledger.path.is_file():
            raise BackupError(f"there is no ledger at {ledger.path}")
        require_no_foreign_log(ledger.path)
    with _exclusive_access(ledger):
        upgrade(ledger)
        with ledger.write() as connection:
            if ledger.path is None:
                connection.execute(text("SET LOCAL statement_timeout = 0"))
            else:
                remove_mark(connection)
            begun = epochs.begin(connection, now_ms())
    _print_epoch(begun)
    return 0


def _print_epoch(begun: epochs.NewEpoch) -> None:
    _print_line(f"epoch      {begun.number}: versions of tasks and sequences of events continue from there")
    _print_line(f"inspected  {begun.to_inspect} task(s) that are live or need a call will be checked with their vendors first")


@contextmanager
def _exclusive_access(ledger: Ledger) -> Iterator[None]:
    """Locks all roles, so that no process serves the ledger in the block. Raises AlreadyServedError, LedgerUnavailableError."""
    with ExitStack() as stack:
        for role in ("web", "work"):
            lock = ServingLock(ledger.url, role)
            lock.acquire()
            stack.callback(lock.release)
        if ledger.path is None:
            _require_no_sessions(ledger)
        yield


def _require_no_sessions(ledger: Ledger) -> None:
    """PostgreSQL: raises LedgerUnavailableError while our processes have connections, which `application_name` identifies."""
    others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'tally'"
    with ledger.read() as connection:
        number = connection.scalar(text(f"{others} AND pid <> pg_backend_pid()"))
    if number:
        raise LedgerUnavailableError(f"{number} connection(s) of `tally` processes are open to this database: stop them all first")


def _print_line(line: str) -> None:
    sys.stdout.write(line + "\n")
