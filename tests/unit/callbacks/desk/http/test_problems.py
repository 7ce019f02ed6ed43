"""Whatever goes wrong is told as a problem."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.unit.callbacks.desk.desk_harness import DeskHarness, made, settings

MEMBERS = {"type", "title", "status", "detail"}


@pytest.mark.parametrize(
    ("method", "path", "status", "name", "title"),
    [
        ("GET", "/nowhere", 404, "not_found", "Not Found"),
        ("DELETE", "/v1/tasks", 405, "method_not_allowed", "Method Not Allowed"),
        ("GET", "/v1/tasks/no-such-id", 404, "not_found", "Not found"),
        ("GET", "/v1/tasks/" + "0" * 26, 404, "not_found", "Not found"),
        ("GET", "/v1/tasks/%00", 404, "not_found", "Not found"),
        ("GET", "/v1/tasks/x/timeline", 404, "not_found", "Not found"),
        ("GET", "/v1/callbacks/7", 404, "not_found", "Not found"),
        ("GET", "/v1/callbacks/" + "9" * 40, 404, "not_found", "Not found"),
        ("GET", "/v1/callbacks/-1", 404, "not_found", "Not found"),
        ("POST", "/v1/callbacks/7/replay", 404, "not_found", "Not found"),
    ],
)
def test_a_problem_has_a_stable_type(world: DeskHarness, method: str, path: str, status: int, name: str, title: str) -> None:
    answer = world.ask(method, path)
    said = answer.json()

    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["cache-control"] == "no-store"
    assert said.keys() == MEMBERS
    assert (answer.status_code, said["status"], said["type"]) == (status, status, f"urn:tallylight:problem:{name}")
    assert said["title"] == title


def test_a_refused_method_names_the_allowed_ones(world: DeskHarness) -> None:
    assert set(world.ask("PUT", "/v1/tasks").headers["allow"].split(", ")) == {"GET", "HEAD", "POST"}


def test_a_bug_shows_nothing_of_itself(world: DeskHarness) -> None:
    def broken() -> int:
        raise RuntimeError("sesame")

    object.__setattr__(world.desk, "spool_rows", broken)
    answer = world.get("/v1/stats")

    assert answer.status_code == 500
    assert answer.json()["type"] == "urn:tallylight:problem:internal"
    assert "sesame" not in answer.text


@pytest.mark.parametrize("path", ["/v1/tasks", "/v1/stats", "/v1/callbacks", "/v1/rejections", "/v1/callbacks/1"])
def test_without_a_ledger_it_says_when_to_ask_again(tmp_path: Path, path: str) -> None:
    world = DeskHarness(tmp_path, settings())
    answer = world.get(path)

    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert answer.json()["type"] == "urn:tallylight:problem:ledger_unavailable"
    assert "SELECT" not in answer.text
    world.ledger.close()


def test_what_a_vendor_said_in_half_characters_is_shown(world: DeskHarness) -> None:
    task = world.task(message="bad \ud800 text")

    said = json.loads(world.get(f"/v1/tasks/{task.id}").content)

    assert said["vendor_message"] == "bad \ud800 text"


def test_times_that_no_calendar_has_are_null(world: DeskHarness) -> None:
    task = world.task()
    world.line(task, {"kind": "callback", "event_at": 10**18})

    items: list[dict[str, Any]] = world.get(f"/v1/tasks/{task.id}/timeline").json()["items"]

    assert items[-1]["event_at"] is None


def test_answers_are_not_kept(tmp_path: Path) -> None:
    world = made(tmp_path)

    assert world.get("/v1/tasks").headers["cache-control"] == "no-store"
    world.ledger.close()


def test_a_path_that_is_written_out_is_no_id(world: DeskHarness) -> None:
    """`replay` is no callback's id, and takes no GET."""
    for method in ("GET", "DELETE"):
        answer = world.ask(method, "/v1/callbacks/replay")
        assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
