"""Finds the start of ours that a task with an unknown vendor id belongs to: its answer is late, or never came.

A callback of an unknown id is deferred while a start of its app and kind is in flight: the answer may contain the id. Later the
task is matched by robot: the vendor's own user in the room has the name that the start gave it. Where no robot is known, the task
is matched by time: if it is the only one that began within a minute of a single start, it belongs to that start.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from adapters.ledger import Connection, adoption_candidates, effects
from adapters.ledger.adoption_candidates import Robot
from adapters.ledger.inbox import CALLBACK
from adapters.ledger.lineages import StoredLineage
from statemachine.calls import CallOutcome, Operation
from statemachine.events import CallAnswered, CallbackReceived, DeadlinePassed
from statemachine.rules import CLOCK_SKEW_MS, Rules
from statemachine.states import LIVE, Deadline, Kind
from statemachine.tasks import Task, TaskKey
from workers.apply.inbox_decoder import DecodedRow, LineageEvent, kind_of_key
from workers.apply.rules import Rulebook

#: Time that a callback is deferred at most, for the answer that may contain its id, ms.
MAX_DEFERRAL_MS = 15_000

_Stored = Mapping[TaskKey, StoredLineage]


# Deferring.


def rows_to_defer(
    connection: Connection, rows: Sequence[DecodedRow], stored: _Stored, rulebook: Rulebook, now: int
) -> dict[int, int]:
    """Returns row id -> time until which it is deferred, ms: callbacks of unknown ids that a start in flight may explain."""
    unknown = {decoded.row.id: _app_and_family(decoded) for decoded in rows if _can_be_deferred(decoded, stored, rulebook, now)}
    in_flight = effects.starts_in_flight(connection, sorted(set(unknown.values())))
    return {
        decoded.row.id: decoded.row.received_at + MAX_DEFERRAL_MS for decoded in rows if unknown.get(decoded.row.id) in in_flight
    }


def _can_be_deferred(decoded: DecodedRow, stored: _Stored, rulebook: Rulebook, now: int) -> bool:
    row = decoded.row
    if row.kind != CALLBACK or abs(now - row.received_at) >= MAX_DEFERRAL_MS or len(decoded.events) != 1:
        return False
    key = decoded.events[0].key
    return _is_unknown(key, stored) and rulebook.rules_for(key)(kind_of_key(key) or Kind.RECORD, {}).single_run


def _is_unknown(key: TaskKey, stored: _Stored) -> bool:
    return stored[key].id is None


def _app_and_family(decoded: DecodedRow) -> tuple[str, str, str]:
    key = decoded.events[0].key
    return key.vendor, key.app_id, key.family


# Adopting.


def with_adoptions(
    connection: Connection, rows: Sequence[DecodedRow], stored: _Stored, rulebook: Rulebook, now: int
) -> list[DecodedRow]:
    """Returns the same rows, with adoptions added where the start of an unknown id is found."""
    starts = _starts_of_robots(connection, [decoded for decoded in rows if _may_adopt(decoded, stored)], stored)
    result = []
    for decoded in rows:
        if not _may_adopt(decoded, stored):
            result.append(decoded)
            continue
        matched = [_with_start_of_robot(event, starts, stored) for event in decoded.events]
        events = tuple(further for event in matched for further in _with_observed_task(connection, event, stored, rulebook, now))
        result.append(replace(decoded, events=events) if events != decoded.events else decoded)
    return result


def _may_adopt(decoded: DecodedRow, stored: _Stored) -> bool:
    """Returns whether a row is about an unknown id, or about a task that waits for its id. In a busy batch few are."""
    return any(_is_unknown(event.key, stored) or event.key.is_provisional for event in decoded.events)


# A callback of an unknown id shows a robot: adopt the start that sent the robot.


def _starts_of_robots(connection: Connection, rows: Sequence[DecodedRow], stored: _Stored) -> Mapping[Robot, TaskKey]:
    robots = [robot for decoded in rows for event in decoded.events if (robot := _shown_robot(event, stored)) is not None]
    return adoption_candidates.starts_of_robots(connection, robots)


def _shown_robot(event: LineageEvent, stored: _Stored) -> Robot | None:
    """Returns the vendor's user in the room that a callback of an unknown id shows; None if it shows none."""
    if not isinstance(event.event, CallbackReceived) or not _is_unknown(event.key, stored):
        return None
    fact, key = event.event.fact, event.key
    if fact.robot is None or not fact.shows_life:  # the end of a robot that ours replaced in the room is not ours
        return None
    return Robot(vendor=key.vendor, app_id=key.app_id, room_id=fact.room_id, name=fact.robot, at=fact.at)


def _with_start_of_robot(event: LineageEvent, starts: Mapping[Robot, TaskKey], stored: _Stored) -> LineageEvent:
    robot = _shown_robot(event, stored)
    return replace(event, adopts=starts[robot]) if robot is not None and robot in starts else event


# A start has no id: adopt it into the task that it started, if callbacks of that task have arrived meanwhile.


def _with_observed_task(
    connection: Connection, event: LineageEvent, stored: _Stored, rulebook: Rulebook, now: int
) -> list[LineageEvent]:
    """Returns the event, and an adoption if it is the start's turn to be matched with an observed task.

    That is so when the start's answer is ambiguous, and before the start is retried or given up.
    """
    if not event.key.is_provisional or not isinstance(event.event, DeadlinePassed | CallAnswered):
        return [event]
    task_id = event.event.task_id
    task = next((task for task in stored[event.key].lineage.tasks if task.id == task_id), None)
    if task is None:
        return [event]
    rules = rulebook.rules_for(task.key)(task.kind, task.params)
    if isinstance(event.event, CallAnswered):
        match = _match_after_answer(connection, event.event, task, rules)
        return [event] if match is None else [event, _adoption_by(match, event)]
    match = _match_before_retry(connection, event.event, task, rules, now)
    return [event] if match is None else [_adoption_by(match, event)]  # the start is not retried


def _adoption_by(match: Task, event: LineageEvent) -> LineageEvent:
    return LineageEvent(key=match.key, event=None, adopts=event.key)


def _match_after_answer(connection: Connection, answer: CallAnswered, task: Task, rules: Rules) -> Task | None:
    if answer.operation is not Operation.START or answer.outcome is not CallOutcome.AMBIGUOUS:
        return None
    return _match_by_robot(connection, task, rules)


def _match_before_retry(connection: Connection, passed: DeadlinePassed, task: Task, rules: Rules, now: int) -> Task | None:
    start = task.calls.get(Operation.START)
    if passed.kind is not Deadline.START_RETRY or start is None or start.ambiguous_at is None or (start.retry_at or 0) > now:
        return None
    if rules.meets_s is None:
        return _match_by_robot(connection, task, rules)
    return _match_by_time(connection, task, start.ambiguous_at, int(rules.meets_s * 1000))


def _match_by_robot(connection: Connection, task: Task, rules: Rules) -> Task | None:
    """Returns the observed task with the robot of this start.

    Where a newer start replaces the older task in the room, only a live task can be the newest one.
    """
    matches = adoption_candidates.observed_matches(connection, task)
    live = next((match for match in matches if match.view.state in LIVE), None)
    return live or (matches[0] if matches and not rules.replaces else None)


def _match_by_time(connection: Connection, task: Task, sent_at: int, meets_ms: int) -> Task | None:
    """Returns the only observed task that began within `meets_ms` of this start, if no other start may have started it."""
    began = adoption_candidates.observed_between(connection, task, sent_at - CLOCK_SKEW_MS, sent_at + meets_ms)
    if len(began) != 1:
        return None
    others = [other for other in adoption_candidates.starts_without_id(connection, task) if other.id != task.id]
    return None if any(_may_have_started(other, began[0], meets_ms) for other in others) else began[0]


def _may_have_started(task: Task, began: Task, meets_ms: int) -> bool:
    start = task.calls.get(Operation.START)
    sent_at = start.ambiguous_at if start is not None and start.ambiguous_at is not None else task.created_at
    return sent_at - CLOCK_SKEW_MS <= began.view.begins_at < sent_at + meets_ms
