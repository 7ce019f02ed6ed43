"""Epochs: what a ledger that was restored from a backup gives out is never confused with what the lost one had given out.

A restored ledger does not know how far the lost one went. So at each restore a new epoch begins. Its number is made of the time, so
that it is greater than any version that was given before, in whichever ledger that grew from the same backup; versions, and with
them ids and sequences of events, go on from it. Positions, and ids that people and programs see, go on from the time too.

A number is four for each second since 2026: a task would have to change four times a second, from one restore to the next, to reach
the next epoch. It stays below 2**31 until 2043, which is as far as an integer of CloudEvents goes.
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
#: How far an epoch is behind one of a moment ago: no more than must be, or a restore elsewhere would come before this one.
#: And how far behind one that by the clock is yet to come: the clock was set back.
_MIN_STEP, _CLOCK_BACK_STEP = 1_000, 1_000_000
#: So many tasks are asked about in a second after a restore, so that the vendors' quotas are left to others.
_INSPECTIONS_PER_S = 10
#: Inbox rows that wait for a call, a part of which may have been made: they are marked, and the vendor is asked first.
_DOUBTED = (inbox.START, inbox.STOP, inbox.UPDATE, inbox.SUCCESSION)
#: Rows that say nothing any more: deadlines are found again, and what was to be tried at once is asked about.
_OBSOLETE = (inbox.DEADLINE, inbox.RETRY)
_POSTINGS_PER_INSERT = 500
#: How long before the end of its lease a call was sent, ms (`workers.call.call_attempt`).
_LEASE_MS = 30_000


@dataclass(frozen=True, slots=True, kw_only=True)
class HighWaterMark:
    """How far a ledger went: its epoch, and its newest position."""

    epoch: int
    position: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NewEpoch:
    """A new epoch. asked: of how many tasks it will be asked how they stand."""

    number: int
    to_inspect: int


def current(connection: Connection) -> int:
    """The number of the epoch; 0: the ledger was never restored."""
    return _read_value(connection, _NUMBER)


def high_water_mark(connection: Connection) -> HighWaterMark:
    return HighWaterMark(epoch=current(connection), position=positions.newest(connection))


def resume_position(connection: Connection, after: int) -> int:
    """Where a reader who asks for what is behind a position goes on.

    A position that this ledger never gave was given by the one that was lost: its reader goes on where the epoch begins.
    """
    begin = _read_value(connection, _POSITION)
    if not begin or after <= begin or connection.scalar(select(events_table.c.id).where(events_table.c.id == after)) is not None:
        return after
    return begin


def begin(connection: Connection, now: int, *, beyond: Sequence[HighWaterMark] = ()) -> NewEpoch:
    """Opens a new epoch. Nothing else may use the ledger. now: ms. beyond: of ledgers whose ids must not be repeated either."""
    known = [*beyond, high_water_mark(connection)]
    number = _next_number(now, max(each.epoch for each in known))
    position = max(positions.first_position(now + 1000), *(each.position + (1 << 20) for each in known))
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
    """Ids that tables give by counting go on from here. On PostgreSQL those of large tables are made of the time anyway."""
    for table in metadata.sorted_tables:
        if not table.c[0].autoincrement or table.c[0].name != "id" or table.name in ("tasks", "events", "subscriptions"):
            continue
        if not postgresql.is_postgresql(connection):
            connection.execute(text("DELETE FROM sqlite_sequence WHERE name = :name AND seq < :to"), {"name": table.name, "to": to})
            there = connection.scalar(text("SELECT count(*) FROM sqlite_sequence WHERE name = :name"), {"name": table.name})
            if not there:
                connection.execute(
                    text("INSERT INTO sqlite_sequence (name, seq) VALUES (:name, :to)"), {"name": table.name, "to": to}
                )
        elif table.name not in postgresql.PARTITIONED:
            sequence = f"pg_get_serial_sequence('{table.name}', 'id')"
            connection.execute(text(f"SELECT setval({sequence}, greatest(nextval({sequence}), :to))"), {"to": to})


def _mark_doubted(connection: Connection) -> None:
    """Of what was asked for and not applied: it may have been done since."""
    waiting = inbox_table.c.applied_at.is_(None)
    void = select(inbox_table.c.id).where(waiting, inbox_table.c.kind.in_(_OBSOLETE))
    inbox.drop(connection, list(connection.scalars(void)))
    doubted = select(inbox_table.c.id, inbox_table.c.payload).where(waiting, inbox_table.c.kind.in_(_DOUBTED))
    for row in connection.execute(doubted).all():
        payload = json.dumps({**json.loads(row.payload), "doubted": True})
        connection.execute(update(inbox_table).where(inbox_table.c.id == row.id).values(payload=payload))


def _drop_calls(connection: Connection) -> dict[str, int]:
    """Takes away all calls; task -> when its start was sent, or was to be, ms."""
    starts = select(effects_table).where(effects_table.c.operation == "start")
    sent = {row["task_id"]: _sent_at(row) for row in connection.execute(starts).mappings()}
    effects.drop_all(connection)
    return sent


def _sent_at(row: Any) -> int:
    lease = row["lease_until"]
    return int(row["due_at"] if lease is None else lease - _LEASE_MS)


def _post_inspections(connection: Connection, now: int, sent: dict[str, int]) -> int:
    """Has each task looked at that lives or wants something, first those that want a call, then the rest in turn; how many."""
    asked = 0
    postings = _inspection_postings(connection, now, sent)
    while some := list(islice(postings, _POSTINGS_PER_INSERT)):
        asked += inbox.post_all(connection, inbox.RESTORED, some, now)
    return asked


def _inspection_postings(connection: Connection, now: int, sent: dict[str, int]) -> Iterator[Posting]:
    wants = func.max(case((tasks.c.doc.contains('"calls":{'), 1), else_=0))
    of_tasks = select(deadlines.c.task_id, func.max(deadlines.c.shard).label("shard"), wants.label("wants"))
    statement = of_tasks.join(tasks, tasks.c.id == deadlines.c.task_id).group_by(deadlines.c.task_id).order_by(deadlines.c.task_id)
    turn = 0
    for row in connection.execute(statement).all():
        at_once = bool(row.wants)
        turn += not at_once
        yield Posting(
            key=(row.task_id, str(now)),
            payload={"task_id": row.task_id, "at": now, "sent_at": sent.get(row.task_id)},
            shard=row.shard,
            held_until=None if at_once else now + turn * 1000 // _INSPECTIONS_PER_S,
        )
