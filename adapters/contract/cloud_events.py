"""Events as CloudEvents 1.0 (https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md), in structured JSON mode.

`id` is the same for every delivery of an event. `source` is the vendor's app, `subject` the task, `sequence` its version and
`epoch` the ledger's epoch. `data` is the task as it was at that time, with the additional members `previous_state` and `cause`.
"""

import json
from typing import Any
from urllib.parse import quote

from adapters.contract import task_json
from adapters.ledger import epochs
from adapters.ledger.events import Event, SystemEvent, TaskEvent
from statemachine.states import State

#: The `source` of events about Tallylight itself, and the prefix of all others.
_OWN_SOURCE = "urn:tallylight"
#: Prefix of the types of task events.
TASK_PREFIX = "tally.task."
#: Type of a test event.
TEST_TYPE = "tally.test"
#: Type of the event that a subscription was disabled.
DISABLED_TYPE = "tally.subscription.disabled"
#: Type of the event that the ledger was restored from a backup.
RESTORED_TYPE = epochs.RESTORED_TYPE


#: All types that a subscription can select.
TYPES = (
    *(f"{TASK_PREFIX}{state}" for state in State),
    *(f"{TASK_PREFIX}{change}" for change in ("outputs", "files", "anomaly", "updated")),
    DISABLED_TYPE,
    RESTORED_TYPE,
)


def event_id(subject: str, version: int) -> str:
    """Returns the `id` of an event."""
    return f"{subject}-{version}"


def test_id(subscription_id: str, delivery_id: int) -> str:
    """Returns the `id` of a test event."""
    return f"{subscription_id}-test-{delivery_id}"


def cloud_event(event: Event, *, keys: bool) -> dict[str, Any]:
    """Returns an event as JSON data. keys: whether the reader may see stream keys."""
    content = event.content
    data = _task_data(content, keys=keys) if isinstance(content, TaskEvent) else dict(content.data)
    return _build_event(content, event_id(content.subject, content.version), _event_source(content), data)


def test_event(subscription_id: str, delivery_id: int, at: int) -> dict[str, Any]:
    """Returns the event that tests a subscription on request. at: ms."""
    data = {"subscription_id": subscription_id, "message": "This is a test. If you can read it, events will arrive."}
    event = SystemEvent(subject=subscription_id, version=1, type=TEST_TYPE, at=at, data=data)
    return _build_event(event, test_id(subscription_id, delivery_id), _OWN_SOURCE, data)


def event_bytes(cloud_event: dict[str, Any]) -> bytes:
    """Returns the event as JSON in ASCII: a vendor's text may contain half of a surrogate pair, which UTF-8 cannot encode."""
    return json.dumps(cloud_event, separators=(",", ":")).encode()


def _build_event(content: TaskEvent | SystemEvent, id_: str, source: str, data: dict[str, Any]) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": id_,
        "source": source,
        "type": content.type,
        "subject": content.subject,
        "time": task_json.format_time(content.at),
        "sequence": content.version,
        "epoch": content.epoch,
        "datacontenttype": "application/json",
        "data": data,
    }


def _event_source(content: TaskEvent | SystemEvent) -> str:
    if isinstance(content, SystemEvent):
        return _OWN_SOURCE
    return f"{_OWN_SOURCE}:{content.task.key.vendor}:{quote(content.task.key.app_id, safe='', errors='replace')}"


def _task_data(content: TaskEvent, *, keys: bool) -> dict[str, Any]:
    return {
        **task_json.render_task(content.task, keys=keys),
        "previous_state": content.previous_state,
        "cause": dict(content.cause),
    }
