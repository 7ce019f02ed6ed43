"""What a process had only spooled when it was killed, the next one on that machine hands over."""

import http.client
import json
import sqlite3
import time
from pathlib import Path
from typing import Any

from tests.support.sample_apps import tencent
from tests.support.server_processes import Process, up, write_config

CALLBACKS = 40
NOW = 1_768_960_000_000


def ask(process: Process, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", process.port, timeout=10)
    connection.request(method, path, body, headers or {})
    answer = connection.getresponse()
    said = json.loads(answer.read())
    connection.close()
    return answer.status, said


def test_killed_with_callbacks_in_the_spool_none_is_lost(tmp_path: Path):
    config = write_config(tmp_path)
    first = up(config)
    holder = sqlite3.connect(tmp_path / "tally.db", isolation_level=None, timeout=30)
    holder.execute("BEGIN IMMEDIATE")
    for number in range(CALLBACKS):
        info = {"EventMsTs": NOW, "TaskId": f"t{number}", "RoomId": "r", "UserId": "u", "Payload": {"Status": 0}}
        _, body, headers = tencent({"EventGroupId": 3, "EventType": 301, "CallbackTs": NOW, "EventInfo": info})
        began = time.monotonic()
        assert ask(first, "POST", "/callbacks/tencent", body, headers) == (200, {"code": 0})
        assert time.monotonic() - began < 5
    assert ask(first, "GET", "/v1/stats")[1]["spool_rows"] == CALLBACKS
    first.kill()
    holder.close()

    second = up(config)
    deadline = time.monotonic() + 60
    while (said := ask(second, "GET", "/v1/stats")[1])["spool_rows"] or said["unapplied_callbacks"]:
        assert time.monotonic() < deadline
        time.sleep(0.05)  # another process works: only its answer shows it
    assert said["callbacks"]["received"] == CALLBACKS
    assert sum(line["count"] for line in said["tasks"]) == CALLBACKS
    assert not list((tmp_path / "spool").glob("*/*"))
    assert second.stop() == 0
