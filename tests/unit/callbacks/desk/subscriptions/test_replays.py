"""Events are asked for once more; workers queue them."""

from typing import Any

import pytest

from adapters.clock import to_rfc3339
from adapters.ledger import replays
from adapters.ledger.replays import EventSelection, Replay
from statemachine.delivery_policy import DeliveryState, SubscriptionState
from statemachine.tasks import Task
from tests.support.times import T0
from tests.unit.callbacks.desk.desk_harness import DeskHarness, fields_of
from tests.unit.callbacks.desk.subscriptions.subscription_requests import (
    name_of,
    post,
    put,
    queued,
    seen,
    settled,
    stored,
    subscribed,
    taken,
    told,
    waiting,
)

FOREVER = EventSelection(since=0, until=T0 + 10_001)


def under_way(world: DeskHarness, id_: str) -> list[Replay]:
    with world.ledger.read() as connection:
        return replays.of_subscription(connection, id_)


def gone_on(world: DeskHarness, id_: str) -> list[tuple[str, str]]:
    """(subject, origin) of what workers queue for it."""
    with world.ledger.write() as connection:
        replays.advance(connection, stored(world, id_), world.now)
    return [(each.subject, each.origin) for each in waiting(world, id_)]


@pytest.fixture
def tasks(world: DeskHarness) -> list[Task]:
    """Three, of which something is told at the second 0, 5 and 10; it is the tenth."""
    found = []
    for name, now in (("t0", T0), ("t1", T0 + 5_000), ("t2", T0 + 10_000)):
        world.now = now
        found += told(world, name, versions=2 if name == "t1" else 1)
    return found


@pytest.mark.parametrize(
    ("body", "chosen"),
    [
        ({"from": T0}, [0, 1, 1, 2]),
        ({"from": T0 + 5_000}, [1, 1, 2]),
        ({"to": T0 + 5_000}, [0]),
        ({"from": T0 + 1, "to": T0 + 10_000, "dead": False, "task_id": None}, [1, 1]),
        ({"task_id": 1}, [1, 1]),
        ({"task_id": 1, "to": T0}, []),
        ({"from": 0, "rate_per_s": 500}, [0, 1, 1, 2]),
    ],
)
def test_what_is_asked_for_is_counted_and_queued(
    world: DeskHarness, tasks: list[Task], body: dict[str, Any], chosen: list[int]
) -> None:
    id_ = subscribed(world)
    times = {name: to_rfc3339(body[name]) for name in ("from", "to") if name in body}
    asked = {**body, **times, **({"task_id": tasks[1].id} if body.get("task_id") else {})}

    counted = post(world, f"/{id_}/replay", {**asked, "dry_run": True})
    assert (counted.status_code, counted.json()) == (200, {"matched": len(chosen), "dry_run": True})
    assert (under_way(world, id_), world.notified) == ([], 1)

    answer = post(world, f"/{id_}/replay", {**asked, "dry_run": False})
    assert (answer.status_code, answer.json()) == (202, {"matched": len(chosen)})
    assert (len(under_way(world, id_)), world.notified) == (1, 2)
    world.now += 1_000
    assert gone_on(world, id_) == [(tasks[number].id, "replay") for number in chosen]


def test_only_what_the_subscription_wants_is_counted(world: DeskHarness, tasks: list[Task]) -> None:
    id_ = subscribed(world, filter={"kind": "page"})

    assert post(world, f"/{id_}/replay", {"from": to_rfc3339(T0)}).json() == {"matched": 0}


def test_what_is_dead_is_queued_and_dead_no_more(world: DeskHarness) -> None:
    id_ = subscribed(world)
    queued(world, id_, "A" * 26, "B" * 26)
    settled(world, taken(world, id_), DeliveryState.DEAD)
    queued(world, id_, "C" * 26)
    settled(world, taken(world, id_), DeliveryState.DELIVERED)

    assert post(world, f"/{id_}/replay", {"dead": True}).json() == {"matched": 2}
    world.now += 1_000
    gone_on(world, id_)
    assert [each.state.value for each in waiting(world, id_)] == ["requeued", "requeued", "delivered", "waiting", "waiting"]


@pytest.mark.parametrize(
    ("body", "selection", "rate"),
    [
        ({"from": "1970-01-01T00:00:00Z"}, FOREVER, 100),
        ({"task_id": "A" * 26, "rate_per_s": 7}, EventSelection(since=0, until=T0 + 10_001, subject="A" * 26), 7),
        ({"dead": True, "to": to_rfc3339(T0), "rate_per_s": 1.5}, EventSelection(since=0, until=T0, dead=True), 1.5),
    ],
)
def test_what_is_not_given_is_from_the_beginning_until_now(
    world: DeskHarness, tasks: list[Task], body: dict[str, Any], selection: EventSelection, rate: float
) -> None:
    id_ = subscribed(world)

    assert post(world, f"/{id_}/replay", body).status_code == 202
    assert [(each.selection, each.rate, each.next_at) for each in under_way(world, id_)] == [(selection, rate, world.now)]
    assert (len(seen(world, id_)["replays"]), seen(world, id_)["version"]) == (1, 1)


NOTHING = "at least one of from, to, task_id, dead must be given"
ORDER = "must be before `to`, which is now by default"
A_TIME = "must be a time with Z or an offset, such as 2026-11-21T13:00:00.123Z"
A_RATE = "must be a number of events per second from 1 to 1000"


@pytest.mark.parametrize(
    ("body", "errors"),
    [
        ({}, {"from": NOTHING}),
        ({"dead": False, "from": None, "rate_per_s": 7, "dry_run": True}, {"from": NOTHING}),
        ({"from": "2026-11-21T13:00:00Z"}, {"from": ORDER}),
        ({"from": to_rfc3339(T0), "to": to_rfc3339(T0)}, {"from": ORDER}),
        ({"from": "yesterday", "to": 7}, {"from": A_TIME, "to": A_TIME}),
        ({"task_id": "t1"}, {"task_id": "must be a task's id: 26 digits and capital letters"}),
        ({"task_id": 7}, {"task_id": "must be a task's id: 26 digits and capital letters"}),
        ({"dead": "true"}, {"dead": "must be true or false"}),
        ({"dead": True, "dry_run": 1}, {"dry_run": "must be true or false"}),
        *(({"dead": True, "rate_per_s": rate}, {"rate_per_s": A_RATE}) for rate in (0, 0.5, 1001, "7", True)),
        ({"dead": True, "since": 7}, {"since": "is not known; there are from, to, task_id, dead, rate_per_s, dry_run"}),
    ],
)
def test_what_selects_nothing_rightly_is_refused(world: DeskHarness, body: dict[str, Any], errors: dict[str, str]) -> None:
    id_ = subscribed(world)

    assert fields_of(post(world, f"/{id_}/replay", body)) == errors
    assert under_way(world, id_) == []


@pytest.mark.parametrize("state", [SubscriptionState.PAUSED, SubscriptionState.DISABLED])
def test_one_that_is_not_served_can_be_asked_for_too(world: DeskHarness, tasks: list[Task], state: SubscriptionState) -> None:
    id_ = subscribed(world)
    put(world, id_, state=state)

    assert post(world, f"/{id_}/replay", {"from": to_rfc3339(T0)}).json() == {"matched": 4}
    assert len(under_way(world, id_)) == 1


def test_ten_are_under_way_at_the_most(world: DeskHarness) -> None:
    id_ = subscribed(world)

    answers = [post(world, f"/{id_}/replay", {"dead": True}) for _ in range(11)]

    assert {answer.status_code for answer in answers[:10]} == {202}
    assert name_of(answers[10]) == (409, "too_many_replays")
    assert post(world, f"/{id_}/replay", {"dead": True, "dry_run": True}).status_code == 200
    assert post(world, f"/{subscribed(world)}/replay", {"dead": True}).status_code == 202


def test_counting_waits_for_no_writer_and_holds_up_none(world: DeskHarness, tasks: list[Task]) -> None:
    id_ = subscribed(world)

    with world.ledger.write():
        answer = post(world, f"/{id_}/replay", {"dead": True, "dry_run": True})

    assert answer.json() == {"matched": 0, "dry_run": True}
