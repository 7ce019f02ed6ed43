"""Domain events: one for each version of a task, and some about subscriptions and the ledger itself.

An event is written in the transaction of the change that it describes. Its id is its position: a reader that follows the positions
misses none (`positions`).
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, RowMapping, func, select

from adapters.ledger import bulk, positions
from adapters.ledger.documents import TaskTexts, json_text, task_from_doc
from adapters.ledger.page_size import PAGE_BYTES, Page, fitting_rows, size_of
from adapters.ledger.schema import events
from statemachine.tasks import Task, TaskKey


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskEvent:
    """The event of a new version of a task. `at`: ms."""

    #: The task at this version, without secrets.
    task: Task
    #: Type of the event, such as `tally.task.running`.
    type: str
    at: int
    previous_state: str | None
    #: The cause: the kind of the inbox row, and members that identify it.
    cause: Mapping[str, Any]
    #: Epoch of the ledger in which the event was written (`epochs`).
    epoch: int = 0

    @property
    def subject(self) -> str:
        return self.task.id

    @property
    def version(self) -> int:
        return self.task.version


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemEvent:
    """An event that is not about a task: about a subscription or the ledger. `at`: ms."""

    #: The subject's id, and the number of this event among its events (from 1).
    subject: str
    version: int
    type: str
    at: int
    data: Mapping[str, Any]
    epoch: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """An event with its position among all events."""

    position: int
    content: TaskEvent | SystemEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class EventHeader:
    """The columns by which events are selected. vendor, app_id and kind are empty if the event is not about a task."""

    position: int
    subject: str
    type: str
    at: int
    vendor: str
    app_id: str
    kind: str


#: An event's row before it is decoded (`event_of`).
EventRow = RowMapping

#: The fields of a task's key, in the order in which a document has them.
_KEY_FIELDS = ("vendor", "app_id", "room_id", "vendor_task_id", "family")
_HEADER_COLUMNS = (
    events.c.id.label("position"),
    *(events.c[name] for name in ("subject", "type", "at", "vendor", "app_id", "kind")),
)


def append(connection: Connection, task_events: Sequence[TaskEvent], texts: TaskTexts) -> None:
    """Appends events of tasks. texts: a cache of task documents, shared with other writers.

    Other transactions that append wait from here until this one ends.
    """
    _append_rows(connection, [_row_of_task(event, texts) for event in task_events])


def append_system_events(connection: Connection, system_events: Sequence[SystemEvent]) -> None:
    """Appends events that are not about tasks. Other transactions that append wait as for `append`."""
    _append_rows(connection, [_row_of_system_event(event) for event in system_events])


def _append_rows(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    if rows:
        places = positions.allocate(connection, len(rows), max(row["at"] for row in rows))
        bulk.insert(connection, events, [{"id": place, **row} for place, row in zip(places, rows, strict=True)])


def _row_of_task(event: TaskEvent, texts: TaskTexts) -> dict[str, Any]:
    return {
        "subject": event.subject,
        "version": event.version,
        "type": event.type,
        "at": event.at,
        "vendor": event.task.key.vendor,
        "app_id": event.task.key.app_id,
        "kind": event.task.kind.value,
        "doc": _document_text(event, texts),
    }


def _row_of_system_event(event: SystemEvent) -> dict[str, Any]:
    about = {"vendor": "", "app_id": "", "kind": "", "doc": json_text({"data": event.data, "epoch": event.epoch})}
    return {"subject": event.subject, "version": event.version, "type": event.type, "at": event.at, **about}


def _document_text(event: TaskEvent, texts: TaskTexts) -> str:
    """Returns the event's JSON. It adds the task's key, which the task's document leaves out because the lineage has it."""
    about = {
        "key": [getattr(event.task.key, name) for name in _KEY_FIELDS],
        "previous_state": event.previous_state,
        "cause": event.cause,
        **({"epoch": event.epoch} if event.epoch else {}),
    }
    return f'{json_text(about)[:-1]},"task":{texts.text_of(event.task)}}}'


def page(connection: Connection, *, after: int, limit: int, most_bytes: int = PAGE_BYTES) -> Page[Event]:
    """Returns events after a position, in order: at most `limit`, and at most `most_bytes` together, but at least one."""
    sizes = select(events.c.id, size_of(connection, events.c.doc)).where(events.c.id > after).order_by(events.c.id).limit(limit)
    number, last, cut = fitting_rows(connection, sizes, most_bytes)
    if not number:
        return Page()
    statement = select(events).where(events.c.id > after, events.c.id <= last).order_by(events.c.id).limit(number)
    return Page((event_of(row) for row in connection.execute(statement).mappings()), cut=cut)


def read_rows(connection: Connection, ids: Collection[int]) -> dict[int, EventRow]:
    """Returns position -> row of these events."""
    if not ids:
        return {}
    return {row["id"]: row for row in connection.execute(select(events).where(events.c.id.in_(ids))).mappings()}


def versions(connection: Connection, ids: Collection[int]) -> dict[int, int]:
    """Returns position -> version of the event's subject."""
    if not ids:
        return {}
    rows = connection.execute(select(events.c.id, events.c.version).where(events.c.id.in_(ids)))
    return {row.id: row.version for row in rows}


def headers(
    connection: Connection, *, after: int, limit: int, last: int | None = None, subject: str | None = None
) -> list[EventHeader]:
    """Returns the headers of events after a position, in order. last: none after this one. subject: only events of this one."""
    statement = select(*_HEADER_COLUMNS).where(events.c.id > after).limit(limit)
    if last is not None:
        statement = statement.where(events.c.id <= last)
    # The index holds the events of one subject by version, which is the same order.
    order = events.c.id if subject is None else events.c.version
    if subject is not None:
        statement = statement.where(events.c.subject == subject)
    return [EventHeader(**row) for row in connection.execute(statement.order_by(order)).mappings()]


def backlog_after(connection: Connection, *, after: int, most: int) -> tuple[int, int | None]:
    """Returns (number of events after a position, time of the first of them, ms). most: counts no further."""
    behind = select(events.c.at).where(events.c.id > after).order_by(events.c.id).limit(most).subquery()
    number, oldest = connection.execute(select(func.count(), func.min(behind.c.at)).select_from(behind)).one()
    return number, oldest


def event_of(row: EventRow) -> Event:
    """Decodes a row. Raises an exception of any type for an event that this version of the program cannot read."""
    doc = json.loads(row["doc"])
    return Event(position=row["id"], content=_task_event(row, doc) if "task" in doc else _system_event(row, doc))


def _task_event(row: RowMapping, doc: Mapping[str, Any]) -> TaskEvent:
    return TaskEvent(
        task=task_from_doc(TaskKey(**dict(zip(_KEY_FIELDS, doc["key"], strict=True))), doc["task"]),
        type=row["type"],
        at=row["at"],
        previous_state=doc["previous_state"],
        cause=doc["cause"],
        epoch=doc.get("epoch", 0),
    )


def _system_event(row: RowMapping, doc: Mapping[str, Any]) -> SystemEvent:
    return SystemEvent(
        subject=row["subject"], version=row["version"], type=row["type"], at=row["at"], data=doc["data"], epoch=doc.get("epoch", 0)
    )
