"""Positions of events: whoever reads on from one misses nothing.

A position is taken from one row, which stays locked until the transaction that took it has ended: the next one is given only when
all before it can be seen (on SQLite there is but one writer anyway). It begins with the second of its event, so that it also tells
the time; where clocks disagree, or were set back, it goes on from the one before. It fits a number of JavaScript (below 2**53)
until the year 2242.
"""

from sqlalchemy import Connection, case, select, update
from sqlalchemy.dialects import postgresql, sqlite

from adapters.ledger.schema import counters

#: Bits of a position below the seconds.
_NUMBER_BITS = 20
_NAME, _LABEL = "position", "events"


def first_position(ms: int) -> int:
    """No event of this moment (ms) or a later one has a position that is less."""
    return ms // 1000 << _NUMBER_BITS


def take(connection: Connection, number: int, at: int) -> range:
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
    return range(last - number + 1, last + 1)


def advance(connection: Connection, to: int) -> None:
    """The next position is behind this one."""
    take(connection, 1, 0)  # so that there is a row, and nobody else takes one before we have ended
    of_events = (counters.c.name == _NAME, counters.c.label == _LABEL, counters.c.value < to)
    connection.execute(update(counters).where(*of_events).values(value=to))


def newest(connection: Connection) -> int:
    """The position of the newest event; 0 if there is none."""
    statement = select(counters.c.value).where(counters.c.name == _NAME, counters.c.label == _LABEL)
    return connection.execute(statement).scalar_one_or_none() or 0
