"""A set clock is detected; time that merely passes, drifts or stands still is no step."""

import pytest
from structlog.testing import capture_logs

from adapters.clock_watch import ClockStep, ClockWatch
from tests.support.times import HOUR


class Clocks:
    """wall: ms. elapsed_s: s. `between_s`: passes between the two readings."""

    def __init__(self) -> None:
        self.wall, self.elapsed_s, self.between_s = 1_700_000_000_000, 100.0, 0.0
        self.watch = ClockWatch(wall=self._read_wall, elapsed_s=lambda: self.elapsed_s)
        self.watch.check()

    def _read_wall(self) -> int:
        read = self.wall
        self.pass_s(self.between_s)
        return read

    def pass_s(self, s: float) -> None:
        self.wall += round(s * 1_000)
        self.elapsed_s += s


@pytest.mark.parametrize("by_ms", [-8 * HOUR, 400 * 24 * HOUR, -2_000, 2_500])
def test_a_step_is_told_once_with_its_size(by_ms: int) -> None:
    clocks = Clocks()
    told: list[ClockStep] = []
    clocks.watch.add_listener(told.append)
    clocks.pass_s(1)
    clocks.wall += by_ms
    with capture_logs() as logs:
        step = clocks.watch.check()
        clocks.pass_s(1)
        assert clocks.watch.check() is None
    assert step == ClockStep(at=clocks.wall - 1_000, by_s=by_ms / 1_000)
    assert [(line["event"], line["by_s"], line["log_level"]) for line in logs] == [("clock.stepped", by_ms / 1_000, "warning")]
    assert (told, clocks.watch.last_step, clocks.watch.step_count) == ([step], step, 1)


@pytest.mark.parametrize("passes_s", [0.0, 1.0, 90_000.0])
def test_time_that_passes_is_no_step(passes_s: float) -> None:
    clocks = Clocks()
    clocks.pass_s(passes_s)
    assert (clocks.watch.check(), clocks.watch.step_count, clocks.watch.last_step) == (None, 0, None)


def test_a_clock_that_is_set_right_little_by_little_makes_no_step() -> None:
    clocks = Clocks()
    for _ in range(10_000):  # 5 s in all
        clocks.pass_s(1)
        clocks.wall -= 1
        assert clocks.watch.check() is None


def test_a_process_that_stands_still_between_two_readings_takes_it_for_no_step() -> None:
    clocks = Clocks()
    clocks.between_s = 60.0
    assert clocks.watch.check() is None
    clocks.between_s = 0.0
    clocks.pass_s(1)
    assert clocks.watch.check() is None


def test_a_step_while_the_process_stands_still_is_noticed_after_it() -> None:
    clocks = Clocks()
    clocks.pass_s(3_600)
    clocks.wall -= 8 * HOUR
    step = clocks.watch.check()
    assert step is not None
    assert step.by_s == -8 * 3_600
