"""Finds tasks, newest first, by any filters, and reads no more than a page needs.

Filters by common properties (vendor, state, reason, ...) select facets, of which there are hundreds at most, and the page is merged
from the newest tasks of each (`newest_per_group`). The room id and the vendor's task id each precede the facet in an index, so the
same works for tasks that share one of them. For a search by prefix (`q`): if many tasks match, the newest tasks soon fill a page;
if few do, they are collected from ranges of those indexes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import ColumnElement, Connection, FromClause, Select, and_, func, literal, or_, select, true

from adapters.ledger.facets import slash_delimited
from adapters.ledger.lineages import read_tasks, select_tasks
from adapters.ledger.newest_per_group import newest_of, unordered
from adapters.ledger.page_size import Page, fitting_ids
from adapters.ledger.schema import facets, tasks
from statemachine.states import LIVE
from statemachine.tasks import Task, earliest_id


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchThresholds:
    """Thresholds that select the cheaper way to search. The result is the same for any values."""

    #: Up to this number, matching tasks are read and sorted instead of merged in order.
    few: int = 500
    #: Number of the newest tasks that are scanned for a prefix `q`.
    window: int = 1_500


_THRESHOLDS = SearchThresholds()


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFilter:
    """Filter of listed tasks; None: no condition. Times in ms; `q`: any id, or its beginning."""

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
    """Returns one task, also a merged one."""
    return next(iter(_tasks_by_ids(connection, [task_id])), None)


def page(
    connection: Connection, task_filter: TaskFilter, *, before: str | None, limit: int, thresholds: SearchThresholds = _THRESHOLDS
) -> Page[Task]:
    """Returns tasks that match, newest first, older than the id `before`; fewer than `limit` where they are long."""
    search = _Search(
        facets=tuple(_facet_conditions(task_filter)),
        shared={name: value for name in ("room_id", "vendor_task_id") if (value := getattr(task_filter, name)) is not None},
        bounds=_id_range(task_filter, before),
        thresholds=thresholds,
    )
    ids = search.newest(connection, limit) if task_filter.q is None else search.named(connection, task_filter.q, limit)
    fitting, cut = fitting_ids(connection, tasks, tasks.c.doc, ids)
    return Page(_tasks_by_ids(connection, fitting), cut=cut)


def _tasks_by_ids(connection: Connection, ids: Sequence[str]) -> list[Task]:
    return read_tasks(connection, select_tasks().where(tasks.c.id.in_(ids)).order_by(tasks.c.id.desc()))


def _facet_conditions(task_filter: TaskFilter) -> Iterator[ColumnElement[bool]]:
    """Yields the conditions on facets."""
    for name in ("vendor", "kind", "app_id", "origin", "reason"):
        value = getattr(task_filter, name)
        if value is not None:
            yield facets.c[name] == value
    if task_filter.states:
        yield facets.c.state.in_(task_filter.states)
    if task_filter.live is not None:
        among = facets.c.state.in_(sorted(LIVE))
        yield among if task_filter.live else ~among
    if task_filter.anomaly is not None:
        yield facets.c.anomalies.contains(slash_delimited(task_filter.anomaly), autoescape=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class _TextRange:
    """A range of texts, [first, end); None: no bound."""

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


def _id_range(task_filter: TaskFilter, before: str | None) -> _TextRange:
    """Returns the range of ids for a range of creation times: ids begin with the time of creation."""
    first, end = (None if ms is None else earliest_id(ms) for ms in (task_filter.created_after, task_filter.created_before))
    return _TextRange(first=first, end=end).within(_TextRange(end=before))


def _beginning_with(q: str) -> _TextRange:
    """Returns the range of texts with a prefix. Unlike LIKE, it has no wildcards, is case-sensitive and uses the index."""
    return _TextRange(first=q, end=q + "\U0010ffff")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Search:
    """One search. facets: conditions on facets. shared: column -> an id that several tasks can have. bounds: range of task ids."""

    facets: tuple[ColumnElement[bool], ...]
    shared: dict[str, str]
    bounds: _TextRange
    thresholds: SearchThresholds

    def newest(self, connection: Connection, limit: int) -> list[str]:
        """Returns the ids of the newest tasks that match."""
        if not self.facets and not self.shared:
            return self._newest_of_all(connection, limit)
        if len(self.shared) > 1 or (
            self.shared
            and self._count_up_to(connection, self.thresholds.few + 1, self._has_shared_ids(tasks)) <= self.thresholds.few
        ):
            return self._sorted_ids(connection, limit, self._has_shared_ids(tasks), self._is_listed(unordered(tasks.c.facet)))

        def same(rows: FromClause, groups: FromClause) -> ColumnElement[bool]:
            return and_(rows.c.facet == groups.c.facet, self._has_shared_ids(rows))

        groups = self._select_facets().subquery()
        statement = newest_of(groups, tasks, "id", same, lambda position, _id: self.bounds.holds(position), limit)
        return list(connection.scalars(statement))

    def named(self, connection: Connection, q: str, limit: int) -> list[str]:
        """Does the same among tasks of which any id equals `q` or begins with it."""
        named = _beginning_with(q)
        ranges = [named.holds(tasks.c[name]) for name in ("room_id", "vendor_task_id")]
        anywhere = or_(*ranges, named.holds(unordered(tasks.c.id)), named.holds(tasks.c.app_id))
        if self.shared:
            return self._sorted_ids(
                connection, limit, anywhere, self._has_shared_ids(tasks), self._is_listed(unordered(tasks.c.facet))
            )
        if self._count_by_facets(connection) <= self.thresholds.few:
            return self._sorted_ids(connection, limit, anywhere, self._is_listed(tasks.c.facet))
        ids = self._among_newest(connection, limit, anywhere)
        return ids if len(ids) == limit else self._collect_by_id(connection, limit, named, ranges)

    def _collect_by_id(
        self, connection: Connection, limit: int, named: _TextRange, ranges: Sequence[ColumnElement[bool]]
    ) -> list[str]:
        """Merges the newest tasks that match by each kind of id."""
        listed = self._is_listed(unordered(tasks.c.facet))
        ids = {id_ for range_ in ranges for id_ in self._sorted_ids(connection, limit, range_, listed)}
        bounds = self.bounds.within(named)
        if self._count_up_to(connection, 1, bounds.holds(tasks.c.id)):
            ids |= {*replace(self, bounds=bounds).newest(connection, limit)}
        of_apps = replace(self, facets=(*self.facets, named.holds(facets.c.app_id)))
        if of_apps._count_by_facets(connection):
            ids |= {*of_apps.newest(connection, limit)}
        return sorted(ids, reverse=True)[:limit]

    def _newest_of_all(self, connection: Connection, limit: int) -> list[str]:
        """Returns the newest tasks without any condition but the bounds."""
        statement = select(tasks.c.id).where(tasks.c.facet.is_not(None), self.bounds.holds(tasks.c.id))
        return list(connection.scalars(statement.order_by(tasks.c.id.desc()).limit(limit)))

    def _sorted_ids(self, connection: Connection, limit: int, *conditions: ColumnElement[bool]) -> list[str]:
        """Reads all tasks that an index yields for the conditions, and sorts them."""
        id_ = unordered(tasks.c.id)
        statement = select(tasks.c.id).where(*conditions, self.bounds.holds(id_)).order_by(id_.desc()).limit(limit)
        return list(connection.scalars(statement))

    def _among_newest(self, connection: Connection, limit: int, anywhere: ColumnElement[bool]) -> list[str]:
        """Scans the newest tasks in order, until a page is full or `window` tasks were scanned."""
        in_order = select(tasks.c.id).where(self.bounds.holds(tasks.c.id)).order_by(tasks.c.id.desc())
        last = func.coalesce(in_order.limit(1).offset(self.thresholds.window - 1).scalar_subquery(), "")
        statement = in_order.where(anywhere, self._is_listed(unordered(tasks.c.facet)), tasks.c.id >= last).limit(limit)
        return list(connection.scalars(statement))

    def _has_shared_ids(self, rows: FromClause) -> ColumnElement[bool]:
        return and_(true(), *(rows.c[name] == value for name, value in self.shared.items()))

    def _select_facets(self) -> Select[tuple[int]]:
        return select(facets.c.facet).where(*self.facets, facets.c.tasks > 0)

    def _is_listed(self, facet: ColumnElement[int]) -> ColumnElement[bool]:
        return facet.in_(self._select_facets()) if self.facets else facet.is_not(None)

    def _count_by_facets(self, connection: Connection) -> int:
        """Returns the number of tasks in the selected facets."""
        return int(connection.scalar(select(func.sum(facets.c.tasks)).where(true(), *self.facets)) or 0)

    @staticmethod
    def _count_up_to(connection: Connection, number: int, condition: ColumnElement[bool]) -> int:
        """Returns how many tasks match, at most `number`."""
        some = select(literal(1).label("one")).select_from(tasks).where(condition).limit(number).subquery()
        return int(connection.execute(select(func.count()).select_from(some)).scalar_one())
