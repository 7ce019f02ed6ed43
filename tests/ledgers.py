"""Ledgers of both kinds for tests."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from adapters.ledger import Ledger
from adapters.ledger.upgrade import upgrade
from tests import postgresql

BOTH = ("sqlite", "postgresql")


@contextmanager
def new_url(kind: str, folder: Path) -> Iterator[str]:
    """Where a new ledger may be; on PostgreSQL its schema is there already."""
    if kind == "sqlite":
        yield f"sqlite:///{folder / 'tally.db'}"
        return
    url = postgresql.new_database()
    yield url
    postgresql.drop(url)


@contextmanager
def open_ledger(kind: str, folder: Path) -> Iterator[Ledger]:
    """A new ledger with the newest schema."""
    with new_url(kind, folder) as url:
        ledger = Ledger(url)
        if kind == "sqlite":
            upgrade(ledger)
        yield ledger
        ledger.close()
