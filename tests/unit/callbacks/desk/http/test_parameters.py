"""Parameters that are not right are refused, all at once, saying what would be right."""

import pytest

from tests.unit.callbacks.desk.desk_harness import DeskHarness, fields_of


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("kind", "film", "must be one of push, ingest, record, page"),
        ("origin", "", "must be one of managed, observed"),
        ("live", "yes", "must be true or false"),
        ("limit", "0", "must be a whole number from 1 to 500"),
        ("limit", "501", "must be a whole number from 1 to 500"),
        ("limit", "٣", "must be a whole number from 1 to 500"),
        ("limit", "9" * 5000, "must be a whole number from 1 to 500"),
        ("cursor", "rubbish", "must be the next_cursor of a page of this list"),
        ("room_id", "", "must be text of 1 to 1000 characters, without NUL and surrogates"),
        ("room_id", "a\x00b", "must be text of 1 to 1000 characters, without NUL and surrogates"),
        (
            "created_after",
            "2026-11-21",
            "must be a time with Z or an offset (its + written as %2B), as in 2026-11-21T13:00:00.123Z",
        ),
        ("stat", "running", "is not known; did you mean state?"),
    ],
)
def test_a_bad_value_is_refused(world: DeskHarness, name: str, value: str, message: str) -> None:
    assert fields_of(world.get("/v1/tasks", **{name: value})) == {name: message}


def test_all_that_is_wrong_is_told_at_once(world: DeskHarness) -> None:
    answer = world.ask("GET", "/v1/tasks?kind=film&state=running&state=x&zzz=1&limit=0&vendor=volcengine&vendor=tencent")

    assert fields_of(answer).keys() == {"kind", "state", "zzz", "limit", "vendor"}
    assert fields_of(answer)["vendor"] == "must be given once"


@pytest.mark.parametrize("query", ["q=%ff%fe", "q=%ed%a0%80", "room_id=%F0%9F%98%80", "q=%25", "vendor_task_id=%27%22", "q=\\"])
def test_odd_text_finds_nothing(world: DeskHarness, query: str) -> None:
    answer = world.ask("GET", f"/v1/tasks?{query}")

    assert answer.status_code == 200
    assert answer.json() == {"items": [], "next_cursor": None}


@pytest.mark.parametrize("path", ["/v1/stats", "/v1/tasks/x", "/v1/callbacks/1"])
def test_a_path_without_parameters_takes_none(world: DeskHarness, path: str) -> None:
    assert fields_of(world.get(path, a="b")) == {"a": "is not known; there are none"}
