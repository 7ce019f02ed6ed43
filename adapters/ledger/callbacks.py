"""Finds what vendors sent, newest first."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, RowMapping, and_, func, select, tuple_

from adapters.ledger.inbox import CALLBACK
from adapters.ledger.schema import inbox


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackFilter:
    """What a callback must be to be listed; None: anything. Times in ms: received in [after, before)."""

    vendor: str | None = None
    verdict: str | None = None
    event_type: str | None = None
    task_id: str | None = None
    received_after: int | None = None
    received_before: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Callback:
    """A callback as it was sent, and what became of it. Times in ms."""

    id: int
    vendor: str
    app_id: str
    event_type: str
    received_at: int
    headers: Mapping[str, str]
    body: bytes
    event_at: int | None
    verdict: str | None
    reason: str | None
    task_id: str | None
    applied_at: int | None
    error: str | None


def find(connection: Connection, callback_id: int) -> Callback | None:
    statement = select(inbox).where(inbox.c.id == callback_id, inbox.c.kind == CALLBACK)
    row = connection.execute(statement).mappings().first()
    return _callback(row) if row is not None else None


def page(connection: Connection, wanted: CallbackFilter, *, before: tuple[int, int] | None, limit: int) -> list[Callback]:
    """Callbacks that pass, newest first, older than (received at, id)."""
    statement = select(inbox).where(_passes(wanted)).order_by(inbox.c.received_at.desc(), inbox.c.id.desc()).limit(limit)
    if before is not None:
        statement = statement.where(tuple_(inbox.c.received_at, inbox.c.id) < before)
    return [_callback(row) for row in connection.execute(statement).mappings()]


def count(connection: Connection, wanted: CallbackFilter) -> int:
    return int(connection.execute(select(func.count()).select_from(inbox).where(_passes(wanted))).scalar_one())


def ids_after(connection: Connection, wanted: CallbackFilter, *, after: int, limit: int) -> list[int]:
    """The ids of callbacks that pass, in order, behind an id."""
    statement = select(inbox.c.id).where(_passes(wanted), inbox.c.id > after).order_by(inbox.c.id).limit(limit)
    return list(connection.scalars(statement))


def tasks_of(connection: Connection, ids: Sequence[int]) -> dict[int, str]:
    """The tasks that callbacks concerned when they were applied; without those that concerned none."""
    statement = select(inbox.c.id, inbox.c.task_id).where(inbox.c.id.in_(ids), inbox.c.task_id.is_not(None))
    return {row.id: row.task_id for row in connection.execute(statement)}


def _passes(wanted: CallbackFilter) -> ColumnElement[bool]:
    conditions: list[ColumnElement[bool]] = [inbox.c.kind == CALLBACK]
    for name in ("vendor", "verdict", "event_type", "task_id"):
        value = getattr(wanted, name)
        if value is not None:
            conditions.append(inbox.c[name] == value)
    if wanted.verdict is not None and wanted.verdict != "applied":
        conditions.append(inbox.c.verdict != "applied")  # names the partial index
    if wanted.received_after is not None:
        conditions.append(inbox.c.received_at >= wanted.received_after)
    if wanted.received_before is not None:
        conditions.append(inbox.c.received_at < wanted.received_before)
    return and_(*conditions)


def _callback(row: RowMapping) -> Callback:
    values: dict[str, Any] = {name: row[name] for name in Callback.__slots__}
    values["headers"] = json.loads(str(row["headers"] or "{}"))
    return Callback(**values)
