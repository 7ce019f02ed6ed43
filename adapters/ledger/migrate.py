"""Brings the ledger's schema up to date, and tells when it is not."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic import command
from sqlalchemy import Connection, text

from adapters.clock import now_ms
from adapters.ledger import postgresql
from adapters.ledger.connections import migration_engine
from adapters.ledger.engine import Ledger
from adapters.ledger.migration_progress import MigrationProgress
from adapters.ledger.migration_repair import undo_interrupted
from adapters.ledger.process_locks import UpgradeLock
from adapters.ledger.schema_state import SchemaError, alembic_config, newest, revision_of, revisions
from adapters.logs import logger

__all__ = ["SchemaError", "make_partitions", "newest", "require_current", "upgrade"]

log = logger(__name__)

_OLDEST_POSTGRESQL = 15


def upgrade(ledger: Ledger) -> tuple[str | None, str]:
    """Runs the migrations that are missing, under a lock, each in one transaction. (revision before, revision after)

    Raises SchemaError, LedgerUnavailableError.
    """
    with _exclusive_upgrade(ledger):
        _make_private(ledger.path)
        with ledger.read() as connection:
            before = revision_of(connection)
        if before != newest():
            with ledger.translated_errors():
                _run_migrations(ledger, before)
        if ledger.path is None:
            _prepare_postgresql(ledger)
        return before, newest()


def _run_migrations(ledger: Ledger, before: str | None) -> None:
    if ledger.path is not None:
        _undo_interrupted(ledger.url, before)
    known = revisions()
    progress = MigrationProgress([before, *known[known.index(before) + 1 if before else 0 :]])
    making = alembic_config()
    making.attributes.update({"url": ledger.url, "progress": progress})
    with progress.reporting():
        command.upgrade(making, "head")


def _undo_interrupted(url: str, before: str | None) -> None:
    with migration_engine(url).begin() as connection:
        undone = undo_interrupted(connection, before)
    if undone:
        log.warning("db.repaired", revision=before, undone=undone)


def make_partitions(ledger: Ledger, now: int) -> None:
    """Makes sure that there are partitions for the months to come. now: ms."""
    if ledger.path is not None:
        return
    with ledger.write() as connection:
        made = postgresql.make_partitions(connection, now)
    if made:
        log.info("db.partitions_made", names=made)


def _prepare_postgresql(ledger: Ledger) -> None:
    """Partitions for the months to come, and statistics: without any, plans are bad until the server finds time to make some."""
    make_partitions(ledger, now_ms())
    with ledger.session() as connection:
        _disable_timeouts(connection)
        connection.execute(text("ANALYZE"))


def _make_private(path: Path | None) -> None:
    """A new ledger is its owner's alone, and so are the files that SQLite puts beside it: it may hold secrets."""
    if path is not None and not path.exists():
        path.touch(mode=0o600)


def require_current(ledger: Ledger) -> None:
    """Raises SchemaError unless the schema is the newest."""
    with ledger.read() as connection:
        found = revision_of(connection)
    if found != newest():
        raise SchemaError(f"the ledger's schema is {found or 'missing'}, this version needs {newest()}: run `tally db upgrade`")


@contextmanager
def _exclusive_upgrade(ledger: Ledger) -> Iterator[None]:
    """Two processes that start at once must not both migrate."""
    if ledger.path is None:
        with ledger.session() as connection:
            _require_version(connection)
            _disable_timeouts(connection)
            postgresql.lock_session(connection, "upgrade")
            yield
        return
    with UpgradeLock(ledger.path):
        yield


def _disable_timeouts(connection: Connection) -> None:
    """What stands on a large ledger's whole tables may take its time, and so may whoever was there before us."""
    for limit in ("statement_timeout", "lock_timeout"):
        connection.execute(text(f"SET {limit} = 0"))


def _require_version(connection: Connection) -> None:
    found = str(connection.scalar(text("SHOW server_version_num")))
    if int(found) < _OLDEST_POSTGRESQL * 10_000:
        raise SchemaError(f"the ledger's PostgreSQL must be version {_OLDEST_POSTGRESQL} or newer; it is {int(found) // 10_000}")
