"""Replays are asked for; a worker does them."""

import json
from typing import Any

import pytest

from adapters.clock import to_rfc3339
from tests.support.times import T0
from tests.unit.callbacks.desk.desk_harness import DeskHarness, fields_of


def replayed(world: DeskHarness) -> list[int]:
    return [row.payload["callback_id"] for row in world.waiting() if row.kind == "replay"]


def test_one_callback_is_replayed(world: DeskHarness) -> None:
    number = world.callback(1, verdict="unknown")

    answer = world.ask("POST", f"/v1/callbacks/{number}/replay")

    assert (answer.status_code, answer.json()) == (202, {"matched": 1, "queued": 1})
    assert replayed(world) == [number]
    assert world.notified == 1


def test_asking_again_replays_again(world: DeskHarness) -> None:
    number = world.callback(1, verdict="unknown")
    for _ in range(2):
        world.ask("POST", f"/v1/callbacks/{number}/replay")
        world.now += 1

    assert replayed(world) == [number, number]


@pytest.fixture
def three(world: DeskHarness) -> list[int]:
    return [world.callback(0, verdict="unknown"), world.callback(1, verdict="unknown"), world.callback(2, verdict="applied")]


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ({"filter": {"verdict": "unknown"}}, [0, 1]),
        ({"verdict": "unknown", "dry_run": False}, [0, 1]),
        ({"filter": {"verdict": "unknown"}, "received_after": to_rfc3339(T0 + 1000)}, [1]),
        ({"filter": {"verdict": "unknown", "received_before": to_rfc3339(T0 + 1000)}}, [0]),
        ({"received_after": to_rfc3339(T0 + 1000)}, [1, 2]),
        ({"filter": {}, "vendor": "volcengine", "received_before": None}, [0, 1, 2]),
        ({"filter": None, "event_type": "nothing"}, []),
    ],
)
def test_what_a_filter_selects_is_replayed(world: DeskHarness, three: list[int], body: dict[str, Any], found: list[int]) -> None:
    assert world.ask("POST", "/v1/callbacks/replay", json={**body, "dry_run": True}).json() == {
        "matched": len(found),
        "dry_run": True,
    }
    assert (replayed(world), world.notified) == ([], 0)

    answer = world.ask("POST", "/v1/callbacks/replay", json=body)

    assert (answer.status_code, answer.json()) == (202, {"matched": len(found), "queued": len(found)})
    assert replayed(world) == [three[number] for number in found]
    assert world.notified == bool(found)


def test_many_are_put_there_in_several_transactions(world: DeskHarness) -> None:
    ids = [world.callback(number) for number in range(305)]

    assert world.ask("POST", "/v1/callbacks/replay", json={"vendor": "volcengine"}).json() == {"matched": 305, "queued": 305}
    assert replayed(world) == ids
    assert world.notified == 2


@pytest.mark.parametrize(
    ("body", "errors"),
    [
        ({}, {"filter": "must name at least one filter, or received_after or received_before"}),
        ({"filter": {}, "dry_run": True}, {"filter": "must name at least one filter, or received_after or received_before"}),
        ({"filter": []}, {"filter": "must be an object"}),
        ({"filter": {"vendor": 7}}, {"filter.vendor": "must be text"}),
        ({"filter": {"task_id": "a\x00"}}, {"filter.task_id": "must be text of 1 to 1000 characters, without NUL and surrogates"}),
        ({"task_id": "\ud800"}, {"task_id": "must be text of 1 to 1000 characters, without NUL and surrogates"}),
        ({"vendor": "tencent", "dry_run": "yes"}, {"dry_run": "must be true or false"}),
        ({"vendor": "tencent", "filter": {"dry_run": True}}, {"filter.dry_run": "is not known; there are"}),
        ({"vendor": "tencent", "filter": {"vendor": "tencent"}}, {"filter.vendor": "must be given once"}),
        ({"vendor": "tencent", "filter": {"verdikt": "x"}}, {"filter.verdikt": "is not known; did you mean verdict?"}),
        ({"vendor": "tencent", "filter": {"": None}}, {"filter.": "is not known; there are"}),
        ({"vendor": "tencent", "limit": "7"}, {"limit": "is not known; there are"}),
    ],
)
def test_what_selects_nothing_rightly_is_refused(world: DeskHarness, body: dict[str, Any], errors: dict[str, str]) -> None:
    found = fields_of(world.ask("POST", "/v1/callbacks/replay", content=json.dumps(body)))

    assert found.keys() == errors.keys()
    assert all(found[name].startswith(errors[name]) for name in errors)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b"7", b"[" * 50_000])
def test_a_body_that_is_no_object_is_refused(world: DeskHarness, body: bytes) -> None:
    answer = world.ask("POST", "/v1/callbacks/replay", content=body)

    assert (answer.status_code, answer.json()["type"]) == (400, "urn:tallylight:problem:malformed")


def test_a_body_that_is_too_large_is_refused(world: DeskHarness) -> None:
    answer = world.ask("POST", "/v1/callbacks/replay", content=b" " * 70_000)

    assert (answer.status_code, answer.json()["type"]) == (413, "urn:tallylight:problem:too_large")
