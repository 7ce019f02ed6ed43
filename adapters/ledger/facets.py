"""Facets: combinations of the task properties that have few values and can be filtered by, with their numbers of tasks.

A facet's number is a hash of its values, so that a task can be saved without a look-up of its facet.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from sqlalchemy import Connection, func, select

from adapters.ledger import bulk
from adapters.ledger.inbox import unique_key
from adapters.ledger.schema import facets
from statemachine.states import Anomaly, Kind, Origin, Reason, State
from statemachine.tasks import Task

#: Number of cached facets: they are few and needed at every change of a task; computing one with its number takes 6 us.
_CACHE_SIZE = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Facet:
    """The values of one facet; the columns of `facets`."""

    vendor: str
    kind: str
    app_id: str
    origin: str
    state: str
    reason: str
    anomalies: str

    @property
    def parts(self) -> tuple[str, ...]:
        return (self.vendor, self.kind, self.app_id, self.origin, self.state, self.reason, self.anomalies)

    @property
    def number(self) -> int:
        """64 bits, signed."""
        return _facet_number(self)


@lru_cache(_CACHE_SIZE)
def _facet_number(facet: Facet) -> int:
    return int.from_bytes(unique_key(*facet.parts)[:8], signed=True)


def facet_of(task: Task) -> Facet | None:
    """Returns the facet of a task; None for a merged task: it is in no list and in no sum."""
    if task.merged_into is not None:
        return None
    key, view = task.key, task.view
    return _cached_facet(key.vendor, task.kind, key.app_id, task.origin, view.state, view.reason, task.anomalies)


@lru_cache(_CACHE_SIZE)
def _cached_facet(
    vendor: str, kind: Kind, app_id: str, origin: Origin, state: State, reason: Reason | None, anomalies: tuple[Anomaly, ...]
) -> Facet:
    return Facet(
        vendor=vendor,
        kind=kind.value,
        app_id=app_id,
        origin=origin.value,
        state=state.value,
        reason=reason.value if reason else "",
        anomalies="".join(slash_delimited(anomaly.value) for anomaly in sorted(anomalies)),
    )


def slash_delimited(anomaly: str) -> str:
    """Returns an anomaly as the column `anomalies` contains it."""
    return f"/{anomaly}/"


def add_counts(connection: Connection, changes: Mapping[Facet, int]) -> None:
    """Adds changes to the facets' numbers of tasks."""
    rows = [
        {"facet": facet.number, **{name: getattr(facet, name) for name in Facet.__slots__}, "tasks": change}
        for facet, change in changes.items()
        if change
    ]
    bulk.upsert(connection, facets, rows, key=("facet",), add=("tasks",))


def by_state(connection: Connection) -> dict[tuple[str, str, str], int]:
    """Returns (vendor, kind, state) -> number of tasks."""
    columns = (facets.c.vendor, facets.c.kind, facets.c.state)
    statement = select(*columns, func.sum(facets.c.tasks)).where(facets.c.tasks > 0).group_by(*columns).order_by(*columns)
    return {(vendor, kind, state): int(tasks) for vendor, kind, state, tasks in connection.execute(statement)}


def by_app(connection: Connection) -> dict[tuple[str, str, str, str], int]:
    """Returns (vendor, app, kind, state) -> number of tasks."""
    columns = (facets.c.vendor, facets.c.app_id, facets.c.kind, facets.c.state)
    statement = select(*columns, func.sum(facets.c.tasks)).where(facets.c.tasks > 0).group_by(*columns)
    return {(vendor, app_id, kind, state): int(tasks) for vendor, app_id, kind, state, tasks in connection.execute(statement)}


def by_anomaly(connection: Connection) -> dict[str, int]:
    """Returns anomaly -> number of tasks that have it."""
    numbers: Counter[str] = Counter()
    for words, tasks in connection.execute(
        select(facets.c.anomalies, facets.c.tasks).where(facets.c.tasks > 0, facets.c.anomalies != "")
    ):
        for word in words.strip("/").split("//"):
            numbers[word] += tasks
    return dict(sorted(numbers.items()))
