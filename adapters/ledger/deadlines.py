"""Deadlines: found by when they are due, whoever armed them, and however many there are."""

from collections.abc import Mapping

from sqlalchemy import Connection, delete, func, insert, select

from adapters.ledger.schema import deadlines


def due(connection: Connection, now: int, limit: int) -> list[tuple[str, str, int]]:
    """(task id, kind, due at) of the deadlines that are due, the most overdue first. ms."""
    statement = (
        select(deadlines.c.task_id, deadlines.c.kind, deadlines.c.due_at)
        .where(deadlines.c.due_at <= now)
        .order_by(deadlines.c.due_at)
        .limit(limit)
    )
    return [(task_id, kind, due_at) for task_id, kind, due_at in connection.execute(statement)]


def overdue(connection: Connection, now: int) -> tuple[int, int | None]:
    """(how many deadlines are due and have not passed, when the oldest was due)"""
    statement = select(func.count(), func.min(deadlines.c.due_at)).where(deadlines.c.due_at <= now)
    count, oldest = connection.execute(statement).one()
    return count, oldest


def rearm(connection: Connection, task_id: str, armed: Mapping[str, int]) -> None:
    """Makes the rows of a task what its deadlines are: kind -> due at, ms. Mends rows that were left behind."""
    connection.execute(delete(deadlines).where(deadlines.c.task_id == task_id))
    rows = [{"task_id": task_id, "kind": kind, "due_at": at} for kind, at in armed.items()]
    if rows:
        connection.execute(insert(deadlines), rows)
