"""Somebody is subscribed to events, is paused and resumed, gets another target, and is gone."""

import base64
import io
import json
import logging
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import structlog

from adapters.clock import to_rfc3339
from adapters.ledger import positions, replays, subscriptions
from adapters.ledger.replays import EventSelection
from adapters.logs import configure
from adapters.settings import Role
from statemachine.delivery_policy import FAILING_REASON, GONE_REASON, DeliveryState, SubscriptionState
from tests.support.times import T0
from tests.unit.callbacks.desk.desk_harness import DeskHarness, fields_of
from tests.unit.callbacks.desk.subscriptions.subscription_requests import (
    HOOK,
    OTHER_HOOK,
    PATH,
    STREAM,
    created,
    patch,
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


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """All that is logged."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers = []
    stream = io.StringIO()
    configure(stream=stream, level=logging.DEBUG)
    yield stream
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()
    root.handlers, root.level = handlers, level


# Begun.


def test_a_new_one_is_answered_with_its_place_and_its_secret(world: DeskHarness) -> None:
    answer = post(world, "", {"sink": HOOK})

    said = answer.json()
    assert (answer.status_code, answer.headers["location"]) == (201, f"{PATH}/{said['id']}")
    assert re.fullmatch("[0-9A-HJKMNP-TV-Z]{26}", said["id"])
    assert len(base64.b64decode(said["secret"].removeprefix("whsec_"), validate=True)) == 32
    assert said == {**seen(world, said["id"]), "secret": said["secret"]}
    assert world.notified == 1


def test_each_has_an_id_and_a_secret_of_its_own(world: DeskHarness) -> None:
    one, other = created(world), created(world)

    assert one["id"] != other["id"]
    assert one["secret"] != other["secret"]


def test_a_sink_that_is_not_signed_has_no_secret(world: DeskHarness) -> None:
    said = created(world, sink=STREAM)

    assert said["secret"] is None
    assert stored(world, said["id"]).secret == ""


def test_it_begins_with_what_happens_from_now_on(world: DeskHarness) -> None:
    told(world, "t1", "t2")
    with world.ledger.read() as connection:
        newest = positions.newest(connection)

    assert stored(world, subscribed(world)).position == newest > 0


def test_a_viewer_would_see_the_new_one_masked(world: DeskHarness) -> None:
    said = created(world)

    assert said["sink"] == HOOK
    assert seen(world, said["id"], Role.VIEWER)["sink"] != HOOK


def test_secrets_and_targets_are_in_no_log_list_or_error(world: DeskHarness, log: io.StringIO) -> None:
    said = created(world, description="sub")
    id_, secrets = said["id"], [said["secret"]]
    secrets.append(post(world, f"/{id_}/rotate-secret").json()["secret"])
    texts = [
        patch(world, id_, {"sink": OTHER_HOOK, "description": "x"}).text,
        patch(world, id_, {"sink": {**HOOK, "more": 1}}).text,
        *(post(world, f"/{id_}/{what}").text for what in ("pause", "resume", "test")),
        post(world, f"/{id_}/replay", {"dead": True}).text,
        *(world.get(path).text for path in (PATH, f"{PATH}/{id_}", f"{PATH}/{id_}/deliveries", "/v1/stats", "/metrics")),
        world.ask("DELETE", f"{PATH}/{id_}").text,
    ]
    assert not [text for text in texts for secret in secrets if secret.removeprefix("whsec_") in text]
    assert "sesame" not in log.getvalue()
    assert "93.184" not in log.getvalue()
    assert not [secret for secret in secrets if secret.removeprefix("whsec_") in log.getvalue()]
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    done = [(line["what"], line["by"]) for line in lines if line["event"] == "subscription.changed"]
    whats = ["created", "secret_rotated", "changed", "paused", "resumed", "tested", "replay_asked", "deleted"]
    assert done == [(what, "a-operator") for what in whats]


# Changed.


def test_what_is_given_is_changed_and_the_rest_stays(world: DeskHarness) -> None:
    before = created(world, types=["tally.task.files"], description="old")
    world.now += 1_000

    answer = patch(world, before["id"], {"filter": {"kind": "push"}, "description": "new"})

    del before["secret"]
    assert answer.status_code == 200
    changed = {"filter": {"kind": "push"}, "description": "new", "version": 2, "updated_at": to_rfc3339(T0 + 1_000)}
    assert answer.json() == seen(world, before["id"]) == {**before, **changed}
    assert world.notified == 2


@pytest.mark.parametrize("body", [{}, {"sink": HOOK, "types": ["tally.task.*"], "filter": {}, "description": ""}])
def test_what_is_as_it_was_makes_no_version(world: DeskHarness, body: dict[str, object]) -> None:
    id_ = subscribed(world)
    world.now += 1_000

    assert patch(world, id_, body).status_code == 200
    assert (seen(world, id_)["version"], seen(world, id_)["updated_at"]) == (1, to_rfc3339(T0))


def test_another_target_is_tried_at_once_and_keeps_the_secret(world: DeskHarness) -> None:
    said = created(world)
    id_ = said["id"]
    queued(world, id_, "A" * 26)
    settled(world, taken(world, id_), DeliveryState.WAITING, due_at=T0 + 60_000)
    put(world, id_, failing_since=T0)

    answer = patch(world, id_, {"sink": OTHER_HOOK})

    assert (answer.json()["sink"], answer.json()["failing_since"]) == (OTHER_HOOK, None)
    assert "secret" not in answer.json()
    assert stored(world, id_).secret == said["secret"]
    assert waiting(world, id_)[0].due_at == T0


def test_a_failing_one_stays_so_when_something_else_is_changed(world: DeskHarness) -> None:
    id_ = subscribed(world)
    queued(world, id_, "A" * 26)
    settled(world, taken(world, id_), DeliveryState.WAITING, due_at=T0 + 60_000)
    put(world, id_, failing_since=T0)

    assert patch(world, id_, {"description": "x", "sink": HOOK}).json()["failing_since"] == to_rfc3339(T0)
    assert waiting(world, id_)[0].due_at == T0 + 60_000


def test_a_sink_that_is_signed_brings_a_secret_this_once(world: DeskHarness) -> None:
    id_ = subscribed(world, sink=STREAM)

    said = patch(world, id_, {"sink": HOOK}).json()

    assert said["secret"].startswith("whsec_")
    assert stored(world, id_).secret == said["secret"]
    assert "secret" not in seen(world, id_)


def test_a_sink_that_is_not_signed_needs_none(world: DeskHarness) -> None:
    id_ = subscribed(world)
    post(world, f"/{id_}/rotate-secret")

    said = patch(world, id_, {"sink": STREAM}).json()

    assert "secret" not in said
    assert said["previous_secret_until"] is None
    assert (stored(world, id_).secret, stored(world, id_).old_secret) == ("", None)


# Paused and resumed.


def test_a_paused_one_is_paused_once(world: DeskHarness) -> None:
    id_ = subscribed(world)

    answers = [post(world, f"/{id_}/pause") for _ in range(2)]

    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].json() == answers[1].json() == seen(world, id_)
    assert (seen(world, id_)["state"], seen(world, id_)["version"]) == ("paused", 2)


@pytest.mark.parametrize("how", ["resume", "patch"])
@pytest.mark.parametrize("reason", [GONE_REASON, FAILING_REASON])
def test_resuming_a_disabled_one_forgets_why_and_tries_what_waits_at_once(world: DeskHarness, reason: str, how: str) -> None:
    id_ = subscribed(world)
    queued(world, id_, "A" * 26, "A" * 26)
    settled(world, taken(world, id_), DeliveryState.WAITING, due_at=T0 + 60_000)
    put(world, id_, state=SubscriptionState.DISABLED, reason=reason, failing_since=T0)
    world.now += 5

    said = (post(world, f"/{id_}/resume") if how == "resume" else patch(world, id_, {"state": "active"})).json()

    assert (said["state"], said["reason"], said["failing_since"], said["version"]) == ("active", None, None, 2)
    assert [(each.due_at, each.first_tried_at) for each in waiting(world, id_)] == [(T0 + 5, None), (None, None)]
    assert world.notified == 2


def test_resuming_one_that_is_served_tries_what_waits_at_once(world: DeskHarness) -> None:
    id_ = subscribed(world)
    queued(world, id_, "A" * 26)
    settled(world, taken(world, id_), DeliveryState.WAITING, due_at=T0 + 60_000)

    assert post(world, f"/{id_}/resume").json()["version"] == 1
    assert waiting(world, id_)[0].due_at == T0


def test_pausing_a_disabled_one_makes_it_paused(world: DeskHarness) -> None:
    id_ = subscribed(world)
    put(world, id_, state=SubscriptionState.DISABLED, reason=GONE_REASON, failing_since=T0)

    said = post(world, f"/{id_}/pause").json()

    assert (said["state"], said["reason"], said["failing_since"]) == ("paused", None, to_rfc3339(T0))


# Ended.


def test_a_deleted_one_is_gone(world: DeskHarness) -> None:
    kept, id_ = subscribed(world), subscribed(world)
    post(world, f"/{id_}/rotate-secret")
    with world.ledger.write() as connection:
        replays.add(connection, stored(world, id_), EventSelection(since=0, until=T0), 1, T0)

    answer = world.ask("DELETE", f"{PATH}/{id_}")

    assert (answer.status_code, answer.content) == (204, b"")
    assert [each["id"] for each in world.get(PATH).json()["items"]] == [kept]
    assert [world.get(f"{PATH}/{id_}").status_code, world.ask("DELETE", f"{PATH}/{id_}").status_code] == [404, 404]
    with world.ledger.read() as connection:
        assert (subscriptions.deleted_ids(connection), replays.of_subscription(connection, id_)) == ([id_], [])


def test_nothing_is_left_of_the_secrets_of_a_deleted_one(world: DeskHarness) -> None:
    said = created(world)
    secrets = [said["secret"], post(world, f"/{said['id']}/rotate-secret").json()["secret"]]

    world.ask("DELETE", f"{PATH}/{said['id']}")
    world.ledger.checkpoint()

    left = (world.path / "tally.db").read_bytes() + (world.path / "tally.db-wal").read_bytes()
    assert [secret for secret in secrets if secret.encode() in left] == []


def test_deleting_takes_nothing(world: DeskHarness) -> None:
    id_ = subscribed(world)

    assert fields_of(world.ask("DELETE", f"{PATH}/{id_}", json={"really": True})).keys() == {"really"}
    assert seen(world, id_)["state"] == "active"


def test_of_many_who_delete_it_at_once_one_does(world: DeskHarness) -> None:
    id_ = subscribed(world)

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: world.ask("DELETE", f"{PATH}/{id_}").status_code, range(4)))

    assert sorted(answers) == [204, 404, 404, 404]


def test_changes_at_once_come_one_after_the_other(world: DeskHarness) -> None:
    id_ = subscribed(world)

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda number: patch(world, id_, {"description": f"n{number}"}).json(), range(8)))

    assert sorted(answer["version"] for answer in answers) == list(range(2, 10))
    newest = max(answers, key=lambda answer: answer["version"])
    assert seen(world, id_)["description"] == newest["description"]


def test_a_masked_target_is_refused(world: DeskHarness) -> None:
    """As a viewer reads it: its path is hidden."""
    answer = world.ask("POST", "/v1/subscriptions", json={"sink": {"type": "webhook", "url": "https://93.184.216.34/***"}})

    message = "is masked: send the real value, not the *** that is shown in its place"
    assert (answer.status_code, answer.json()["errors"]) == (422, [{"field": "sink.url", "message": message}])
