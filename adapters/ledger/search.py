"""Finds tasks, newest first, by any filters, without reading more than a page needs.

A filter that few tasks pass (an id, a room) is asked first, and what it finds is sorted. Filters by vendor, kind and state are
spread over the combinations that exist: each is read in order of id from one index, and the newest of all are taken.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, Select, and_, literal, or_, select, true, union_all

from adapters.ledger.counters import sums
from adapters.ledger.documents import task_of
from adapters.ledger.schema import lineages, task_anomalies, tasks
from statemachine.facts import TaskKey
from statemachine.states import LIVE
from statemachine.tasks import Task

#: A filter that no more tasks pass than this is asked first.
_FEW = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFilter:
    """What a task must be to be listed; None: anything. Times in ms; `q`: any id, whole or its beginning."""

    vendor: str | None = None
    kind: str | None = None
    states: tuple[str, ...] = ()
    app_id: str | None = None
    room_id: str | None = None
    vendor_task_id: str | None = None
    reason: str | None = None
    origin: str | None = None
    anomaly: str | None = None
    live: bool | None = None
    created_after: int | None = None
    created_before: int | None = None
    q: str | None = None


def find(connection: Connection, task_id: str) -> Task | None:
    """One task, merged ones included."""
    return next(iter(_tasks(connection, [task_id])), None)


def page(connection: Connection, wanted: TaskFilter, *, before: str | None, limit: int) -> list[Task]:
    """Tasks that pass, newest first, older than the id `before`."""
    bounds = _bounds(wanted, before)
    narrow = next((c for c in _narrow(wanted) if _few(connection, c)), None)
    if narrow is None and (wanted.vendor or wanted.kind or wanted.states or wanted.live is not None):
        statement = _spread(connection, wanted, bounds, limit)
    else:
        statement = select(tasks.c.id).where(and_(narrow if narrow is not None else true(), _all(wanted), bounds))
    if statement is None:
        return []
    ids = [row.id for row in connection.execute(statement.order_by(tasks.c.id.desc()).limit(limit))]
    return _tasks(connection, ids)


def _tasks(connection: Connection, ids: Sequence[str]) -> list[Task]:
    columns = (lineages.c.vendor, lineages.c.app_id, lineages.c.room_id, lineages.c.vendor_task_id, lineages.c.family)
    statement = (
        select(tasks.c.doc, *columns)
        .join(lineages, lineages.c.id == tasks.c.lineage_id)
        .where(tasks.c.id.in_(ids))
        .order_by(tasks.c.id.desc())
    )
    found = []
    for doc, vendor, app_id, room_id, vendor_task_id, family in connection.execute(statement):
        key = TaskKey(vendor=vendor, app_id=app_id, room_id=room_id, vendor_task_id=vendor_task_id, family=family)
        found.append(task_of(key, doc))
    return found


def _bounds(wanted: TaskFilter, before: str | None) -> ColumnElement[bool]:
    """Ids begin with their time of creation, but two hosts' clocks differ: the column decides."""
    bounds: list[ColumnElement[bool]] = [tasks.c.merged_into.is_(None)]
    if before is not None:
        bounds.append(tasks.c.id < before)
    if wanted.created_after is not None:
        bounds += [tasks.c.created_at >= wanted.created_after, tasks.c.id >= _id_at(wanted.created_after)]
    if wanted.created_before is not None:
        bounds += [tasks.c.created_at < wanted.created_before, tasks.c.id < _id_at(wanted.created_before)]
    return and_(*bounds)


def _id_at(ms: int) -> str:
    """The smallest id that a task created at this time can have."""
    digits = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
    return "".join(digits[(max(ms, 0) >> shift) & 31] for shift in range(45, -5, -5))


def _narrow(wanted: TaskFilter) -> Iterator[ColumnElement[bool]]:
    """The filters that may let few tasks pass, the likeliest first."""
    for name in ("vendor_task_id", "room_id", "app_id", "reason"):
        value = getattr(wanted, name)
        if value is not None:
            yield tasks.c[name] == value
    if wanted.anomaly is not None:
        yield tasks.c.id.in_(select(task_anomalies.c.task_id).where(task_anomalies.c.anomaly == wanted.anomaly))
    if wanted.q is not None:
        yield _is_named(wanted.q)


def _few(connection: Connection, condition: ColumnElement[bool]) -> bool:
    probe = select(literal(1)).select_from(tasks).where(condition).limit(_FEW + 1)
    return len(connection.execute(probe).all()) <= _FEW


def _is_named(q: str) -> ColumnElement[bool]:
    """Any id that is this, or begins with it. The range, unlike LIKE, has no wildcards and uses the index."""
    after = q + "\U0010ffff"
    return or_(*(and_(tasks.c[name] >= q, tasks.c[name] < after) for name in ("id", "vendor_task_id", "room_id", "app_id")))


def _all(wanted: TaskFilter) -> ColumnElement[bool]:
    """Every filter but the bounds."""
    conditions = list(_narrow(wanted))
    for name in ("vendor", "kind", "origin"):
        value = getattr(wanted, name)
        if value is not None:
            conditions.append(tasks.c[name] == value)
    if wanted.states:
        conditions.append(tasks.c.state.in_(wanted.states))
    if wanted.live is not None:
        among = tasks.c.state.in_(sorted(LIVE))
        conditions.append(among if wanted.live else ~among)
    return and_(true(), *conditions)


def _spread(connection: Connection, wanted: TaskFilter, bounds: ColumnElement[bool], limit: int) -> Select[tuple[str]] | None:
    """One ordered read for each combination of vendor, kind and state that exists and passes. None: there is none."""
    parts = [
        select(tasks.c.id)
        .where(tasks.c.vendor == vendor, tasks.c.kind == kind, tasks.c.state == state, _all(_rest(wanted)), bounds)
        .order_by(tasks.c.id.desc())
        .limit(limit)
        .subquery()
        for vendor, kind, state in _combinations(connection, wanted)
    ]
    if not parts:
        return None
    newest = union_all(*(select(part.c.id) for part in parts)).subquery()
    return select(tasks.c.id).where(tasks.c.id.in_(select(newest.c.id)))


def _combinations(connection: Connection, wanted: TaskFilter) -> Iterator[tuple[str, str, str]]:
    for label in sums(connection, "tasks"):
        vendor, kind, state = label.split("/")
        if (
            wanted.vendor in (None, vendor)
            and wanted.kind in (None, kind)
            and (not wanted.states or state in wanted.states)
            and (wanted.live is None or (state in LIVE) == wanted.live)
        ):
            yield vendor, kind, state


def _rest(wanted: TaskFilter) -> TaskFilter:
    return TaskFilter(
        app_id=wanted.app_id,
        room_id=wanted.room_id,
        vendor_task_id=wanted.vendor_task_id,
        reason=wanted.reason,
        origin=wanted.origin,
        anomaly=wanted.anomaly,
        q=wanted.q,
    )
