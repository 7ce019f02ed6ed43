"""Finds recorded callbacks, newest first."""

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

#: The columns of a callback's *course*, in the order of the index `inbox_course`.
_COURSE = ("vendor", "event_type", "verdict")


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackFilter:
    """Filter of listed callbacks; None: no condition. Times in ms: received in [after, before)."""

    vendor: str | None = None
    verdict: str | None = None
    event_type: str | None = None
    task_id: str | None = None
    received_after: int | None = None
    received_before: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackSummary:
    """A callback as lists show it: with the size of its body in bytes, without body and headers. Times in ms."""

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
    """A callback as it was received, with the result of applying it. Times in ms."""

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


#: The database knows the length of a body without reading it; 200 bodies may have 200 MiB.
_SIZE = func.coalesce(func.length(inbox.c.body), 0).label("size")
_SUMMARY_COLUMNS = tuple(_SIZE if name == "size" else inbox.c[name] for name in CallbackSummary.__slots__)


def find_summary(connection: Connection, callback_id: int) -> CallbackSummary | None:
    """Returns a callback without headers and body."""
    row = (
        connection.execute(select(*_SUMMARY_COLUMNS).where(inbox.c.id == callback_id, inbox.c.kind == CALLBACK)).mappings().first()
    )
    return _summary_of(row) if row is not None else None


def find(connection: Connection, callback_id: int) -> RecordedCallback | None:
    statement = select(inbox).where(inbox.c.id == callback_id, inbox.c.kind == CALLBACK)
    row = connection.execute(statement).mappings().first()
    return _callback_of(row) if row is not None else None


def page(
    connection: Connection, callback_filter: CallbackFilter, *, before: tuple[int, int] | None, limit: int
) -> list[CallbackSummary]:
    """Returns callbacks that match, newest first, older than (received at, id)."""
    # The ids first: for one combined statement, whose result PostgreSQL cannot estimate, its plan reads and sorts all rows.
    ids = list(connection.scalars(_select_page(callback_filter, before, limit)))
    statement = select(*_SUMMARY_COLUMNS).where(inbox.c.id.in_(ids)).order_by(inbox.c.received_at.desc(), inbox.c.id.desc())
    return [_summary_of(row) for row in connection.execute(statement).mappings()]


def _select_page(callback_filter: CallbackFilter, before: tuple[int, int] | None, limit: int) -> Select[Any]:
    """Selects the ids of a page."""

    def within(received_at: ColumnElement[int], id_: ColumnElement[int]) -> ColumnElement[bool]:
        older = () if before is None else (tuple_(received_at, id_) < before,)
        return and_(_in_time(received_at, callback_filter), *older)

    if callback_filter.task_id is None and any(getattr(callback_filter, name) is not None for name in _COURSE):
        return newest_of(_existing_courses(callback_filter), inbox, "received_at", _is_in_course, within, limit)
    statement = select(inbox.c.id).where(_matches_filter(callback_filter), within(inbox.c.received_at, inbox.c.id))
    return statement.order_by(inbox.c.received_at.desc(), inbox.c.id.desc()).limit(limit)


def count(connection: Connection, callback_filter: CallbackFilter) -> int:
    return int(connection.execute(select(func.count()).select_from(inbox).where(_matches_filter(callback_filter))).scalar_one())


def ids_after(connection: Connection, callback_filter: CallbackFilter, *, after: int, limit: int) -> list[int]:
    """Returns the ids of callbacks that match, in order, above an id."""
    courses = _existing_courses(callback_filter)
    by_course = (
        select(inbox.c.id).join(courses, _is_in_course(inbox, courses)).where(_matches_filter(callback_filter), inbox.c.id > after)
    )
    if callback_filter.task_id is None and len(ids := list(connection.scalars(by_course.limit(limit + 1)))) <= limit:
        return sorted(ids)
    statement = select(inbox.c.id).where(_matches_filter(callback_filter), inbox.c.id > after).order_by(inbox.c.id).limit(limit)
    return list(connection.scalars(statement))


def tasks_of(connection: Connection, ids: Sequence[int]) -> dict[int, str]:
    """Returns callback id -> id of the task that it concerned when it was applied; callbacks without a task are left out."""
    statement = select(inbox.c.id, inbox.c.task_id).where(inbox.c.id.in_(ids), inbox.c.task_id.is_not(None))
    return {row.id: row.task_id for row in connection.execute(statement)}


def _matches_filter(callback_filter: CallbackFilter) -> ColumnElement[bool]:
    named = {name: getattr(callback_filter, name) for name in ("task_id", *_COURSE)}
    chosen = (inbox.c[name] == value for name, value in named.items() if value is not None)
    return and_(_is_callback(inbox), *chosen, _in_time(inbox.c.received_at, callback_filter))


def _in_time(received_at: ColumnElement[int], callback_filter: CallbackFilter) -> ColumnElement[bool]:
    bounds: list[ColumnElement[bool]] = []
    if callback_filter.received_after is not None:
        bounds.append(received_at >= callback_filter.received_after)
    if callback_filter.received_before is not None:
        bounds.append(received_at < callback_filter.received_before)
    return and_(true(), *bounds)


def _is_in_course(rows: FromClause, courses: FromClause) -> ColumnElement[bool]:
    return and_(_is_callback(rows), *(rows.c[name] == courses.c[name] for name in _COURSE))


def _is_callback(rows: FromClause) -> ColumnElement[bool]:
    """Selects callbacks, in the exact words of the partial indexes."""
    return rows.c.kind == literal_column(f"'{CALLBACK}'")


def _existing_courses(callback_filter: CallbackFilter) -> FromClause:
    """Selects each existing (vendor, type, verdict) that may match: one index seek each, because an index begins with them."""
    courses: CTE | None = None
    for name in _COURSE:
        courses = _distinct_values(name, courses, only=getattr(callback_filter, name))
    assert courses is not None
    return select(courses).where(list(courses.c)[-1].is_not(None)).subquery("courses")


def _distinct_values(name: str, within: CTE | None, only: str | None) -> CTE:
    """Selects the distinct values of a column beside the columns of `within`, then a null; or only the value `only`."""
    columns: list[ColumnElement[str]] = list(within.c) if within is not None else []
    value = _least_value(name, columns) if only is None else literal(only)
    start = select(*columns, value.label(name)).where(*(column.is_not(None) for column in columns[-1:]))
    values = start.cte(f"each_{name}", recursive=only is None)
    if only is not None:
        return values
    *same, last = values.c
    return values.union_all(select(*same, _least_value(name, same, after=last)).where(last.is_not(None)))


def _least_value(name: str, same: Sequence[ColumnElement[str]], after: ColumnElement[str] | None = None) -> ColumnElement[str]:
    """Selects the smallest value of a column (above `after`) among rows that have the same values in other columns."""
    rows = alias(inbox, f"least_{name}")
    conditions = [_is_callback(rows), *(rows.c[str(column.key)] == column for column in same)]
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
