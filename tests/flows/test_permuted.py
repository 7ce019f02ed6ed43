"""A captured callback whose values change places has no effect: neither on what is recorded nor on any task."""

import json
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest
from sqlalchemy import text

from adapters.ledger import Ledger
from tests.support.in_process_app import InProcessApp
from tests.support.ledgers import BOTH, new_url
from tests.support.sample_apps import settings, volcengine
from tests.support.signature_permutations import FIELDS, SIGNED, accepted, raw, shifted, variants

NOW = 1_785_000_000_000


@pytest.fixture(params=BOTH)
def house(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[InProcessApp]:
    with new_url(request.param, tmp_path) as url, InProcessApp(tmp_path, NOW, made=settings(url)).open() as opened:
        yield opened


def post(house: InProcessApp, body: dict[str, str]) -> int:
    return house.post("volcengine", raw(body), {})


@pytest.mark.parametrize("body", SIGNED, ids=lambda body: body["EventId"])
def test_of_all_permutations_only_those_that_mean_the_same_are_accepted(body):
    """5,040 for each sample; without the checks of shape 24 of them were, of which 12 were recorded."""
    kept = [(variant, envelope) for variant in variants(body) if (envelope := accepted(variant)) is not None]

    assert kept[0][0] == body
    for variant, envelope in kept:
        assert {name: variant[name] for name in FIELDS if name not in ("EventId", "Nonce")} == {
            name: body[name] for name in FIELDS if name not in ("EventId", "Nonce")
        }
        assert envelope.signature_key == kept[0][1].signature_key
    assert len(kept) <= 2


@pytest.mark.parametrize("body", SIGNED, ids=lambda body: body["EventId"])
def test_what_has_bytes_moved_between_fields_has_the_key_of_the_original(body):
    original = accepted(body)
    keys = {envelope.signature_key for variant in shifted(body) if (envelope := accepted(variant)) is not None}

    assert original is not None
    assert keys == {original.signature_key}


@pytest.mark.parametrize("first", [0, -1], ids=["the original first", "a variant first"])
def test_of_each_callback_and_its_variants_one_is_recorded(house: InProcessApp, first: int):
    for body in SIGNED:
        every = [variant for variant in [*variants(body), *shifted(body)] if accepted(variant)]
        assert {post(house, variant) for variant in (every[first], *every, body)} == {200}

    assert house.get("/v1/stats")["callbacks"]["received"] == len(SIGNED)
    assert len(house.get("/v1/callbacks?limit=500")["items"]) == len(SIGNED)


@pytest.mark.parametrize("event_type", ["RecordStarted", "Webcast"])
def test_a_run_that_is_live_stays_as_it_is(house: InProcessApp, event_type: str):
    data = {"RoomId": "r", "TaskId": "t", "Code": 0, "Status": 1}
    _, told, _ = volcengine(event_type, data, "2026-07-25T10:00:00+08:00", "9f86d081884c7d65")
    body = json.loads(told)
    house.post_and_apply("volcengine", told, {})
    before = house.tasks()
    events = house.get("/v1/events")["items"]
    assert [task["state"] for task in before] == ["running"]

    every = list(variants(body))
    answers = [post(house, variant) for variant in [*filter(accepted, every), *every[::50]]]
    house.applier.apply_waiting()

    assert set(answers) <= {200, 400, 403}
    assert house.tasks() == before
    assert house.get("/v1/events")["items"] == events


def test_a_retry_that_was_signed_anew_is_a_copy_and_so_are_its_variants(house: InProcessApp):
    data, at = {"RoomId": "r", "TaskId": "t", "Code": 0}, "2026-07-25T10:00:00+08:00"
    told = json.loads(volcengine("RecordStarted", data, at, "ab12")[1])
    anew = signed_anew(told, nonce="Zz99")
    swapped = anew | {"EventId": "Zz99", "Nonce": "ab12"}
    assert accepted(swapped)

    assert [post(house, body) for body in (told, anew, swapped)] == [200, 200, 200]

    assert house.get("/v1/stats")["callbacks"]["received"] == 1


def test_events_that_differ_in_nothing_but_their_id_are_two(house: InProcessApp):
    data, at = {"RoomId": "r", "TaskId": "t", "Status": 3}, "2026-07-25T10:00:00+08:00"
    for event_id in ("e1", "e2"):
        house.post_and_apply(*volcengine("RelayStreamStateChanged", data, at, event_id))

    assert house.get("/v1/stats")["callbacks"]["received"] == 2


def signed_anew(body: dict[str, str], nonce: str) -> dict[str, str]:
    _, told, _ = volcengine(body["EventType"], body["EventData"], body["EventTime"], body["EventId"], nonce=nonce)
    return json.loads(told)


def test_what_was_recorded_before_signatures_were_kept_is_known_too(house: InProcessApp):
    """As a ledger that was upgraded from before: the migration reads them from the bodies, whatever else stands there."""
    short = b'{"Signature": "ff", "EventTime": "2020-01-01T00:00:00Z"}'
    odd = [b"{}", b"[1]", b'"Signature"', b'{"Signature": 1}', short, b"\xff", b'{"Signature":' * 9_999]
    for body in SIGNED:
        assert post(house, body) == 200
    as_before(house.ledger, odd)
    add_recorded(house.ledger)

    for body in SIGNED:
        assert {post(house, variant) for variant in variants(body) if accepted(variant)} == {200}

    assert house.get("/v1/stats")["callbacks"]["received"] == len(SIGNED)


def as_before(ledger: Ledger, odd: list[bytes]) -> None:
    """Takes out what was kept of signatures, and adds bodies that no door took."""
    add = text("INSERT INTO inbox (kind, dedupe_key, vendor, received_at, body) VALUES ('callback', :key, 'volcengine', 1, :body)")
    with ledger.write() as connection:
        connection.execute(text("DELETE FROM inbox_signatures"))
        connection.execute(add, [{"key": b"%032d" % number, "body": body} for number, body in enumerate(odd)])


def add_recorded(ledger: Ledger) -> None:
    """What the migration does once there is the table."""
    with ledger.write() as connection:
        import_module("adapters.ledger.migrations.versions.0006_signatures").add_recorded(connection)
