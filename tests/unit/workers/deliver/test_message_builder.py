"""An event leaves as one JSON text, the same for all who are told, without stream keys."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import text
from workers.deliver.message_builder import MessageBuilder

from adapters.contract import cloud_events
from adapters.ledger import Ledger, deliveries, events
from adapters.ledger.deliveries import NewDelivery
from adapters.ledger.events import Event
from statemachine.facts import Output
from statemachine.states import OutputState
from tests.support.dispatcher_harness import DispatcherHarness
from tests.support.ledger_deliveries import id_of, tell, told
from tests.support.ledger_rows import T0
from tests.support.ledgers import open_ledger
from workers.deliver.delivery_round import Round, plan_round, run_round


def a_round(office: DispatcherHarness, *numbers: int) -> Round:
    with office.ledger.read() as connection:
        wanted = plan_round(connection, T0, lambda _: 9)
    to_do = frozenset(map(id_of, numbers))
    return run_round(office.ledger, T0, [], replace(wanted, to_do=to_do), lambda _: 9, lambda: 0)


@pytest.fixture
def office(tmp_path: Path):
    with open_ledger("sqlite", tmp_path) as ledger:
        office = DispatcherHarness(ledger)
        office.subscribe(1)
        office.subscribe(2)
        yield office
        office.close()


def test_it_is_packed_as_a_cloud_event(office: DispatcherHarness) -> None:
    office.tell("a")
    made = a_round(office, 1)
    parcel = MessageBuilder().build(made.taken[0], made)
    told_event = Event(position=made.taken[0].event_id or 0, content=told("a"))
    assert json.loads(parcel.event.body) == cloud_events.cloud_event(told_event, keys=False)
    assert (parcel.event.id, parcel.delivery, parcel.subscription.id) == (
        cloud_events.event_id(told("a").subject, 1),
        made.taken[0],
        id_of(1),
    )


def test_stream_keys_stay_in_the_house(office: DispatcherHarness) -> None:
    one = told("a")
    output = Output(url="rtmp://example.com/live/x?key=sesame", state=OutputState.RUNNING)
    one = replace(one, task=replace(one.task, view=replace(one.task.view, outputs=(output,))))
    tell(office.ledger, one)
    made = a_round(office, 1)
    body = MessageBuilder().build(made.taken[0], made).event.body
    assert b"rtmp://example.com" in body
    assert b"sesame" not in body


def test_what_is_sent_to_many_is_packed_once(office: DispatcherHarness) -> None:
    office.tell("a")
    made, packer = a_round(office, 1, 2), MessageBuilder()
    first, second = (packer.build(each, made) for each in made.taken)
    assert first.event is second.event
    assert (first.subscription.id, second.subscription.id) == (id_of(1), id_of(2))


def test_a_test_is_packed_for_each(office: DispatcherHarness) -> None:
    with office.ledger.write() as connection:
        for number in (1, 2):
            test = NewDelivery(event_id=None, subject=f"s{number}", type="tally.test", origin="test")
            deliveries.queue(connection, id_of(number), [test], T0)
    made, packer = a_round(office, 1, 2), MessageBuilder()
    found = [packer.build(each, made).event for each in made.taken]
    assert [json.loads(each.body)["subject"] for each in found] == [id_of(1), id_of(2)]
    assert [each.id for each in found] == [f"{id_of(number)}-test-{made.taken[number - 1].id}" for number in (1, 2)]


@pytest.mark.parametrize("change", ["UPDATE events SET doc = '{]'", "UPDATE events SET doc = '{}'", "DELETE FROM events"])
def test_what_cannot_be_read_raises_and_the_next_is_packed_all_the_same(office: DispatcherHarness, change: str) -> None:
    office.tell("a")
    office.tell("b")
    made, packer = a_round(office, 1), MessageBuilder()
    broken = replace(made, events={**made.event_rows, made.taken[0].event_id: _changed(office.ledger, change)})
    with pytest.raises((ValueError, KeyError, TypeError)):
        packer.build(made.taken[0], broken)
    assert packer.build(made.taken[1], broken).event.id == cloud_events.event_id(told("b").subject, 1)


def _changed(ledger: Ledger, change: str) -> object:
    """The first event after that."""
    with ledger.write() as connection:
        first = connection.scalar(text("SELECT min(id) FROM events"))
        connection.execute(text(change))
        return events.read_rows(connection, [first]).get(first)
