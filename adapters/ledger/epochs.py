"""Epochs: the versions, ids and positions of a restored ledger never collide with those of the lost one.

A restored ledger does not know how far the lost one went. So each restore begins a new epoch. Its number is computed from the time,
so that it is greater than any version assigned before, in any ledger that grew from the same backup; versions, and with them ids
and sequences of events, continue from it. Positions, and ids that people and programs see, continue from the time too.

The number grows by four for each second since 2026: a task would have to change four times a second, from one restore to the next,
to reach the next epoch. It stays below 2**31, the maximum of a CloudEvents integer, until 2043.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from sqlalchemy import Connection, case, delete, func, select, text, update

from adapters.ledger import effects, events, inbox, positions, postgresql
from adapters.ledger.events import SystemEvent
from adapters.ledger.inbox import Posting
from adapters.ledger.schema import counters, deadlines, metadata, subscriptions, tasks
from adapters.ledger.schema import effects as effects_table
from adapters.ledger.schema import events as events_table
from adapters.ledger.schema import inbox as inbox_table

RESTORED_TYPE = "tally.ledger.restored"
_NAME = "epoch"
_NUMBER, _POSITION, _BEGAN = "number", "position", "began_at"
_2026_S = 1_767_225_600
_VERSIONS_PER_S = 4
#: Minimum distance between two epochs: as small as possible, or a restore elsewhere could get a smaller number than this one. And
#: the distance to an epoch that by the clock lies in the future: the clock was set back.
_MIN_STEP, _CLOCK_BACK_STEP = 1_000, 1_000_000
#: Inspections per second after a restore, so that the vendors' quotas suffice for other calls too.
_INSPECTIONS_PER_S = 10
#: Kinds of inbox rows that request a call, which may have been made already: they are marked, and the vendor is queried first.
_DOUBTED = (inbox.START, inbox.STOP, inbox.UPDATE, inbox.SUCCESSION)
#: Kinds of inbox rows that are obsolete: deadlines are found again, and tasks that were to be retried are inspected.
_OBSOLETE = (inbox.DEADLINE, inbox.RETRY)
_POSTINGS_PER_INSERT = 500
#: Duration of a call's lease, ms (`workers.call.call_attempt`): the call was sent this long before its lease ends.
_LEASE_MS = 30_000


@dataclass(frozen=True, slots=True, kw_only=True)
class HighWaterMark:
    """The highest values that a ledger has assigned: its epoch and its newest position."""

    epoch: int
    position: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NewEpoch:
    """A new epoch. to_inspect: number of tasks whose state the vendors will be asked for."""

    number: int
    to_inspect: int


def current(connection: Connection) -> int:
    """Returns the number of the epoch; 0: the ledger was never restored."""
    return _read_value(connection, _NUMBER)


def high_water_mark(connection: Connection) -> HighWaterMark:
    return HighWaterMark(epoch=current(connection), position=positions.newest(connection))


def resume_position(connection: Connection, after: int) -> int:
    """Returns the position from which a reader continues that has read up to `after`.

    A position that this ledger never assigned is the lost ledger's: its reader continues at the beginning of the epoch.
    """
    begin = _read_value(connection, _POSITION)
    if not begin or after <= begin or connection.scalar(select(events_table.c.id).where(events_table.c.id == after)) is not None:
        return after
    return begin


def begin(connection: Connection, now: int, *, beyond: Sequence[HighWaterMark] = ()) -> NewEpoch:
    """Begins a new epoch. Nothing else may use the ledger. now: ms.

    beyond: marks of other ledgers whose ids must not be repeated either.
    """
    marks = [*beyond, high_water_mark(connection)]
    number = _next_number(now, max(mark.epoch for mark in marks))
    position = max(positions.first_position(now + 1000), *(mark.position + (1 << 20) for mark in marks))
    positions.advance(connection, position)
    for label, value in ((_NUMBER, number), (_POSITION, position), (_BEGAN, now)):
        _write_value(connection, _NAME, label, value)
    _advance_ids(connection, positions.first_position(now))
    connection.execute(update(subscriptions).where(subscriptions.c.version < number).values(version=number))
    events.append_system_events(connection, [_restored_event(number, now)])
    _mark_doubted(connection)
    sent = _drop_calls(connection)
    return NewEpoch(number=number, to_inspect=_post_inspections(connection, now, sent))


def _next_number(now: int, before: int) -> int:
    by_time = max(1, now // 1000 - _2026_S) * _VERSIONS_PER_S
    return max(by_time, before + _MIN_STEP) if by_time > before else before + _CLOCK_BACK_STEP


def _restored_event(number: int, now: int) -> SystemEvent:
    about = {"epoch": number}
    return SystemEvent(subject="ledger", version=number, type=RESTORED_TYPE, at=now, data=about, epoch=number)


def _read_value(connection: Connection, label: str) -> int:
    return connection.scalar(select(counters.c.value).where(counters.c.name == _NAME, counters.c.label == label)) or 0


def _write_value(connection: Connection, name: str, label: str, value: int) -> None:
    connection.execute(delete(counters).where(counters.c.name == name, counters.c.label == label))
    connection.execute(counters.insert().values(name=name, label=label, value=value))


def _advance_ids(connection: Connection, to: int) -> None:
    """Advances the counted ids of all tables to `to`. On PostgreSQL the ids of large tables are made of the time anyway."""
    for table in metadata.sorted_tables:
        if not table.c[0].autoincrement or table.c[0].name != "id" or table.name in ("tasks", "events", "subscriptions"):
            continue
        if not postgresql.is_postgresql(connection):
            connection.execute(text("DELETE FROM sqlite_sequence WHERE name = :name AND seq < :to"), {"name": table.name, "to": to})
            exists = connection.scalar(text("SELECT count(*) FROM sqlite_sequence WHERE name = :name"), {"name": table.name})
            if not exists:
                connection.execute(
                    text("INSERT INTO sqlite_sequence (name, seq) VALUES (:name, :to)"), {"name": table.name, "to": to}
                )
        elif table.name not in postgresql.PARTITIONED:
            sequence = f"pg_get_serial_sequence('{table.name}', 'id')"
            connection.execute(text(f"SELECT setval({sequence}, greatest(nextval({sequence}), :to))"), {"to": to})


def _mark_doubted(connection: Connection) -> None:
    """Marks requests that are not applied as doubted: the lost ledger may have made their calls. Deletes obsolete rows."""
    waiting = inbox_table.c.applied_at.is_(None)
    obsolete = select(inbox_table.c.id).where(waiting, inbox_table.c.kind.in_(_OBSOLETE))
    inbox.drop(connection, list(connection.scalars(obsolete)))
    doubted = select(inbox_table.c.id, inbox_table.c.payload).where(waiting, inbox_table.c.kind.in_(_DOUBTED))
    for row in connection.execute(doubted).all():
        payload = json.dumps({**json.loads(row.payload), "doubted": True})
        connection.execute(update(inbox_table).where(inbox_table.c.id == row.id).values(payload=payload))


def _drop_calls(connection: Connection) -> dict[str, int]:
    """Deletes all calls; returns task -> when its start was sent, or was to be sent, ms."""
    starts = select(effects_table).where(effects_table.c.operation == "start")
    sent = {row["task_id"]: _sent_at(row) for row in connection.execute(starts).mappings()}
    effects.drop_all(connection)
    return sent


def _sent_at(row: Any) -> int:
    lease = row["lease_until"]
    return int(row["due_at"] if lease is None else lease - _LEASE_MS)


def _post_inspections(connection: Connection, now: int, sent: dict[str, int]) -> int:
    """Posts an inspection of each task that has a deadline; returns their number.

    Tasks with a pending call come first, the others at `_INSPECTIONS_PER_S`.
    """
    posted = 0
    postings = _inspection_postings(connection, now, sent)
    while batch := list(islice(postings, _POSTINGS_PER_INSERT)):
        posted += inbox.post_all(connection, inbox.RESTORED, batch, now)
    return posted


def _inspection_postings(connection: Connection, now: int, sent: dict[str, int]) -> Iterator[Posting]:
    has_call = func.max(case((tasks.c.doc.contains('"calls":{'), 1), else_=0))
    of_tasks = select(deadlines.c.task_id, func.max(deadlines.c.shard).label("shard"), has_call.label("has_call"))
    statement = of_tasks.join(tasks, tasks.c.id == deadlines.c.task_id).group_by(deadlines.c.task_id).order_by(deadlines.c.task_id)
    turn = 0
    for row in connection.execute(statement).all():
        at_once = bool(row.has_call)
        turn += not at_once
        yield Posting(
            key=(row.task_id, str(now)),
            payload={"task_id": row.task_id, "at": now, "sent_at": sent.get(row.task_id)},
            shard=row.shard,
            held_until=None if at_once else now + turn * 1000 // _INSPECTIONS_PER_S,
        )
