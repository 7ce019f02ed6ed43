"""Subscriptions for tests of the desk, what is on its way to them, and what workers would do about it."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import httpx2

from adapters.ledger import deliveries, subscriptions
from adapters.ledger.deliveries import Delivery, DeliveryResult, NewDelivery
from adapters.ledger.subscriptions import Subscription
from adapters.settings import Role
from statemachine.delivery_policy import DeliveryState
from statemachine.tasks import Task
from tests.unit.callbacks.desk.desk_harness import DeskHarness

PATH = "/v1/subscriptions"
#: A public address, so that nobody has to look it up; path and query hold a token.
HOOK = {"type": "webhook", "url": "https://93.184.216.34/hook-sesame?key=sesame"}
OTHER_HOOK = {"type": "webhook", "url": "https://93.184.216.34/other"}
STREAM = {"type": "redis", "stream": "tally"}
RUNNING = "tally.task.running"


def post(world: DeskHarness, path: str, body: Any = None, *, role: Role = Role.OPERATOR) -> httpx2.Response:
    return world.ask("POST", f"{PATH}{path}", role=role, **({} if body is None else {"content": json.dumps(body)}))


def patch(world: DeskHarness, id_: str, body: Any, *, role: Role = Role.OPERATOR) -> httpx2.Response:
    return world.ask("PATCH", f"{PATH}/{id_}", role=role, content=json.dumps(body))


def created(world: DeskHarness, **more: Any) -> dict[str, Any]:
    """What was answered."""
    answer = post(world, "", {"sink": HOOK, **more})
    assert answer.status_code == 201, answer.text
    said: dict[str, Any] = answer.json()
    return said


def subscribed(world: DeskHarness, **more: Any) -> str:
    """The id of a new one."""
    return str(created(world, **more)["id"])


def seen(world: DeskHarness, id_: str, role: Role = Role.OPERATOR) -> dict[str, Any]:
    said: dict[str, Any] = world.get(f"{PATH}/{id_}", role=role).json()
    return said


def name_of(answer: httpx2.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["type"].rpartition(":")[2]


def stored(world: DeskHarness, id_: str) -> Subscription:
    with world.ledger.read() as connection:
        found = subscriptions.find(connection, id_)
    assert found is not None
    return found


def put(world: DeskHarness, id_: str, **values: Any) -> None:
    """As workers do."""
    with world.ledger.write() as connection:
        subscriptions.change(connection, id_, **values)


def told(world: DeskHarness, *names: str, versions: int = 1, **more: Any) -> list[Task]:
    """Tasks, and events of so many of their versions. more: as `World.task` takes it."""
    tasks = [world.task(name, **more) for name in names]
    for version in range(1, versions + 1):
        world.tell(*(replace(task, version=version) for task in tasks))
    return tasks


def queued(world: DeskHarness, id_: str, *subjects: str, event_id: int | None = None, type_: str = RUNNING) -> list[Delivery]:
    """A delivery for each of these, in this order."""
    items = [NewDelivery(event_id=event_id, subject=subject, type=type_, origin="event") for subject in subjects]
    with world.ledger.write() as connection:
        deliveries.queue(connection, id_, items, world.now)
    return waiting(world, id_)[-len(subjects) :]


def waiting(world: DeskHarness, id_: str) -> list[Delivery]:
    """All that is there, the oldest first."""
    with world.ledger.read() as connection:
        return deliveries.page(connection, id_, deliveries.DeliveryFilter(), before=None, limit=1_000)[::-1]


def attempt(at: int, *, ok: bool = False) -> dict[str, Any]:
    """How one went, as workers write it down."""
    if ok:
        return {"at": at, "status": 200, "error": None, "detail": "", "duration_ms": 7, "answer": "thanks, sesame"}
    detail = "answered 500 at https://93.184.216.34/hook/sesame"
    return {"at": at, "status": 500, "error": "status", "detail": detail, "duration_ms": 7, "answer": "oh no, sesame"}


def taken(world: DeskHarness, id_: str) -> list[Delivery]:
    """What a worker takes now."""
    with world.ledger.write() as connection:
        return deliveries.claim(connection, id_, world.now, 100, world.now + 45_000)


def settled(
    world: DeskHarness, found: Sequence[Delivery], state: DeliveryState = DeliveryState.DELIVERED, *, due_at: int | None = None
) -> None:
    """A worker says what became of what it took."""
    ok = state is DeliveryState.DELIVERED
    with world.ledger.write() as connection:
        results = [
            DeliveryResult(delivery=each, state=state, due_at=due_at, attempts=[attempt(world.now, ok=ok)]) for each in found
        ]
        deliveries.record_results(connection, results, world.now)
