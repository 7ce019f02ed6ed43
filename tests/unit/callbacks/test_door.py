"""The door answers in its own words whatever fails behind it, and a rejected callback costs next to nothing."""

import asyncio
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient
from structlog.testing import capture_logs

from adapters.clock import monotonic_s
from adapters.downstream import open_sinks
from adapters.ledger import Ledger
from adapters.ledger.inbox import Arrival
from adapters.metrics import Metrics
from adapters.settings import SpoolSettings as SpoolSettings
from adapters.spool import Spool
from adapters.vendors.accounts import Accounts
from callbacks.app import AppDependencies, make_app, make_app_with_recorder
from callbacks.pending_callbacks import NotRecordedError
from callbacks.recorder import Recorder
from tests.benchmarks.storeless import Forgetful, make_storeless_app
from tests.support.in_process_app import InProcessApp
from tests.support.ledgers import create_schema
from tests.support.sample_apps import settings, tencent

NOW = 1_768_960_000_000


class Broken(Forgetful):
    """A recorder that answers with this error."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def record(self, arrival: Arrival) -> "asyncio.Future[bool]":
        raise self._error


def dependencies(folder: Path, *, max_mb: int = 1) -> AppDependencies:
    configured = replace(settings(f"sqlite:///{folder}/tally.db"), spool=SpoolSettings(folder=str(folder / "spool"), max_mb=max_mb))
    ledger = Ledger(configured.database.url)
    create_schema(ledger)
    return AppDependencies(
        ledger=ledger,
        settings=configured,
        metrics=Metrics(),
        clock=lambda: NOW,
        notify_workers=lambda: None,
        accounts=Accounts(configured),
        sinks=open_sinks(configured),
    )


def callback(number: int = 1) -> tuple[str, bytes, dict[str, str]]:
    return tencent({"EventGroupId": 3, "EventType": 301, "EventInfo": {"TaskId": f"t{number}"}})


def post(client: TestClient, number: int = 1, path: str = "/callbacks/tencent") -> Any:
    _, body, headers = callback(number)
    return client.post(path, content=body, headers=headers)


def client_of(parts: AppDependencies, recorder: Recorder) -> TestClient:
    spool = Spool(Path(parts.settings.spool.folder), 0, parts.clock)
    return TestClient(
        make_app_with_recorder(parts, spool, recorder), base_url="http://127.0.0.1:8080", raise_server_exceptions=True
    )


def test_what_is_durable_is_answered_with_two_hundred_and_a_code(tmp_path: Path):
    with InProcessApp(tmp_path, NOW).open() as house:
        answer = post(house.client)
        assert (answer.status_code, answer.content, answer.headers["content-type"]) == (200, b'{"code":0}', "application/json")


def test_what_nobody_can_take_is_to_be_sent_again(tmp_path: Path):
    parts = dependencies(tmp_path)
    with client_of(parts, Broken(NotRecordedError("full"))) as client, capture_logs() as logs:
        answer = post(client)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["type"] == "urn:tallylight:problem:unavailable"
    assert [(entry["event"], entry["error"]) for entry in logs] == [("callback.unrecorded", "full")]
    parts.ledger.close()


def test_a_bug_is_answered_in_our_words_too(tmp_path: Path):
    parts = dependencies(tmp_path)
    with client_of(parts, Broken(RuntimeError("a bug"))) as client, capture_logs() as logs:
        answer = post(client)
    assert (answer.status_code, answer.headers["content-type"]) == (500, "application/problem+json")
    assert [(entry["event"], entry["error"]) for entry in logs] == [("callback.failed", "a bug")]
    assert "a bug" not in answer.text.replace("this is a bug", "")
    parts.ledger.close()


def test_while_the_ledger_is_locked_callbacks_are_answered_from_the_spool_and_applied_later(tmp_path: Path):
    parts = dependencies(tmp_path)
    with TestClient(make_app(parts), base_url="http://127.0.0.1:8080") as client:
        holder = sqlite3.connect(tmp_path / "tally.db", isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        began = monotonic_s()
        assert [post(client, number).status_code for number in range(5)] == [200] * 5
        assert monotonic_s() - began < 5
        assert client.get("/v1/stats").json()["spool_rows"] == 5
        metrics = client.get("/metrics").text
        assert "tally_spool_rows 5.0" in metrics
        assert "tally_breaker_open 1.0" in metrics
        assert "tally_spooled_callbacks_total 5.0" in metrics
        holder.execute("COMMIT")
        holder.close()
        deadline = monotonic_s() + 20
        while client.get("/v1/stats").json()["spool_rows"]:
            assert monotonic_s() < deadline
        assert client.get("/v1/stats").json()["unapplied_callbacks"] == 5
        while "tally_breaker_open 0.0" not in client.get("/metrics").text:  # closed a moment after the last is drained
            assert monotonic_s() < deadline
    parts.ledger.close()


def test_what_one_process_could_not_hand_over_the_next_one_does(tmp_path: Path):
    parts = dependencies(tmp_path)
    holder = sqlite3.connect(tmp_path / "tally.db", isolation_level=None)
    with TestClient(make_app(parts), base_url="http://127.0.0.1:8080") as client:
        holder.execute("BEGIN IMMEDIATE")
        assert post(client).status_code == 200
    holder.close()
    with TestClient(make_app(parts), base_url="http://127.0.0.1:8080") as client:
        deadline = monotonic_s() + 20
        while (stats := client.get("/v1/stats").json())["spool_rows"] or stats["unapplied_callbacks"] != 1:
            assert monotonic_s() < deadline
    parts.ledger.close()


def test_without_room_in_the_spool_it_is_a_503(tmp_path: Path):
    parts = dependencies(tmp_path, max_mb=0)
    with TestClient(make_app(parts), base_url="http://127.0.0.1:8080") as client:
        holder = sqlite3.connect(tmp_path / "tally.db", isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        assert post(client).status_code == 503
        holder.close()
    parts.ledger.close()


class CountingLedger(Ledger):
    writes = 0

    def write(self) -> Any:
        self.writes += 1
        return super().write()

    def write_once(self) -> Any:
        self.writes += 1
        return super().write_once()


def test_a_flood_of_forged_callbacks_costs_no_commits_and_few_lines(tmp_path: Path):
    parts = dependencies(tmp_path)
    counting = CountingLedger(parts.settings.database.url)
    parts = replace(parts, ledger=counting)
    began = monotonic_s()
    with capture_logs() as logs, TestClient(make_app(parts), base_url="http://127.0.0.1:8080") as client:
        _, body, headers = tencent({"EventInfo": {}}, key="wrong")
        for _ in range(500):
            assert client.post("/callbacks/tencent", content=body, headers=headers).status_code == 401
        metrics = client.get("/metrics").text
        seconds = monotonic_s() - began
    assert counting.writes <= seconds + 2
    assert 'tally_rejections_total{reason="bad_signature",vendor="tencent"} 500.0' in metrics
    lines = [entry for entry in logs if entry["event"] == "callback.rejected"]
    left_out = sum(entry["lines"] for entry in logs if entry["event"] == "callback.lines_left_out")
    assert len(lines) <= 20 * (seconds + 2)
    assert len(lines) + left_out == 500
    with counting.read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM rejections").scalar_one() == 500
    counting.close()


@pytest.mark.parametrize("path", ["/callbacks/tencent", "/callbacks/tencent/", "/callbacks/tencent?business=1"])
def test_its_address_may_be_written_in_these_ways(tmp_path: Path, path: str):
    with InProcessApp(tmp_path, NOW).open() as house:
        assert post(house.client, path=path).status_code == 200


def test_the_storeless_application_answers_and_keeps_nothing(tmp_path: Path):
    parts = dependencies(tmp_path)
    with TestClient(make_storeless_app(parts), base_url="http://127.0.0.1:8080") as client:
        assert post(client).status_code == 200
        assert client.get("/v1/stats").json()["callbacks"]["received"] == 0
    parts.ledger.close()
