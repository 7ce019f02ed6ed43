"""An operator's own word about a task."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.in_process_app import InProcessApp
from tests.support.sample_apps import volcengine

T0 = 1_768_960_800_000
PUSH = {"RoomId": "r", "TaskId": "t", "Code": 0}


@pytest.fixture
def house(tmp_path: Path) -> Iterator[InProcessApp]:
    with InProcessApp(tmp_path, T0 + 120_000).open() as opened:
        opened.post_and_apply(*volcengine("TranscodeStarted", PUSH | {"Timestamp": T0}, "2026-01-21T10:00:00+08:00"))
        opened.sweep.run_once()  # a minute without media, and nobody can be asked
        yield opened


def mark(house: InProcessApp, body: Any) -> tuple[int, Any]:
    answer = house.client.post(f"/v1/tasks/{house.tasks()[0]['id']}/mark", json=body)
    house.applier.apply_waiting()
    return answer.status_code, answer.json()


def test_an_anomaly_is_cleared_and_the_timeline_says_by_whom_and_why(house: InProcessApp):
    assert house.tasks()[0]["anomalies"] == ["unheard"]
    status, task = mark(house, {"clear": ["unheard"], "note": "seen at the console"})
    assert (status, task["anomalies"], house.tasks()[0]["anomalies"]) == (202, ["unheard"], [])
    line = next(e for e in house.get(f"/v1/tasks/{task['id']}/timeline")["items"] if e["kind"] == "mark")
    assert (line["by"], line["note"], line["clear"]) == ("local", "seen at the console", ["unheard"])


def test_an_end_that_an_operator_tells_is_inferred_and_yields_to_the_vendor(house: InProcessApp):
    mark(house, {"state": "lost", "note": "the room is gone"})
    (task,) = house.tasks()
    assert (task["state"], task["reason"], task["inferred"]) == ("lost", "unknown_to_vendor", True)
    house.post_and_apply(*volcengine("TranscodeStopped", PUSH | {"Timestamp": T0 + 90_000}, "2026-01-21T10:01:30+08:00", "e2"))
    (task,) = house.tasks()
    assert (task["state"], task["reason"], task["inferred"]) == ("stopped", "unstated", False)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"note": "x"}, "state"),
        ({"state": "running", "note": "x"}, "state"),
        ({"clear": ["tired"], "note": "x"}, "clear"),
        ({"clear": "zombie", "note": "x"}, "clear"),
        ({"clear": [["zombie"]], "note": "x"}, "clear"),
        ({"state": "lost"}, "note"),
        ({"state": "lost", "note": " "}, "note"),
        ({"state": "lost", "note": "x", "why": "y"}, "why"),
    ],
)
def test_what_is_wrong_is_named(house: InProcessApp, body: dict[str, Any], field: str):
    status, problem = mark(house, body)
    assert (status, [error["field"] for error in problem["errors"]]) == (422, [field])


def test_a_body_that_is_no_object_is_refused(house: InProcessApp):
    assert mark(house, ["zombie"])[0] == 400


def test_an_unknown_task_is_not_found(house: InProcessApp):
    assert house.client.post("/v1/tasks/nobody/mark", json={"state": "lost", "note": "x"}).status_code == 404
