"""Positions of events: a reader that continues from one misses no event.

Positions are allocated from one row, which stays locked until the transaction ends: the next one is allocated only when all before
it are visible (on SQLite there is only one writer anyway). A position begins with the second of its event, so that it also tells
the time; where clocks disagree, or were set back, it continues from the one before. Positions that are far ahead of the time of
their events, because a clock was far ahead before, are *strays*: a search by time looks among them too. A position fits a
JavaScript number (below 2**53) until the year 2242.
"""

from dataclasses import dataclass

from sqlalchemy import Connection, case, select, update
from sqlalchemy.dialects import postgresql, sqlite

from adapters.ledger import bulk
from adapters.ledger.schema import counters

#: Number of bits of a position below its seconds.
_NUMBER_BITS = 20
_NAME, _LABEL = "position", "events"
_FIRST_STRAY, _LAST_STRAY = "first stray", "last stray"
#: A position that is further ahead of its event's time is a stray, ms.
AHEAD_MS = 24 * 3_600_000


def first_position(ms: int) -> int:
    """Returns a lower bound: no event of this time (ms) or later has a smaller position."""
    return ms // 1000 << _NUMBER_BITS


def allocate(connection: Connection, number: int, at: int) -> range:
    """Allocates `number` positions for events of the time `at` (ms) or before. Other transactions wait until this one ends."""
    make = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    first = first_position(at)
    inserted = make(counters).values(name=_NAME, label=_LABEL, value=first + number)
    current = counters.c.value
    increased = inserted.on_conflict_do_update(
        index_elements=[counters.c.name, counters.c.label],
        set_={"value": case((current > first, current), else_=first) + number},
    )
    last = connection.execute(increased.returning(current)).scalar_one()
    allocated = range(last - number + 1, last + 1)
    if at and allocated[-1] >= first_position(at + AHEAD_MS):
        _record_strays(connection, allocated)
    return allocated


def _record_strays(connection: Connection, allocated: range) -> None:
    """Widens the recorded range of strays. No other transaction does so at the same time: the row of positions is locked."""
    first = {"name": _NAME, "label": _FIRST_STRAY, "value": allocated[0]}
    last = {**first, "label": _LAST_STRAY, "value": allocated[-1]}
    bulk.insert_new(connection, counters, [first], key=("name", "label"))
    bulk.upsert(connection, counters, [last], key=("name", "label"), put=("value",))


def advance(connection: Connection, to: int) -> None:
    """Makes all later positions greater than `to`."""
    allocate(connection, 1, 0)  # creates the row, and makes other transactions wait until this one ends
    of_events = (counters.c.name == _NAME, counters.c.label == _LABEL, counters.c.value < to)
    connection.execute(update(counters).where(*of_events).values(value=to))


def newest(connection: Connection) -> int:
    """Returns the position of the newest event; 0: there is none."""
    statement = select(counters.c.value).where(counters.c.name == _NAME, counters.c.label == _LABEL)
    return connection.execute(statement).scalar_one_or_none() or 0


@dataclass(frozen=True, slots=True)
class Strays:
    """The range [first, last] of positions that contains all strays; 0, 0: there are none."""

    first: int = 0
    last: int = 0


def strays(connection: Connection) -> Strays:
    of_strays = (counters.c.name == _NAME, counters.c.label.in_((_FIRST_STRAY, _LAST_STRAY)))
    bounds = {row.label: row.value for row in connection.execute(select(counters.c.label, counters.c.value).where(*of_strays))}
    return Strays(bounds.get(_FIRST_STRAY, 0), bounds.get(_LAST_STRAY, 0))
