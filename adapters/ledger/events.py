"""What others are told of tasks: one event for each version, written with it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from adapters.ledger import bulk
from adapters.ledger.documents import Texts, json_text
from adapters.ledger.schema import events
from statemachine.tasks import Task


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A task came to a version. `at`: when, ms."""

    #: The task as it is now, without secrets.
    task: Task
    #: `tally.task.running` and its like.
    type: str
    at: int
    previous_state: str | None
    #: What made it so: the kind of inbox row, and what tells which one it was.
    cause: Mapping[str, Any]


def append(connection: Connection, told: Sequence[Told], texts: Texts) -> None:
    """texts: the documents of tasks, for whoever needs them next."""
    bulk.insert(connection, events, [_row(event, texts) for event in told])


def _row(event: Told, texts: Texts) -> dict[str, Any]:
    return {
        "task_id": event.task.id,
        "version": event.task.version,
        "type": event.type,
        "at": event.at,
        "doc": _text(event, texts),
    }


def _text(event: Told, texts: Texts) -> str:
    """The document of a task leaves out its key, which stands in columns of other tables."""
    key = event.task.key
    told = {
        "key": [key.vendor, key.app_id, key.room_id, key.vendor_task_id, key.family],
        "previous_state": event.previous_state,
        "cause": event.cause,
    }
    return f'{json_text(told)[:-1]},"task":{texts.of(event.task)}}}'
