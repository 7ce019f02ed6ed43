"""The clock is set: the log, the numbers and the metrics say so, and what waits goes on."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.clock import to_rfc3339
from tests.support.in_process_app import InProcessApp

T0 = 1_768_960_800_000
BACK_MS = 8 * 3_600_000


@pytest.fixture
def house(tmp_path: Path) -> Iterator[InProcessApp]:
    with InProcessApp(tmp_path, T0).open() as opened:
        opened.clock_watch.check()
        yield opened


def metric(house: InProcessApp, name: str) -> float:
    (line,) = [line for line in house.client.get("/metrics").text.splitlines() if line.startswith(f"{name} ")]
    return float(line.split()[1])


def test_a_clock_that_was_never_set_shows_no_step(house: InProcessApp):
    assert house.get("/v1/stats")["clock"] == {"steps": 0, "last_step": None}
    assert metric(house, "tally_clock_steps_total") == 0


def test_steps_are_counted_and_the_last_one_is_shown(house: InProcessApp):
    house.now += 2 * BACK_MS
    house.clock_watch.check()
    house.now -= BACK_MS
    house.elapsed_s += 1.0
    house.clock_watch.check()
    assert house.get("/v1/stats")["clock"] == {"steps": 2, "last_step": {"at": to_rfc3339(house.now), "by_s": -28_801.0}}
    assert metric(house, "tally_clock_steps_total") == 2
