"""Events are CloudEvents that the CloudEvents SDK can parse."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_structured_event
from cloudevents.core.v1.event import CloudEvent

from adapters.clock import to_rfc3339
from adapters.contract import cloud_events
from adapters.contract.cloud_events import DISABLED_TYPE, cloud_event, event_bytes
from adapters.ledger.events import Event, SystemEvent, TaskEvent
from statemachine.facts import Output
from statemachine.folding.run_view import View
from statemachine.states import Anomaly, Deadline, Kind, Origin, OutputState, State
from statemachine.tasks import Task
from tests.support.ledger_rows import key, task
from tests.support.times import T0

AT = "2023-11-14T22:13:20.000Z"
STREAM = "rtmp://push.example.com/live/s1?txSecret=abc"


def event_of(of: Task, **more: Any) -> Event:
    about = {"type": "tally.task.running", "at": T0, "previous_state": "accepted", "cause": {"kind": "callback", "id": "7"}}
    return Event(position=1 << 50, content=TaskEvent(task=of, **{**about, **more}))


def a_task(**more: Any) -> Task:
    view = View(
        state=State.RUNNING,
        room_id="told",
        outputs=(Output(url=STREAM, state=OutputState.RUNNING),),
        accepted_at=T0 - 2_000,
        running_at=T0 - 1_000,
        vendor_message=f"pushes to {STREAM}",
        evidence_at=T0,
        heard_at=T0,
    )
    values = {
        "id": "01HF7YAT00GS2BEJWXS547R0BJ",
        "key": key(app_id="an app/1"),
        "run": 2,
        "kind": Kind.PUSH,
        "origin": Origin.MANAGED,
        "anchor": "k1",
        "view": view,
        "anomalies": (Anomaly.ZOMBIE,),
        "deadlines": {Deadline.SILENCE: T0 + 60_000},
        "action": "StartSomething",
        "params": {"Token": "sesame", "Url": STREAM},
        "policy": {"reach": "stop"},
        "attempts": 1,
        "created_at": T0 - 3_000,
        "updated_at": T0,
        "version": 5,
    }
    return Task(**{**values, **more})


def test_every_member_of_a_task_event() -> None:
    assert cloud_event(event_of(a_task()), keys=True) == {
        "specversion": "1.0",
        "id": "01HF7YAT00GS2BEJWXS547R0BJ-5",
        "source": "urn:tallylight:volcengine:an%20app%2F1",
        "type": "tally.task.running",
        "subject": "01HF7YAT00GS2BEJWXS547R0BJ",
        "time": AT,
        "sequence": 5,
        "epoch": 0,
        "datacontenttype": "application/json",
        "data": {
            "id": "01HF7YAT00GS2BEJWXS547R0BJ",
            "vendor": "volcengine",
            "kind": "push",
            "app_id": "an app/1",
            "room_id": "room",
            "vendor_task_id": "t1",
            "run": 2,
            "origin": "managed",
            "state": "running",
            "reason": None,
            "inferred": False,
            "anomalies": ["zombie"],
            "vendor_code": None,
            "vendor_message": f"pushes to {STREAM}",
            "action": "StartSomething",
            "params": {"Token": "***", "Url": STREAM},
            "policy": {"reach": "stop"},
            "attempts": 1,
            "outputs": [{"url": STREAM, "state": "running"}],
            "files": [],
            "deadlines": [{"kind": "silence", "due_at": to_rfc3339(T0 + 60_000)}],
            "created_at": to_rfc3339(T0 - 3_000),
            "accepted_at": to_rfc3339(T0 - 2_000),
            "running_at": to_rfc3339(T0 - 1_000),
            "ended_at": None,
            "updated_at": AT,
            "version": 5,
            "renews": None,
            "renewed_by": None,
            "restarts": None,
            "restarted_by": None,
            "previous_state": "accepted",
            "cause": {"kind": "callback", "id": "7"},
        },
    }


def test_readers_without_the_right_to_keys_get_the_same_without_stream_keys() -> None:
    seen, hidden = (cloud_event(event_of(a_task()), keys=keys) for keys in (True, False))

    assert "txSecret" in json.dumps(seen)
    assert "txSecret" not in json.dumps(hidden)
    assert "s1" not in json.dumps(hidden)
    changed = {name for name in seen["data"] if seen["data"][name] != hidden["data"][name]}
    assert changed == {"vendor_message", "params", "outputs"}
    assert {**seen, "data": None} == {**hidden, "data": None}


def a_note(**more: Any) -> Event:
    about = {"subscription_id": "01HF7YAT00GS2BEJWXS547R0BK", "reason": "gone"}
    values = {"subject": "01HF7YAT00GS2BEJWXS547R0BK", "version": 3, "type": DISABLED_TYPE, "at": T0, "data": about}
    return Event(position=2, content=SystemEvent(**{**values, **more}))


@pytest.mark.parametrize("keys", [True, False])
def test_every_member_of_a_subscription_event(*, keys: bool) -> None:
    assert cloud_event(a_note(), keys=keys) == {
        "specversion": "1.0",
        "id": "01HF7YAT00GS2BEJWXS547R0BK-3",
        "source": "urn:tallylight",
        "type": "tally.subscription.disabled",
        "subject": "01HF7YAT00GS2BEJWXS547R0BK",
        "time": AT,
        "sequence": 3,
        "epoch": 0,
        "datacontenttype": "application/json",
        "data": {"subscription_id": "01HF7YAT00GS2BEJWXS547R0BK", "reason": "gone"},
    }


def parse(document: dict[str, Any]) -> Any:
    """Returns the event as parsed by the SDK of CloudEvents."""
    return from_structured_event(HTTPMessage(headers={"content-type": "application/cloudevents+json"}, body=event_bytes(document)))


@pytest.mark.parametrize(
    "document",
    [
        cloud_event(event_of(a_task()), keys=True),
        cloud_event(event_of(a_task(key=key(app_id="half \ud800 of a pair"))), keys=False),
        cloud_event(event_of(task(deadlines={Deadline.SILENCE: 10**18})), keys=True),
        cloud_event(a_note(), keys=False),
        cloud_events.test_event("01HF7YAT00GS2BEJWXS547R0BK", 4, T0),
    ],
    ids=["task", "surrogate", "no calendar", "note", "test"],
)
def test_the_sdk_parses_our_events(document: dict[str, Any]) -> None:
    event = parse(document)

    assert isinstance(event, CloudEvent)
    assert event.get_time() == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)
    assert event.get_extension("sequence") == document["sequence"]
    names = ("id", "source", "type", "subject", "datacontenttype", "specversion")
    assert {name: event.get_attributes()[name] for name in names} == {name: document[name] for name in names}
    assert event.get_data() == document["data"]


def test_an_event_is_one_line_of_ascii() -> None:
    event = event_bytes(cloud_event(event_of(a_task(key=key(room_id="直播\n间"))), keys=True))

    assert event.isascii()
    assert b"\n" not in event
    assert json.loads(event)["data"]["room_id"] == "直播\n间"
