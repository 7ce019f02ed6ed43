"""`tally web` and `tally work` as two processes over a real Redis; and everything still happens when Redis is away."""

import http.client
import json
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.ledger import Ledger
from adapters.ledger.upgrade import upgrade
from tests.house import tencent
from tests.processes import Process, RedisServer, redis_server, write_config

T0 = 1_768_960_000_000


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    with redis_server(tmp_path) as server:
        yield server


@pytest.fixture
def pair(tmp_path: Path, redis: RedisServer) -> Iterator[tuple[Process, Process]]:
    config = write_config(tmp_path, queue=redis.url)
    ledger = Ledger(f"sqlite:///{tmp_path}/tally.db")
    upgrade(ledger)
    ledger.close()
    web = Process("web", "--config", str(config), ready="server.started")
    work = Process("work", "--config", str(config), ready="worker.started")
    yield web, work
    assert (web.stop(), work.stop()) == (0, 0)


def call(process: Process, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None) -> dict:
    connection = http.client.HTTPConnection("127.0.0.1", process.port, timeout=10)
    connection.request(method, path, body, headers or {})
    answer = connection.getresponse()
    content = json.loads(answer.read())
    connection.close()
    assert answer.status == 200, content
    return content


def start_recording(process: Process, number: int) -> None:
    info = {"EventMsTs": T0 + number, "TaskId": f"t{number}", "RoomId": "r", "UserId": "u", "Payload": {"Status": 0}}
    _, body, headers = tencent({"EventGroupId": 3, "EventType": 301, "CallbackTs": T0, "EventInfo": info})
    call(process, "POST", "/callbacks/tencent", body, headers)


def applied_after_s(process: Process, tasks: int, limit_s: float = 20) -> float:
    began = time.monotonic()
    while time.monotonic() - began < limit_s:
        if len(call(process, "GET", "/v1/tasks?limit=500")["items"]) >= tasks:
            return time.monotonic() - began
        time.sleep(0.005)  # another process works: only asking tells
    raise AssertionError(f"{tasks} task(s) not there after {limit_s} s")


def test_a_callback_taken_by_one_process_is_applied_by_the_other(pair: tuple[Process, Process]):
    web, _ = pair
    for number in range(5):
        start_recording(web, number)
        applied_after_s(web, number + 1)
    assert {t["state"] for t in call(web, "GET", "/v1/tasks")["items"]} == {"running"}


def test_with_redis_stopped_the_sweep_alone_suffices(pair: tuple[Process, Process], redis: RedisServer):
    web, _ = pair
    redis.stop()
    for number in range(20):
        start_recording(web, number)
    applied_after_s(web, 20)


def test_hints_come_through_again_after_redis_returns_empty(pair: tuple[Process, Process], redis: RedisServer):
    web, _ = pair
    start_recording(web, 0)
    applied_after_s(web, 1)
    redis.stop()
    redis.start()
    delays = []
    for number in range(1, 8):
        start_recording(web, number)
        delays.append(applied_after_s(web, number + 1))
    assert statistics.median(delays) < 5
