"""Ledgers of both kinds for tests."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hypothesis import settings

from adapters.ledger import Ledger
from adapters.ledger.migrate import upgrade
from adapters.ledger.postgresql import inbox_keys
from adapters.ledger.schema import metadata
from tests.support import postgresql

BOTH = ("sqlite", "postgresql")
#: Databases that were used and are empty again: making one takes ten times as long.
_SPARE: list[str] = []


@contextmanager
def new_url(kind: str, folder: Path) -> Iterator[str]:
    """Where a new ledger may be; on PostgreSQL its schema is there already."""
    if kind == "sqlite":
        yield f"sqlite:///{folder / 'tally.db'}"
        return
    url = postgresql.new_database()
    try:
        yield url
    finally:
        postgresql.drop(url)


@contextmanager
def open_ledger(kind: str, folder: Path) -> Iterator[Ledger]:
    """A ledger with the newest schema and nothing in it. On PostgreSQL it was used and emptied: its schema must stay as it is."""
    if kind == "sqlite":
        with new_ledger(kind, folder) as ledger:
            yield ledger
        return
    ledger = Ledger(_SPARE.pop() if _SPARE else postgresql.new_database())
    try:
        yield ledger
        empty(ledger)
        _SPARE.append(ledger.url)
    finally:
        ledger.close()


@contextmanager
def new_ledger(kind: str, folder: Path) -> Iterator[Ledger]:
    """One that nobody used before."""
    with new_url(kind, folder) as url:
        ledger = Ledger(url)
        if kind == "sqlite":
            upgrade(ledger)
        try:
            yield ledger
        finally:
            ledger.close()


def empty(ledger: Ledger) -> None:
    """Takes all rows out of it: quicker than a new one, for tests that want many."""
    with ledger.write() as connection:
        for table in (*reversed(metadata.sorted_tables), *([] if ledger.path else [inbox_keys])):
            connection.execute(table.delete())


def examples(ledger: Ledger, number: int) -> settings:
    """So many on SQLite; fewer on PostgreSQL, where each statement is a round trip and a plan."""
    return settings(deadline=None, max_examples=number if ledger.path else number // 4)
