"""Load that goes on while servers die, and what must be true of the ledger afterwards."""

import http.client
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from itertools import count

from sqlalchemy import select

from adapters.ledger import Connection, Ledger, callbacks, search, stats, timeline
from adapters.ledger.schema import events
from statemachine.tasks import Task
from tests.house import tencent
from tests.processes import Process

#: A recording's callbacks: type, payload.
STEPS = [(301, {"Status": 0}), (302, {"LeaveCode": 0}), (305, {"Status": 0}), (310, {"Status": 0, "FileList": ["a.mp4"]})]


class Load:
    """Sends each callback until it was answered 200 once; some of them twice. `answers`: (status, s) of each that was answered."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._numbers = count()
        self._lock = threading.Lock()
        self.acked: set[tuple[str, int]] = set()
        self.answers: list[tuple[int, float]] = []

    def send_until_cut(self, port: int, stop: threading.Event) -> None:
        """Until it is stopped, or the server is killed."""
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
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
            began = time.monotonic()
            connection.request("POST", "/callbacks/tencent", body, headers)
            answer = connection.getresponse()
            answer.read()
            self.answers.append((answer.status, time.monotonic() - began))
            if answer.status == 200:
                self.acked.add((task, event_type))

    def senders(self, port: Callable[[int], int], number: int, stop: threading.Event) -> list[threading.Thread]:
        """Threads that send, started. port: of each of them."""
        threads = [threading.Thread(target=self.send_until_cut, args=(port(each), stop)) for each in range(number)]
        for thread in threads:
            thread.start()
        return threads


def drained(process: Process, limit_s: float = 60, *, undelivered: bool = False) -> None:
    """Waits until nothing waits any more. undelivered: nor any event."""
    waiting = ("unapplied_callbacks", "spool_rows", *(("undelivered_events",) if undelivered else ()))
    found: dict[str, object] = {}
    until = time.monotonic() + limit_s
    with closing(http.client.HTTPConnection("127.0.0.1", process.port, timeout=20)) as connection:
        while time.monotonic() < until:
            connection.request("GET", "/v1/stats")
            found = json.loads(connection.getresponse().read())
            if all(found.get(name) == 0 for name in waiting):
                return
            time.sleep(0.05)  # another process works: only asking it tells
    raise AssertionError(f"not drained after {limit_s} s: {found}")


def audit(ledger: Ledger, acked: set[tuple[str, int]]) -> None:
    """Each callback that was answered is stored once and applied once, each version told once; closes the ledger."""
    with ledger.read() as connection:
        ids = callbacks.ids_after(connection, callbacks.CallbackFilter(), after=0, limit=10**9)
        stored = [found for i in ids if (found := callbacks.find(connection, i)) is not None]
        told = Counter((json.loads(c.body)["EventInfo"]["TaskId"], int(c.event_type)) for c in stored)
        assert acked <= set(told), "answered 200 and lost"
        assert set(told.values()) == {1}, "stored twice"
        assert {c.verdict for c in stored} <= {"applied", "stale"}
        assert {c.error for c in stored} == {None}
        tasks = _all_tasks(connection)
        lines = [entry for t in tasks for _, line in timeline.page(connection, t.id, after=0, limit=100) for entry in line.entries]
        applied = Counter(entry["callback_id"] for entry in lines if entry["kind"] == "callback")
        assert applied == Counter(str(i) for i in ids), "applied twice, or not at all"
        numbers = stats.read(connection, 0)
        assert sum(numbers.by_verdict.values()) == len(stored)
        assert sum(numbers.tasks.values()) == len(tasks) == len({task for task, _ in told})
        done = {t.key.vendor_task_id for t in tasks if t.view.state == "completed"}
        assert done == {task for task, step in told if step == 302 and ((task, 305) in told or (task, 310) in told)}
        versions = Counter((row.subject, row.version) for row in connection.execute(select(events.c.subject, events.c.version)))
        assert versions == Counter((t.id, version) for t in tasks for version in range(1, t.version + 1)), "a version not told once"
    ledger.close()


def _all_tasks(connection: Connection) -> list[Task]:
    """Returns every task, page by page: a page ends at 4 MiB of documents, which is about 2,000 tasks."""
    tasks: list[Task] = []
    while page := search.page(connection, search.TaskFilter(), before=tasks[-1].id if tasks else None, limit=10**9):
        tasks += page
    return tasks
