from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.callbacks.desk.desk_harness import DeskHarness, made


@pytest.fixture
def world(tmp_path: Path) -> Iterator[DeskHarness]:
    """A desk with a token for each role."""
    world = made(tmp_path)
    yield world
    world.ledger.close()


@pytest.fixture
def open_world(tmp_path: Path) -> Iterator[DeskHarness]:
    """A desk on a loopback address, without tokens."""
    world = made(tmp_path, tokens=False)
    yield world
    world.ledger.close()
