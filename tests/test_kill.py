"""`kill -9` at any moment loses no callback that was answered 200, and applies none twice."""

import http.client
import json
import random
import threading
import time
from collections import Counter
from itertools import count
from pathlib import Path

from adapters.ledger import Ledger, callbacks, search, stats, timeline
from tests.house import tencent
from tests.processes import Process, up, write_config

KILLS = 50
SENDERS = 6
#: A recording's callbacks: type, payload.
STEPS = [(301, {"Status": 0}), (302, {"LeaveCode": 0}), (305, {"Status": 0}), (310, {"Status": 0, "FileList": ["a.mp4"]})]


class Load:
    """Sends each callback until it was answered 200 once; some of them twice."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._numbers = count()
        self._lock = threading.Lock()
        self.acked: set[tuple[str, int]] = set()

    def send_until_cut(self, port: int, stop: threading.Event) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            while not stop.is_set():
                with self._lock:
                    number = next(self._numbers)
                for event_type, payload in STEPS:
                    self._send(connection, f"task-{number}", event_type, payload)
        except (OSError, http.client.HTTPException):
            pass  # the server was killed
        finally:
            connection.close()

    def _send(self, connection: http.client.HTTPConnection, task: str, event_type: int, payload: dict) -> None:
        at = 1_768_960_000_000 + event_type
        info = {"EventMsTs": at, "TaskId": task, "RoomId": "r", "UserId": "u", "Payload": payload}
        _, body, headers = tencent({"EventGroupId": 3, "EventType": event_type, "CallbackTs": at, "EventInfo": info})
        for _ in range(1 + (self._random.random() < 0.1)):
            connection.request("POST", "/callbacks/tencent", body, headers)
            answer = connection.getresponse()
            answer.read()
            if answer.status == 200:
                self.acked.add((task, event_type))


def run_and_kill(config: Path, load: Load, alive_s: float) -> None:
    process = up(config)
    stop = threading.Event()
    senders = [threading.Thread(target=load.send_until_cut, args=(process.port, stop)) for _ in range(SENDERS)]
    for sender in senders:
        sender.start()
    time.sleep(alive_s)  # the moment of death is what is drawn: there is nothing to wait for
    process.kill()
    stop.set()
    for sender in senders:
        sender.join()


def drained(process: Process) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", process.port, timeout=10)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        connection.request("GET", "/v1/stats")
        if json.loads(connection.getresponse().read())["unapplied_callbacks"] == 0:
            connection.close()
            return
        time.sleep(0.05)  # another process works: only asking it tells
    raise AssertionError("not drained within a minute")


def test_killed_fifty_times_it_loses_nothing_and_doubles_nothing(tmp_path: Path):
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


def audit(ledger: Ledger, acked: set[tuple[str, int]]) -> None:
    with ledger.read() as connection:
        ids = callbacks.ids_after(connection, callbacks.CallbackFilter(), after=0, limit=10**9)
        stored = [found for i in ids if (found := callbacks.find(connection, i)) is not None]
        told = Counter((json.loads(c.body)["EventInfo"]["TaskId"], int(c.event_type)) for c in stored)
        assert acked <= set(told), "answered 200 and lost"
        assert set(told.values()) == {1}, "stored twice"
        assert {c.verdict for c in stored} <= {"applied", "stale"}
        assert {c.error for c in stored} == {None}
        tasks = search.page(connection, search.TaskFilter(), before=None, limit=10**9)
        lines = [entry for t in tasks for _, line in timeline.page(connection, t.id, after=0, limit=100) for entry in line.entries]
        applied = Counter(entry["callback_id"] for entry in lines if entry["kind"] == "callback")
        assert applied == Counter(str(i) for i in ids), "applied twice, or not at all"
        numbers = stats.read(connection, 0)
        assert sum(numbers.by_verdict.values()) == len(stored)
        assert sum(numbers.tasks.values()) == len(tasks) == len({task for task, _ in told})
        done = {t.key.vendor_task_id for t in tasks if t.view.state == "completed"}
        assert done == {task for task, step in told if step == 302 and ((task, 305) in told or (task, 310) in told)}
    ledger.close()
