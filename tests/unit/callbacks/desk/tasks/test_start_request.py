"""Everything that is wrong with a start request is told at once, field by field, before anything is recorded."""

import json
from typing import Any

import pytest

from tests.unit.callbacks.desk.desk_harness import WATCHED, DeskHarness, fields_of
from tests.unit.callbacks.desk.tasks.start_bodies import INGEST, MINTED, body, post, renewal, start


@pytest.mark.parametrize(
    ("changes", "field", "said"),
    [
        ({"vendor": "nobody"}, "vendor", "must be one of volcengine, tencent"),
        ({"vendor": None}, "vendor", "must be one of"),
        ({"vendor": ["volcengine"]}, "vendor", "must be one of"),
        ({"action": "StartRelayStrem"}, "action", "did you mean StartRelayStream?"),
        ({"action": "StopRelayStream"}, "action", "must be an action that starts a task"),
        ({"action": "StartStreamIngest"}, "action", "StartPushMixedStreamToCDN"),
        ({"action": 7}, "action", "must be an action that starts a task"),
        ({"version": "2019-01-01"}, "version", "must be one of 2020-12-01, 2023-11-01"),
        ({"version": ""}, "version", "must be text, or left out"),
        ({"version": ["2020-12-01"]}, "version", "must be text, or left out"),
        ({"params": None}, "params", "must be an object"),
        ({"params": []}, "params", "must be an object"),
        ({"policy": []}, "policy", "must be an object"),
        ({"policy": {"start": {"max_attempts": 0}}}, "policy.start.max_attempts", "must be a whole number from 1 to 100"),
        ({"policy": {"begin": {}}}, "policy.begin", "is not known"),
        ({"policy": {"restart": {}}}, "policy.restart.on", "must be given"),
        ({"task_id": "x"}, "task_id", "is not known; there are vendor, action, version, params, policy"),
    ],
)
def test_what_is_wrong_is_named(world: DeskHarness, changes: dict[str, Any], field: str, said: str) -> None:
    found = fields_of(post(world, body(*INGEST) | changes))

    assert list(found) == [field]
    assert said in found[field]
    assert (world.waiting(), world.notified) == ([], 0)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"Control": {"StreamUrl": "x"}}, "Control.StreamUrl"),
        ({"RoomId": "no blanks"}, "RoomId"),
        ({"TaskID": "t"}, "TaskID"),
        ({"AppId": WATCHED}, "AppId"),
        ({"AppId": "nobody's"}, "AppId"),
        ({"AppId": ""}, "AppId"),
        ({"AppId": 7}, "AppId"),
    ],
)
def test_parameters_keep_the_vendors_names(world: DeskHarness, changes: dict[str, Any], field: str) -> None:
    assert field in fields_of(start(world, *INGEST, **changes))


def test_an_app_must_be_configured_and_have_an_account(world: DeskHarness) -> None:
    asked = [(INGEST, {"AppId": "other"}), (INGEST, {"AppId": WATCHED}), (MINTED, {"SdkAppId": 7})]
    found = [fields_of(start(world, *way, **changes)) for way, changes in asked]

    assert [list(each) for each in found] == [["AppId"], ["AppId"], ["SdkAppId"]]
    assert ["account" in message for each in found for message in each.values()] == [False, True, False]


def test_all_is_told_at_once_and_once_for_each_field(world: DeskHarness) -> None:
    asked = body(*INGEST, AppId=WATCHED, RoomId="", Token=7, policy={"reach": "far", "renew": {"lead_s": 1}})
    found = fields_of(post(world, asked | {"version": 7, "more": 1}))

    assert list(found) == [
        "more",
        "version",
        "RoomId",
        "Token",
        "AppId",
        "policy.renew.lead_s",
        "policy.renew.params",
        "policy.reach",
    ]


def test_a_flood_of_problems_is_cut_off(world: DeskHarness) -> None:
    found = fields_of(post(world, body(*INGEST, policy={f"{n:03d}{'x' * 300}": 1 for n in range(300)})))

    assert len(found) == 100
    assert max(map(len, found)) <= 200


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"x",
        b"[]",
        b"7",
        b'{"a": NaN}',
        b'{"a": 1e999}',
        b'{"a": -Infinity}',
        b"\xff",
        b"[" * 9999,
        b'{"a": ' + b"1" * 5000 + b"}",
    ],
)
def test_a_body_that_is_no_json_object_is_refused(world: DeskHarness, raw: bytes) -> None:
    answer = world.ask("POST", "/v1/tasks", content=raw)

    assert (answer.status_code, answer.json()["type"]) == (400, "urn:tallylight:problem:malformed")


def test_half_characters_are_refused_where_they_stand(world: DeskHarness) -> None:
    raw = json.dumps(body(*INGEST, RoomId="\ud800") | {"policy": {"\ud800": 1}}).encode()

    assert {"RoomId", "policy.\ud800"} == set(fields_of(world.ask("POST", "/v1/tasks", content=raw)))


def test_a_long_layout_is_taken_and_a_longer_one_is_not(world: DeskHarness) -> None:
    regions = [{"StreamID": "a" * 900}]
    layout = {"LayoutMode": 2, "CustomLayout": {"Regions": regions * 200}}
    longer = {"LayoutMode": 2, "CustomLayout": {"Regions": regions * 300}}
    way = ("volcengine", "StartPushMixedStreamToCDN")

    assert [start(world, *way, Layout=each).status_code for each in (layout, longer)] == [202, 413]


def test_query_parameters_are_not_known(world: DeskHarness) -> None:
    assert list(fields_of(world.ask("POST", "/v1/tasks?dry_run=true", json=body(*INGEST)))) == ["dry_run"]


# --- renewal ---


def test_a_renewal_with_ids_of_its_own_is_taken(world: DeskHarness) -> None:
    answer = start(world, *INGEST, policy=renewal())

    assert answer.status_code == 202, answer.text
    (row,) = world.waiting()
    assert row.payload["policy"] == renewal()


@pytest.mark.parametrize(
    ("changes", "field", "said"),
    [
        ({"TaskId": "t1"}, "policy.renew.params", "must have a task id of its own"),
        ({"UserId": "robot"}, "policy.renew.params", "must have a robot's user id of its own"),
        ({"RoomId": "other"}, "policy.renew.params", "must name the same room as params"),
        ({"AppId": "app"}, "policy.renew.params", "must name the same app as params"),
        ({"AppId": "app", "TaskId": "t1"}, "policy.renew.params", "same app as params, and have a task id"),
        ({"Token": ""}, "policy.renew.params.Token", "must be text"),
        ({"Control": {"StreamUrl": "x"}}, "policy.renew.params.Control.StreamUrl", "must be a url"),
    ],
)
def test_a_successor_must_be_able_to_stand_beside_the_first(
    world: DeskHarness, changes: dict[str, Any], field: str, said: str
) -> None:
    found = fields_of(start(world, *INGEST, policy=renewal(**changes)))

    assert said in found[field]


@pytest.mark.parametrize(
    ("vendor", "action", "more"),
    [
        ("volcengine", "StartPushMixedStreamToCDN", {}),
        ("volcengine", "StartRecord", {}),
        ("tencent", "StartStreamIngest", {"RepeatNum": -1, "MaxDuration": 60}),
    ],
)
def test_only_a_life_that_is_limited_under_an_id_of_ours_is_renewed(
    world: DeskHarness, vendor: str, action: str, more: Any
) -> None:
    asked = body(vendor, action, **more)
    found = fields_of(post(world, asked | {"policy": {"renew": {"params": asked["params"]}}}))

    assert list(found) == ["policy.renew"]


def test_a_recording_that_is_cut_off_may_be_renewed(world: DeskHarness) -> None:
    way = ("volcengine", "StartRecord")
    second = body(*way, TaskId="t1-b")["params"]

    assert start(world, *way, Control={"MaxRecordTime": 3600}, policy={"renew": {"params": second}}).status_code == 202


def test_a_successor_must_not_be_due_before_its_own_half_life(world: DeskHarness) -> None:
    way = ("volcengine", "StartRecord")
    second = body(*way, TaskId="t1-b")["params"]

    found = fields_of(start(world, *way, Control={"MaxRecordTime": 1000}, policy={"renew": {"params": second}}))

    assert found == {"policy.renew.lead_s": "must be at most half of the allowed life, which is 1000 s"}
