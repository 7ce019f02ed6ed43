"""Deadlines that fall due by the hundred while callbacks pour in: the two must not feed on each other."""

import http.client
import json
import time
from pathlib import Path

from adapters.ledger import Ledger
from adapters.ledger.schema import inbox
from tests.processes.test_kill import drained
from tests.support.sample_apps import tencent
from tests.support.server_processes import up, write_config

CALLBACKS = 400
HOURS_AGO = 2


def test_callbacks_whose_deadlines_are_due_at_once_are_applied_and_leave_nothing_behind(tmp_path: Path):
    server = up(write_config(tmp_path))
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    at = (int(time.time()) - HOURS_AGO * 3600) * 1000
    for number in range(CALLBACKS):
        payload = {"Url": "rtmp://a/b", "Status": 1}
        info = {"EventMsTs": at, "TaskId": f"t{number}", "RoomId": "r", "UserId": "u", "Payload": payload}
        _, body, headers = tencent({"EventGroupId": 4, "EventType": 401, "CallbackTs": at, "EventInfo": info})
        connection.request("POST", "/callbacks/tencent", body, headers)
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 200
    drained(server)
    all_passed(connection)
    assert server.stop() == 0

    ledger = Ledger(f"sqlite:///{tmp_path}/tally.db")
    with ledger.read() as reading:
        kinds = list(reading.scalars(inbox.select().with_only_columns(inbox.c.kind)))
    ledger.close()
    assert kinds == ["callback"] * CALLBACKS


def all_passed(connection: http.client.HTTPConnection) -> None:
    """Every task's `start_confirm` has passed: each is marked as unheard."""
    give_up = time.monotonic() + 30
    while time.monotonic() < give_up:
        connection.request("GET", "/v1/stats")
        stats = json.loads(connection.getresponse().read())
        if stats["anomalies"] == {"unheard": CALLBACKS} and stats["overdue_deadlines"] == 0:
            connection.close()
            return
        time.sleep(0.05)  # another process works: only its answer shows it
    raise AssertionError(stats)
