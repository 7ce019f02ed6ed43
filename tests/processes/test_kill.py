"""`kill -9` at any moment loses no callback that was answered 200, and applies none twice."""

import random
import threading
import time
from pathlib import Path

import pytest

from adapters.ledger import Ledger
from tests.support.load_under_kills import Load, audit, drained
from tests.support.server_processes import READY_S, up, write_config

SENDERS = 6


def run_and_kill(config: Path, load: Load, alive_s: float) -> None:
    """Starts a server, sends callbacks to it and kills it this time (s) after its first answer."""
    process = up(config)
    load.answered.clear()
    stop = threading.Event()
    senders = load.senders(lambda _: process.port, SENDERS, stop)
    assert load.answered.wait(READY_S)
    time.sleep(alive_s)  # the random moment of the kill: there is no signal to wait for
    process.kill()
    stop.set()
    for sender in senders:
        sender.join()


#: Each kill costs a start, which is a second of CPU.
@pytest.mark.parametrize("kills", [12, pytest.param(500, marks=pytest.mark.soak)])
def test_killed_again_and_again_it_loses_nothing_and_doubles_nothing(tmp_path: Path, kills: int):
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    moments = random.Random(seed)
    config, load = write_config(tmp_path), Load(seed)
    for _ in range(kills):
        run_and_kill(config, load, moments.uniform(0.0, 0.25))
    last = up(config)
    drained(last)
    assert last.stop() == 0

    assert len(load.acked) >= kills
    audit(Ledger(f"sqlite:///{tmp_path}/tally.db"), load.acked)
