"""Finds tasks, newest first, by any filters, without reading more than a page needs.

Filters by what tasks have in common (vendor, state, reason, ...) choose facets, of which there are hundreds at most, and the page
is put together from the newest tasks of each (`newest`). A room's and a vendor's task id stand before the facet in indexes of
their own, so the same goes for the tasks that share one. Of what begins with `q` the newest tasks soon hold a page if it is much;
if it is little, it is collected from ranges of those indexes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import ColumnElement, Connection, FromClause, Select, and_, func, literal, or_, select, true

from adapters.ledger.documents import task_of
from adapters.ledger.facets import slash_delimited
from adapters.ledger.newest_per_group import newest_of, unordered
from adapters.ledger.page_size import Page, fitting_ids
from adapters.ledger.schema import facets, lineages, tasks
from statemachine.states import LIVE
from statemachine.tasks import Task, TaskKey


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchThresholds:
    """Which way is the shorter one. What is found is the same, whatever these are."""

    #: Tasks that are rather looked at one by one than put together in order.
    few: int = 500
    #: How many of the newest tasks are looked at for what begins with `q`.
    window: int = 1_500


_THRESHOLDS = SearchThresholds()


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


def page(
    connection: Connection, wanted: TaskFilter, *, before: str | None, limit: int, effort: SearchThresholds = _THRESHOLDS
) -> Page[Task]:
    """Tasks that pass, newest first, older than the id `before`; fewer than `limit` where they are long."""
    search = _Search(
        facets=tuple(_facet_conditions(wanted)),
        shared={name: value for name in ("room_id", "vendor_task_id") if (value := getattr(wanted, name)) is not None},
        bounds=_id_range(wanted, before),
        effort=effort,
    )
    ids = search.newest(connection, limit) if wanted.q is None else search.named(connection, wanted.q, limit)
    fitting, cut = fitting_ids(connection, tasks, tasks.c.doc, ids)
    return Page(_tasks(connection, fitting), cut=cut)


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


def _facet_conditions(wanted: TaskFilter) -> Iterator[ColumnElement[bool]]:
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
        yield facets.c.anomalies.contains(slash_delimited(wanted.anomaly), autoescape=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class _TextRange:
    """Of text: from `first` on, before `end`."""

    first: str | None = None
    end: str | None = None

    def holds(self, column: ColumnElement[str]) -> ColumnElement[bool]:
        bounds = [column >= self.first] if self.first is not None else []
        bounds += [column < self.end] if self.end is not None else []
        return and_(*bounds) if bounds else column.is_not(None)

    def within(self, other: "_TextRange") -> "_TextRange":
        return _TextRange(
            first=max((text for text in (self.first, other.first) if text is not None), default=None),
            end=min((text for text in (self.end, other.end) if text is not None), default=None),
        )


def _id_range(wanted: TaskFilter, before: str | None) -> _TextRange:
    """Ids begin with the time of creation, so a range of time is a range of ids."""
    first, end = (None if ms is None else _id_at(ms) for ms in (wanted.created_after, wanted.created_before))
    return _TextRange(first=first, end=end).within(_TextRange(end=before))


def _id_at(ms: int) -> str:
    """The smallest id that a task created at this time can have."""
    digits = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
    return "".join(digits[(max(ms, 0) >> shift) & 31] for shift in range(45, -5, -5))


def _beginning_with(q: str) -> _TextRange:
    """Unlike LIKE, a range has no wildcards, minds case and uses the index."""
    return _TextRange(first=q, end=q + "\U0010ffff")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Search:
    """facets: what they must be. shared: ids that several tasks can have. bounds: of the tasks' ids."""

    facets: tuple[ColumnElement[bool], ...]
    shared: dict[str, str]
    bounds: _TextRange
    effort: SearchThresholds

    def newest(self, connection: Connection, limit: int) -> list[str]:
        """The ids of the newest tasks that pass."""
        if not self.facets and not self.shared:
            return self._newest_of_all(connection, limit)
        if len(self.shared) > 1 or (
            self.shared and self._count_up_to(connection, self.effort.few + 1, self._has_shared_ids(tasks)) <= self.effort.few
        ):
            return self._sorted_ids(connection, limit, self._has_shared_ids(tasks), self._is_listed(unordered(tasks.c.facet)))

        def same(rows: FromClause, groups: FromClause) -> ColumnElement[bool]:
            return and_(rows.c.facet == groups.c.facet, self._has_shared_ids(rows))

        groups = self._select_facets().subquery()
        statement = newest_of(groups, tasks, "id", same, lambda position, _id: self.bounds.holds(position), limit)
        return list(connection.scalars(statement))

    def named(self, connection: Connection, q: str, limit: int) -> list[str]:
        """The same, of the tasks of which any id is this, or begins with it."""
        named = _beginning_with(q)
        ranges = [named.holds(tasks.c[name]) for name in ("room_id", "vendor_task_id")]
        anywhere = or_(*ranges, named.holds(unordered(tasks.c.id)), named.holds(tasks.c.app_id))
        if self.shared:
            return self._sorted_ids(
                connection, limit, anywhere, self._has_shared_ids(tasks), self._is_listed(unordered(tasks.c.facet))
            )
        if self._count_by_facets(connection) <= self.effort.few:
            return self._sorted_ids(connection, limit, anywhere, self._is_listed(tasks.c.facet))
        found = self._among_newest(connection, limit, anywhere)
        return found if len(found) == limit else self._collect_by_id(connection, limit, named, ranges)

    def _collect_by_id(
        self, connection: Connection, limit: int, named: _TextRange, ranges: Sequence[ColumnElement[bool]]
    ) -> list[str]:
        """Of each kind of id the newest tasks that it names, put together."""
        listed = self._is_listed(unordered(tasks.c.facet))
        ids = {id_ for each in ranges for id_ in self._sorted_ids(connection, limit, each, listed)}
        bounds = self.bounds.within(named)
        if self._count_up_to(connection, 1, bounds.holds(tasks.c.id)):
            ids |= {*replace(self, bounds=bounds).newest(connection, limit)}
        of_apps = replace(self, facets=(*self.facets, named.holds(facets.c.app_id)))
        if of_apps._count_by_facets(connection):
            ids |= {*of_apps.newest(connection, limit)}
        return sorted(ids, reverse=True)[:limit]

    def _newest_of_all(self, connection: Connection, limit: int) -> list[str]:
        """Any tasks."""
        statement = select(tasks.c.id).where(tasks.c.facet.is_not(None), self.bounds.holds(tasks.c.id))
        return list(connection.scalars(statement.order_by(tasks.c.id.desc()).limit(limit)))

    def _sorted_ids(self, connection: Connection, limit: int, *conditions: ColumnElement[bool]) -> list[str]:
        """Looks at all tasks that an index gives for these conditions, and sorts them."""
        id_ = unordered(tasks.c.id)
        statement = select(tasks.c.id).where(*conditions, self.bounds.holds(id_)).order_by(id_.desc()).limit(limit)
        return list(connection.scalars(statement))

    def _among_newest(self, connection: Connection, limit: int, anywhere: ColumnElement[bool]) -> list[str]:
        """Looks at the newest tasks in order, until there is a page or enough was looked at."""
        in_order = select(tasks.c.id).where(self.bounds.holds(tasks.c.id)).order_by(tasks.c.id.desc())
        last = func.coalesce(in_order.limit(1).offset(self.effort.window - 1).scalar_subquery(), "")
        statement = in_order.where(anywhere, self._is_listed(unordered(tasks.c.facet)), tasks.c.id >= last).limit(limit)
        return list(connection.scalars(statement))

    def _has_shared_ids(self, rows: FromClause) -> ColumnElement[bool]:
        return and_(true(), *(rows.c[name] == value for name, value in self.shared.items()))

    def _select_facets(self) -> Select[tuple[int]]:
        return select(facets.c.facet).where(*self.facets, facets.c.tasks > 0)

    def _is_listed(self, facet: ColumnElement[int]) -> ColumnElement[bool]:
        return facet.in_(self._select_facets()) if self.facets else facet.is_not(None)

    def _count_by_facets(self, connection: Connection) -> int:
        """How many tasks the facets have."""
        return int(connection.scalar(select(func.sum(facets.c.tasks)).where(true(), *self.facets)) or 0)

    @staticmethod
    def _count_up_to(connection: Connection, number: int, condition: ColumnElement[bool]) -> int:
        """How many tasks there are of this kind; not counted any further than to a number."""
        some = select(literal(1).label("one")).select_from(tasks).where(condition).limit(number).subquery()
        return int(connection.execute(select(func.count()).select_from(some)).scalar_one())
