"""Brings the ledger's schema up to date, and tells when it is not."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from adapters.ledger.engine import Ledger, sqlite_path

_MIGRATIONS = Path(__file__).parent / "migrations"


class SchemaError(Exception):
    """The ledger's schema is not the one that this version of the program needs; the message says what to do."""


def upgrade(ledger: Ledger) -> tuple[str | None, str]:
    """Runs the migrations that are missing, under a lock. (revision before, revision after)"""
    with _only_one(ledger.url):
        _make_private(ledger.path)
        with ledger.read() as connection:
            before = _revision(connection)
        config = _config()
        config.attributes["url"] = ledger.url
        command.upgrade(config, "head")
        return before, newest()


def _make_private(path: Path | None) -> None:
    """A new ledger is its owner's alone, and so are the files that SQLite puts beside it: it may hold secrets."""
    if path is not None and not path.exists():
        path.touch(mode=0o600)


def newest() -> str:
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
def _only_one(url: str) -> Iterator[None]:
    """Two processes that start at once must not both migrate."""
    path = sqlite_path(url)
    if path is None:
        yield
        return
    with Path(f"{path}.upgrade.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
