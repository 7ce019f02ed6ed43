"""An event is sent as one JSON text, the same for all subscriptions, without stream keys."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import text

from adapters.contract import cloud_events
from adapters.ledger import Ledger, deliveries, events
from adapters.ledger.deliveries import NewDelivery
from adapters.ledger.events import Event, EventRow
from statemachine.facts import Output
from statemachine.states import OutputState
from tests.support.dispatcher_harness import DispatcherHarness
from tests.support.ledger_deliveries import id_of, tell, told
from tests.support.ledgers import open_ledger
from tests.support.times import T0
from workers.deliver.delivery_round import Round, plan_round, run_round
from workers.deliver.messages import MessageBuilder, OutboundMessage


def claimed_round(office: DispatcherHarness, *numbers: int) -> Round:
    """Runs a round for these subscriptions."""
    with office.ledger.read() as connection:
        plan = plan_round(connection, T0, lambda _: 9)
    to_do = frozenset(map(id_of, numbers))
    return run_round(office.ledger, T0, [], replace(plan, to_do=to_do), lambda _: 9, lambda: 0)


def build_all(builder: MessageBuilder, claimed_in: Round) -> list[OutboundMessage]:
    return [
        builder.build(
            delivery,
            claimed_in.subscriptions[delivery.subscription_id],
            claimed_in.event_rows.get(delivery.event_id or 0),
        )
        for delivery in claimed_in.claimed
    ]


@pytest.fixture
def office(tmp_path: Path):
    with open_ledger("sqlite", tmp_path) as ledger:
        office = DispatcherHarness(ledger)
        office.subscribe(1)
        office.subscribe(2)
        yield office
        office.close()


def test_a_delivery_is_sent_as_a_cloud_event(office: DispatcherHarness) -> None:
    office.tell("a")
    claimed_in = claimed_round(office, 1)
    (message,) = build_all(MessageBuilder(), claimed_in)
    event = Event(position=claimed_in.claimed[0].event_id or 0, content=told("a"))
    assert json.loads(message.event.body) == cloud_events.cloud_event(event, keys=False)
    assert (message.event.id, message.delivery, message.subscription.id) == (
        cloud_events.event_id(told("a").subject, 1),
        claimed_in.claimed[0],
        id_of(1),
    )


def test_stream_keys_are_masked(office: DispatcherHarness) -> None:
    one = told("a")
    output = Output(url="rtmp://example.com/live/x?key=sesame", state=OutputState.RUNNING)
    one = replace(one, task=replace(one.task, view=replace(one.task.view, outputs=(output,))))
    tell(office.ledger, one)
    (message,) = build_all(MessageBuilder(), claimed_round(office, 1))
    assert b"rtmp://example.com" in message.event.body
    assert b"sesame" not in message.event.body


def test_an_event_for_many_subscriptions_is_encoded_once(office: DispatcherHarness) -> None:
    office.tell("a")
    first, second = build_all(MessageBuilder(), claimed_round(office, 1, 2))
    assert first.event is second.event
    assert (first.subscription.id, second.subscription.id) == (id_of(1), id_of(2))


def test_a_test_event_is_encoded_for_each_subscription(office: DispatcherHarness) -> None:
    with office.ledger.write() as connection:
        for number in (1, 2):
            test = NewDelivery(event_id=None, subject=f"s{number}", type="tally.test", origin="test")
            deliveries.queue(connection, id_of(number), [test], T0)
    messages = build_all(MessageBuilder(), claimed_round(office, 1, 2))
    assert [json.loads(message.event.body)["subject"] for message in messages] == [id_of(1), id_of(2)]
    assert [message.event.id for message in messages] == [
        f"{message.subscription.id}-test-{message.delivery.id}" for message in messages
    ]


@pytest.mark.parametrize("change", ["UPDATE events SET doc = '{]'", "UPDATE events SET doc = '{}'", "DELETE FROM events"])
def test_an_event_that_cannot_be_read_raises_and_the_next_is_built_all_the_same(office: DispatcherHarness, change: str) -> None:
    office.tell("a")
    office.tell("b")
    claimed_in, builder = claimed_round(office, 1), MessageBuilder()
    (first, second), subscription = claimed_in.claimed, claimed_in.subscriptions[id_of(1)]
    with pytest.raises((ValueError, KeyError, TypeError)):
        builder.build(first, subscription, first_row_after(office.ledger, change))
    message = builder.build(second, subscription, claimed_in.event_rows[second.event_id or 0])
    assert message.event.id == cloud_events.event_id(told("b").subject, 1)


def first_row_after(ledger: Ledger, change: str) -> EventRow | None:
    """Returns the first event as it is after a change; None: it is gone."""
    with ledger.write() as connection:
        first = connection.scalar(text("SELECT min(id) FROM events"))
        connection.execute(text(change))
        return events.read_rows(connection, [first]).get(first)
