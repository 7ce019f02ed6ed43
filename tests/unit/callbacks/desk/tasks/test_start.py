"""Starts are checked, recorded once and answered at once; a worker makes the call."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier
from typing import Any

import httpx2
import pytest

from adapters.ledger import inbox
from adapters.settings import Role
from adapters.vendors import DIALECTS
from statemachine.states import State
from tests.support.ledger_rows import key, save
from tests.support.ledger_rows import task as saved
from tests.support.times import T0
from tests.unit.callbacks.desk.desk_harness import CALLED, DeskHarness, fields_of
from tests.unit.callbacks.desk.http.test_openapi import wrong
from tests.unit.callbacks.desk.tasks.start_bodies import (
    ACTIONS,
    INGEST,
    MINTED,
    SESAME,
    STREAM_KEY,
    body,
    post,
    renewal,
    start,
    with_secrets,
)

AT = "2023-11-14T22:13:20.000Z"


@pytest.mark.parametrize(("vendor", "action"), ACTIONS)
def test_each_action_that_starts_a_task_is_taken(world: DeskHarness, vendor: str, action: str) -> None:
    asked = body(vendor, action)
    answer = post(world, asked)

    assert answer.status_code == 202, answer.text
    said, about = answer.json(), DIALECTS[vendor].identity(action, asked["params"])
    assert answer.headers["location"] == f"/v1/tasks/{said['id']}"
    assert list(wrong(said, {"$ref": "#/components/schemas/Task"})) == []
    (row,) = world.waiting()
    assert (row.kind, row.vendor, row.app_id, row.received_at) == (inbox.START, vendor, about.app_id, T0)
    assert row.payload == {
        "task_id": said["id"],
        "vendor": vendor,
        "app_id": about.app_id,
        "kind": about.kind.value,
        "action": action,
        "version": None,
        "params": asked["params"],
        "policy": {},
        "room_id": about.room_id or None,
        "robot": about.robot,
        "scheduled_at": None,
        "vendor_task_id": about.vendor_task_id,
        "family": DIALECTS[vendor].family_of(about.kind),
        "by": "a-operator",
        "renews": None,
        "restarts": None,
        "restart_count": 0,
    }
    assert world.notified == 1


def test_the_answer_is_the_task_as_it_will_be(world: DeskHarness) -> None:
    asked = body(*INGEST, policy={"start": {"max_attempts": 3}})
    said = post(world, asked).json()

    nulls = ("reason", "vendor_code", "vendor_message", "accepted_at", "running_at", "ended_at")
    others = ("renews", "renewed_by", "restarts", "restarted_by")
    assert said == {
        "id": said["id"],
        "vendor": "volcengine",
        "kind": "ingest",
        "app_id": asked["params"]["AppId"],
        "room_id": "r1",
        "vendor_task_id": "t1",
        "run": 1,
        "origin": "managed",
        "state": "requested",
        "inferred": False,
        "action": "StartRelayStream",
        "params": {**asked["params"], "Token": "***"},
        "policy": {"start": {"max_attempts": 3}},
        "attempts": 0,
        **{name: [] for name in ("anomalies", "outputs", "files", "deadlines")},
        **dict.fromkeys((*nulls, *others)),
        "created_at": AT,
        "updated_at": AT,
        "version": 1,
    }


def test_an_id_that_the_vendor_mints_is_not_known_yet(world: DeskHarness) -> None:
    said = start(world, *MINTED).json()

    assert (said["vendor_task_id"], said["room_id"]) == (None, "1")


def test_a_version_and_a_planned_start_are_handed_on(world: DeskHarness) -> None:
    control = body(*INGEST)["params"]["Control"]
    asked = body(*INGEST, Control={**control, "StartTimeStamp": 1_700_000_060}) | {"version": "2020-12-01"}
    post(world, asked)

    (row,) = world.waiting()
    assert (row.payload["version"], row.payload["scheduled_at"]) == ("2020-12-01", 1_700_000_060_000)


@pytest.mark.parametrize("role", Role)
def test_it_can_be_seen_before_a_worker_has_heard_of_it(world: DeskHarness, role: Role) -> None:
    said = start(world, *INGEST).json()
    world.now += 5_000

    shown = world.get(f"/v1/tasks/{said['id']}", role=role).json()
    assert {**shown, "params": said["params"]} == said if role is Role.VIEWER else shown == said
    assert world.get(f"/v1/tasks/{said['id']}/timeline", role=role).json() == {"items": [], "next_cursor": None}


def test_only_operators_start(world: DeskHarness) -> None:
    assert post(world, body(*INGEST), role=Role.VIEWER).status_code == 403
    assert world.waiting() == []


def test_an_id_may_be_used_again_after_its_end(world: DeskHarness) -> None:
    done = saved(key(family="ingest"), state=State.COMPLETED)
    save(world.ledger, replace(done, run=4))

    answer = start(world, *INGEST, AppId=CALLED, RoomId="room")

    assert (answer.status_code, answer.json()["run"]) == (202, 5)


# --- what stands in the way ---


def problem(answer: httpx2.Response) -> tuple[int, str, str]:
    return answer.status_code, answer.json()["type"].rpartition(":")[2], answer.headers["location"]


def test_a_live_task_with_the_same_id_is_named(world: DeskHarness) -> None:
    live = world.task(task_kind=saved(key()).kind)

    answer = start(world, "volcengine", "StartPushMixedStreamToCDN", AppId=CALLED, RoomId="room")

    assert problem(answer) == (409, "already_live", f"/v1/tasks/{live.id}")
    assert (world.waiting(), world.notified) == ([], 0)


def test_a_start_that_waits_is_named(world: DeskHarness) -> None:
    first = start(world, *INGEST).json()

    assert problem(start(world, *INGEST, UserId="other")) == (409, "already_live", f"/v1/tasks/{first['id']}")
    assert len(world.waiting()) == 1


@pytest.mark.parametrize("way", [INGEST, MINTED])
def test_a_robot_that_is_in_the_room_is_named(world: DeskHarness, way: tuple[str, str]) -> None:
    first = start(world, *way).json()
    ids = {"TaskId": "other"} if way == INGEST else {}

    assert problem(start(world, *way, **ids)) == (409, "robot_in_use", f"/v1/tasks/{first['id']}")
    assert start(world, *way, **ids, UserId="other").status_code == 202


def test_of_two_at_once_with_one_id_one_is_taken(world: DeskHarness) -> None:
    answers = at_once(world, [body(*INGEST), body(*INGEST)], [{}, {}])

    assert sorted(answer.status_code for answer in answers) == [202, 409]
    assert len({answer.headers["location"] for answer in answers}) == 1
    assert (len(world.waiting()), world.notified) == (1, 1)


def at_once(world: DeskHarness, bodies: list[Any], headers: list[dict[str, str]]) -> list[httpx2.Response]:
    ready = Barrier(len(bodies))

    def ask(number: int) -> httpx2.Response:
        ready.wait()
        return post(world, bodies[number], headers=headers[number])

    with ThreadPoolExecutor(len(bodies)) as pool:
        return list(pool.map(ask, range(len(bodies))))


# --- requests that name themselves ---

NAMED = {"Idempotency-Key": "request 1"}


def told(answer: httpx2.Response) -> tuple[int, str, bytes]:
    return answer.status_code, answer.headers["location"], answer.content


def test_the_same_request_gets_the_same_answer(world: DeskHarness) -> None:
    first = post(world, body(*MINTED), headers=NAMED)
    world.now += 3_600_000
    again = post(world, body(*MINTED), headers=NAMED)

    assert told(first) == told(again)
    assert again.headers["content-type"] == "application/json"
    assert (len(world.waiting()), world.notified) == (1, 1)


def test_another_body_needs_another_name(world: DeskHarness) -> None:
    post(world, body(*MINTED), headers=NAMED)

    assert list(fields_of(post(world, body(*MINTED, 2), headers=NAMED))) == ["Idempotency-Key"]
    assert post(world, body(*MINTED, 2), headers={"Idempotency-Key": "request 2"}).status_code == 202


def test_each_token_has_names_of_its_own(world: DeskHarness) -> None:
    answers = [
        post(world, body(*MINTED, number), role=role, headers=NAMED) for number, role in enumerate([Role.OPERATOR, Role.ADMIN], 1)
    ]

    assert [answer.status_code for answer in answers] == [202, 202]


def test_after_a_day_a_name_is_free_again(world: DeskHarness) -> None:
    post(world, body(*MINTED), headers=NAMED)
    world.now += 24 * 3_600_000

    assert post(world, body(*MINTED, 2), headers=NAMED).status_code == 202


def test_only_what_was_taken_is_kept(world: DeskHarness) -> None:
    there = start(world, *INGEST).json()

    assert post(world, body(*INGEST), headers=NAMED).status_code == 409
    assert post(world, body(*INGEST, nonsense=1), headers=NAMED).status_code == 422
    assert post(world, body(*INGEST, 2), headers=NAMED).json()["id"] != there["id"]


@pytest.mark.parametrize("name", ["", "a" * 256, "ü", "a\tb"])
def test_a_name_has_its_bounds_and_is_told_with_all_else(world: DeskHarness, name: str) -> None:
    answer = post(world, body(*INGEST) | {"action": "x"}, headers=[(b"Idempotency-Key", name.encode("latin-1"))])

    assert list(fields_of(answer)) == ["Idempotency-Key", "action"]


def test_a_name_is_given_once(world: DeskHarness) -> None:
    answer = post(world, body(*INGEST), headers=[("Idempotency-Key", "a"), ("Idempotency-Key", "a")])

    assert list(fields_of(answer)) == ["Idempotency-Key"]


def test_of_one_request_that_comes_twice_at_once_one_start_waits(world: DeskHarness) -> None:
    for number in range(5):
        name = {"Idempotency-Key": f"request {number}"}
        answers = at_once(world, [body(*MINTED, number + 1)] * 3, [name] * 3)

        assert {told(answer) for answer in answers} == {told(answers[0])}
        assert answers[0].status_code == 202
        assert len(world.waiting()) == number + 1


# --- secrets ---


def everything(world: DeskHarness, path: str) -> str:
    """All that anybody can read of a task, and what is kept of answers."""
    answers = [world.get(f"{path}{more}", role=role).text for role in Role for more in ("", "/timeline")]
    answers += [world.get("/v1/tasks", role=role).text for role in Role]
    with world.ledger.read() as connection:
        kept = connection.exec_driver_sql("SELECT answer, location FROM idempotency").all()
    return json.dumps([*answers, *(list(row) for row in kept)])


@pytest.mark.parametrize(("vendor", "action"), ACTIONS)
def test_secrets_are_in_no_answer(world: DeskHarness, vendor: str, action: str) -> None:
    asked = body(vendor, action)
    asked["params"] = with_secrets(vendor, action, asked["params"])
    if (vendor, action) == INGEST:
        asked["policy"] = {"renew": {"params": with_secrets(*INGEST, renewal()["renew"]["params"])}}
    has_secrets = SESAME in json.dumps(asked)

    answer = post(world, asked, headers=NAMED)
    again = post(world, asked, headers=NAMED)

    assert answer.status_code == 202, answer.text
    assert SESAME not in answer.text + again.text + everything(world, answer.headers["location"])
    assert ("***" in answer.text) == has_secrets
    assert (STREAM_KEY in answer.text) == (STREAM_KEY in json.dumps(asked))
    viewed = world.get(answer.headers["location"], role=Role.VIEWER)
    assert viewed.status_code == 200
    assert STREAM_KEY not in viewed.text
    assert SESAME in json.dumps(world.waiting()[0].payload) or not has_secrets


@pytest.mark.parametrize(("vendor", "action"), ACTIONS)
def test_secrets_are_in_no_problem(world: DeskHarness, vendor: str, action: str) -> None:
    """Each parameter in turn is made a secret where none belongs."""
    good = body(vendor, action)
    for name in good["params"]:
        for value in (SESAME, [SESAME], [[SESAME]], {"UserSig": SESAME, "more": [SESAME]}):
            answer = post(world, {**good, "params": {**good["params"], name: value}})
            assert SESAME not in answer.text or answer.status_code == 202
    for name, value in [("vendor", SESAME), ("version", SESAME), ("policy", SESAME), ("policy", {"reach": SESAME})]:
        answer = post(world, {**good, name: value})
        assert answer.status_code == 422
        assert SESAME not in answer.text


MASKED = "is masked: send the real value, not the *** that is shown in its place"


def test_a_tasks_own_masked_parameters_are_refused_where_they_are_posted_again(world: DeskHarness) -> None:
    """As a viewer, and as an operator, reads them: `"AccessKey": "***"` would be used at the vendor."""
    for number, (vendor, action) in enumerate(ACTIONS):
        asked = body(vendor, action, number)
        asked["params"] = with_secrets(vendor, action, asked["params"])
        said = post(world, asked).json()
        for shown in (said, world.get(f"/v1/tasks/{said['id']}", role=Role.VIEWER).json()):
            again = post(world, {"vendor": vendor, "action": action, "params": shown["params"]})
            told = {error["message"] for error in again.json().get("errors", [])}
            assert (again.status_code == 422 and MASKED in told) == ("***" in json.dumps(shown["params"])), again.text


@pytest.mark.parametrize(
    ("where", "value"),
    [
        ("Token", "***"),
        ("Control.StreamUrl", "rtmp://source.example.com/live/***"),
        ("Control.StreamUrl", "rtmp://source.example.com/live/show-42?***"),
        ("Control.StreamUrl", "rtmp://source.example.com/live/%2A%2A%2A"),
        ("Control.Odd.Deep[1].Header", "Authorization: ***"),
        ("Control.Odd.Deep[1].Json", '{"Key":"***"}'),
    ],
)
def test_a_masked_value_is_named_wherever_it_stands(world: DeskHarness, where: str, value: str) -> None:
    asked = body(*INGEST)
    parts = where.split(".")
    if parts[-1] in ("Header", "Json"):
        asked["params"]["Control"]["Odd"] = {"Deep": [0, {parts[-1]: value}]}
    elif len(parts) == 1:
        asked["params"][parts[0]] = value
    else:
        asked["params"][parts[0]][parts[1]] = value

    answer = post(world, asked)

    assert answer.status_code == 422
    assert {"field": where, "message": MASKED} in answer.json()["errors"]
    assert world.waiting() == []


def test_a_successors_masked_parameters_are_refused_too(world: DeskHarness) -> None:
    asked = body(*INGEST, policy=renewal())
    asked["policy"]["renew"]["params"]["Token"] = "***"

    answer = post(world, asked)

    assert (answer.status_code, answer.json()["errors"]) == (422, [{"field": "policy.renew.params.Token", "message": MASKED}])


def test_stars_in_a_text_that_is_no_secret_are_taken(world: DeskHarness) -> None:
    asked = body("volcengine", "StartWebcast", MonitorConfig={"Title": "*** live *** tonight"})

    assert post(world, asked).status_code == 202
