"""Brings the ledger's schema up to date, and tells when it is not."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from adapters.clock import now_ms
from adapters.ledger import postgresql
from adapters.ledger.engine import Ledger
from adapters.logs import logger

log = logger(__name__)

_MIGRATIONS = Path(__file__).parent / "migrations"
_OLDEST_POSTGRESQL = 15


class SchemaError(Exception):
    """The ledger's schema is not the one that this version of the program needs; the message says what to do."""


def upgrade(ledger: Ledger) -> tuple[str | None, str]:
    """Runs the migrations that are missing, under a lock. (revision before, revision after)"""
    with _only_one(ledger):
        _make_private(ledger.path)
        with ledger.read() as connection:
            before = _revision(connection)
        config = _config()
        config.attributes["url"] = ledger.url
        command.upgrade(config, "head")
        if ledger.path is None:
            _prepare_postgresql(ledger)
        return before, newest()


def make_room(ledger: Ledger, now: int) -> None:
    """Makes sure that there are partitions for the months to come. now: ms."""
    if ledger.path is not None:
        return
    with ledger.write() as connection:
        made = postgresql.make_partitions(connection, now)
    if made:
        log.info("db.partitions_made", names=made)


def _prepare_postgresql(ledger: Ledger) -> None:
    """Partitions for the months to come, and statistics: without any, plans are bad until the server finds time to make some."""
    make_room(ledger, now_ms())
    with ledger.session() as connection:
        _take_time(connection)
        connection.execute(text("ANALYZE"))


def _make_private(path: Path | None) -> None:
    """A new ledger is its owner's alone, and so are the files that SQLite puts beside it: it may hold secrets."""
    if path is not None and not path.exists():
        path.touch(mode=0o600)


@cache
def newest() -> str:
    """Read once: to load all migrations takes 10 ms, and readiness is checked every second."""
    head = ScriptDirectory.from_config(_config()).get_current_head()
    if head is None:  # pragma: no cover - the package ships its migrations
        raise SchemaError("this installation has no migrations")
    return head


def require_current(ledger: Ledger) -> None:
    """Raises SchemaError unless the schema is the newest."""
    with ledger.read() as connection:
        found = _revision(connection)
    if found != newest():
        raise SchemaError(f"the ledger's schema is {found or 'missing'}, this version needs {newest()}: run `tally db upgrade`")


def _revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


@contextmanager
def _only_one(ledger: Ledger) -> Iterator[None]:
    """Two processes that start at once must not both migrate."""
    if ledger.path is None:
        with ledger.session() as connection:
            _require_version(connection)
            _take_time(connection)
            postgresql.lock_session(connection, "upgrade")
            yield
        return
    with Path(f"{ledger.path}.upgrade.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _take_time(connection: Connection) -> None:
    """What stands on a large ledger's whole tables may take its time, and so may whoever was there before us."""
    for limit in ("statement_timeout", "lock_timeout"):
        connection.execute(text(f"SET {limit} = 0"))


def _require_version(connection: Connection) -> None:
    found = str(connection.scalar(text("SHOW server_version_num")))
    if int(found) < _OLDEST_POSTGRESQL * 10_000:
        raise SchemaError(f"the ledger's PostgreSQL must be version {_OLDEST_POSTGRESQL} or newer; it is {int(found) // 10_000}")
