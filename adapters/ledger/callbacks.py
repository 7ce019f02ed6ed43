"""Finds what vendors sent, newest first."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    CTE,
    ColumnElement,
    Connection,
    FromClause,
    RowMapping,
    Select,
    and_,
    func,
    literal,
    literal_column,
    select,
    true,
    tuple_,
)

from adapters.ledger.inbox import CALLBACK
from adapters.ledger.newest_per_group import alias, newest_of
from adapters.ledger.schema import inbox

#: What a callback's course is made of, in the order of an index.
_COURSE = ("vendor", "event_type", "verdict")


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackFilter:
    """What a callback must be to be listed; None: anything. Times in ms: received in [after, before)."""

    vendor: str | None = None
    verdict: str | None = None
    event_type: str | None = None
    task_id: str | None = None
    received_after: int | None = None
    received_before: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackSummary:
    """A callback as lists show it: of what was sent no more than the size, in bytes. Times in ms."""

    id: int
    vendor: str
    app_id: str
    event_type: str
    received_at: int
    size: int
    event_at: int | None
    verdict: str | None
    reason: str | None
    task_id: str | None
    applied_at: int | None
    error: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedCallback:
    """A callback as it was sent, and what became of it. Times in ms."""

    id: int
    vendor: str
    app_id: str
    event_type: str
    received_at: int
    headers: Mapping[str, str]
    body: bytes
    event_at: int | None
    verdict: str | None
    reason: str | None
    task_id: str | None
    applied_at: int | None
    error: str | None

    @property
    def size(self) -> int:
        return len(self.body)


#: How long a body is, is known without reading it; 200 of them may have 200 MiB.
_SIZE = func.coalesce(func.length(inbox.c.body), 0).label("size")
_SUMMARY_COLUMNS = tuple(_SIZE if name == "size" else inbox.c[name] for name in CallbackSummary.__slots__)


def find_summary(connection: Connection, callback_id: int) -> CallbackSummary | None:
    """It without headers and body."""
    row = (
        connection.execute(select(*_SUMMARY_COLUMNS).where(inbox.c.id == callback_id, inbox.c.kind == CALLBACK)).mappings().first()
    )
    return _summary_of(row) if row is not None else None


def find(connection: Connection, callback_id: int) -> RecordedCallback | None:
    statement = select(inbox).where(inbox.c.id == callback_id, inbox.c.kind == CALLBACK)
    row = connection.execute(statement).mappings().first()
    return _callback_of(row) if row is not None else None


def page(connection: Connection, wanted: CallbackFilter, *, before: tuple[int, int] | None, limit: int) -> list[CallbackSummary]:
    """Callbacks that pass, newest first, older than (received at, id)."""
    # The ids first: planning both at once, PostgreSQL takes what it cannot estimate for a reason to read and sort all rows.
    ids = list(connection.scalars(_select_page(wanted, before, limit)))
    statement = select(*_SUMMARY_COLUMNS).where(inbox.c.id.in_(ids)).order_by(inbox.c.received_at.desc(), inbox.c.id.desc())
    return [_summary_of(row) for row in connection.execute(statement).mappings()]


def _select_page(wanted: CallbackFilter, before: tuple[int, int] | None, limit: int) -> Select[Any]:
    """The ids of a page."""

    def within(received_at: ColumnElement[int], id_: ColumnElement[int]) -> ColumnElement[bool]:
        older = () if before is None else (tuple_(received_at, id_) < before,)
        return and_(_in_time(received_at, wanted), *older)

    if wanted.task_id is None and any(getattr(wanted, name) is not None for name in _COURSE):
        return newest_of(_existing_courses(wanted), inbox, "received_at", _is_in_course, within, limit)
    statement = select(inbox.c.id).where(_matches_filter(wanted), within(inbox.c.received_at, inbox.c.id))
    return statement.order_by(inbox.c.received_at.desc(), inbox.c.id.desc()).limit(limit)


def count(connection: Connection, wanted: CallbackFilter) -> int:
    return int(connection.execute(select(func.count()).select_from(inbox).where(_matches_filter(wanted))).scalar_one())


def ids_after(connection: Connection, wanted: CallbackFilter, *, after: int, limit: int) -> list[int]:
    """The ids of callbacks that pass, in order, behind an id."""
    courses = _existing_courses(wanted)
    by_course = select(inbox.c.id).join(courses, _is_in_course(inbox, courses)).where(_matches_filter(wanted), inbox.c.id > after)
    if wanted.task_id is None and len(some := list(connection.scalars(by_course.limit(limit + 1)))) <= limit:
        return sorted(some)
    statement = select(inbox.c.id).where(_matches_filter(wanted), inbox.c.id > after).order_by(inbox.c.id).limit(limit)
    return list(connection.scalars(statement))


def tasks_of(connection: Connection, ids: Sequence[int]) -> dict[int, str]:
    """The tasks that callbacks concerned when they were applied; without those that concerned none."""
    statement = select(inbox.c.id, inbox.c.task_id).where(inbox.c.id.in_(ids), inbox.c.task_id.is_not(None))
    return {row.id: row.task_id for row in connection.execute(statement)}


def _matches_filter(wanted: CallbackFilter) -> ColumnElement[bool]:
    named = {name: getattr(wanted, name) for name in ("task_id", *_COURSE)}
    chosen = (inbox.c[name] == value for name, value in named.items() if value is not None)
    return and_(_is_callback(inbox), *chosen, _in_time(inbox.c.received_at, wanted))


def _in_time(received_at: ColumnElement[int], wanted: CallbackFilter) -> ColumnElement[bool]:
    bounds: list[ColumnElement[bool]] = []
    if wanted.received_after is not None:
        bounds.append(received_at >= wanted.received_after)
    if wanted.received_before is not None:
        bounds.append(received_at < wanted.received_before)
    return and_(true(), *bounds)


def _is_in_course(rows: FromClause, courses: FromClause) -> ColumnElement[bool]:
    return and_(_is_callback(rows), *(rows.c[name] == courses.c[name] for name in _COURSE))


def _is_callback(rows: FromClause) -> ColumnElement[bool]:
    """In the very words of the partial indexes."""
    return rows.c.kind == literal_column(f"'{CALLBACK}'")


def _existing_courses(wanted: CallbackFilter) -> FromClause:
    """Each (vendor, type, verdict) that occurs and may pass: a seek each, because an index begins with these columns."""
    found: CTE | None = None
    for name in _COURSE:
        found = _distinct_values(name, found, only=getattr(wanted, name))
    assert found is not None
    return select(found).where(list(found.c)[-1].is_not(None)).subquery("courses")


def _distinct_values(name: str, within: CTE | None, only: str | None) -> CTE:
    """The values of a column beside what they are found within, and a null after the last; or the only value that is wanted."""
    columns: list[ColumnElement[str]] = list(within.c) if within is not None else []
    value = _least_value(name, columns) if only is None else literal(only)
    start = select(*columns, value.label(name)).where(*(column.is_not(None) for column in columns[-1:]))
    found = start.cte(f"each_{name}", recursive=only is None)
    if only is not None:
        return found
    *same, last = found.c
    return found.union_all(select(*same, _least_value(name, same, after=last)).where(last.is_not(None)))


def _least_value(name: str, same: Sequence[ColumnElement[str]], after: ColumnElement[str] | None = None) -> ColumnElement[str]:
    """The least value of a column (after one) among rows that have the same values in other columns."""
    rows = alias(inbox, f"least_{name}")
    conditions = [_is_callback(rows), *(rows.c[str(each.key)] == each for each in same)]
    if after is not None:
        conditions.append(rows.c[name] > after)
    return select(func.min(rows.c[name])).where(*conditions).scalar_subquery()


def _summary_of(row: RowMapping) -> CallbackSummary:
    return CallbackSummary(**{**row, "verdict": row["verdict"] or None})


def _callback_of(row: RowMapping) -> RecordedCallback:
    values: dict[str, Any] = {name: row[name] for name in RecordedCallback.__slots__}
    values["verdict"] = row["verdict"] or None
    values["headers"] = json.loads(str(row["headers"] or "{}"))
    return RecordedCallback(**values)
