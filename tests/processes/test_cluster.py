"""A cluster on one PostgreSQL ledger loses and doubles nothing when a process dies or hangs, or the database is away."""

import random
import threading
import time
from pathlib import Path

import pytest

from adapters.ledger import Ledger
from tests.support.cluster import ROLES, Cluster, cluster
from tests.support.load_under_kills import Load, audit, drained

SENDERS = 4


def load_for(made: Cluster, load: Load, seconds: float) -> None:
    """Sends callbacks to both web processes for this time."""
    stop = threading.Event()
    senders = load.senders(lambda number: made.web(number % 2).port, SENDERS, stop)
    time.sleep(seconds)  # the duration of the load: there is no signal to wait for
    stop.set()
    for sender in senders:
        sender.join()


@pytest.mark.parametrize("kills", [5, pytest.param(50, marks=pytest.mark.soak)])
def test_whichever_process_is_killed_nothing_is_lost_or_doubled(tmp_path: Path, kills: int):
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    draw = random.Random(seed)
    with cluster(tmp_path) as made:
        load = Load(seed)
        for _ in range(kills):
            victim = draw.randrange(len(ROLES))
            stop = threading.Event()
            senders = load.senders(lambda number: made.web(number % 2).port, SENDERS, stop)
            time.sleep(draw.uniform(0.05, 0.6))  # the random moment of the kill
            made.kill(victim)
            stop.set()
            for sender in senders:
                sender.join()
            made.start(victim)
        drained(made.web())
        assert made.stop() == [0, 0, 0, 0]
        assert len(load.acked) > 100
        audit(Ledger(made.url), load.acked)


@pytest.mark.parametrize("away_s", [3, pytest.param(60, marks=pytest.mark.soak)])
def test_while_postgresql_is_away_every_callback_is_answered_and_later_applied(tmp_path: Path, away_s: float):
    with cluster(tmp_path) as made:
        load, stop = Load(1), threading.Event()
        senders = load.senders(lambda number: made.web(number % 2).port, SENDERS, stop)
        time.sleep(0.5)  # load before
        made.postgres.stop("fast")
        before = len(load.answers)
        time.sleep(away_s)  # the duration of the outage
        during = load.answers[before:]
        made.postgres.start()
        time.sleep(1)  # load after
        stop.set()
        for sender in senders:
            sender.join()
        drained(made.web(), limit_s=120)
        drained(made.web(1))
        assert len(during) > away_s * 10, "the door all but stood still"
        assert {status for status, _ in load.answers} == {200}
        assert max(seconds for _, seconds in load.answers) < 5
        assert made.stop() == [0, 0, 0, 0]
        audit(Ledger(made.url), load.acked)


def test_a_worker_that_hangs_holds_up_nobody_for_long(tmp_path: Path):
    with cluster(tmp_path) as made:
        load = Load(2)
        load_for(made, load, 0.3)
        made.running(2).suspend()
        load_for(made, load, 0.3)
        drained(made.web(), limit_s=40)
        made.running(2).resume()
        load_for(made, load, 0.3)
        drained(made.web())
        assert made.stop() == [0, 0, 0, 0]
        audit(Ledger(made.url), load.acked)
