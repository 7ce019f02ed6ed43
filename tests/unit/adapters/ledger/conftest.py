"""Fixtures: a new ledger for each test, on SQLite and on PostgreSQL."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.ledger import Ledger
from tests.support.ledgers import BOTH, new_ledger, open_ledger


@pytest.fixture(params=BOTH)
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ledger]:
    with open_ledger(request.param, tmp_path) as ledger:
        yield ledger


@pytest.fixture(params=BOTH, scope="module")
def kept_ledger(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    """One ledger for all examples of a module's tests: each example begins by emptying it."""
    with open_ledger(request.param, tmp_path_factory.mktemp("kept")) as ledger:
        yield ledger


@pytest.fixture
def sqlite_ledger(tmp_path: Path) -> Iterator[Ledger]:
    with open_ledger("sqlite", tmp_path) as ledger:
        yield ledger


@pytest.fixture
def postgresql_ledger(tmp_path: Path) -> Iterator[Ledger]:
    with open_ledger("postgresql", tmp_path) as ledger:
        yield ledger


@pytest.fixture
def new_postgresql_ledger(tmp_path: Path) -> Iterator[Ledger]:
    """A ledger whose schema may be changed."""
    with new_ledger("postgresql", tmp_path) as ledger:
        yield ledger
