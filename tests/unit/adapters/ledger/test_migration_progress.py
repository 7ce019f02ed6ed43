"""A migration logs its steps, and a long one its progress."""

import json
import threading
from collections.abc import Iterator

import pytest

from adapters.ledger.migration_progress import MigrationProgress
from adapters.logs import configure


class Lines:
    """A log's stream. `told`: set once a line has a number of rows."""

    def __init__(self) -> None:
        self.lines: list[dict[str, object]] = []
        self.told = threading.Event()

    def write(self, text: str) -> int:
        for line in text.splitlines():
            self.lines.append(json.loads(line))
            if "rows" in self.lines[-1]:
                self.told.set()
        return len(text)

    def flush(self) -> None:
        pass

    def isatty(self) -> bool:
        return False


@pytest.fixture
def lines() -> Iterator[Lines]:
    made = Lines()
    configure(stream=made)  # type: ignore[arg-type]  # all of a stream that a log uses
    yield made
    configure()


def test_each_step_is_logged_when_it_begins_and_a_long_one_repeatedly_with_its_rows(lines: Lines) -> None:
    progress = MigrationProgress(["0001", "0002", "0003"], every_s=0.01)
    with progress.reporting():
        progress.step_done()
        progress.set_rows(5, 9)
        assert lines.told.wait(20)
        progress.step_done()
    steps = [(line["from"], line["to"]) for line in lines.lines if "running_s" not in line]
    assert steps == [("0001", "0002"), ("0002", "0003")]
    again = next(line for line in lines.lines if "rows" in line)
    assert {name: again[name] for name in ("event", "to", "running_s", "rows", "total")} == {
        "event": "db.migrating",
        "to": "0003",
        "running_s": 0,
        "rows": 5,
        "total": 9,
    }
