"""Stop, update and retry: no where it is plain already, else an order that a worker decides."""

from dataclasses import replace
from typing import Any

import httpx2
import pytest

from adapters.ledger import inbox
from adapters.settings import Role
from statemachine.calls import Operation, PendingCall
from statemachine.states import FINAL, LIVE, Anomaly, Kind, Origin, Reason, State
from statemachine.tasks import Task
from tests.support.ledger_rows import key, save
from tests.support.ledger_rows import task as made
from tests.unit.callbacks.desk.desk_harness import CALLED, WATCHED, DeskHarness, fields_of
from tests.unit.callbacks.desk.tasks.start_bodies import INGEST, MINTED, SESAME, start

CONTROL = {"Control": {"StreamUrl": "rtmp://source.example.com/b", "VideoWidth": 640, "VideoHeight": 360}}


def there(world: DeskHarness, *, inferred: bool = False, room: str | None = None, **more: Any) -> Task:
    """A task of an app with an account."""
    task = made(more.pop("of", None) or key(app_id=CALLED, family="ingest"), **{"kind": Kind.INGEST, **more})
    task = replace(task, view=replace(task.view, inferred=inferred, room_id=room))
    save(world.ledger, task)
    return task


def order(world: DeskHarness, task: Task | str, what: str, body: Any = None, **more: Any) -> httpx2.Response:
    path = f"/v1/tasks/{task if isinstance(task, str) else task.id}/{what}"
    return world.ask("POST", path, **({} if body is None else {"json": body}), **more)


def name_of(answer: httpx2.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["type"].rpartition(":")[2]


def orders(world: DeskHarness) -> list[tuple[str, dict[str, Any]]]:
    return [(row.kind, dict(row.payload)) for row in world.waiting() if row.kind != inbox.START]


RUNNING = {"state": State.RUNNING, "calls": {Operation.STOP: PendingCall(since=1, retry_at=2)}}


@pytest.mark.parametrize(
    ("what", "body", "posted"),
    [
        ("stop", None, (inbox.STOP, {})),
        ("stop", {}, (inbox.STOP, {})),
        ("retry", None, (inbox.RETRY, {})),
        ("update", {"params": CONTROL}, (inbox.UPDATE, {"params": CONTROL})),
    ],
)
def test_an_order_waits_for_a_worker(world: DeskHarness, what: str, body: Any, posted: tuple[str, dict[str, Any]]) -> None:
    task = there(world, **RUNNING)

    answers = [order(world, task, what, body) for _ in range(2)]

    kind, more = posted
    assert [answer.status_code for answer in answers] == [202, 202]
    assert answers[0].headers["location"] == f"/v1/tasks/{task.id}"
    assert answers[0].json() == world.get(f"/v1/tasks/{task.id}").json()
    assert orders(world) == [(kind, {"task_id": task.id, "by": "a-operator", **more})] * 2
    assert world.notified == 2


@pytest.mark.parametrize("what", ["stop", "update", "retry"])
def test_orders_are_for_operators_and_for_tasks_that_there_are(world: DeskHarness, what: str) -> None:
    body = {"params": {}} if what == "update" else None

    assert order(world, there(world), what, body, role=Role.VIEWER).status_code == 403
    assert order(world, "0" * 26, what, body).status_code == 404
    assert orders(world) == []


@pytest.mark.parametrize("what", ["stop", "update", "retry"])
def test_a_merged_task_leads_to_the_one_that_tells_its_story(world: DeskHarness, what: str) -> None:
    merged = there(world, merged_into="1" * 26, **RUNNING)

    answer = order(world, merged, what, {"params": {}} if what == "update" else None, follow_redirects=False)

    assert (answer.status_code, answer.headers["location"]) == (308, f"/v1/tasks/{'1' * 26}/{what}")
    assert orders(world) == []


@pytest.mark.parametrize("what", ["stop", "update"])
def test_without_an_account_the_vendor_cannot_be_told_anything(world: DeskHarness, what: str) -> None:
    task = there(world, of=key(app_id=WATCHED, family="ingest"))

    assert name_of(order(world, task, what, {"params": CONTROL} if what == "update" else None)) == (409, "no_account")


@pytest.mark.parametrize("what", ["stop", "retry"])
@pytest.mark.parametrize(("body", "status"), [(b" ", 409), (b"x", 400), (b"[]", 400), (b'{"note": "x"}', 422)])
def test_stop_and_retry_take_nothing(world: DeskHarness, what: str, body: bytes, status: int) -> None:
    task = there(world, state=State.STOPPED)

    assert order(world, task, what, content=body).status_code == status


# --- stop ---


@pytest.mark.parametrize("state", sorted(LIVE))
def test_whatever_lives_can_be_stopped(world: DeskHarness, state: State) -> None:
    assert order(world, there(world, state=state), "stop").status_code == 202


@pytest.mark.parametrize("state", sorted(FINAL))
def test_an_end_that_the_vendor_told_stands(world: DeskHarness, state: State) -> None:
    assert name_of(order(world, there(world, state=state), "stop")) == (409, "already_ended")
    assert orders(world) == []


def test_a_start_that_was_given_up_needs_no_stop(world: DeskHarness) -> None:
    task = there(world, state=State.FAILED, reason=Reason.START_GAVE_UP, origin=Origin.MANAGED)

    assert name_of(order(world, task, "stop")) == (409, "already_ended")


def test_an_end_that_is_inferred_or_contradicted_can_be_made_sure_of(world: DeskHarness) -> None:
    inferred = there(world, state=State.FAILED, reason=Reason.START_UNKNOWN, inferred=True)
    zombie = there(world, of=key("t2", app_id=CALLED), state=State.STOPPED, anomalies=(Anomaly.ZOMBIE,))

    assert [order(world, task, "stop").status_code for task in (inferred, zombie)] == [202, 202]


def test_a_task_can_be_stopped_before_a_worker_has_heard_of_it(world: DeskHarness) -> None:
    task = start(world, *INGEST).json()["id"]

    assert order(world, task, "stop").status_code == 202
    assert orders(world) == [(inbox.STOP, {"task_id": task, "by": "a-operator"})]


# --- update ---


@pytest.mark.parametrize("state", [*sorted(FINAL), State.FINISHING])
def test_what_has_ended_cannot_be_updated(world: DeskHarness, state: State) -> None:
    assert name_of(order(world, there(world, state=state), "update", {"params": CONTROL})) == (409, "already_ended")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "params"),
        ({"params": []}, "params"),
        ({"params": CONTROL, "note": "x"}, "note"),
        ({"params": {}}, "Control"),
        ({"params": {"Control": {**CONTROL["Control"], "StreamUrl": SESAME}}}, "Control.StreamUrl"),
        ({"params": {**CONTROL, "Loop": True}}, "Loop"),
    ],
)
def test_parameters_are_checked_against_the_vendors_page(world: DeskHarness, body: Any, field: str) -> None:
    answer = order(world, there(world), "update", body)

    assert list(fields_of(answer)) == [field]
    assert SESAME not in answer.text
    assert orders(world) == []


def test_the_version_of_the_start_is_the_updates_too(world: DeskHarness) -> None:
    task = there(world, of=key(app_id=CALLED, family="record"), kind=Kind.RECORD, action="StartRecord", api_version="2022-06-01")

    assert order(world, task, "update", {"params": {"Layout": {"LayoutMode": 2}}}).status_code == 202


@pytest.mark.parametrize(
    ("kind", "action"), [(Kind.PUSH, "StartPushSingleStreamToCDN"), (Kind.PAGE, "StartWebcast"), (Kind.PAGE, None)]
)
def test_some_tasks_have_no_update_call(world: DeskHarness, kind: Kind, action: str | None) -> None:
    task = there(world, of=key(app_id=CALLED, family=kind.value), kind=kind, action=action)

    assert name_of(order(world, task, "update", {"params": {}})) == (409, "not_updatable")


def test_before_the_vendor_has_told_its_id_nothing_can_be_updated(world: DeskHarness) -> None:
    ingest, page = (start(world, *way).json()["id"] for way in (MINTED, ("tencent", "StartWebRecord")))

    assert name_of(order(world, ingest, "update", {"params": {}})) == (409, "not_started_yet")
    assert name_of(order(world, page, "update", {"params": {}})) == (409, "not_updatable")


def test_the_ids_of_an_update_are_the_tasks_own(world: DeskHarness) -> None:
    task = there(world, of=key("v1", vendor="tencent", app_id=CALLED, room_id="", family="7"), room="red")

    # This app's id is no number, so the vendor's page refuses it: the id was filled in.
    assert list(fields_of(order(world, task, "update", {"params": {"Volume": 50, "TaskId": 7}}))) == ["SdkAppId"]


# --- retry ---


@pytest.mark.parametrize(
    "calls",
    [
        {},
        {Operation.START: PendingCall(since=1, serial=1)},
        {Operation.STOP: PendingCall(since=1), Operation.INSPECT: PendingCall(since=1)},
    ],
)
def test_where_no_call_waits_there_is_nothing_to_try(world: DeskHarness, calls: dict[Operation, PendingCall]) -> None:
    assert name_of(order(world, there(world, calls=calls), "retry")) == (409, "nothing_pending")


def test_one_call_that_waits_is_enough(world: DeskHarness) -> None:
    calls = {Operation.STOP: PendingCall(since=1, serial=1), Operation.INSPECT: PendingCall(since=1, retry_at=2)}

    assert order(world, there(world, calls=calls), "retry").status_code == 202


@pytest.mark.parametrize("url", ["***", "rtmp://source.example.com/live/***", "https://source.example.com/a?***"])
def test_masked_parameters_of_an_update_are_refused(world: DeskHarness, url: str) -> None:
    answer = order(world, there(world), "update", {"params": {"Control": {**CONTROL["Control"], "StreamUrl": url}}})

    message = "is masked: send the real value, not the *** that is shown in its place"
    assert (answer.status_code, answer.json()["errors"]) == (422, [{"field": "Control.StreamUrl", "message": message}])
    assert orders(world) == []
