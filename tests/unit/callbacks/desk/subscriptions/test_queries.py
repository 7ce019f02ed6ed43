"""Subscriptions are listed and shown; whoever changes one holds it."""

import pytest

from adapters.clock import to_rfc3339
from adapters.ledger import LedgerUnavailableError, replays
from adapters.ledger.replays import EventSelection
from adapters.settings import Role
from callbacks.desk.http.problems import NotFound
from callbacks.desk.subscriptions.queries import locked
from statemachine.delivery_policy import FAILING_REASON, SubscriptionState
from tests.support.times import T0
from tests.unit.callbacks.desk.desk_harness import DeskHarness, fields_of
from tests.unit.callbacks.desk.subscriptions.subscription_requests import (
    HOOK,
    PATH,
    STREAM,
    created,
    patch,
    post,
    put,
    queued,
    seen,
    stored,
    subscribed,
    told,
)

AT = to_rfc3339(T0)


def test_a_subscription_is_shown_with_all_its_fields(world: DeskHarness) -> None:
    id_ = subscribed(world, types=["tally.task.files"], filter={"kind": "record"}, description="the archive")

    assert seen(world, id_) == {
        "id": id_,
        "sink": HOOK,
        "types": ["tally.task.files"],
        "filter": {"kind": "record"},
        "description": "the archive",
        "state": "active",
        "reason": None,
        "failing_since": None,
        "last_delivered_at": None,
        "undelivered": 0,
        "replays": [],
        "previous_secret_until": None,
        "created_at": AT,
        "updated_at": AT,
        "version": 1,
    }


def test_what_workers_found_is_shown(world: DeskHarness) -> None:
    id_, other = subscribed(world), subscribed(world)
    put(world, id_, state=SubscriptionState.DISABLED, reason=FAILING_REASON, failing_since=T0 + 1, delivered_at=T0)
    queued(world, id_, "A" * 26, "B" * 26)
    queued(world, other, "A" * 26)

    said = seen(world, id_)

    assert (said["state"], said["reason"]) == ("disabled", "failing")
    assert (said["failing_since"], said["last_delivered_at"]) == (to_rfc3339(T0 + 1), AT)
    assert (said["undelivered"], seen(world, other)["undelivered"]) == (2, 1)


def test_what_is_held_back_while_it_is_paused_is_shown_and_what_it_does_not_want_is_not(world: DeskHarness) -> None:
    all_, some = subscribed(world), subscribed(world, types=["tally.task.failed"])
    told(world, "a", "b")
    for id_ in (all_, some):
        assert post(world, f"/{id_}/pause").status_code == 200
    assert (seen(world, all_)["undelivered"], seen(world, some)["undelivered"]) == (2, 0)


def test_replays_under_way_are_shown(world: DeskHarness) -> None:
    id_, other = subscribed(world), subscribed(world)
    with world.ledger.write() as connection:
        replays.add(connection, stored(world, id_), EventSelection(since=0, until=T0, subject="A" * 26), 7, T0)
        replays.add(connection, stored(world, id_), EventSelection(since=T0 - 1, until=T0, dead=True), 0.5, T0)

    assert seen(world, id_)["replays"] == [
        {"from": None, "to": AT, "task_id": "A" * 26, "dead": False, "rate_per_s": 7},
        {"from": to_rfc3339(T0 - 1), "to": AT, "task_id": None, "dead": True, "rate_per_s": 0.5},
    ]
    assert seen(world, other)["replays"] == []


def test_viewers_do_not_see_what_opens_a_target(world: DeskHarness) -> None:
    hook, stream = subscribed(world), subscribed(world, sink=STREAM)

    assert seen(world, hook, Role.VIEWER)["sink"] == {"type": "webhook", "url": "https://93.184.216.34/***"}
    assert seen(world, stream, Role.VIEWER)["sink"] == STREAM
    assert "sesame" not in world.get(PATH, role=Role.VIEWER).text
    assert world.get(PATH).text.count("sesame") == 2


def test_the_newest_come_first_page_by_page(world: DeskHarness) -> None:
    ids = []
    for _ in range(5):
        world.now += 1
        ids.append(subscribed(world))

    assert [[each["id"] for each in page] for page in world.pages(PATH, limit=2)] == [ids[:2:-1], ids[2:0:-1], ids[:1]]
    assert world.get(PATH).json()["next_cursor"] is None


def test_a_bad_cursor_or_parameter_is_refused(world: DeskHarness) -> None:
    assert fields_of(world.get(PATH, cursor="x", limit=0, state="active")).keys() == {"cursor", "limit", "state"}
    assert fields_of(world.get(f"{PATH}/{subscribed(world)}", limit=1)).keys() == {"limit"}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", ""),
        ("PATCH", "/{id}"),
        ("DELETE", "/{id}"),
        *(("POST", f"/{{id}}/{what}") for what in ("pause", "resume", "rotate-secret", "test", "replay", "deliveries/1/retry")),
    ],
)
def test_a_viewer_may_only_look(world: DeskHarness, method: str, path: str) -> None:
    id_ = subscribed(world)
    before = seen(world, id_)

    answer = world.ask(method, f"{PATH}{path.format(id=id_)}", role=Role.VIEWER, json={"sink": HOOK})

    assert (answer.status_code, answer.json()["type"]) == (403, "urn:tallylight:problem:forbidden")
    assert seen(world, id_) == before
    assert len(world.get(PATH).json()["items"]) == 1


@pytest.mark.parametrize("id_", ["0" * 26, "1", "a" * 26, "0" * 27])
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", ""),
        ("PATCH", ""),
        ("DELETE", ""),
        ("GET", "/deliveries"),
        ("GET", "/deliveries/1"),
        *(("POST", f"/{what}") for what in ("pause", "resume", "rotate-secret", "test", "replay", "deliveries/1/retry")),
    ],
)
def test_one_that_there_is_not_is_not_found(world: DeskHarness, method: str, path: str, id_: str) -> None:
    answer = world.ask(method, f"{PATH}/{id_}{path}", **({"json": {}} if method == "PATCH" else {}))

    assert (answer.status_code, answer.json()["type"]) == (404, "urn:tallylight:problem:not_found")
    assert answer.json()["detail"] == "there is no subscription with this id"
    assert world.notified == 0


@pytest.mark.parametrize("what", ["pause", "resume", "test"])
def test_a_request_that_says_no_more_than_its_path_takes_nothing(world: DeskHarness, what: str) -> None:
    id_ = subscribed(world)

    assert fields_of(post(world, f"/{id_}/{what}", {"more": 1})) == {"more": "is not known; the body must be empty, or {}"}
    assert post(world, f"/{id_}/{what}", {}).status_code in (200, 202)


def test_a_change_that_changes_nothing_makes_no_version(world: DeskHarness) -> None:
    id_ = subscribed(world)
    with locked(world.desk, id_) as it:
        assert it.change({"types": ["tally.task.*"], "description": ""}) == it.subscription
        assert it.change({"description": "new"}).version == 2

    assert (stored(world, id_).version, stored(world, id_).description) == (2, "new")


def test_nothing_is_changed_and_nobody_woken_if_holding_it_goes_wrong(world: DeskHarness) -> None:
    id_ = subscribed(world)
    before = world.notified

    def fail() -> None:
        with locked(world.desk, id_) as it:
            it.change({"description": "new"})
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert (stored(world, id_).description, world.notified) == ("", before)


def test_what_is_not_there_cannot_be_held(world: DeskHarness) -> None:
    with pytest.raises(NotFound), locked(world.desk, "0" * 26):
        raise AssertionError


def test_a_ledger_that_is_away_is_told(world: DeskHarness) -> None:
    id_ = subscribed(world)
    world.ledger.is_away = True

    assert [world.get(path).status_code for path in (PATH, f"{PATH}/{id_}", f"{PATH}/{id_}/deliveries")] == [503] * 3
    assert patch(world, id_, {}).status_code == 503
    with pytest.raises(LedgerUnavailableError), world.ledger.read():
        pass
    world.ledger.is_away = False
    assert created(world)["version"] == 1
