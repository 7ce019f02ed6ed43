"""What is on its way to a subscription is listed and shown; one of it is sent again, or a test."""

from dataclasses import replace
from typing import Any

import httpx2
import pytest

from adapters.clock import to_rfc3339
from adapters.settings import Role
from statemachine.delivery_policy import DeliveryState, SubscriptionState
from tests.support.ledger_rows import statements
from tests.support.times import T0
from tests.unit.callbacks.desk.desk_harness import DeskHarness, fields_of
from tests.unit.callbacks.desk.subscriptions.subscription_requests import (
    HOOK,
    PATH,
    name_of,
    post,
    put,
    queued,
    seen,
    settled,
    subscribed,
    taken,
    told,
    waiting,
)

AT = to_rfc3339(T0)
LATER = T0 + 60_000
NO, YES = DeliveryState.DEAD, DeliveryState.DELIVERED
A, B = "A" * 26, "B" * 26


def listed(world: DeskHarness, id_: str, role: Role = Role.OPERATOR, **params: Any) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = world.get(f"{PATH}/{id_}/deliveries", role=role, **params).json()["items"]
    return items


def retried(world: DeskHarness, id_: str, delivery_id: int | str) -> httpx2.Response:
    return post(world, f"/{id_}/deliveries/{delivery_id}/retry")


def tried(world: DeskHarness, id_: str, state: DeliveryState = YES, *, due_at: int | None = None) -> int:
    """The id of a delivery that was tried once."""
    (delivery,) = queued(world, id_, A)
    settled(world, taken(world, id_), state, due_at=due_at)
    return delivery.id


# Shown.


def test_a_delivery_is_shown_with_all_its_fields(world: DeskHarness) -> None:
    id_, (task,) = subscribed(world), told(world, "t1")
    (position,) = world.tell(replace(task, version=7))
    (delivery,) = queued(world, id_, task.id, event_id=position)

    said = world.get(f"{PATH}/{id_}/deliveries/{delivery.id}").json()

    assert said == {
        "id": str(delivery.id),
        "subscription_id": id_,
        "event_id": f"{task.id}-7",
        "task_id": task.id,
        "type": "tally.task.running",
        "origin": "event",
        "state": "waiting",
        "queued_at": AT,
        "next_try_at": AT,
        "sending": False,
        "done_at": None,
        "attempts": [],
    }
    assert listed(world, id_) == [said]


def test_one_that_waits_for_another_of_its_task_has_no_time(world: DeskHarness) -> None:
    id_ = subscribed(world)
    queued(world, id_, A, A, B)

    assert [(each["task_id"], each["next_try_at"]) for each in listed(world, id_)] == [(B, AT), (A, None), (A, AT)]


def test_one_that_is_being_sent_says_so_until_that_counts_as_unanswered(world: DeskHarness) -> None:
    id_ = subscribed(world)
    queued(world, id_, A)
    (lease,) = {each.lease_until for each in taken(world, id_)}

    assert [(each["sending"], each["next_try_at"]) for each in listed(world, id_)] == [(True, None)]
    world.now = lease or 0
    assert [(each["sending"], each["next_try_at"]) for each in listed(world, id_)] == [(False, to_rfc3339(lease or 0))]


def test_how_attempts_went_is_shown(world: DeskHarness) -> None:
    id_ = subscribed(world)
    tried(world, id_, DeliveryState.WAITING, due_at=LATER)

    (said,) = listed(world, id_)

    assert (said["state"], said["next_try_at"], said["sending"]) == ("waiting", to_rfc3339(LATER), False)
    assert said["attempts"] == [
        {
            "at": AT,
            "status": 500,
            "error": "status",
            "detail": "answered 500 at https://93.184.216.34/hook/sesame",
            "duration_ms": 7,
            "answer": "oh no, sesame",
        }
    ]


def test_viewers_do_not_see_what_the_target_said(world: DeskHarness) -> None:
    id_ = subscribed(world)
    delivery_id = tried(world, id_, NO)

    (said,) = listed(world, id_, Role.VIEWER)

    assert said == world.get(f"{PATH}/{id_}/deliveries/{delivery_id}", role=Role.VIEWER).json()
    (attempt,) = said["attempts"]
    assert (attempt["status"], attempt["answer"]) == (500, None)
    assert "sesame" not in str(said)


def test_one_at_its_end_says_when_that_was(world: DeskHarness) -> None:
    id_ = subscribed(world)
    tried(world, id_)

    assert [(each["state"], each["done_at"], each["next_try_at"]) for each in listed(world, id_)] == [("delivered", AT, None)]


def test_what_is_no_tasks_has_no_task(world: DeskHarness) -> None:
    id_ = subscribed(world)
    queued(world, id_, id_, type_="tally.subscription.disabled")

    assert [each["task_id"] for each in listed(world, id_)] == [None]


def test_of_an_event_that_is_no_longer_there_the_id_is_not_known(world: DeskHarness) -> None:
    id_ = subscribed(world)
    queued(world, id_, A, event_id=7)

    assert [(each["event_id"], each["task_id"]) for each in listed(world, id_)] == [(None, A)]


# Listed.


def test_the_newest_come_first_page_by_page(world: DeskHarness) -> None:
    id_, other = subscribed(world), subscribed(world)
    ids = [str(each.id) for each in queued(world, id_, *(f"{n:026}" for n in range(5)))]
    queued(world, other, A)

    found = [[each["id"] for each in page] for page in world.pages(f"{PATH}/{id_}/deliveries", limit=2)]

    assert found == [ids[:2:-1], ids[2:0:-1], ids[:1]]


def test_they_are_chosen_by_state_and_task(world: DeskHarness) -> None:
    id_ = subscribed(world)
    first = tried(world, id_, NO)
    second = tried(world, id_)
    third, fourth = (each.id for each in queued(world, id_, A, B))

    def chosen(**params: str) -> list[int]:
        return [int(each["id"]) for each in listed(world, id_, **params)]

    assert chosen(task_id=A) == [third, second, first]
    assert chosen(state="waiting") == [fourth, third]
    assert (chosen(state="dead"), chosen(state="delivered"), chosen(state="requeued")) == ([first], [second], [])
    assert (chosen(state="waiting", task_id=A), chosen(state="dead", task_id=B)) == ([third], [])


def test_what_they_are_chosen_by_is_checked(world: DeskHarness) -> None:
    found = fields_of(world.get(f"{PATH}/{subscribed(world)}/deliveries", state="lost", task_id="", cursor="x", type="a"))

    assert found.keys() == {"state", "task_id", "cursor", "type"}


def test_a_long_page_takes_as_many_statements_as_a_short_one(world: DeskHarness) -> None:
    id_ = subscribed(world)
    for task in told(world, *(f"t{number}" for number in range(20))):
        queued(world, id_, task.id, event_id=world.tell(task)[0])

    def number_of(limit: int) -> int:
        with world.ledger.read() as connection, statements(connection.engine) as said:
            assert len(listed(world, id_, limit=limit)) == limit
        return len(said)

    assert number_of(20) == number_of(2)


@pytest.mark.parametrize("delivery_id", ["0", "1000000", "x", "9" * 30, "-1"])
def test_one_that_there_is_not_is_not_found(world: DeskHarness, delivery_id: str) -> None:
    id_, other = subscribed(world), subscribed(world)
    (of_other,) = queued(world, other, A)

    for each in (delivery_id, of_other.id):
        assert world.get(f"{PATH}/{id_}/deliveries/{each}").status_code == 404
        assert retried(world, id_, each).json()["detail"] == "this subscription has no delivery with this id"


# A test.


def test_a_test_waits_for_nothing(world: DeskHarness) -> None:
    id_ = subscribed(world)
    answers = [post(world, f"/{id_}/test") for _ in range(2)]

    for answer in answers:
        said = answer.json()
        assert (answer.status_code, answer.headers["location"]) == (202, f"{PATH}/{id_}/deliveries/{said['id']}")
        assert said == world.get(answer.headers["location"]).json()
        assert (said["type"], said["origin"], said["task_id"]) == ("tally.test", "test", None)
        assert (said["event_id"], said["next_try_at"]) == (f"{id_}-test-{said['id']}", AT)
    assert len({each.subject for each in waiting(world, id_)}) == 2
    assert (world.notified, seen(world, id_)["version"], seen(world, id_)["undelivered"]) == (3, 1, 2)


@pytest.mark.parametrize("state", [SubscriptionState.PAUSED, SubscriptionState.DISABLED])
def test_a_subscription_that_is_not_served_is_sent_no_test(world: DeskHarness, state: SubscriptionState) -> None:
    id_ = subscribed(world)
    put(world, id_, state=state)

    assert name_of(post(world, f"/{id_}/test")) == (409, "not_active")
    assert waiting(world, id_) == []


# Once more.


def test_one_that_waits_for_its_next_try_is_due_now(world: DeskHarness) -> None:
    id_ = subscribed(world)
    delivery_id = tried(world, id_, DeliveryState.WAITING, due_at=LATER)
    world.now += 5

    answer = retried(world, id_, delivery_id)

    assert (answer.status_code, answer.headers["location"]) == (202, f"{PATH}/{id_}/deliveries/{delivery_id}")
    assert answer.json() == world.get(answer.headers["location"]).json()
    assert (answer.json()["id"], answer.json()["next_try_at"]) == (str(delivery_id), to_rfc3339(T0 + 5))
    assert [(each.due_at, each.first_tried_at) for each in waiting(world, id_)] == [(T0 + 5, None)]
    assert world.notified == 2


def test_one_that_waits_for_another_or_is_being_sent_stays_as_it_is(world: DeskHarness) -> None:
    id_ = subscribed(world)
    queued(world, id_, A, A)
    taken(world, id_)
    before = waiting(world, id_)

    answers = [retried(world, id_, each.id) for each in before]

    assert [(answer.status_code, answer.json()["id"]) for answer in answers] == [(202, str(each.id)) for each in before]
    assert waiting(world, id_) == before


@pytest.mark.parametrize(("state", "after"), [(NO, "requeued"), (YES, "delivered")])
def test_one_at_its_end_is_queued_once_more(world: DeskHarness, state: DeliveryState, after: str) -> None:
    id_, (task,) = subscribed(world), told(world, "t1")
    (position,) = world.tell(task)
    (first,) = queued(world, id_, task.id, event_id=position)
    settled(world, taken(world, id_), state)

    answer = retried(world, id_, first.id)

    said = answer.json()
    assert (answer.status_code, answer.headers["location"]) == (202, f"{PATH}/{id_}/deliveries/{said['id']}")
    assert (said["origin"], said["state"], said["event_id"]) == ("retry", "waiting", f"{task.id}-{task.version}")
    assert [(each["id"], each["state"]) for each in listed(world, id_)] == [(said["id"], "waiting"), (str(first.id), after)]
    assert seen(world, id_)["undelivered"] == 1


def test_one_that_was_queued_again_is_not_queued_twice(world: DeskHarness) -> None:
    id_ = subscribed(world)
    delivery_id = tried(world, id_, NO)

    answers = [retried(world, id_, delivery_id) for _ in range(2)]

    assert answers[0].status_code == 202
    assert name_of(answers[1]) == (409, "already_requeued")
    assert len(waiting(world, id_)) == 2


def test_what_is_queued_again_goes_behind_what_waits_of_its_task(world: DeskHarness) -> None:
    id_ = subscribed(world)
    delivery_id = tried(world, id_, NO)
    queued(world, id_, A)

    assert retried(world, id_, delivery_id).json()["next_try_at"] is None


def test_a_test_can_be_sent_again(world: DeskHarness) -> None:
    id_ = subscribed(world)
    first = post(world, f"/{id_}/test").json()
    settled(world, taken(world, id_))

    said = retried(world, id_, first["id"]).json()

    assert (said["type"], said["origin"], said["event_id"]) == ("tally.test", "retry", f"{id_}-test-{said['id']}")


def test_what_a_paused_one_is_sent_again_waits_until_it_is_resumed(world: DeskHarness) -> None:
    id_ = subscribed(world, sink=HOOK)
    delivery_id = tried(world, id_, NO)
    post(world, f"/{id_}/pause")

    assert retried(world, id_, delivery_id).status_code == 202
    assert seen(world, id_)["undelivered"] == 1
