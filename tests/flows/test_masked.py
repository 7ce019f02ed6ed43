"""What viewers, subscribers and the ledger after its wipe get to see of keys and secrets, whatever way they are written."""

import json
from collections.abc import Iterator
from pathlib import Path
from time import thread_time
from typing import Any

import pytest

from adapters.contract.cloud_events import cloud_event
from adapters.ledger import events
from adapters.settings import Role, Secret, Settings, TokenSettings
from tests.flows.test_secrets import kept, seen, with_tokens
from tests.support.in_process_app import InProcessApp
from tests.support.sample_apps import settings, tencent, volcengine
from tests.support.scenario import Scenario
from tests.support.start_calls import params
from tests.support.times import HOUR, SECOND
from tests.unit.adapters.contract.test_masking import KEY, SHAPES

NOW = 1_785_000_000_000
WORD = "sEcReTwOrD"
AT = "2026-07-25T10:00:00+08:00"


def with_viewer(folder: Path) -> Settings:
    made = settings(f"sqlite:///{folder}/tally.db")
    tokens = tuple(TokenSettings(name=role.value, role=role, token=Secret(f"{role.value}-0123456789abcdef")) for role in Role)
    return Settings(apps=made.apps, database=made.database, tokens=tokens)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[InProcessApp]:
    with InProcessApp(tmp_path, NOW, made=with_viewer(tmp_path)).open() as opened:
        yield opened


def read_by_viewer(house: InProcessApp) -> str:
    """All that a viewer gets to see, and what subscribers are sent."""
    headers = {"Authorization": "Bearer viewer-0123456789abcdef"}
    tasks = house.client.get("/v1/tasks?limit=500", headers=headers)
    assert tasks.status_code == 200, tasks.text
    paths = ["/v1/events?limit=500", "/v1/callbacks?limit=500", "/v1/rejections"]
    paths += [f"/v1/tasks/{task['id']}{more}" for task in tasks.json()["items"] for more in ("", "/timeline")]
    answers = [house.client.get(path, headers=headers) for path in paths]
    assert {answer.status_code for answer in answers} == {200}
    with house.ledger.read() as connection:
        told = [cloud_event(event, keys=False) for event in events.page(connection, after=0, limit=500)]
    return "\n".join([tasks.text, *(answer.text for answer in answers), json.dumps(told)])


def relay(number: int, url: str) -> dict[str, Any]:
    payload = {"Url": url, "Status": 4, "ErrorCode": 1, "ErrorMsg": f"cannot push to {url} any more"}
    info = {"RoomId": "r", "EventMsTs": NOW + number, "TaskId": f"task-{number}", "Payload": payload}
    return {"EventGroupId": 4, "EventType": 401, "CallbackTs": NOW, "EventInfo": info}


def test_no_viewer_and_no_subscriber_sees_a_key_that_a_vendor_told_however_it_is_written(house: InProcessApp) -> None:
    for number, shape in enumerate(SHAPES):
        url = shape.replace("{}", KEY)
        house.post_and_apply(*tencent(relay(number, url)))
        payload = {"Status": 2, "FileList": [url], "FileMessage": [{"FileName": url}], "Errmsg": url}
        info = {"EventMsTs": NOW, "RoomId": "r", "TaskId": f"rec-{number}", "Payload": payload}
        house.post_and_apply(*tencent({"EventGroupId": 3, "EventType": 310, "CallbackTs": NOW, "EventInfo": info}))
        data = {"RoomId": "r", "TaskId": f"t{number}", "Timestamp": NOW, "PushURL": url, "Code": 1, "ErrorMessage": f"no: {url}"}
        house.post_and_apply(*volcengine("TranscodeStarted", data, AT, f"e{number}"))

    assert len(house.client.get("/v1/tasks?limit=500", headers=operator()).json()["items"]) == 3 * len(SHAPES)
    shown = read_by_viewer(house)
    assert KEY not in shown
    assert "rtmp://h/live/***" in shown


def operator() -> dict[str, str]:
    return {"Authorization": "Bearer operator-0123456789abcdef"}


def test_operators_see_keys(house: InProcessApp) -> None:
    house.post_and_apply(*tencent(relay(1, f"rtmp://h/live/{KEY}")))

    assert f"rtmp://h/live/{KEY}" in house.client.get("/v1/tasks", headers=operator()).text


@pytest.mark.parametrize("url", ["a" * 500_000 + "://h", "rtmp://h/" + "a/" * 250_000, "%2F" * 160_000, "a b://" * 80_000])
def test_a_callback_of_a_megabyte_is_shown_to_viewers_within_milliseconds(house: InProcessApp, url: str) -> None:
    """It stands there twice. Before, 60,000 letters in a url took 3.5 s, and the square of it for more."""
    house.post_and_apply(*tencent(relay(1, url)))

    began_s = thread_time()
    masked = read_by_viewer(house)
    assert thread_time() - began_s < 2
    assert len(masked) < 100_000


#: An object that the vendor's page leaves open, full of what nobody may see.
OPEN = {
    **{name: f"{WORD}{name}" for name in ("Authorization", "Cookie", "Pwd", "Passphrase", "Jwt", "Sig", "Signature", "AK", "SK")},
    **{name: f"{WORD}{name}" for name in ("AppKey", "PrivateKey", "AESKey", "MasterKey", "X-Key")},
    "Headers": [{"Key": "Authorization", "Value": f"{WORD}h"}, f"Cookie: {WORD}c"],
    "Json": json.dumps({"Deep": {"Token": f"{WORD}j"}}),
    "Out": f"rtmp://push.example.com/live/{KEY}?txSecret={KEY}",
    "Outs": [shape.replace("{}", KEY) for shape in SHAPES],
    "Odd": KEY,
}
START = ("volcengine", "StartWebcast")


def test_nobody_sees_secrets_of_open_objects_and_nothing_is_left_of_them(tmp_path: Path) -> None:
    with Scenario(tmp_path).open() as story:
        with_tokens(story)
        story.lose_callbacks()
        task_id = start_open(story)
        for role in Role:
            assert WORD not in seen(story, role, task_id), "before any worker has seen it"
        assert KEY not in seen(story, Role.VIEWER, task_id)
        story.run(30 * SECOND)
        for role in Role:
            assert WORD not in seen(story, role, task_id)
        assert KEY not in seen(story, Role.VIEWER, task_id)
        assert KEY in seen(story, Role.OPERATOR, task_id)
        assert {table for table, _, _ in kept(story, WORD, KEY)} == {"tasks"}
        assert story.stop(task_id) == 202
        story.settle(60 * HOUR)
        assert kept(story, WORD, KEY) == []
        story.house.ledger.close()
        files = [path for path in tmp_path.rglob("*") if path.is_file()]
        assert [path.name for path in files for word in (WORD, KEY) if word.encode() in path.read_bytes()] == []


def start_open(story: Scenario) -> str:
    body = {"vendor": START[0], "action": START[1], "params": params(*START) | {"MonitorConfig": OPEN}}
    answer = story.house.client.post("/v1/tasks", json=body, headers={"Idempotency-Key": "mine"})
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])
