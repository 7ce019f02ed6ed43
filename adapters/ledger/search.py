"""Finds tasks, newest first, by any filters, without reading more than a page needs.

Filters by what tasks have in common (vendor, state, reason, ...) choose facets, of which there are hundreds at most, and the page
is put together from the newest tasks of each (`newest`). A room's and a vendor's task id stand before the facet in indexes of
their own, so the same goes for the tasks that share one. What begins with `q` is collected from the ranges of those indexes if it
is little; if it is much, the newest tasks soon hold a page of it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import ColumnElement, Connection, FromClause, and_, func, literal, or_, select

from adapters.ledger.documents import task_of
from adapters.ledger.facets import slashed
from adapters.ledger.newest import newest_of
from adapters.ledger.schema import facets, lineages, tasks
from statemachine.facts import TaskKey
from statemachine.states import LIVE
from statemachine.tasks import Task

#: Tasks that are rather looked at one by one than put together in order.
_FEW = 500
#: Entries of an index that are rather collected than done without.
_SOME = 3_000
#: No planner takes the index of ids for this: tempted by the order, it would read all tasks to find few.
_UNORDERED_ID = tasks.c.id + ""
#: How many of the newest tasks are looked at for what begins with `q`.
_WINDOW = 1_500


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
    search = _Search(
        facets=tuple(_facets(wanted)),
        shared={name: value for name in ("room_id", "vendor_task_id") if (value := getattr(wanted, name)) is not None},
        bounds=_bounds(wanted, before),
    )
    ids = search.newest(connection, limit) if wanted.q is None else search.named(connection, wanted.q, limit)
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


def _facets(wanted: TaskFilter) -> Iterator[ColumnElement[bool]]:
    """What facets must be."""
    for name in ("vendor", "kind", "app_id", "origin", "reason"):
        value = getattr(wanted, name)
        if value is not None:
            yield facets.c[name] == value
    if wanted.states:
        yield facets.c.state.in_(wanted.states)
    if wanted.live is not None:
        among = facets.c.state.in_(sorted(LIVE))
        yield among if wanted.live else ~among
    if wanted.anomaly is not None:
        yield facets.c.anomalies.contains(slashed(wanted.anomaly), autoescape=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Range:
    """Of text: from `first` on, before `end`."""

    first: str | None = None
    end: str | None = None

    def holds(self, column: ColumnElement[str]) -> ColumnElement[bool]:
        bounds = [column >= self.first] if self.first is not None else []
        bounds += [column < self.end] if self.end is not None else []
        return and_(*bounds) if bounds else column.is_not(None)

    def within(self, other: "_Range") -> "_Range":
        return _Range(
            first=max((text for text in (self.first, other.first) if text is not None), default=None),
            end=min((text for text in (self.end, other.end) if text is not None), default=None),
        )


def _bounds(wanted: TaskFilter, before: str | None) -> _Range:
    """Ids begin with the time of creation, so a range of time is a range of ids."""
    after = wanted.created_after, wanted.created_before
    first, end = (None if ms is None else _id_at(ms) for ms in after)
    return _Range(first=first, end=end).within(_Range(end=before))


def _id_at(ms: int) -> str:
    """The smallest id that a task created at this time can have."""
    digits = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
    return "".join(digits[(max(ms, 0) >> shift) & 31] for shift in range(45, -5, -5))


def _beginning_with(q: str) -> _Range:
    """Unlike LIKE, a range has no wildcards, minds case and uses the index."""
    return _Range(first=q, end=q + "\U0010ffff")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Search:
    """facets: what they must be. shared: ids that several tasks can have. bounds: of the tasks' ids."""

    facets: tuple[ColumnElement[bool], ...]
    shared: dict[str, str]
    bounds: _Range

    def newest(self, connection: Connection, limit: int) -> list[str]:
        """The ids of the newest tasks that pass."""
        if not self.facets and not self.shared:
            return self._those(connection, limit)
        if self.shared and (len(self.shared) > 1 or self._are_few(connection, self._has_ids(), _FEW)):
            return self._those(connection, limit)

        def matches(rows: FromClause, groups: FromClause) -> ColumnElement[bool]:
            ids = (rows.c[name] == value for name, value in self.shared.items())
            return and_(rows.c.facet == groups.c.facet, *ids, self.bounds.holds(rows.c.id))

        groups = select(facets.c.facet).where(*self.facets, facets.c.tasks > 0).subquery()
        return list(connection.scalars(newest_of(groups, tasks, "id", matches, limit)))

    def named(self, connection: Connection, q: str, limit: int) -> list[str]:
        """The same, of the tasks of which any id is this, or begins with it."""
        named = _beginning_with(q)
        by_range = [named.holds(tasks.c[name]) for name in ("room_id", "vendor_task_id")]
        if self.shared or self._has_few(connection):
            anywhere = or_(*by_range, named.holds(tasks.c.id), named.holds(tasks.c.app_id))
            return self._those(connection, limit, anywhere)
        if not all(self._are_few(connection, condition, _SOME) for condition in by_range):
            found = self._among_newest(connection, limit, named)
            if len(found) == limit:
                return found
        ids = {id_ for condition in by_range for id_ in self._those(connection, limit, condition)}
        ids |= {*replace(self, bounds=self.bounds.within(named)).newest(connection, limit)}
        ids |= {*replace(self, facets=(*self.facets, named.holds(facets.c.app_id))).newest(connection, limit)}
        return sorted(ids, reverse=True)[:limit]

    def _those(self, connection: Connection, limit: int, *more: ColumnElement[bool]) -> list[str]:
        """Looks at the tasks one by one, and sorts them where no index does."""
        id_ = tasks.c.id if not (more or self.shared or self.facets) else _UNORDERED_ID
        statement = select(tasks.c.id).where(self._has_ids(), self._is_listed(), self.bounds.holds(id_), *more)
        return list(connection.scalars(statement.order_by(id_.desc()).limit(limit)))

    def _among_newest(self, connection: Connection, limit: int, named: _Range) -> list[str]:
        columns = (tasks.c.id, tasks.c.facet, tasks.c.app_id, tasks.c.room_id, tasks.c.vendor_task_id)
        newest = select(*columns).where(self.bounds.holds(tasks.c.id)).order_by(tasks.c.id.desc()).limit(_WINDOW).subquery()
        anywhere = or_(*(named.holds(newest.c[name]) for name in ("id", "app_id", "room_id", "vendor_task_id")))
        listed = newest.c.facet.in_(select(facets.c.facet).where(*self.facets))
        return list(connection.scalars(select(newest.c.id).where(anywhere, listed).order_by(newest.c.id.desc()).limit(limit)))

    def _has_ids(self) -> ColumnElement[bool]:
        return and_(literal(True), *(tasks.c[name] == value for name, value in self.shared.items()))

    def _is_listed(self) -> ColumnElement[bool]:
        if not self.facets:
            return tasks.c.facet.is_not(None)
        return tasks.c.facet.in_(select(facets.c.facet).where(*self.facets, facets.c.tasks > 0))

    def _has_few(self, connection: Connection) -> bool:
        """Whether the facets have few tasks."""
        return (connection.scalar(select(func.sum(facets.c.tasks)).where(*self.facets)) or 0) <= _FEW

    @staticmethod
    def _are_few(connection: Connection, condition: ColumnElement[bool], few: int) -> bool:
        some = select(literal(1).label("one")).select_from(tasks).where(condition).limit(few + 1).subquery()
        return int(connection.execute(select(func.count()).select_from(some)).scalar_one()) <= few
