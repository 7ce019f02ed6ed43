"""`kill -9` at any moment loses no callback that was answered 200, and applies none twice."""

import random
import threading
import time
from pathlib import Path

from adapters.ledger import Ledger
from tests.support.load_under_kills import Load, audit, drained
from tests.support.server_processes import up, write_config

#: Each kill costs a start, about a second of CPU; `make soak` kills 500 times.
KILLS = 12
SENDERS = 6


def run_and_kill(config: Path, load: Load, alive_s: float) -> None:
    """Starts a server, sends callbacks to it and kills it after this time (s)."""
    process = up(config)
    stop = threading.Event()
    senders = load.senders(lambda _: process.port, SENDERS, stop)
    time.sleep(alive_s)  # the random moment of the kill: there is no signal to wait for
    process.kill()
    stop.set()
    for sender in senders:
        sender.join()


def test_killed_again_and_again_it_loses_nothing_and_doubles_nothing(tmp_path: Path):
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    moments = random.Random(seed)
    config, load = write_config(tmp_path), Load(seed)
    for _ in range(KILLS):
        run_and_kill(config, load, moments.uniform(0.0, 0.25))
    last = up(config)
    drained(last)
    assert last.stop() == 0

    assert len(load.acked) > KILLS
    audit(Ledger(f"sqlite:///{tmp_path}/tally.db"), load.acked)
