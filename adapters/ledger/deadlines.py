"""Deadlines: found by when they are due, whoever armed them, and however many there are."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from adapters.ledger import bulk
from adapters.ledger.schema import deadlines

#: (task id, kind)
DeadlineId = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class DueDeadline:
    """A deadline. due_at: ms."""

    task_id: str
    kind: str
    due_at: int
    shard: int


def due(connection: Connection, now: int, limit: int, shards: Collection[int] | None = None) -> list[DueDeadline]:
    """The deadlines that are due, the most overdue first. now: ms. shards: only of these."""
    statement = select(deadlines).where(deadlines.c.due_at <= now).order_by(deadlines.c.due_at).limit(limit)
    if shards is not None:
        statement = statement.where(deadlines.c.shard.in_(shards))
    return [DueDeadline(**row) for row in connection.execute(statement).mappings()]


def overdue(connection: Connection, now: int) -> tuple[int, int | None]:
    """(how many deadlines are due and have not passed, when the oldest was due)"""
    statement = select(func.count(), func.min(deadlines.c.due_at)).where(deadlines.c.due_at <= now)
    count, oldest = connection.execute(statement).one()
    return count, oldest


def rearm(connection: Connection, armed: Mapping[str, Mapping[str, tuple[int, int]]]) -> None:
    """Makes the rows of these tasks what their deadlines are: task id -> kind -> (due at, ms; shard).

    Mends rows that were left behind.
    """
    if not armed:
        return
    found = connection.execute(select(deadlines).where(deadlines.c.task_id.in_(list(armed))))
    were = {(row.task_id, row.kind): (row.due_at, row.shard) for row in found}
    are = {(task_id, kind): due for task_id, each in armed.items() for kind, due in each.items()}
    disarm(connection, were.keys() - are.keys())
    arm(connection, dict(are.items() - were.items()))


def disarm(connection: Connection, gone: Collection[DeadlineId]) -> None:
    bulk.delete(connection, deadlines, [{"task_id": task_id, "kind": kind} for task_id, kind in gone])


def arm(connection: Connection, armed: Mapping[DeadlineId, tuple[int, int]]) -> None:
    """Arms them, or moves them to another time: (due at, ms; shard)."""
    rows = [{"task_id": task_id, "kind": kind, "due_at": at, "shard": shard} for (task_id, kind), (at, shard) in armed.items()]
    bulk.upsert(connection, deadlines, rows, key=("task_id", "kind"), put=("due_at", "shard"))
