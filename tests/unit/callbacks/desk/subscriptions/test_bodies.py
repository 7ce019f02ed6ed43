"""Whatever is wrong with a subscription is told at once, each with its field."""

from pathlib import Path
from typing import Any

import pytest

from adapters.contract.cloud_events import TYPES
from adapters.settings import Settings
from callbacks.desk.subscriptions.bodies import read_new
from tests.unit.callbacks.desk.desk_harness import CALLED, WATCHED, DeskHarness, fields_of, made
from tests.unit.callbacks.desk.subscriptions.subscription_requests import HOOK, STREAM, created, patch, post, subscribed

ONE_OF = "must be one of tally.task.requested, "
TEXTS = "must be text of at most 200 characters, without NUL and surrogates"
AN_APP = "must be the app_id of one of the [[apps]] that are configured"

#: (member, value, which field is wrong, how the message begins)
WRONG: list[tuple[str, Any, str, str]] = [
    ("sink", None, "sink", "must be an object, as in"),
    ("sink", "https://93.184.216.34/", "sink", "must be an object, as in"),
    ("sink", {}, "sink.type", "must be one of redis, webhook"),
    ("sink", {"type": "carrier pigeon"}, "sink.type", "must be one of redis, webhook"),
    ("sink", {"type": ["webhook"]}, "sink.type", "must be one of redis, webhook"),
    ("sink", {"type": "webhook"}, "sink.url", "must be a url"),
    ("sink", {**HOOK, "url": "https://192.168.0.1/hook"}, "sink.url", "192.168.0.1 is not a public address"),
    ("sink", {**HOOK, "secret": "mine"}, "sink.secret", "is not a member of this sink"),
    ("sink", {"type": "redis", "stream": "dramatiq"}, "sink.stream", "must be 1 to 200 printable"),
    ("types", "tally.task.*", "types", "must be a list of 1 to 50 types"),
    ("types", [], "types", "must be a list of 1 to 50 types"),
    ("types", ["tally.task.*"] * 51, "types", "must be a list of 1 to 50 types"),
    ("types", ["tally.task.*", "tally.task.gone"], "types[1]", ONE_OF),
    ("types", ["tally.test"], "types[0]", ONE_OF),
    ("types", ["tally.tusk.*"], "types[0]", ONE_OF),
    ("types", ["tally.task.*.*"], "types[0]", ONE_OF),
    ("types", [""], "types[0]", ONE_OF),
    ("types", [7], "types[0]", ONE_OF),
    ("types", ["tally.task.\x00*"], "types[0]", ONE_OF),
    ("types", ["tally.task.files", "*", "tally.task.files"], "types[2]", "must be given once"),
    ("filter", [], "filter", "must be an object"),
    ("filter", {"vendor": "acme"}, "filter.vendor", "must be one of "),
    ("filter", {"vendor": 7}, "filter.vendor", "must be text"),
    ("filter", {"kind": "party"}, "filter.kind", "must be one of push, ingest, record, page"),
    ("filter", {"app_id": "elsewhere"}, "filter.app_id", AN_APP),
    ("filter", {"vendor": "tencent", "app_id": WATCHED}, "filter.app_id", f"{AN_APP} for this vendor"),
    ("filter", {"app_id": ""}, "filter.app_id", "must be text of 1 to 1000 characters"),
    ("filter", {"room_id": "r1"}, "filter.room_id", "is not known; there are vendor, app_id, kind"),
    ("filter", {"knd": None}, "filter.knd", "is not known; did you mean kind?"),
    ("description", 7, "description", TEXTS),
    ("description", "x" * 201, "description", TEXTS),
    ("description", "a\x00", "description", TEXTS),
    ("description", "\ud800", "description", TEXTS),
]


@pytest.mark.parametrize(("member", "value", "field", "message"), WRONG)
def test_what_is_wrong_is_told_of_new_ones_and_changes(
    world: DeskHarness, member: str, value: Any, field: str, message: str
) -> None:
    before = created(world)
    del before["secret"]

    answers = [post(world, "", {"sink": HOOK, member: value}), patch(world, before["id"], {member: value})]

    for found in map(fields_of, answers):
        assert found.keys() == {field}
        assert found[field].startswith(message)
    assert (world.get("/v1/subscriptions").json()["items"], world.notified) == ([before], 1)


@pytest.mark.parametrize("state", ["disabled", "deleted", None, True, ["active"]])
def test_only_active_and_paused_can_be_asked_for(world: DeskHarness, state: Any) -> None:
    assert fields_of(patch(world, subscribed(world), {"state": state})) == {"state": "must be one of active, paused"}


@pytest.mark.parametrize("member", ["types", "filter", "description"])
def test_null_is_not_given_at_first_and_says_nothing_later(world: DeskHarness, member: str) -> None:
    said = created(world, **{member: None})

    assert said[member] == {"types": ["tally.task.*"], "filter": {}, "description": ""}[member]
    assert fields_of(patch(world, said["id"], {member: None})).keys() == {member}


def test_unknown_members_are_refused(world: DeskHarness) -> None:
    asked = {"sink": HOOK, "state": "paused", "secret": "whsec_bWluZQ=="}

    there_are = "is not known; there are sink, types, filter, description"
    assert fields_of(post(world, "", asked)) == {"state": there_are, "secret": there_are}
    assert fields_of(patch(world, subscribed(world), {"secret": "mine"})).keys() == {"secret"}


def test_all_that_is_wrong_is_told_at_once(world: DeskHarness) -> None:
    asked = {"sink": {"type": "pigeon"}, "types": ["a", "b"], "filter": {"kind": 7, "app_id": "x"}, "description": 7, "more": 1}

    assert fields_of(post(world, "", asked)).keys() == {
        "sink.type", "types[0]", "types[1]", "filter.kind", "filter.app_id", "description", "more"
    }  # fmt: skip


@pytest.mark.parametrize("types", [["*"], ["tally.*"], ["tally.task.f*"], ["tally.subscription.disabled"], list(TYPES)])
def test_types_are_known_ones_or_the_beginning_of_some(world: DeskHarness, types: list[str]) -> None:
    assert created(world, types=types)["types"] == types


@pytest.mark.parametrize(
    "filter_", [{}, {"vendor": "tencent"}, {"app_id": WATCHED}, {"vendor": "tencent", "app_id": CALLED, "kind": "push"}]
)
def test_what_a_filter_names_is_kept_and_null_is_not(world: DeskHarness, filter_: dict[str, str]) -> None:
    assert created(world, filter={"vendor": None, "app_id": None, "kind": None, **filter_})["filter"] == filter_


@pytest.mark.parametrize("url", ["https://tally.invalid/hook", "http://127.0.0.1:9/hook", "https://93.184.216.34:8443/h?a=b"])
def test_a_url_may_have_a_name_that_nobody_knows_yet_or_an_address_that_is_allowed(world: DeskHarness, url: str) -> None:
    assert created(world, sink={"type": "webhook", "url": url})["sink"] == {"type": "webhook", "url": url}


def test_without_a_redis_there_is_no_redis_sink(tmp_path: Path) -> None:
    bare = DeskHarness(tmp_path, Settings(tokens=made(tmp_path).settings.tokens))

    assert fields_of(post(bare, "", {"sink": STREAM})).keys() == {"sink.type"}


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"7"])
def test_a_body_that_is_no_object_is_refused(world: DeskHarness, body: bytes) -> None:
    answer = world.ask("POST", "/v1/subscriptions", content=body)

    assert (answer.status_code, answer.json()["type"]) == (400, "urn:tallylight:problem:malformed")


def test_a_flood_of_mistakes_is_told_in_part(world: DeskHarness) -> None:
    assert len(fields_of(post(world, "", {"sink": HOOK, **{f"m{number}": 1 for number in range(300)}}))) == 100


def test_reading_changes_nothing_that_is_right(world: DeskHarness) -> None:
    assert read_new(world.desk, {"sink": STREAM}) == {"sink": STREAM, "types": ["tally.task.*"], "filter": {}, "description": ""}
