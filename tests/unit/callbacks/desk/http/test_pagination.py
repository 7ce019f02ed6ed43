"""Pages of lists are bounded in bytes, and lead to all that there is."""

from typing import Any

import pytest
from sqlalchemy import Engine, event

from adapters.ledger.page_size import PAGE_BYTES
from adapters.settings import Role
from statemachine.facts import FactKind, File
from statemachine.states import Kind
from tests.support.times import T0
from tests.unit.callbacks.desk.desk_harness import DeskHarness, fields_of


def texts(world: DeskHarness, path: str, **params: Any) -> list[str]:
    """The statements that a request makes."""
    made: list[str] = []

    def note(*given: Any) -> None:
        made.append(given[2])

    event.listen(Engine, "before_cursor_execute", note)
    try:
        assert world.get(path, **params).status_code == 200
    finally:
        event.remove(Engine, "before_cursor_execute", note)
    return made


@pytest.mark.parametrize("role", [Role.VIEWER, Role.OPERATOR])
def test_a_list_of_callbacks_reads_no_bodies(world: DeskHarness, role: Role) -> None:
    """200 of 1 MB were an answer of 467 MB."""
    body = b"x" * 1_000_000
    for number in range(30):
        world.callback(number, body)

    answer = world.get("/v1/callbacks?limit=200", role=role)
    items = answer.json()["items"]

    assert len(answer.content) < 30_000
    assert [item["size"] for item in items] == [len(body)] * 30
    assert {(item["headers"], item["body"], item["body_base64"]) for item in items} == {(None, None, None)}
    read = " ".join(texts(world, "/v1/callbacks", limit=200)).replace("length(inbox.body)", "")
    assert "body" not in read
    assert "headers" not in read


def test_a_viewer_has_no_body_read_of_a_single_callback_either(world: DeskHarness) -> None:
    number = world.callback(1, b"x" * 9)

    assert world.get(f"/v1/callbacks/{number}", role=Role.VIEWER).json()["size"] == 9


def test_pages_of_long_tasks_have_fewer_items_and_lead_to_all(world: DeskHarness) -> None:
    message = "m" * 1_500_000
    made = [world.task(f"t{number}", message=message, at=T0 + number).id for number in range(6)]
    pages = list(world.pages("/v1/tasks", limit=500))

    assert [item["id"] for page in pages for item in page] == sorted(made, reverse=True)
    assert [len(page) for page in pages] == [2, 2, 2]


def test_a_list_shows_the_first_files_of_a_task_and_how_many_are_left_out(world: DeskHarness) -> None:
    files = tuple(File(name=f"{number}.mp4", size_bytes=1) for number in range(5_000))
    task = world.task("r1", FactKind.FILES, files=files, task_kind=Kind.RECORD)

    (item,) = world.get("/v1/tasks").json()["items"]

    assert (len(item["files"]), item["left_out"]) == (200, {"outputs": 0, "files": 4_800})
    alone = world.get(f"/v1/tasks/{task.id}").json()
    assert (len(alone["files"]), "left_out" in alone) == (5_000, False)


def test_pages_of_long_timelines_lead_to_all(world: DeskHarness) -> None:
    task = world.task()
    for number in range(6):
        world.line(task, {"kind": "mark", "note": str(number) * 1_500_000}, {"kind": "mark", "note": f"after {number}"})
    pages = list(world.pages(f"/v1/tasks/{task.id}/timeline", limit=500))

    notes = [item["note"][:7] for page in pages for item in page if item["kind"] == "mark"]
    assert notes == [text for number in range(6) for text in (str(number) * 7, f"after {number}")]
    assert max(sum(len(str(item)) for item in page) for page in pages) <= PAGE_BYTES


def test_pages_of_long_events_lead_to_all(world: DeskHarness) -> None:
    places = world.tell(*(world.task(f"t{number}", message="m" * 1_500_000) for number in range(6)))
    after, seen = 0, []
    while (said := world.get("/v1/events", after=after, limit=500).json())["items"]:
        assert len(said["items"]) == 2
        seen.append(said["next_after"])
        after = said["next_after"]

    assert seen == [places[1], places[3], places[5]]


def test_an_item_that_is_longer_than_a_page_is_a_page(world: DeskHarness) -> None:
    long, short = (world.task(name, message=message) for name, message in (("a", "m" * (PAGE_BYTES + 1)), ("b", "m")))

    assert sorted(len(page) for page in world.pages("/v1/tasks")) == [1, 1]
    assert {item["id"] for page in world.pages("/v1/tasks") for item in page} == {long.id, short.id}


@pytest.mark.parametrize("query", ["a&" * 30_000, "&".join(f"a{n}=" for n in range(101)), "q=" + "x" * 17_000])
@pytest.mark.parametrize("path", ["/v1/tasks", "/v1/events/stream"])
def test_a_query_string_that_is_too_long_is_refused_before_it_is_read(world: DeskHarness, path: str, query: str) -> None:
    """One of 62 KB was answered with 1.7 MB, and stopped all else for 0.26 s."""
    answer = world.ask("GET", f"{path}?{query}")

    assert (answer.status_code, answer.json()["type"]) == (414, "urn:tallylight:problem:uri_too_long")
    assert len(answer.content) < 1_000


@pytest.mark.parametrize("path", ["/v1/subscriptions", "/v1/tasks", "/v1/callbacks/replay", "/v1/tasks/{}/mark"])
def test_a_body_of_thousands_of_mistakes_gets_a_short_answer(world: DeskHarness, path: str) -> None:
    answer = world.ask("POST", path.format(world.task().id), json={f"mistake-{number}": 1 for number in range(3_000)})

    assert answer.status_code == 422
    assert len(fields_of(answer)) <= 100
    assert len(answer.content) < 40_000


@pytest.mark.parametrize("path", ["/v1/subscriptions", "/v1/tasks", "/v1/callbacks/replay"])
@pytest.mark.parametrize("body", ["[" * 60_000, '{"a":' * 10_000 + "1" + "}" * 10_000, '{"a":' + "9" * 50_000 + "}", '{"a":1e999}'])
def test_deep_and_huge_json_is_malformed(world: DeskHarness, path: str, body: str) -> None:
    answer = world.ask("POST", path, content=body)

    assert answer.status_code in (400, 422)
    assert len(answer.content) < 2_000
