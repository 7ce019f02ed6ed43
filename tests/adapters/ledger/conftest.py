"""A new ledger for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.ledger import Ledger
from adapters.ledger.upgrade import upgrade


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    ledger = Ledger(f"sqlite:///{tmp_path / 'tally.db'}")
    upgrade(ledger)
    yield ledger
    ledger.close()
