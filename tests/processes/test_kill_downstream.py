"""`kill -9` of the process that delivers, at any moment: every event arrives, and the events of a task arrive in their order."""

import http.client
import json
import random
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from adapters.ledger import Ledger
from tests.support.cluster import cluster
from tests.support.load_under_kills import Load, drained
from tests.support.server_processes import Process, up, write_config
from tests.support.subscribed_events import firsts, told
from tests.support.webhook_subscriber import Subscriber, subscriber

ALLOW = '[outbound]\nallow = ["127.0.0.0/8"]\nallow_http = true\n'


def subscribe(process: Process, subscriber: Subscriber) -> None:
    wish = json.dumps({"sink": {"type": "webhook", "url": subscriber.url}})
    with closing(http.client.HTTPConnection("127.0.0.1", process.port, timeout=20)) as connection:
        connection.request("POST", "/v1/subscriptions", wish)
        answer = connection.getresponse()
        assert answer.status == 201, answer.read()


def check_order(subscriber: Subscriber, ledger: Ledger) -> None:
    """Fails unless every event came, and each repetition before any later event of its task. Closes the ledger."""
    got = subscriber.by_subject()
    assert firsts(got) == told(ledger)
    assert all(sequences == sorted(sequences) for sequences in got.values())
    ledger.close()


@pytest.mark.parametrize("kills", [5, pytest.param(50, marks=pytest.mark.soak)])
def test_killed_again_and_again_it_delivers_everything_in_order(tmp_path: Path, kills: int):
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    moments, load = random.Random(seed), Load(seed)
    config = write_config(tmp_path, more=ALLOW)
    with subscriber() as listening:
        process = up(config)
        subscribe(process, listening)
        for _ in range(kills):
            stop = threading.Event()
            senders = load.senders(lambda _, port=process.port: port, 2, stop)
            time.sleep(moments.uniform(0.2, 0.6))  # the random moment of the kill: there is no signal to wait for
            process.kill()
            stop.set()
            for sender in senders:
                sender.join()
            process = up(config)
        drained(process, undelivered=True)
        assert process.stop() == 0
        assert len(listening.got) > kills
        check_order(listening, Ledger(f"sqlite:///{tmp_path}/tally.db"))


def test_with_many_workers_too(tmp_path: Path):
    load = Load(1)
    with cluster(tmp_path, more=ALLOW) as made, subscriber() as listening:
        subscribe(made.web(), listening)
        for victim in (2, 3):
            stop = threading.Event()
            senders = load.senders(lambda number: made.web(number % 2).port, 3, stop)
            time.sleep(0.5)  # the duration of the load
            made.kill(victim)
            stop.set()
            for sender in senders:
                sender.join()
            made.start(victim)
        drained(made.web(), limit_s=120, undelivered=True)  # waits until the leases of the killed workers expire
        assert made.stop() == [0, 0, 0, 0]
        check_order(listening, Ledger(made.url))
