"""Requested starts that wait in the inbox until a worker creates their tasks.

Per key at most one start may wait, and none while a task of the key is live. Per room there may be only one robot of a given name
(the user id under which the vendor itself enters the room). `post` inserts a start first and then searches for clashes: so the
earlier of two starts is seen, on either database. The caller, who opened the transaction, rolls back on a clash.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, func, or_, select

from adapters.ledger import postgresql
from adapters.ledger.inbox import START, Posting, drop_set_aside, post_all, shard_of, unique_key
from adapters.ledger.lineages import key_hash
from adapters.ledger.schema import inbox, lineages, tasks
from statemachine import on_request
from statemachine.events import StartRequested
from statemachine.states import LIVE, Kind, Reason, State
from statemachine.tasks import Task, TaskKey

#: States in which a task occupies its key and its robot; a finishing task needs neither any more.
_BUSY_STATES = sorted(LIVE - {State.FINISHING})


@dataclass(frozen=True, slots=True, kw_only=True)
class StartRequest:
    """A requested start as it waits in the inbox; its fields are the members of the row's payload."""

    task_id: str
    vendor: str
    app_id: str
    kind: Kind
    action: str
    #: API version; None: the newest.
    version: str | None = None
    params: Mapping[str, Any] = field(repr=False)
    policy: Mapping[str, Any] = field(default_factory=dict, repr=False)
    room_id: str | None = None
    robot: str | None = None
    #: Time of a scheduled start, ms.
    scheduled_at: int | None = None
    #: None: the vendor assigns it.
    vendor_task_id: str | None = None
    family: str
    #: The requester: a token's name, or the part of the program that made it.
    by: str = ""
    renews: str | None = None
    restarts: str | None = None
    restart_count: int = 0
    #: True if it waited in a backup that was restored: its call may or may not have been made since. Only a restore sets it.
    doubted: bool = False

    @property
    def key(self) -> TaskKey:
        """The key of its task; provisional until the vendor's id is known, if the vendor assigns it."""
        chosen = self.vendor_task_id or ""
        key = TaskKey(vendor=self.vendor, app_id=self.app_id, room_id=self.room_id or "", vendor_task_id=chosen, family=self.family)
        return key if self.vendor_task_id is not None else key.provisional_key(self.task_id)


class Clash(StrEnum):
    """Reason why a start is not accepted."""

    #: A task of this key is live, or will be.
    ALREADY_LIVE = "already_live"
    #: A task with this robot is in this room, or will be, or may be.
    ROBOT_IN_USE = "robot_in_use"


def post(connection: Connection, start: StartRequest, now: int) -> tuple[Clash, str] | None:
    """Adds a start to the inbox; returns the clash and the other task's id if there is one: then roll back. now: ms."""
    other = _insert_start(connection, start, now) or _find_live_task(connection, start)
    if other is not None:
        return Clash.ALREADY_LIVE, other
    other = _find_robot_user(connection, start, start.robot) if start.robot is not None else None
    return None if other is None else (Clash.ROBOT_IN_USE, other)


def post_successor(connection: Connection, start: StartRequest, now: int) -> None:
    """Adds the start of a successor to the inbox, without looking for clashes: its predecessor may still be live. now: ms."""
    post_all(connection, START, [_start_posting(start, (start.task_id,))], now)


def _start_posting(start: StartRequest, key: tuple[str, ...]) -> Posting:
    return Posting(
        key=key,
        payload=_payload_of(start),
        vendor=start.vendor,
        app_id=start.app_id,
        task_id=start.task_id,
        shard=shard_of(start.app_id, start.key.vendor_task_id),
    )


def requested_task(connection: Connection, start: StartRequest, at: int) -> Task:
    """Returns the task as it will be once the start is applied. at: when it was requested, ms."""
    task, _ = on_request.requested_task(start.key, event_of(start, at), newest_at=0, now=at)
    return replace(task, run=_next_run(connection, start.key))


def event_of(start: StartRequest, requested_at: int) -> StartRequested:
    """Returns the state machine's event for this request. requested_at: when it was posted, ms."""
    return StartRequested(
        task_id=start.task_id,
        kind=start.kind,
        action=start.action,
        api_version=start.version,
        params=start.params,
        policy=start.policy,
        room_id=start.room_id,
        robot=start.robot,
        scheduled_at=start.scheduled_at,
        requested_at=requested_at,
        by=start.by,
        doubted=start.doubted,
        renews=start.renews,
        restarts=start.restarts,
        restart_count=start.restart_count,
        key=f"start {start.task_id}",
    )


def find_requested(connection: Connection, task_id: str) -> Task | None:
    """Returns the task of a waiting start, as it will be once the start is applied."""
    statement = select(inbox.c.payload, inbox.c.received_at).where(inbox.c.task_id == task_id, *_is_waiting_start())
    row = connection.execute(statement).first()
    return None if row is None else requested_task(connection, request_of(json.loads(row.payload)), row.received_at)


def request_of(doc: Mapping[str, Any]) -> StartRequest:
    """Returns the start that a row's payload describes."""
    known = {field_.name: doc[field_.name] for field_ in fields(StartRequest) if field_.name in doc}
    return StartRequest(**{**known, "kind": Kind(doc["kind"])})


def _payload_of(start: StartRequest) -> dict[str, Any]:
    return {field_.name: getattr(start, field_.name) for field_ in fields(StartRequest) if field_.name != "doubted"}


def _is_waiting_start() -> tuple[ColumnElement[bool], ...]:
    return inbox.c.kind == START, inbox.c.applied_at.is_(None)


def _insert_start(connection: Connection, start: StartRequest, now: int) -> str | None:
    """Inserts a start; returns the task id of the start that already waits under the same key, if any."""
    key = start.key
    parts = (start.task_id,) if key.is_provisional else (key.vendor, key.app_id, key.room_id, key.vendor_task_id, key.family)
    posting = _start_posting(start, parts)
    same = inbox.c.dedupe_key == unique_key(START, *parts)
    while post_all(connection, START, [posting], now) == 0:
        other = connection.scalar(select(inbox.c.task_id).where(same, *_is_waiting_start()))
        if other is not None:
            return str(other)
        drop_set_aside(connection, START, parts)  # otherwise the other start was applied meanwhile
    return None


def _find_live_task(connection: Connection, start: StartRequest) -> str | None:
    statement = select(tasks.c.id).where(_has_key(start.key), tasks.c.state.in_(_BUSY_STATES))
    return connection.scalar(statement.order_by(tasks.c.run.desc()).limit(1))


def _next_run(connection: Connection, key: TaskKey) -> int:
    return (connection.scalar(select(func.max(tasks.c.run)).where(_has_key(key))) or 0) + 1


def _has_key(key: TaskKey) -> ColumnElement[bool]:
    """Selects tasks of a key, without merged ones."""
    lineage = select(lineages.c.id).where(lineages.c.key_hash == key_hash(key)).scalar_subquery()
    return and_(tasks.c.lineage_id == lineage, tasks.c.merged_into.is_(None))


def _find_robot_user(connection: Connection, start: StartRequest, robot: str) -> str | None:
    """Returns the task that has this robot in this room.

    Waiting starts are read first: a worker may turn one into a task meanwhile.
    """
    _lock_robot(connection, start, robot)
    return _waiting_with_robot(connection, start, robot) or _task_with_robot(connection, start, robot)


def _lock_robot(connection: Connection, start: StartRequest, robot: str) -> None:
    """Serializes starts with this robot in this room: two that cannot see each other yet would both pass.

    SQLite has only one writer anyway.
    """
    if postgresql.is_postgresql(connection):
        postgresql.lock(connection, unique_key(start.vendor, start.app_id, start.room_id or "", robot).hex())


def _waiting_with_robot(connection: Connection, start: StartRequest, robot: str) -> str | None:
    of_app = (inbox.c.vendor == start.vendor, inbox.c.app_id == start.app_id, inbox.c.task_id != start.task_id)
    position = func.instr if connection.dialect.name == "sqlite" else func.strpos
    names_it = position(inbox.c.payload, json.dumps(robot)) > 0
    statement = select(inbox.c.payload).where(*_is_waiting_start(), *of_app, names_it).order_by(inbox.c.id)
    for payload in connection.scalars(statement):
        other = request_of(json.loads(payload))
        if (other.room_id, other.robot) == (start.room_id, robot):
            return other.task_id
    return None


def _task_with_robot(connection: Connection, start: StartRequest, robot: str) -> str | None:
    in_room = (
        tasks.c.robot == robot,
        tasks.c.vendor == start.vendor,
        tasks.c.app_id == start.app_id,
        tasks.c.room_id == start.room_id,
        tasks.c.merged_into.is_(None),
    )
    unknown = and_(tasks.c.state == State.FAILED, tasks.c.reason == Reason.START_UNKNOWN)
    statement = select(tasks.c.id).where(*in_room, or_(tasks.c.state.in_(_BUSY_STATES), unknown))
    return connection.scalar(statement.order_by(tasks.c.id.desc()).limit(1))
