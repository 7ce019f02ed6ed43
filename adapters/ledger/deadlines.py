"""Deadlines: found by when they are due, whoever armed them, and however many there are."""

from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy import Connection, bindparam, delete, func, select
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from adapters.ledger.schema import deadlines

#: (task id, kind)
Armed = tuple[str, str]


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


def rearm(connection: Connection, armed: Mapping[str, Mapping[str, int]]) -> None:
    """Makes the rows of these tasks what their deadlines are: task id -> kind -> due at, ms. Mends rows that were left behind."""
    if not armed:
        return
    found = connection.execute(select(deadlines).where(deadlines.c.task_id.in_(list(armed))))
    were = {(task_id, kind): due_at for task_id, kind, due_at in found}
    are = {(task_id, kind): at for task_id, each in armed.items() for kind, at in each.items()}
    drop(connection, were.keys() - are.keys())
    put(connection, dict(are.items() - were.items()))


def drop(connection: Connection, gone: Collection[Armed]) -> None:
    if gone:
        where = (deadlines.c.task_id == bindparam("gone_task")) & (deadlines.c.kind == bindparam("gone_kind"))
        connection.execute(delete(deadlines).where(where), [{"gone_task": task_id, "gone_kind": kind} for task_id, kind in gone])


def put(connection: Connection, armed: Mapping[Armed, int]) -> None:
    """Arms them, or moves them to another time. ms."""
    if armed:
        make: Any = sqlite_insert if connection.dialect.name == "sqlite" else postgresql_insert
        statement = make(deadlines)
        on = [deadlines.c.task_id, deadlines.c.kind]
        rows = [{"task_id": task_id, "kind": kind, "due_at": at} for (task_id, kind), at in armed.items()]
        connection.execute(statement.on_conflict_do_update(index_elements=on, set_={"due_at": statement.excluded.due_at}), rows)
