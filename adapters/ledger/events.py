"""What others are told: an event for each version of a task, and a word on subscriptions that end; written with what they tell.

An event's id is its position: who follows them misses none (`positions`).
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
    """A task came to a version. `at`: when, ms."""

    #: The task as it is now, without secrets.
    task: Task
    #: `tally.task.running` and its like.
    type: str
    at: int
    previous_state: str | None
    #: What made it so: the kind of inbox row, and what tells which one it was.
    cause: Mapping[str, Any]
    #: The ledger's, in which it was told (`epochs`).
    epoch: int = 0

    @property
    def subject(self) -> str:
        return self.task.id

    @property
    def version(self) -> int:
        return self.task.version


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemEvent:
    """Something came to pass that is no task's. `at`: when, ms."""

    #: What it is about, and the how manieth word about it this is.
    subject: str
    version: int
    type: str
    at: int
    data: Mapping[str, Any]
    epoch: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Where it stands among all events, and what it tells."""

    position: int
    content: TaskEvent | SystemEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class EventHeader:
    """What must be known of an event to choose it. Of one that is no task's, vendor, app and kind are empty."""

    position: int
    subject: str
    type: str
    at: int
    vendor: str
    app_id: str
    kind: str


#: An event as the ledger has it, for `event_of`.
EventRow = RowMapping

#: The fields of a task's key, in the order in which a document has them.
_KEY_FIELDS = ("vendor", "app_id", "room_id", "vendor_task_id", "family")
_HEADER_COLUMNS = (
    events.c.id.label("position"),
    *(events.c[name] for name in ("subject", "type", "at", "vendor", "app_id", "kind")),
)


def append(connection: Connection, told: Sequence[TaskEvent], texts: TaskTexts) -> None:
    """texts: the documents of tasks, for whoever needs them next.

    Transactions of others that append wait from here to the end of this one.
    """
    _append_rows(connection, [_row_of_task(event, texts) for event in told])


def append_system_events(connection: Connection, notes: Sequence[SystemEvent]) -> None:
    """The same for what is no task's."""
    _append_rows(connection, [_row_of_system_event(note) for note in notes])


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


def _row_of_system_event(note: SystemEvent) -> dict[str, Any]:
    about = {"vendor": "", "app_id": "", "kind": "", "doc": json_text({"data": note.data, "epoch": note.epoch})}
    return {"subject": note.subject, "version": note.version, "type": note.type, "at": note.at, **about}


def _document_text(event: TaskEvent, texts: TaskTexts) -> str:
    """The document of a task leaves out its key, which stands in columns of other tables."""
    told = {
        "key": [getattr(event.task.key, name) for name in _KEY_FIELDS],
        "previous_state": event.previous_state,
        "cause": event.cause,
        **({"epoch": event.epoch} if event.epoch else {}),
    }
    return f'{json_text(told)[:-1]},"task":{texts.text_of(event.task)}}}'


def page(connection: Connection, *, after: int, limit: int, most_bytes: int = PAGE_BYTES) -> Page[Event]:
    """Events behind a position, in order; fewer than `limit` where they have more than `most_bytes` together, but at least one."""
    sizes = select(events.c.id, size_of(connection, events.c.doc)).where(events.c.id > after).order_by(events.c.id).limit(limit)
    number, last, cut = fitting_rows(connection, sizes, most_bytes)
    if not number:
        return Page()
    statement = select(events).where(events.c.id > after, events.c.id <= last).order_by(events.c.id).limit(number)
    return Page((event_of(row) for row in connection.execute(statement).mappings()), cut=cut)


def read_rows(connection: Connection, ids: Collection[int]) -> dict[int, EventRow]:
    """position -> event."""
    if not ids:
        return {}
    return {row["id"]: row for row in connection.execute(select(events).where(events.c.id.in_(ids))).mappings()}


def versions(connection: Connection, ids: Collection[int]) -> dict[int, int]:
    """position -> version of its subject."""
    if not ids:
        return {}
    rows = connection.execute(select(events.c.id, events.c.version).where(events.c.id.in_(ids)))
    return {row.id: row.version for row in rows}


def headers(
    connection: Connection, *, after: int, limit: int, last: int | None = None, subject: str | None = None
) -> list[EventHeader]:
    """Of events behind a position, in order. last: none behind this one. subject: only of this one."""
    statement = select(*_HEADER_COLUMNS).where(events.c.id > after).limit(limit)
    if last is not None:
        statement = statement.where(events.c.id <= last)
    # The events of one subject are found by its versions, which have the same order.
    order = events.c.id if subject is None else events.c.version
    if subject is not None:
        statement = statement.where(events.c.subject == subject)
    return [EventHeader(**row) for row in connection.execute(statement.order_by(order)).mappings()]


def backlog_after(connection: Connection, *, after: int, most: int) -> tuple[int, int | None]:
    """(how many events are behind a position, when the first of them was; ms). most: more are not counted."""
    behind = select(events.c.at).where(events.c.id > after).order_by(events.c.id).limit(most).subquery()
    number, oldest = connection.execute(select(func.count(), func.min(behind.c.at)).select_from(behind)).one()
    return number, oldest


def event_of(row: EventRow) -> Event:
    """Raises whatever an event that this version cannot read makes go wrong."""
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
