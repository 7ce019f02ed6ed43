"""Finds tasks that may be the same: a start of ours whose vendor id is unknown, and a task that callbacks reported under its id."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, and_, or_, select

from adapters.ledger.lineages import read_tasks, select_tasks
from adapters.ledger.schema import effects, tasks
from statemachine.rules import CLOCK_SKEW_MS
from statemachine.states import Origin, Reason, State
from statemachine.tasks import Task, TaskKey, earliest_id

#: A robot of the same name that appears later than this after the start was given up belongs to another task, ms.
_ROBOT_GRACE_MS = 3_600_000
_WAITING_STATES = (State.REQUESTED, State.STOPPING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Robot:
    """A user that the vendor itself sent into a room. at: when it was first seen there, ms."""

    vendor: str
    app_id: str
    room_id: str | None
    name: str
    at: int


def starts_of_robots(connection: Connection, robots: Sequence[Robot]) -> Mapping[Robot, TaskKey]:
    """Returns robot -> key of the start without a vendor id that sent it.

    Starts with a call in flight are left out.
    """
    if not robots:
        return {}
    on_the_wire = select(effects.c.id).where(effects.c.task_id == tasks.c.id, effects.c.lease_until.is_not(None)).exists()
    starts = _tasks_where(connection, tasks.c.robot.in_({robot.name for robot in robots}), _has_no_id(), ~on_the_wire)
    keys = {}
    for robot in robots:
        for task in starts:
            if _is_sent_by(robot, task):
                keys[robot] = task.key
    return keys


def _has_no_id() -> ColumnElement[bool]:
    """Selects managed tasks whose vendor id is unknown and may yet arrive: live ones, and those whose start is uncertain."""
    unknown = and_(tasks.c.state == State.FAILED, tasks.c.reason == Reason.START_UNKNOWN)
    return and_(
        tasks.c.vendor_task_id == "",
        tasks.c.origin == Origin.MANAGED,
        tasks.c.merged_into.is_(None),
        or_(tasks.c.state.in_(_WAITING_STATES), unknown),
    )


def _is_sent_by(robot: Robot, task: Task) -> bool:
    if (robot.vendor, robot.app_id, robot.room_id, robot.name) != (
        task.key.vendor,
        task.key.app_id,
        task.view.room_id,
        task.view.robot,
    ):
        return False
    given_up_at = task.view.ended_at
    in_time = given_up_at is None or robot.at <= given_up_at + _ROBOT_GRACE_MS
    return in_time and robot.at >= task.created_at - CLOCK_SKEW_MS


def observed_matches(connection: Connection, task: Task) -> list[Task]:
    """Returns tasks that callbacks reported since this start, with its robot in its room, the newest first."""
    if task.view.robot is None:
        return []
    observed = _tasks_where(
        connection,
        tasks.c.robot == task.view.robot,
        tasks.c.vendor == task.key.vendor,
        tasks.c.app_id == task.key.app_id,
        tasks.c.room_id == task.view.room_id,
        _is_observed(),
        tasks.c.id >= earliest_id(task.created_at - CLOCK_SKEW_MS),
    )
    return sorted(observed, key=lambda task: task.id, reverse=True)


def _is_observed() -> ColumnElement[bool]:
    return and_(tasks.c.origin == Origin.OBSERVED, tasks.c.vendor_task_id != "", tasks.c.merged_into.is_(None))


def observed_between(connection: Connection, task: Task, since: int, until: int) -> list[Task]:
    """Returns tasks of its app and kind that callbacks reported and that began in [since, until) (ms)."""
    of_app = (tasks.c.vendor == task.key.vendor, tasks.c.app_id == task.key.app_id, tasks.c.kind == task.kind)
    observed = _tasks_where(connection, *of_app, _is_observed(), tasks.c.id >= earliest_id(since - CLOCK_SKEW_MS))
    return [other for other in observed if since <= other.view.begins_at < until]


def starts_without_id(connection: Connection, task: Task) -> list[Task]:
    """Returns starts of its app and kind whose vendor ids are unknown, itself included."""
    of_app = (tasks.c.vendor == task.key.vendor, tasks.c.app_id == task.key.app_id, tasks.c.kind == task.kind)
    return _tasks_where(connection, *of_app, _has_no_id())


def _tasks_where(connection: Connection, *conditions: ColumnElement[bool]) -> list[Task]:
    return read_tasks(connection, select_tasks().where(*conditions))
