"""Positions of events: whoever reads on from one misses nothing.

A position is taken from one row, which stays locked until the transaction that took it has ended: the next one is given only when
all before it can be seen (on SQLite there is but one writer anyway). It begins with the second of its event, so that it also tells
the time; where clocks disagree, or were set back, it goes on from the one before. Positions that are far ahead of the time of their
events, because a clock was far ahead before, are *strays*: whoever looks for a time looks among them too. A position fits a number
of JavaScript (below 2**53) until the year 2242.
"""

from dataclasses import dataclass

from sqlalchemy import Connection, case, select, update
from sqlalchemy.dialects import postgresql, sqlite

from adapters.ledger import bulk
from adapters.ledger.schema import counters

#: Bits of a position below the seconds.
_NUMBER_BITS = 20
_NAME, _LABEL = "position", "events"
_FIRST_STRAY, _LAST_STRAY = "first stray", "last stray"
#: So far ahead of its event's time may a position be that is no stray, ms.
AHEAD_MS = 24 * 3_600_000


def first_position(ms: int) -> int:
    """No event of this moment (ms) or a later one has a position that is less."""
    return ms // 1000 << _NUMBER_BITS


def allocate(connection: Connection, number: int, at: int) -> range:
    """So many positions for events of this moment (ms) or before. Others wait for theirs until the transaction has ended."""
    make = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    first = first_position(at)
    given = make(counters).values(name=_NAME, label=_LABEL, value=first + number)
    there = counters.c.value
    grown = given.on_conflict_do_update(
        index_elements=[counters.c.name, counters.c.label],
        set_={"value": case((there > first, there), else_=first) + number},
    )
    last = connection.execute(grown.returning(there)).scalar_one()
    given_now = range(last - number + 1, last + 1)
    if at and given_now[-1] >= first_position(at + AHEAD_MS):
        _record_strays(connection, given_now)
    return given_now


def _record_strays(connection: Connection, given: range) -> None:
    """Nobody else does at the same time: the row of positions is locked."""
    first = {"name": _NAME, "label": _FIRST_STRAY, "value": given[0]}
    bulk.insert_new(connection, counters, [first], key=("name", "label"))
    bulk.upsert(connection, counters, [{**first, "label": _LAST_STRAY, "value": given[-1]}], key=("name", "label"), put=("value",))


def advance(connection: Connection, to: int) -> None:
    """The next position is behind this one."""
    allocate(connection, 1, 0)  # so that there is a row, and nobody else takes one before we have ended
    of_events = (counters.c.name == _NAME, counters.c.label == _LABEL, counters.c.value < to)
    connection.execute(update(counters).where(*of_events).values(value=to))


def newest(connection: Connection) -> int:
    """The position of the newest event; 0 if there is none."""
    statement = select(counters.c.value).where(counters.c.name == _NAME, counters.c.label == _LABEL)
    return connection.execute(statement).scalar_one_or_none() or 0


@dataclass(frozen=True, slots=True)
class Strays:
    """Positions among which strays lie: those of [first, last]. 0, 0: there are none."""

    first: int = 0
    last: int = 0


def strays(connection: Connection) -> Strays:
    of_strays = (counters.c.name == _NAME, counters.c.label.in_((_FIRST_STRAY, _LAST_STRAY)))
    found = {row.label: row.value for row in connection.execute(select(counters.c.label, counters.c.value).where(*of_strays))}
    return Strays(found.get(_FIRST_STRAY, 0), found.get(_LAST_STRAY, 0))
