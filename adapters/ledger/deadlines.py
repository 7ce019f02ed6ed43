"""Deadlines of tasks, found by the time when they are due."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from adapters.ledger import bulk
from adapters.ledger.schema import deadlines

#: (task id, kind)
DeadlineId = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class DueDeadline:
    """A deadline that is due. due_at: ms."""

    task_id: str
    kind: str
    due_at: int
    shard: int


def due(connection: Connection, now: int, limit: int, shards: Collection[int] | None = None) -> list[DueDeadline]:
    """Returns the due deadlines, the most overdue first. now: ms. shards: only deadlines of these."""
    statement = select(deadlines).where(deadlines.c.due_at <= now).order_by(deadlines.c.due_at).limit(limit)
    if shards is not None:
        statement = statement.where(deadlines.c.shard.in_(shards))
    return [DueDeadline(**row) for row in connection.execute(statement).mappings()]


def overdue(connection: Connection, now: int) -> tuple[int, int | None]:
    """Returns (number of deadlines that are due and not processed, when the oldest was due, ms)."""
    statement = select(func.count(), func.min(deadlines.c.due_at)).where(deadlines.c.due_at <= now)
    count, oldest = connection.execute(statement).one()
    return count, oldest


def rearm(connection: Connection, armed: Mapping[str, Mapping[str, tuple[int, int]]]) -> None:
    """Replaces the rows of these tasks: task id -> kind -> (due at, ms; shard). Repairs rows that were left over."""
    if not armed:
        return
    rows = connection.execute(select(deadlines).where(deadlines.c.task_id.in_(list(armed))))
    before = {(row.task_id, row.kind): (row.due_at, row.shard) for row in rows}
    after = {(task_id, kind): due for task_id, by_kind in armed.items() for kind, due in by_kind.items()}
    disarm(connection, before.keys() - after.keys())
    arm(connection, dict(after.items() - before.items()))


def disarm(connection: Connection, gone: Collection[DeadlineId]) -> None:
    bulk.delete(connection, deadlines, [{"task_id": task_id, "kind": kind} for task_id, kind in gone])


def arm(connection: Connection, armed: Mapping[DeadlineId, tuple[int, int]]) -> None:
    """Arms deadlines, or moves them to another time: (due at, ms; shard)."""
    rows = [{"task_id": task_id, "kind": kind, "due_at": at, "shard": shard} for (task_id, kind), (at, shard) in armed.items()]
    bulk.upsert(connection, deadlines, rows, key=("task_id", "kind"), put=("due_at", "shard"))
