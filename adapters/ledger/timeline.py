"""Timelines of tasks: one row per applied inbox row, in the order of application."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, RowMapping, select

from adapters.ledger import bulk
from adapters.ledger.documents import json_text
from adapters.ledger.page_size import Page, fitting_rows, size_of
from adapters.ledger.schema import timeline


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelineRow:
    """The changes that one inbox row made to a task. `at`: when it was applied, ms."""

    task_id: str
    at: int
    inbox_id: int | None
    entries: Sequence[Mapping[str, Any]]


def append(connection: Connection, rows: Sequence[TimelineRow]) -> None:
    """Appends rows, without those that have no entries."""
    values = [
        {"task_id": row.task_id, "at": row.at, "inbox_id": row.inbox_id, "entries": json_text(list(row.entries))}
        for row in rows
        if row.entries
    ]
    bulk.insert(connection, timeline, values)


def page(connection: Connection, task_id: str, *, after: int, limit: int) -> Page[tuple[int, TimelineRow]]:
    """Returns (position, row) of a task after a position, oldest first; fewer than `limit` where they are long."""
    behind = (timeline.c.task_id == task_id, timeline.c.id > after)
    sizes = select(timeline.c.id, size_of(connection, timeline.c.entries)).where(*behind).order_by(timeline.c.id).limit(limit)
    number, last, cut = fitting_rows(connection, sizes)
    if not number:
        return Page()
    statement = select(timeline).where(*behind, timeline.c.id <= last).order_by(timeline.c.id).limit(number)
    return Page((_timeline_row(task_id, row) for row in connection.execute(statement).mappings()), cut=cut)


def _timeline_row(task_id: str, row: RowMapping) -> tuple[int, TimelineRow]:
    return row["id"], TimelineRow(task_id=task_id, at=row["at"], inbox_id=row["inbox_id"], entries=json.loads(row["entries"]))
