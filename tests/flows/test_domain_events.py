"""Each version of a task is told once, with what it became and what made it so."""

import json
from pathlib import Path

import pytest
from sqlalchemy import select

from adapters.ledger.schema import events
from tests.support.in_process_app import InProcessApp
from tests.support.sample_apps import tencent
from tests.support.scenario import Scenario

T0 = 1_768_960_000_000


def told(house: InProcessApp) -> list[dict]:
    with house.ledger.read() as connection:
        rows = connection.execute(select(events).order_by(events.c.id)).mappings().all()
    return [{**row, "doc": json.loads(row["doc"])} for row in rows]


def recording(event_type: int, at: int, payload: dict) -> tuple[str, bytes, dict[str, str]]:
    info = {"EventMsTs": at, "TaskId": "t1", "RoomId": "r", "UserId": "u", "Payload": payload}
    return tencent({"EventGroupId": 3, "EventType": event_type, "CallbackTs": at, "EventInfo": info})


def test_each_version_is_told_by_the_word_for_what_changed(tmp_path: Path):
    with InProcessApp(tmp_path, T0).open() as house:
        house.post_and_apply(*recording(301, T0, {"Status": 0}))
        house.post_and_apply(*recording(302, T0 + 1, {"LeaveCode": 0}))
        house.post_and_apply(*recording(310, T0 + 2, {"Status": 0, "FileList": ["a.mp4"]}))
        found = told(house)
        (task,) = house.tasks()
    assert [row["type"] for row in found] == ["tally.task.running", "tally.task.finishing", "tally.task.completed"]
    assert [row["version"] for row in found] == [1, 2, 3] == [*range(1, task["version"] + 1)]
    assert {row["subject"] for row in found} == {task["id"]}
    assert [row["doc"]["previous_state"] for row in found] == [None, "running", "finishing"]
    assert [row["doc"]["cause"]["kind"] for row in found] == ["callback"] * 3
    assert [row["doc"]["task"]["view"]["state"] for row in found] == ["running", "finishing", "completed"]
    assert found[0]["doc"]["key"] == ["tencent", "1400000001", "", "t1", "recording"]


def test_a_callback_that_comes_twice_is_told_once(tmp_path: Path):
    with InProcessApp(tmp_path, T0).open() as house:
        for _ in range(2):
            house.post_and_apply(*recording(301, T0, {"Status": 0}))
        assert len(told(house)) == 1


@pytest.mark.parametrize("start", [("tencent", "StartPublishCdnStream")])
def test_calls_under_way_are_not_told(tmp_path: Path, start: tuple[str, str]):
    with Scenario(tmp_path).open() as story:
        story.start(*start)
        story.run(1_000)
        found = told(story.house)
    assert found
    assert all("calls" not in row["doc"]["task"] for row in found)


def test_of_very_many_files_an_event_carries_the_newest(tmp_path: Path):
    names = [f"{number}.mp4" for number in range(600)]
    with InProcessApp(tmp_path, T0).open() as house:
        house.post_and_apply(*recording(301, T0, {"Status": 0}))
        house.post_and_apply(*recording(302, T0 + 1, {"LeaveCode": 0}))
        house.post_and_apply(*recording(310, T0 + 2, {"Status": 0, "FileList": names}))
        view = told(house)[-1]["doc"]["task"]["view"]
        task = house.get(f"/v1/tasks/{house.tasks()[0]['id']}")
    assert ([file["name"] for file in view["files"]], view["files_truncated"]) == (names[100:], True)
    assert ([file["name"] for file in task["files"]], "files_truncated" in task) == (names, False)


def test_it_is_said_of_a_task_and_of_its_event_that_files_are_missing(tmp_path: Path):
    with InProcessApp(tmp_path, T0).open() as house:
        house.post_and_apply(*recording(310, T0, {"Status": 0, "FileList": [f"{number}.mp4" for number in range(5_001)]}))
        task = house.get(f"/v1/tasks/{house.tasks()[0]['id']}")
        (event,) = house.get("/v1/events?after=0")["items"]
    assert (len(task["files"]), task["files_truncated"]) == (5_000, True)
    assert (len(event["data"]["files"]), event["data"]["files_truncated"]) == (500, True)
