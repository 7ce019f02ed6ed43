"""What was given in confidence: who sees it while a task lives, and that nothing of it is left once nothing needs it any more."""

import io
import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import structlog

from adapters.logs import configure
from adapters.settings import Role, Secret, TokenSettings
from simulator import Cause
from tests.support.scenario import ANSWER_LOST, REQUEST_LOST, Scenario, answered_with, late, tencent_error, volcengine_error
from tests.support.start_calls import params
from tests.support.times import HOUR, MINUTE, SECOND

#: Recognisable wherever they are.
WORD, KEY = "sEcReTwOrD", "sTrEaMkEy"
_PUSHED = f"rtmp://push.example.com/live/{KEY}1?txSecret={KEY}2"
_PLAYED = f"https://source.example.com/films/{KEY}3.mp4?sign={KEY}4"
_COS = {"Vendor": 0, "Region": "1", "Bucket": "b", "AccessKey": f"{WORD}a", "SecretKey": f"{WORD}b"}
_CUSTOM = {"Bucket": "b", "AccessKey": f"{WORD}a", "SecretKey": f"{WORD}b", "SecurityToken": f"{WORD}c"}

#: (vendor, action) -> parameters with a secret in each place that has one.
GIVEN: Mapping[tuple[str, str], dict[str, Any]] = {
    ("volcengine", "StartPushSingleStreamToCDN"): {"PushURL": _PUSHED},
    ("volcengine", "StartPushMixedStreamToCDN"): {"PushURL": _PUSHED},
    ("volcengine", "StartRelayStream"): {
        "Token": f"{WORD}d",
        "Control": {"StreamUrl": _PLAYED, "VideoWidth": 640, "VideoHeight": 360},
    },
    ("volcengine", "StartRecord"): {"StorageConfig": {"Type": 2, "CustomConfig": _CUSTOM}},
    ("volcengine", "StartWebcast"): {"SourceURL": _PLAYED},
    ("tencent", "StartPublishCdnStream"): {
        "AgentParams": {"UserId": "robot", "UserSig": f"{WORD}e"},
        "PublishCdnParams": [{"PublishCdnUrl": _PUSHED}],
        "FeedBackRoomParams": [{"RoomId": "77", "RoomIdType": 0, "UserId": "back", "UserSig": f"{WORD}f"}],
        "RecordParams": {"McuStorageParams": {"CloudStorage": _COS}},
    },
    ("tencent", "StartStreamIngest"): {"UserSig": f"{WORD}e", "PrivateMapKey": f"{WORD}g", "StreamUrl": _PLAYED},
    ("tencent", "CreateCloudRecording"): {
        "UserSig": f"{WORD}e",
        "PrivateMapKey": f"{WORD}g",
        "StorageParams": {"CloudStorage": _COS},
    },
    ("tencent", "StartWebRecord"): {
        "RecordUrl": _PLAYED,
        "StorageParams": {"CloudStorage": _COS},
        "PublishCdnParams": [{"PublishCdnUrl": _PUSHED}],
    },
}
every_start = pytest.mark.parametrize("start", GIVEN, ids=[action for _, action in GIVEN])
#: Their callbacks name the url, key and all; and callbacks are kept as they came.
TELL_URLS = {"StartPushMixedStreamToCDN", "StartRelayStream", "StartPublishCdnStream"}

TOKENS = {role: f"{role.value}-0123456789abcdef" for role in Role}


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """All that is logged."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers = []
    stream = io.StringIO()
    configure(stream=stream, level=logging.DEBUG)
    yield stream
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()
    root.handlers, root.level = handlers, level


def begun(story: Scenario, start: tuple[str, str], **more: Any) -> str:
    """Starts it with secrets, by a request with a name; its id."""
    body = {"vendor": start[0], "action": start[1], "params": params(*start, **GIVEN[start])} | more
    answer = story.house.client.post("/v1/tasks", json=body, headers={"Idempotency-Key": "mine"})
    assert answer.status_code == 202, answer.text
    assert WORD not in answer.text
    return str(answer.json()["id"])


def kept(story: Scenario, *words: str, but: frozenset[str] = frozenset()) -> list[tuple[str, str, str]]:
    """(table, column, where in it) of each value in the ledger that has one of these words in it."""
    tables = [name for (name,) in story.rows("SELECT name FROM sqlite_master WHERE type = 'table'")]
    assert {"tasks", "lineages", "inbox", "effects", "timeline", "idempotency", "deadlines"} <= set(tables)
    found = []
    for table in sorted(set(tables) - but):
        for row in story.rows(f"SELECT * FROM {table}"):
            for column, value in row._mapping.items():
                text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
                found += [(table, column, text[max(0, text.index(w) - 60) :][:90]) for w in words if w in text]
    return found


def with_tokens(story: Scenario) -> None:
    """From now on the desk asks who asks."""
    tokens = tuple(TokenSettings(name=f"a {role.value}", role=role, token=Secret(text)) for role, text in TOKENS.items())
    story.restart(replace(story.house.settings, tokens=tokens))
    story.house.client.headers["Authorization"] = f"Bearer {TOKENS[Role.OPERATOR]}"


def seen(story: Scenario, role: Role, task_id: str) -> str:
    """All that somebody with this role can get to see."""
    paths = ("/v1/tasks", f"/v1/tasks/{task_id}", f"/v1/tasks/{task_id}/timeline?limit=500", "/v1/callbacks?limit=500", "/v1/stats")
    callbacks = story.house.client.get("/v1/callbacks?limit=500").json()["items"]
    texts = []
    for path in (*paths, *(f"/v1/callbacks/{each['id']}" for each in callbacks[:3]), "/v1/rejections"):
        answer = story.house.client.get(path, headers={"Authorization": f"Bearer {TOKENS[role]}"})
        assert answer.status_code == 200, (path, answer.text)
        texts.append(answer.text)
    return "\n".join(texts)


# While it lives.


@every_start
def test_nobody_sees_secrets_and_viewers_no_stream_keys(tmp_path: Path, log: io.StringIO, start: tuple[str, str]) -> None:
    with Scenario(tmp_path).open() as story:
        with_tokens(story)
        story.wire.script_calls(start[1], ANSWER_LOST if start[0] == "volcengine" else late(3 * SECOND))
        task_id = begun(story, start)
        for role in Role:
            assert WORD not in seen(story, role, task_id), "before any worker has seen it"
        assert KEY not in seen(story, Role.VIEWER, task_id)
        story.run(30 * SECOND)
        assert story.status_of(task_id)[0] == "running"
        for role in Role:
            assert WORD not in seen(story, role, task_id)
        assert KEY not in seen(story, Role.VIEWER, task_id)
        assert story.stop(task_id) == 202
        story.settle(30 * HOUR)
        for role in Role:
            assert WORD not in seen(story, role, task_id)
        assert KEY not in seen(story, Role.VIEWER, task_id)
        assert "task.moved" in log.getvalue()
        assert WORD not in log.getvalue()
        assert KEY not in log.getvalue()


def test_a_live_task_keeps_its_secrets_in_one_place(tmp_path: Path) -> None:
    with Scenario(tmp_path).open() as story:
        story.lose_callbacks()
        for number, start in enumerate(GIVEN):
            body = {"vendor": start[0], "action": start[1], "params": params(*start, number + 1, **GIVEN[start])}
            assert story.house.client.post("/v1/tasks", json=body, headers={"Idempotency-Key": str(number)}).status_code == 202
        story.run(10 * SECOND)
        assert {(table, column) for table, column, _ in kept(story, WORD, KEY)} == {("tasks", "doc")}


@pytest.mark.parametrize("vendor", ["volcengine", "tencent"])
def test_what_a_vendor_quotes_in_an_error_is_not_logged(tmp_path: Path, log: io.StringIO, vendor: str) -> None:
    start = ("volcengine", "StartRelayStream") if vendor == "volcengine" else ("tencent", "StartStreamIngest")
    with Scenario(tmp_path).open() as story:
        make = volcengine_error if vendor == "volcengine" else tencent_error
        reply = make("InvalidParameter")
        story.wire.script_calls(
            start[1], answered_with(replace(reply, body=reply.body.replace(b"the story says so", f"no: {WORD}".encode())))
        )
        begun(story, start)
        story.settle(MINUTE)
        assert WORD not in log.getvalue()


# Once it is final.


@every_start
def test_nothing_is_left_of_secrets_once_it_is_final(tmp_path: Path, start: tuple[str, str]) -> None:
    with Scenario(tmp_path).open() as story:
        story.lose_callbacks()
        task_id = begun(story, start)
        story.run(30 * SECOND)
        assert kept(story, WORD, KEY) != []
        assert story.stop(task_id) == 202
        story.settle(60 * HOUR)
        assert kept(story, WORD, KEY) == []


@every_start
def test_of_what_the_vendor_itself_told_only_stream_keys_are_left(tmp_path: Path, start: tuple[str, str]) -> None:
    with Scenario(tmp_path).open() as story:
        task_id = begun(story, start)
        story.run(30 * SECOND)
        assert story.stop(task_id) == 202
        story.settle(60 * HOUR)
        assert kept(story, WORD) == []
        if start[1] not in TELL_URLS:
            assert kept(story, KEY) == []
        assert not [where for where in kept(story, KEY) if '"params"' in where[2]]


@every_start
@pytest.mark.parametrize("how", ["refused", "given up", "stopped before", "unknown", "mark"])
def test_nothing_is_left_of_secrets_of_a_start_that_failed(tmp_path: Path, start: tuple[str, str], how: str) -> None:
    with Scenario(tmp_path, grain_ms=500).open() as story:
        story.lose_callbacks()
        no = tencent_error("UnsupportedOperation") if start[0] == "tencent" else volcengine_error("AccessDenied", 403)
        busy = tencent_error("ServiceUnavailable") if start[0] == "tencent" else volcengine_error("ServiceUnavailableTemp", 503)
        fates = {"refused": answered_with(no), "given up": answered_with(busy), "unknown": REQUEST_LOST, "mark": REQUEST_LOST}
        if how in fates:
            story.wire.script_calls(start[1], rest=fates[how])
        task_id = begun(story, start)
        if how == "stopped before":
            assert story.stop(task_id) == 202
        if how == "mark":
            story.run(5 * SECOND)
            assert story.post_action(task_id, "mark", {"state": "failed", "note": "never mind"}).status_code == 202
        story.settle(40 * MINUTE)
        assert story.task(task_id)["state"] in ("failed", "stopped")
        assert kept(story, WORD, KEY) == []


def test_nothing_is_left_of_secrets_of_updates(tmp_path: Path) -> None:
    with Scenario(tmp_path).open() as story:
        story.lose_callbacks()
        task_id = begun(story, ("tencent", "StartPublishCdnStream"))
        story.run(20 * SECOND)
        back = {"RoomId": "78", "RoomIdType": 0, "UserId": "back", "UserSig": f"{WORD}u"}
        change = {"SequenceNumber": 1, "WithTranscoding": 0, "FeedBackRoomParams": [back]}
        story.wire.script_calls("UpdatePublishCdnStream", late(5 * SECOND), REQUEST_LOST)
        for number in range(3):
            assert WORD not in story.post_action(task_id, "update", {"params": change}).text
            story.run((21 + number) * SECOND)
        assert story.stop(task_id) == 202
        story.settle(HOUR)
        assert kept(story, WORD, KEY) == []


def test_a_task_that_is_merged_leaves_no_secrets_either(tmp_path: Path) -> None:
    with Scenario(tmp_path).open() as story:
        story.wire.script_calls("StartStreamIngest", ANSWER_LOST)
        task_id = begun(story, ("tencent", "StartStreamIngest"))
        story.run(70 * SECOND)
        assert story.task(task_id)["vendor_task_id"] is not None
        assert story.stop(task_id) == 202
        story.settle(HOUR)
        assert kept(story, WORD, KEY) == []


# As long as something may need them.


def holders(story: Scenario) -> list[str]:
    """Tasks that still have secrets."""
    return [task_id for (task_id,) in story.rows("SELECT id FROM tasks WHERE doc LIKE :word", word=f"%{WORD}%")]


def test_with_restarts_they_are_kept_until_those_are_exhausted(tmp_path: Path) -> None:
    with Scenario(tmp_path).open() as story:
        policy = {"restart": {"on": ["failed"], "pause_s": 60, "max": 2}}
        ids = [begun(story, ("volcengine", "StartRelayStream"), policy=policy)]
        for restarts in (0, 1, 2):
            story.run((restarts * 100 + 20) * SECOND)
            assert (story.status_of(ids[-1])[0], holders(story)) == ("running", [ids[-1]])
            story.world.end(story.world.tasks.all[-1], Cause.CRASHED)
            story.run((restarts * 100 + 30) * SECOND)
            assert story.status_of(ids[-1]) == ("failed", "vendor_error", False)
            assert holders(story) == ([ids[-1]] if restarts < 2 else []), "what is to be started again needs them"
            story.run((restarts * 100 + 95) * SECOND)
            if restarts < 2:
                ids.append(story.task(ids[-1])["restarted_by"])
                assert holders(story) == [ids[-1]], "the one that goes on has them, and no other"
        assert story.task(ids[-1])["restarted_by"] is None
        assert kept(story, WORD) == []


def test_a_restart_that_a_stop_calls_off_leaves_no_secrets(tmp_path: Path) -> None:
    with Scenario(tmp_path).open() as story:
        story.lose_callbacks()
        policy = {"restart": {"on": ["lost"], "pause_s": 3600}}
        task_id = begun(story, ("tencent", "StartStreamIngest"), policy=policy)
        story.run(10 * SECOND)
        story.world.forget(story.world.tasks.all[0])
        story.run(2 * MINUTE)
        assert story.status_of(task_id) == ("lost", "unknown_to_vendor", True)
        assert kept(story, WORD) != []
        assert story.stop(task_id) == 202
        story.settle(10 * MINUTE)
        story.run(2 * HOUR)
        assert story.task(task_id)["restarted_by"] is None
        assert kept(story, WORD, KEY) == []


def test_of_a_chain_of_renewals_only_the_one_that_runs_has_them(tmp_path: Path) -> None:
    start = ("volcengine", "StartRecord")
    with Scenario(tmp_path, grain_ms=1000).open() as story:
        control = {"MaxRecordTime": 1800}
        custom = {"Type": 2, "CustomConfig": {**_CUSTOM, "SecretKey": f"{WORD}z"}}
        second = params(*start, **GIVEN[start]) | {"TaskId": "t1-b", "Control": control, "StorageConfig": custom}
        body = {"vendor": start[0], "action": start[1], "params": params(*start, **GIVEN[start]) | {"Control": control}}
        answer = story.house.client.post("/v1/tasks", json=body | {"policy": {"renew": {"params": second}}})
        assert answer.status_code == 202, answer.text
        assert WORD not in answer.text
        chain = [answer.json()["id"]]
        for renewals in (1, 2):
            story.run((renewals * 1200 + 300) * SECOND)
            chain.append(story.task(chain[-1])["renewed_by"])
            assert story.task(chain[-1])["state"] == "running"
            assert story.task(chain[-2])["state"] in ("completed", "stopped")
            assert holders(story) == [chain[-1]]
            assert {table for table, _, _ in kept(story, WORD)} == {"tasks"}
        assert all(WORD not in json.dumps([story.task(each), story.timeline(each)]) for each in chain)
        assert story.stop(chain[-1]) == 202
        story.settle(3 * HOUR)
        assert kept(story, WORD) == []
