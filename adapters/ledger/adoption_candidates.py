"""Finds tasks that may be one: a start of ours whose id nobody told us, and what callbacks told of under an id of its own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, and_, or_, select

from adapters.ledger.documents import task_of
from adapters.ledger.schema import effects, lineages, tasks
from statemachine.states import Origin, Reason, State
from statemachine.tasks import Task, TaskKey, earliest_id

#: Our clock and the vendor's may differ by this much, ms.
_SKEW_MS = 5_000
#: What a robot of the same name does so long after its start was given up is somebody else's, ms.
_ROBOT_GRACE_MS = 3_600_000
_WAITING_STATES = (State.REQUESTED, State.STOPPING)
_KEY = (lineages.c.vendor, lineages.c.app_id, lineages.c.room_id, lineages.c.vendor_task_id, lineages.c.family)


@dataclass(frozen=True, slots=True, kw_only=True)
class Robot:
    """Somebody whom the vendor itself sent into a room. at: when it was first seen there, ms."""

    vendor: str
    app_id: str
    room_id: str | None
    name: str
    at: int


def starts_of_robots(connection: Connection, robots: Sequence[Robot]) -> Mapping[Robot, TaskKey]:
    """robot -> the key of the start that sent it and does not know its id yet; not while a call of that start is on the wire."""
    if not robots:
        return {}
    on_the_wire = select(effects.c.id).where(effects.c.task_id == tasks.c.id, effects.c.lease_until.is_not(None)).exists()
    found = _tasks(connection, tasks.c.robot.in_({robot.name for robot in robots}), _has_no_id(), ~on_the_wire)
    keys = {}
    for robot in robots:
        for task in found:
            if _is_sent_by(robot, task):
                keys[robot] = task.key
    return keys


def _has_no_id() -> ColumnElement[bool]:
    """Managed tasks whose id is not known and may yet be: live ones, and those of which nobody knows whether they run."""
    unknown = and_(tasks.c.state == State.FAILED, tasks.c.reason == Reason.START_UNKNOWN)
    return and_(
        tasks.c.vendor_task_id == "",
        tasks.c.origin == Origin.MANAGED,
        tasks.c.merged_into.is_(None),
        or_(tasks.c.state.in_(_WAITING_STATES), unknown),
    )


def _is_sent_by(robot: Robot, task: Task) -> bool:
    there = (task.key.vendor, task.key.app_id, task.view.room_id, task.view.robot)
    given_up_at = task.view.ended_at
    in_time = given_up_at is None or robot.at <= given_up_at + _ROBOT_GRACE_MS
    return there == (robot.vendor, robot.app_id, robot.room_id, robot.name) and robot.at >= task.created_at - _SKEW_MS and in_time


def observed_matches(connection: Connection, task: Task) -> list[Task]:
    """What callbacks told of since this start, with its robot in its room: the newest first."""
    if task.view.robot is None:
        return []
    found = _tasks(
        connection,
        tasks.c.robot == task.view.robot,
        tasks.c.vendor == task.key.vendor,
        tasks.c.app_id == task.key.app_id,
        tasks.c.room_id == task.view.room_id,
        _is_observed(),
        tasks.c.id >= earliest_id(task.created_at - _SKEW_MS),
    )
    return sorted(found, key=lambda each: each.id, reverse=True)


def _is_observed() -> ColumnElement[bool]:
    return and_(tasks.c.origin == Origin.OBSERVED, tasks.c.vendor_task_id != "", tasks.c.merged_into.is_(None))


def observed_between(connection: Connection, task: Task, since: int, until: int) -> list[Task]:
    """Tasks of its app and kind of which callbacks told, and that began between these times (ms): `until` not included."""
    of_app = (tasks.c.vendor == task.key.vendor, tasks.c.app_id == task.key.app_id, tasks.c.kind == task.kind)
    found = _tasks(connection, *of_app, _is_observed(), tasks.c.id >= earliest_id(since - _SKEW_MS))
    return [each for each in found if since <= each.view.begins_at < until]


def starts_without_id(connection: Connection, task: Task) -> list[Task]:
    """Starts of its app and kind whose ids nobody knows, itself included."""
    of_app = (tasks.c.vendor == task.key.vendor, tasks.c.app_id == task.key.app_id, tasks.c.kind == task.kind)
    return _tasks(connection, *of_app, _has_no_id())


def _tasks(connection: Connection, *wanted: ColumnElement[bool]) -> list[Task]:
    statement = select(tasks.c.doc, *_KEY).join(lineages, lineages.c.id == tasks.c.lineage_id).where(*wanted)
    found = []
    for doc, vendor, app_id, room_id, vendor_task_id, family in connection.execute(statement):
        key = TaskKey(vendor=vendor, app_id=app_id, room_id=room_id, vendor_task_id=vendor_task_id, family=family)
        found.append(task_of(key, doc))
    return found
