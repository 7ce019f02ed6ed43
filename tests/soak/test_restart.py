"""Two hundred restarts under load, killed and told to end in turn, at moments of chance: minutes."""

import os
import random
from pathlib import Path

import pytest

from tests.processes.test_restart import restart_under_load


@pytest.mark.soak
def test_restarted_two_hundred_times_under_load_it_loses_nothing_and_doubles_nothing(tmp_path: Path):
    seed = int(os.environ.get("TALLY_SEED") or random.randrange(2**32))
    print(f"seed {seed}")
    restart_under_load(tmp_path, random.Random(seed), 200)
