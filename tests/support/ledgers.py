"""Ledgers of both kinds for tests."""

import atexit
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path

from hypothesis import settings

from adapters.ledger import Ledger
from adapters.ledger.migrate import upgrade
from adapters.ledger.postgresql import inbox_keys
from adapters.ledger.schema import metadata
from tests.support import postgresql
from tests.support.hypothesis_effort import effort

BOTH = ("sqlite", "postgresql")
#: URLs of databases that were used and are empty again: making a new one takes ten times as long.
_SPARE: list[str] = []


@contextmanager
def new_url(kind: str, folder: Path) -> Iterator[str]:
    """Yields the url of a new ledger; on PostgreSQL its schema is there already."""
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
    """Yields a ledger with the newest schema and no rows. On PostgreSQL it is reused: a test must leave its schema as it is."""
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
    """Yields a ledger that no test used before: its schema may be changed."""
    with new_url(kind, folder) as url, closing(Ledger(url)) as ledger:
        if kind == "sqlite":
            create_schema(ledger)
        yield ledger


def create_schema(ledger: Ledger) -> None:
    """Gives a ledger the newest schema. A new SQLite file is a copy, which takes a fiftieth of the time of the migrations."""
    if ledger.path is None or ledger.path.exists():
        upgrade(ledger)
        return
    shutil.copyfile(_migrated_file(), ledger.path)
    ledger.path.chmod(0o600)


@cache
def _migrated_file() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="tally-schema-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    with closing(Ledger(f"sqlite:///{folder}/tally.db")) as ledger:
        upgrade(ledger)
    return folder / "tally.db"


def empty(ledger: Ledger) -> None:
    """Deletes all rows: quicker than a new ledger, for tests that need many."""
    with ledger.write() as connection:
        for table in (*reversed(metadata.sorted_tables), *([] if ledger.path else [inbox_keys])):
            connection.execute(table.delete())


def examples(ledger: Ledger, number: int) -> settings:
    """Returns settings with this number of examples; a quarter on PostgreSQL, where each statement is a round trip and a plan."""
    return effort(number if ledger.path else number // 4)
