"""Events are read page after page, and their stream begins where it was asked to."""

import itertools
from collections.abc import Iterator
from typing import Any

import pytest

from adapters.settings import Role
from statemachine.facts import FactKind
from tests.unit.callbacks.desk.desk_harness import STREAM, DeskHarness, fields_of

NUMBER = "must be a whole number from 0 to 9223372036854775807"


def pages(world: DeskHarness, after: int = 0, limit: int = 3) -> Iterator[list[Any]]:
    """Until one is empty."""
    while True:
        said = world.get("/v1/events", after=after, limit=limit).json()
        assert said.keys() == {"items", "next_after"}
        if not said["items"]:
            return
        yield said["items"]
        after = said["next_after"]


def subjects(items: list[Any]) -> list[str]:
    return [item["subject"] for item in items]


def test_of_nothing_there_is_an_empty_page_that_goes_on_where_it_was(world: DeskHarness) -> None:
    assert world.get("/v1/events").json() == {"items": [], "next_after": 0}
    assert world.get("/v1/events", after=2**63 - 1).json() == {"items": [], "next_after": 2**63 - 1}


def test_a_page_names_the_position_of_its_last_item(world: DeskHarness) -> None:
    places = world.tell(*(world.task(f"t{number}") for number in range(3)))

    assert world.get("/v1/events", limit=2).json()["next_after"] == places[1]
    assert world.get("/v1/events", after=places[1]).json()["next_after"] == places[2]
    assert world.get("/v1/events", after=places[2]).json() == {"items": [], "next_after": places[2]}


def test_page_after_page_tells_each_event_once_and_in_order_while_more_come(world: DeskHarness) -> None:
    tasks = [world.task(f"t{number}") for number in range(12)]
    world.tell(*tasks[:7])
    more = iter(tasks[7:])
    seen: list[str] = []
    for items in pages(world):
        seen += subjects(items)
        world.tell(*itertools.islice(more, 1))

    assert seen == [task.id for task in tasks]


def test_a_page_has_fifty_items_unless_asked_otherwise(world: DeskHarness) -> None:
    task = world.task()
    world.tell(*[task] * 51)

    assert len(world.get("/v1/events").json()["items"]) == 50


def test_tasks_that_have_ended_or_were_merged_are_told_of_too(world: DeskHarness) -> None:
    kept = world.task("kept")
    merged = world.task("merged", merged_into=kept.id)
    ended = world.task("ended", FactKind.END)
    world.tell(merged, type_="tally.task.updated")
    world.tell(ended, type_=f"tally.task.{ended.view.state}")

    (page,) = pages(world)

    assert subjects(page) == [merged.id, ended.id]
    assert page[1]["data"]["state"] == ended.view.state.value


@pytest.mark.parametrize(("role", "shown"), [(Role.VIEWER, False), (Role.OPERATOR, True), (Role.ADMIN, True)])
def test_stream_keys_are_for_operators(world: DeskHarness, role: Role, *, shown: bool) -> None:
    world.tell(world.task(params={"Url": STREAM}, policy={"to": STREAM}, message=f"no answer from {STREAM}"))

    said = world.get("/v1/events", role=role).text

    assert ("s1" in said, "txSecret" in said) == (shown, shown)
    assert "rtmp://push.example.com/live/" in said


@pytest.mark.parametrize("path", ["/v1/events", "/v1/events/stream"])
def test_somebody_without_a_token_is_told_nothing(world: DeskHarness, path: str) -> None:
    assert world.ask("GET", path, role=None).status_code == 401


@pytest.mark.parametrize("path", ["/v1/events", "/v1/events/stream"])
@pytest.mark.parametrize("after", ["-1", "1.0", "", "x", "٣", str(2**63), "9" * 5000, "1e3", "+1"])
def test_what_is_no_position_is_refused(world: DeskHarness, path: str, after: str) -> None:
    assert fields_of(world.get(path, after=after)) == {"after": NUMBER}


@pytest.mark.parametrize("last", ["x", "-1", str(2**63), "1, 2"])
def test_a_last_event_id_that_is_no_position_is_refused(world: DeskHarness, last: str) -> None:
    answer = world.ask("GET", "/v1/events/stream?after=x", headers={"Last-Event-ID": last})

    assert fields_of(answer) == {"Last-Event-ID": NUMBER, "after": NUMBER}


def test_what_a_stream_does_not_take_is_refused(world: DeskHarness) -> None:
    assert fields_of(world.get("/v1/events/stream", limit=1)).keys() == {"limit"}
    twice = world.ask("GET", "/v1/events/stream", headers=[("Last-Event-ID", "1"), ("Last-Event-ID", "2")])
    assert fields_of(twice) == {"Last-Event-ID": "must be given once"}


def test_a_ledger_that_is_away_is_told_as_a_problem(world: DeskHarness) -> None:
    world.ledger.is_away = True
    for path in ("/v1/events", "/v1/events/stream"):
        answer = world.get(path)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
        assert answer.json()["type"] == "urn:tallylight:problem:ledger_unavailable"
