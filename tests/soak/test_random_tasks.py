"""Ten thousand tasks against vendors at their worst. The seed is printed; TALLY_SEED sets it, and tells the same story again."""

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from simulator import Faults
from tests.flows.test_random_tasks import FAULTS, run_random_tasks

SEED = int(os.environ.get("TALLY_SEED", "20261121"))


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """A line for each move of each task would bury what the proof prints."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    yield
    structlog.reset_defaults()


@pytest.mark.soak
def test_ten_thousand_tasks_end_as_they_ended_at_the_vendor(tmp_path: Path) -> None:
    found, _ = run_random_tasks(tmp_path, SEED, 10_000, FAULTS, losses=True)
    assert found.wrong == []


@pytest.mark.soak
def test_a_thousand_tasks_of_which_no_callback_tells(tmp_path: Path) -> None:
    found, _ = run_random_tasks(tmp_path, SEED, 1_000, Faults(lose=1.0), losses=True)
    assert found.wrong == []


@pytest.mark.soak
def test_a_thousand_tasks_of_which_every_callback_comes(tmp_path: Path) -> None:
    found, _ = run_random_tasks(tmp_path, SEED, 1_000, Faults(ambiguous=0.025, vanish=0.025, throttle=0.1), losses=False)
    assert found.wrong == []
