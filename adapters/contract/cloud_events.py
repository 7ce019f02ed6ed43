"""Events as CloudEvents 1.0 (https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md), in JSON, structured.

`id` stays the same however often an event is told. `source` is the app at its vendor, `subject` the task and `sequence` its
version, `epoch` the ledger's; `data` is the task as it was then, with `previous_state` and `cause` beside its own members.
"""

import json
from typing import Any
from urllib.parse import quote

from adapters.contract import task_json
from adapters.ledger import epochs
from adapters.ledger.events import Event, Note, Told
from statemachine.states import State

#: Of events that are no task's.
_OWN_SOURCE = "urn:tallylight"
#: How the types of tasks' events begin.
TASK_PREFIX = "tally.task."
#: What a test says.
TEST_TYPE = "tally.test"
DISABLED_TYPE = "tally.subscription.disabled"
#: The ledger was restored from a backup.
RESTORED_TYPE = epochs.RESTORED_TYPE


#: All that a subscription can ask for.
TYPES = (
    *(f"{TASK_PREFIX}{state}" for state in State),
    *(f"{TASK_PREFIX}{what}" for what in ("outputs", "files", "anomaly", "updated")),
    DISABLED_TYPE,
    RESTORED_TYPE,
)


def event_id(subject: str, version: int) -> str:
    """The `id` of an event."""
    return f"{subject}-{version}"


def test_id(subscription_id: str, delivery_id: int) -> str:
    """The `id` of a test."""
    return f"{subscription_id}-test-{delivery_id}"


def cloud_event(event: Event, *, keys: bool) -> dict[str, Any]:
    """An event as JSON. keys: whether the reader may see stream keys."""
    told = event.told
    data = _task_data(told, keys=keys) if isinstance(told, Told) else dict(told.data)
    return _envelope(told, event_id(told.subject, told.version), _source(told), data)


def test_event(subscription_id: str, delivery_id: int, at: int) -> dict[str, Any]:
    """What is sent when somebody wants to see something arrive. at: ms."""
    about = {"subscription_id": subscription_id, "message": "This is a test. If you can read it, events will arrive."}
    note = Note(subject=subscription_id, version=1, type=TEST_TYPE, at=at, data=about)
    return _envelope(note, test_id(subscription_id, delivery_id), _OWN_SOURCE, about)


def event_bytes(cloud_event: dict[str, Any]) -> bytes:
    """ASCII: a vendor's text may hold half of a surrogate pair, which UTF-8 cannot."""
    return json.dumps(cloud_event, separators=(",", ":")).encode()


def _envelope(told: Told | Note, id_: str, source: str, data: dict[str, Any]) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": id_,
        "source": source,
        "type": told.type,
        "subject": told.subject,
        "time": task_json.time(told.at),
        "sequence": told.version,
        "epoch": told.epoch,
        "datacontenttype": "application/json",
        "data": data,
    }


def _source(told: Told | Note) -> str:
    if isinstance(told, Note):
        return _OWN_SOURCE
    return f"{_OWN_SOURCE}:{told.task.key.vendor}:{quote(told.task.key.app_id, safe='', errors='replace')}"


def _task_data(told: Told, *, keys: bool) -> dict[str, Any]:
    return {**task_json.task(told.task, keys=keys), "previous_state": told.previous_state, "cause": dict(told.cause)}
