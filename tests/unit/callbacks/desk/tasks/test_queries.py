"""Tasks are listed, found, shown and told of."""

from typing import Any

import pytest

from adapters.clock import to_rfc3339
from adapters.settings import Role
from statemachine.facts import Ending, FactKind, File
from statemachine.states import Anomaly, Kind, Origin, Reason, State
from tests.support.times import DAY, T0
from tests.unit.callbacks.desk.desk_harness import A_FILE, STREAM, DeskHarness

AT = to_rfc3339(T0)


def test_a_task_is_shown_with_all_its_fields(world: DeskHarness) -> None:
    task = world.task(
        action="StartSomething",
        params={"Token": "sesame", "Url": STREAM, "Deep": {"SecretKey": "sesame"}},
        policy={"renew": {"params": {"Token": "sesame"}}},
        files=(A_FILE,),
        anomalies=(Anomaly.ZOMBIE,),
    )

    said = world.get(f"/v1/tasks/{task.id}").json()

    assert said == {
        "id": task.id,
        "vendor": "volcengine",
        "kind": "push",
        "app_id": "app",
        "room_id": "room",
        "vendor_task_id": "t1",
        "run": 1,
        "origin": "observed",
        "state": "running",
        "reason": None,
        "inferred": False,
        "anomalies": ["zombie"],
        "vendor_code": None,
        "vendor_message": None,
        "action": "StartSomething",
        "params": {"Token": "***", "Url": STREAM, "Deep": {"SecretKey": "***"}},
        "policy": {"renew": {"params": {"Token": "***"}}},
        "attempts": 0,
        "outputs": [{"url": STREAM, "state": "running"}],
        "files": said["files"],
        "deadlines": [{"kind": "silence", "due_at": said["deadlines"][0]["due_at"]}],
        "created_at": AT,
        "accepted_at": AT,
        "running_at": AT,
        "ended_at": None,
        "updated_at": AT,
        "version": 1,
        "renews": None,
        "renewed_by": None,
        "restarts": None,
        "restarted_by": None,
    }
    assert said["deadlines"][0]["due_at"].endswith("Z")


FILE = {
    "name": "a.mp4",
    "file_id": None,
    "url": "https://vod.example.com/bucket/a.mp4?sign=abc",
    "state": "known",
    "user_id": None,
    "track": None,
    "media": None,
    "started_at": AT,
    "ended_at": None,
    "duration_ms": None,
    "size_bytes": 7,
    "message": None,
}


def a_recording(world: DeskHarness, **more: Any) -> str:
    return world.task("r1", FactKind.FILES, files=(A_FILE,), task_kind=Kind.RECORD, **more).id


def test_a_file_is_shown_with_all_its_fields(world: DeskHarness) -> None:
    assert world.get(f"/v1/tasks/{a_recording(world)}").json()["files"] == [FILE]


def test_a_viewer_sees_files_without_what_opens_them(world: DeskHarness) -> None:
    said = world.get(f"/v1/tasks/{a_recording(world)}", role=Role.VIEWER).json()

    assert said["files"] == [{**FILE, "url": "https://vod.example.com/bucket/a.mp4"}]


def test_a_file_without_a_url_stays_so(world: DeskHarness) -> None:
    task = world.task("r2", FactKind.FILES, files=(File(file_id="7"),), task_kind=Kind.RECORD)

    assert world.get(f"/v1/tasks/{task.id}", role=Role.VIEWER).json()["files"][0]["url"] is None


@pytest.mark.parametrize("path", ["/v1/tasks/{}", "/v1/tasks", "/v1/tasks/{}/timeline"])
@pytest.mark.parametrize(("role", "shown"), [(Role.VIEWER, False), (Role.OPERATOR, True), (Role.ADMIN, True)])
def test_stream_keys_are_for_operators(world: DeskHarness, path: str, role: Role, *, shown: bool) -> None:
    task = world.task(params={"Url": STREAM, "Outs": [STREAM]}, policy={"to": STREAM}, message=f"no answer from {STREAM}")
    world.line(task, {"kind": "callback", "output": {"url": STREAM, "state": "running"}, "message": STREAM})

    answer = world.get(path.format(task.id), role=role)

    assert ("s1" in answer.text, "txSecret" in answer.text) == (shown, shown)
    assert "rtmp://push.example.com/live/" in answer.text


def test_the_room_that_the_vendor_told_stands_in_for_one_of_the_key(world: DeskHarness) -> None:
    task = world.task(room_id="")

    assert world.get(f"/v1/tasks/{task.id}").json()["room_id"] is None


def test_a_merged_task_leads_to_the_one_that_tells_its_story(world: DeskHarness) -> None:
    kept = world.task("kept")
    merged = world.task("merged", merged_into=kept.id)

    answer = world.get(f"/v1/tasks/{merged.id}")

    assert (answer.status_code, answer.headers["location"], answer.content) == (308, f"/v1/tasks/{kept.id}", b"")
    assert [item["id"] for item in world.get("/v1/tasks").json()["items"]] == [kept.id]
    assert world.get(f"/v1/tasks/{merged.id}/timeline").status_code == 200


@pytest.fixture
def listed(world: DeskHarness) -> dict[str, str]:
    """name -> id of three tasks, each different in all that can be asked for."""
    failed = Ending(state=State.FAILED, reason=Reason.VENDOR_ERROR)
    tasks = {
        "push": world.task("push-1", at=T0, app_id="a1", room_id="red"),
        "record": world.task(
            "record-1",
            FactKind.END,
            at=T0 + DAY,
            outcome=failed,
            vendor="tencent",
            task_kind=Kind.RECORD,
            app_id="a2",
            room_id="green",
            origin=Origin.MANAGED,
        ),
        "ingest": world.task(
            "ingest-1",
            FactKind.START,
            at=T0 + 2 * DAY,
            task_kind=Kind.INGEST,
            app_id="b1",
            room_id="blue",
            anomalies=(Anomaly.UNHEARD,),
        ),
    }
    return {name: task.id for name, task in tasks.items()}


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", ["ingest", "record", "push"]),
        ("vendor=tencent", ["record"]),
        ("kind=push", ["push"]),
        ("state=running", ["push"]),
        ("state=running&state=accepted", ["ingest", "push"]),
        ("state=running&state=running", ["push"]),
        ("app_id=a1", ["push"]),
        ("app_id=a", []),
        ("room_id=green", ["record"]),
        ("vendor_task_id=ingest-1", ["ingest"]),
        ("reason=vendor_error", ["record"]),
        ("origin=managed", ["record"]),
        ("origin=observed", ["ingest", "push"]),
        ("anomaly=unheard", ["ingest"]),
        ("anomaly=zombie", []),
        ("live=true", ["ingest", "push"]),
        ("live=false", ["record"]),
        (f"created_after={to_rfc3339(T0 + DAY)}", ["ingest", "record"]),
        (f"created_before={to_rfc3339(T0 + DAY)}", ["push"]),
        ("created_after=2023-11-16T06%3A13%3A20%2B08:00", ["ingest", "record"]),
        ("q=a", ["record", "push"]),
        ("q=gre", ["record"]),
        ("q=push-1", ["push"]),
        ("q=%25", []),
        ("vendor=volcengine&kind=push&live=false", []),
        ("limit=2", ["ingest", "record"]),
    ],
)
def test_each_filter_finds_its_tasks(world: DeskHarness, listed: dict[str, str], query: str, found: list[str]) -> None:
    answer = world.ask("GET", f"/v1/tasks?{query}").json()

    assert [item["id"] for item in answer["items"]] == [listed[name] for name in found]


def test_an_id_is_found_by_its_beginning(world: DeskHarness, listed: dict[str, str]) -> None:
    assert [item["id"] for item in world.get("/v1/tasks", q=listed["push"][:8]).json()["items"]] == [listed["push"]]


@pytest.mark.parametrize("params", [{}, {"live": "true"}, {"room_id": "room"}, {"q": "t"}])
def test_pages_stay_right_while_tasks_arrive(world: DeskHarness, params: dict[str, str]) -> None:
    there = [world.task(f"t{number}", at=T0 + number).id for number in range(7)]
    seen = []
    for number, items in enumerate(world.pages("/v1/tasks", limit=3, **params)):
        world.task(f"new-{number}", at=T0 + DAY + number)
        seen += [item["id"] for item in items]

    assert seen == there[::-1]


def test_the_last_full_page_has_no_next_one(world: DeskHarness) -> None:
    world.task()

    assert world.get("/v1/tasks", limit=1).json()["next_cursor"] is None


def test_a_timeline_tells_the_oldest_first(world: DeskHarness) -> None:
    task = world.task()
    world.now += 1500
    world.line(
        task, {"kind": "callback", "verdict": "applied", "event_at": T0}, {"kind": "move", "from": "running", "to": "stopped"}
    )

    items = world.get(f"/v1/tasks/{task.id}/timeline").json()["items"]

    assert [item["kind"] for item in items] == ["deadline_armed", "move", "callback", "move"]
    assert items[1] == {"at": AT, "kind": "move", "from": None, "to": "running"}
    assert items[2] == {"at": to_rfc3339(T0 + 1500), "kind": "callback", "verdict": "applied", "event_at": AT}
    assert items[0]["due_at"].endswith("Z")


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 50])
def test_a_timelines_pages_miss_nothing_while_lines_arrive(world: DeskHarness, limit: int) -> None:
    task = world.task()
    world.task("other")
    for number in range(4):
        world.line(task, *({"kind": "note", "n": [number, part]} for part in range(3)))
        world.line(world.task(f"between-{number}"), {"kind": "note"})
    seen: list[Any] = []
    for number, items in enumerate(world.pages(f"/v1/tasks/{task.id}/timeline", limit=limit)):
        assert len(items) <= limit
        seen += [item.get("n") for item in items]
        if number == 0 and limit < 50:
            world.line(task, {"kind": "note", "n": "late"})

    assert seen[2:] == [[number, part] for number in range(4) for part in range(3)] + (["late"] if limit < 50 else [])
