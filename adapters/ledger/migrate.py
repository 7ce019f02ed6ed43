"""Upgrades the ledger's schema, and checks that it is current."""

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
    """Runs the missing migrations under a lock, each in one transaction; returns (revision before, revision after).

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
    config = alembic_config()
    config.attributes.update({"url": ledger.url, "progress": progress})
    with progress.reporting():
        command.upgrade(config, "head")


def _undo_interrupted(url: str, before: str | None) -> None:
    with migration_engine(url).begin() as connection:
        undone = undo_interrupted(connection, before)
    if undone:
        log.warning("db.repaired", revision=before, undone=undone)


def make_partitions(ledger: Ledger, now: int) -> None:
    """Creates the missing partitions for this month and the next ones. now: ms."""
    if ledger.path is not None:
        return
    with ledger.write() as connection:
        names = postgresql.make_partitions(connection, now)
    if names:
        log.info("db.partitions_made", names=names)


def _prepare_postgresql(ledger: Ledger) -> None:
    """Creates partitions and statistics: without statistics, plans are bad until autovacuum has created some."""
    make_partitions(ledger, now_ms())
    with ledger.session() as connection:
        _disable_timeouts(connection)
        connection.execute(text("ANALYZE"))


def _make_private(path: Path | None) -> None:
    """Creates a new ledger file that only its owner can read, as SQLite's files beside it then are: it may hold secrets."""
    if path is not None and not path.exists():
        path.touch(mode=0o600)


def require_current(ledger: Ledger) -> None:
    """Raises SchemaError unless the schema is the newest."""
    with ledger.read() as connection:
        revision = revision_of(connection)
    if revision != newest():
        raise SchemaError(f"the ledger's schema is {revision or 'missing'}, this version needs {newest()}: run `tally db upgrade`")


@contextmanager
def _exclusive_upgrade(ledger: Ledger) -> Iterator[None]:
    """Makes sure that only one of several processes that start at once migrates."""
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
    """Removes the time limits: a statement over the whole tables of a large ledger may take long, and so may another migration."""
    for limit in ("statement_timeout", "lock_timeout"):
        connection.execute(text(f"SET {limit} = 0"))


def _require_version(connection: Connection) -> None:
    version = int(str(connection.scalar(text("SHOW server_version_num"))))
    if version < _OLDEST_POSTGRESQL * 10_000:
        raise SchemaError(f"the ledger's PostgreSQL must be version {_OLDEST_POSTGRESQL} or newer; it is {version // 10_000}")
