"""What vendors sent is listed and shown; raw only to those who may."""

import base64
import json
from typing import Any

import pytest

from adapters.clock import to_rfc3339
from adapters.settings import Role
from tests.support.times import T0
from tests.unit.callbacks.desk.desk_harness import DeskHarness

BODY = b'{"EventType":"TranscodeStarted"}'


def test_an_operator_sees_the_callback_as_it_was_sent(world: DeskHarness) -> None:
    number = world.callback(1, BODY, verdict="stale", reason="superseded", task_id="0" * 26, event_at=T0)

    assert world.get(f"/v1/callbacks/{number}").json() == {
        "id": str(number),
        "vendor": "volcengine",
        "app_id": "app",
        "event_type": "TranscodeStarted",
        "received_at": to_rfc3339(T0 + 1000),
        "event_at": to_rfc3339(T0),
        "applied_at": to_rfc3339(T0),
        "verdict": "stale",
        "reason": "superseded",
        "error": None,
        "task_id": "0" * 26,
        "masked": False,
        "size": len(BODY),
        "headers": {"x-signature": "sig"},
        "body": BODY.decode(),
        "body_base64": base64.b64encode(BODY).decode(),
    }


@pytest.mark.parametrize("path", ["/v1/callbacks", "/v1/callbacks/{}"])
def test_a_viewer_sees_neither_headers_nor_body(world: DeskHarness, path: str) -> None:
    number = world.callback(1, b"sesame", verdict="unknown", error="ValueError('sesame')")

    answer = world.get(path.format(number), role=Role.VIEWER)

    said = answer.json().get("items", [answer.json()])[0]
    assert "sesame" not in answer.text
    assert (said["masked"], said["headers"], said["body"], said["body_base64"], said["error"]) == (True, None, None, None, "***")


@pytest.mark.parametrize(("body", "text"), [(b"\xff\x00", None), (b"a\x00b", "a\x00b"), ("ü".encode(), "ü"), (b"", "")])
def test_a_body_is_text_only_if_it_is_utf8(world: DeskHarness, body: bytes, text: str | None) -> None:
    said = world.get(f"/v1/callbacks/{world.callback(1, body)}").json()

    assert (said["body"], base64.b64decode(said["body_base64"])) == (text, body)


@pytest.fixture
def listed(world: DeskHarness) -> dict[int, int]:
    """The number of each of four callbacks -> its id."""
    made: list[dict[str, Any]] = [
        {"verdict": "applied", "task_id": "A" * 26},
        {"verdict": "unknown", "vendor": "tencent", "event_type": "401"},
        {"verdict": "stale", "task_id": "B" * 26},
        {},
    ]
    return {number: world.callback(number, **more) for number, more in enumerate(made)}


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", [3, 2, 1, 0]),
        ("vendor=tencent", [1]),
        ("verdict=applied", [0]),
        ("verdict=unknown", [1]),
        ("event_type=TranscodeStarted", [3, 2, 0]),
        ("event_type=Transcode", []),
        (f"task_id={'B' * 26}", [2]),
        ("task_id=nobody", []),
        (f"received_after={to_rfc3339(T0 + 2000)}", [3, 2]),
        (f"received_before={to_rfc3339(T0 + 2000)}", [1, 0]),
        (f"received_after={to_rfc3339(T0 + 1000)}&received_before={to_rfc3339(T0 + 3000)}&verdict=stale", [2]),
        ("limit=1", [3]),
    ],
)
def test_each_filter_finds_its_callbacks(world: DeskHarness, listed: dict[int, int], query: str, found: list[int]) -> None:
    answer = world.ask("GET", f"/v1/callbacks?{query}").json()

    assert [item["id"] for item in answer["items"]] == [str(listed[number]) for number in found]


def test_pages_stay_right_while_callbacks_arrive(world: DeskHarness) -> None:
    there = [str(world.callback(number, received_at=T0 + number // 3)) for number in range(8)]  # some at the same time
    seen = []
    for number, items in enumerate(world.pages("/v1/callbacks", limit=3)):
        world.callback(100 + number)
        seen += [item["id"] for item in items]

    assert seen == there[::-1]


def test_an_id_of_something_else_is_no_callbacks(world: DeskHarness) -> None:
    number = world.callback(1)
    world.ask("POST", f"/v1/callbacks/{number}/replay")
    (replay,) = [row for row in world.waiting() if row.kind == "replay"]

    assert world.get(f"/v1/callbacks/{replay.id}").status_code == 404
    assert json.loads(world.get("/v1/callbacks").text)["items"][0]["id"] == str(number)
