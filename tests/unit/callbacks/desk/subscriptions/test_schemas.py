"""What the document says of subscriptions is what is answered and taken."""

import httpx2

from adapters.ledger import replays
from adapters.ledger.replays import EventSelection
from adapters.settings import Role
from callbacks.desk import openapi
from callbacks.desk.subscriptions.schemas import schemas
from statemachine.delivery_policy import DeliveryState
from tests.support.times import T0
from tests.unit.callbacks.desk.desk_harness import DeskHarness
from tests.unit.callbacks.desk.http.test_openapi import wrong
from tests.unit.callbacks.desk.subscriptions.subscription_requests import (
    PATH,
    STREAM,
    created,
    patch,
    post,
    queued,
    settled,
    stored,
    subscribed,
    taken,
)


def differences(answer: httpx2.Response, method: str, path: str) -> list[str]:
    """Between an answer and what the document says of this call."""
    said = openapi()["paths"][f"{PATH}{path}"][method]["responses"][str(answer.status_code)]
    (content,) = said["content"].values()
    return list(wrong(answer.json(), content["schema"]))


def test_subscriptions_are_answered_as_the_document_says(world: DeskHarness) -> None:
    id_ = subscribed(world, filter={"kind": "push"})
    with world.ledger.write() as connection:
        replays.add(connection, stored(world, id_), EventSelection(since=0, until=T0), 7, T0)

    assert differences(post(world, "", {"sink": STREAM}), "post", "") == []
    assert differences(patch(world, id_, {"sink": STREAM}), "patch", "/{id}") == []
    for role in Role:
        assert differences(world.get(PATH, role=role), "get", "") == []
        assert differences(world.get(f"{PATH}/{id_}", role=role), "get", "/{id}") == []
    assert differences(post(world, f"/{id_}/pause"), "post", "/{id}/pause") == []
    assert differences(post(world, f"/{id_}/resume"), "post", "/{id}/resume") == []


def test_deliveries_are_answered_as_the_document_says(world: DeskHarness) -> None:
    id_ = subscribed(world)
    (delivery,) = queued(world, id_, "A" * 26)
    settled(world, taken(world, id_), DeliveryState.DEAD)

    assert differences(post(world, f"/{id_}/test"), "post", "/{id}/test") == []
    retried = post(world, f"/{id_}/deliveries/{delivery.id}/retry")
    assert differences(retried, "post", "/{id}/deliveries/{delivery_id}/retry") == []
    for role in Role:
        assert differences(world.get(f"{PATH}/{id_}/deliveries", role=role), "get", "/{id}/deliveries") == []
        one = world.get(f"{PATH}/{id_}/deliveries/{delivery.id}", role=role)
        assert differences(one, "get", "/{id}/deliveries/{delivery_id}") == []


def test_other_answers_are_as_the_document_says(world: DeskHarness) -> None:
    said = created(world)
    id_, unsigned = said["id"], subscribed(world, sink=STREAM)

    assert differences(post(world, f"/{id_}/rotate-secret"), "post", "/{id}/rotate-secret") == []
    assert differences(post(world, f"/{unsigned}/rotate-secret"), "post", "/{id}/rotate-secret") == []
    for body in ({"dead": True}, {"dead": True, "dry_run": True}):
        assert differences(post(world, f"/{id_}/replay", body), "post", "/{id}/replay") == []


def test_each_way_out_has_a_shape(world: DeskHarness) -> None:
    shapes = schemas()
    named = [each["$ref"].rpartition("/")[2] for each in shapes["NewSubscription"]["properties"]["sink"]["oneOf"]]

    assert named == ["RedisSink", "WebhookSink"]
    assert [shapes[name] for name in named] == [sink.SCHEMA for sink in world.desk.sinks.values()]


def test_a_body_that_may_be_left_out_is_not_required() -> None:
    required = {
        path.removeprefix(PATH): operation["post"]["requestBody"]["required"]
        for path, operation in openapi()["paths"].items()
        if path.startswith(PATH) and "requestBody" in operation.get("post", {})
    }

    assert required == {"": True, "/{id}/rotate-secret": False, "/{id}/replay": True}


def test_the_example_of_a_replay_is_right(world: DeskHarness) -> None:
    (example,) = schemas()["Resend"]["examples"]

    world.now = T0 * 2
    assert post(world, f"/{subscribed(world)}/replay", example).json() == {"matched": 0, "dry_run": True}
