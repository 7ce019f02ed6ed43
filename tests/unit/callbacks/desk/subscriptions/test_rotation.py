"""A secret is replaced; for a while the one before lives on."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from adapters.clock import to_rfc3339
from tests.support.times import T0
from tests.unit.callbacks.desk.desk_harness import DeskHarness, fields_of
from tests.unit.callbacks.desk.subscriptions.subscription_requests import STREAM, created, name_of, post, seen, stored, subscribed

DAY_S = 86_400


@pytest.mark.parametrize(
    ("body", "overlap_s"),
    [(None, DAY_S), ({}, DAY_S), ({"overlap_s": 7}, 7), ({"overlap_s": 7 * DAY_S}, 7 * DAY_S)],
)
def test_the_newest_two_live_until_the_old_one_has_had_its_time(world: DeskHarness, body: Any, overlap_s: int) -> None:
    said = created(world)

    answer = post(world, f"/{said['id']}/rotate-secret", body)

    until = T0 + overlap_s * 1_000
    assert answer.status_code == 200
    assert answer.json() == {"secret": answer.json()["secret"], "previous_secret_until": to_rfc3339(until)}
    there = stored(world, said["id"])
    assert there.signing_secrets(until - 1) == [answer.json()["secret"], said["secret"]]
    assert there.signing_secrets(until) == [answer.json()["secret"]]


def test_until_when_the_old_one_lives_is_shown_as_long_as_it_does(world: DeskHarness) -> None:
    id_ = subscribed(world)
    post(world, f"/{id_}/rotate-secret", {"overlap_s": 1})

    assert (seen(world, id_)["previous_secret_until"], seen(world, id_)["version"]) == (to_rfc3339(T0 + 1_000), 2)
    world.now += 1_000
    assert seen(world, id_)["previous_secret_until"] is None


def test_without_overlap_the_old_one_dies_at_once(world: DeskHarness) -> None:
    id_ = subscribed(world)

    said = post(world, f"/{id_}/rotate-secret", {"overlap_s": 0}).json()

    assert said["previous_secret_until"] is None
    assert stored(world, id_).signing_secrets(T0) == [said["secret"]]
    assert stored(world, id_).old_secret is None


def test_of_three_secrets_the_newest_two_live(world: DeskHarness) -> None:
    id_ = subscribed(world)

    new = [post(world, f"/{id_}/rotate-secret").json()["secret"] for _ in range(2)]

    assert stored(world, id_).signing_secrets(T0) == new[::-1]


def test_of_those_that_are_made_at_once_two_live(world: DeskHarness) -> None:
    said = created(world)

    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: post(world, f"/{said['id']}/rotate-secret").json()["secret"], range(4)))

    live = stored(world, said["id"]).signing_secrets(T0)
    assert len(set(made)) == 4
    assert len(live) == 2
    assert set(live) < set(made)
    assert stored(world, said["id"]).version == 5


@pytest.mark.parametrize("overlap_s", [-1, 604_801, 1.5, "7", True])
def test_an_overlap_that_is_none_is_refused(world: DeskHarness, overlap_s: Any) -> None:
    said = created(world)

    found = fields_of(post(world, f"/{said['id']}/rotate-secret", {"overlap_s": overlap_s, "more": 1}))

    assert found.keys() == {"overlap_s", "more"}
    assert found["overlap_s"] == "must be a whole number of seconds from 0 to 604800"
    assert stored(world, said["id"]).secret == said["secret"]


def test_a_sink_that_is_not_signed_has_nothing_to_replace(world: DeskHarness) -> None:
    id_ = subscribed(world, sink=STREAM)

    assert name_of(post(world, f"/{id_}/rotate-secret")) == (409, "not_signed")
    assert seen(world, id_)["version"] == 1
