"""Reacts to requests: of API users, of policies, and of successors."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from statemachine.calls import Operation, PendingCall
from statemachine.commands import CancelCall
from statemachine.events import RetryRequested, StartRequested, StopRequested, SuccessorReported, UpdateRequested
from statemachine.facts import Fact, FactKind
from statemachine.folding.run_view import View
from statemachine.on_restore import doubt_request
from statemachine.pending_calls import PendingCalls, with_call, with_inspection, without_call
from statemachine.reaction import NEVER_SENT, NO_REACTION, Reaction, never_started, own_fact
from statemachine.rules import Rules
from statemachine.states import FINAL, Anomaly, Deadline, Origin, State
from statemachine.tasks import Task, TaskKey

TaskRequest = StopRequested | UpdateRequested | RetryRequested | SuccessorReported


def requested_task(key: TaskKey, event: StartRequested, newest_at: int, now: int) -> tuple[Task, Fact]:
    """Returns the task of a start request, and the fact of the request.

    newest_at: the newest time among the facts of its key, ms; 0: there are none.
    """
    requested_at = now if event.requested_at is None else min(event.requested_at, now)
    # if the task was started since then, it must not look older than its request
    since = requested_at if event.doubted else now
    at = max(since, newest_at + 1)
    task = Task(
        id=event.task_id,
        key=key,
        run=1,
        kind=event.kind,
        origin=Origin.MANAGED,
        anchor=event.key,
        view=View(state=State.REQUESTED, evidence_at=at, heard_at=now, begins_at=at, room_id=event.room_id, robot=event.robot),
        action=event.action,
        api_version=event.api_version,
        params=event.params,
        policy=event.policy,
        calls={Operation.START: PendingCall(since=since)},
        renews=event.renews,
        restarts=event.restarts,
        restart_count=event.restart_count,
        created_at=requested_at,
        updated_at=now,
    )
    return task, _request_fact(event, at, now)


def _request_fact(event: StartRequested, at: int, now: int) -> Fact:
    return Fact(
        kind=FactKind.INTENT,
        at=at,
        received_at=now,
        key=event.key,
        room_id=event.room_id,
        robot=event.robot,
        scheduled_at=event.scheduled_at,
        kind_hint=event.kind,
    )


def react_to_request(task: Task, event: TaskRequest, rules: Rules, now: int) -> Reaction:
    """Returns the effect of a request on its task."""
    reaction = _REACTORS[type(event)](task, event, rules, now)
    if not isinstance(event, RetryRequested) and event.doubted:
        reaction = doubt_request(task, reaction, rules, now)
    return replace(reaction, entries=(_TIMELINE_ENTRIES[type(event)](event),))


def _on_stop(task: Task, event: StopRequested, rules: Rules, now: int) -> Reaction:
    """Ends a task at once if its start was never sent; else makes a stop call as soon as possible."""
    view, requested = task.view, own_fact(task, FactKind.STOP_ASKED, now, now, event.key)
    if view.state in FINAL and not view.inferred and view.zombie_at is None:
        return Reaction(facts=(requested,))
    start = task.calls.get(Operation.START)
    if start is not None and not start.ambiguous and start.serial not in event.claimed and not view.shown:
        return _end_unsent_start(task, event, start, requested, now)
    calls = with_call(_calls_before_stop(task, start, rules, now), Operation.STOP, now)
    is_known = view.state in FINAL and view.stop_asked_at is not None
    return Reaction(calls=_without_pause(calls, Operation.STOP), facts=() if is_known else (requested,))


def _end_unsent_start(task: Task, event: StopRequested, start: PendingCall, requested: Fact, now: int) -> Reaction:
    end = never_started(task, NEVER_SENT, now, f"{event.key} never sent")
    cancel = () if start.serial is None else (CancelCall(task_id=task.id, serial=start.serial, unsent=True),)
    return Reaction(calls=without_call(task.calls, Operation.START), facts=(requested, end), commands=cancel)


def _calls_before_stop(task: Task, start: PendingCall | None, rules: Rules, now: int) -> PendingCalls:
    """Returns the pending calls that stay when a stop is added. A start that waits may have happened."""
    if start is None or start.retry_at is None:
        return task.calls
    if not task.key.is_provisional:
        return without_call(task.calls, Operation.START)  # its id is known: the stop covers it
    if rules.askable_unnamed:
        return with_inspection(task.calls, now, Deadline.START_RETRY, start.ambiguous)
    return task.calls


def _on_update(task: Task, event: UpdateRequested, rules: Rules, now: int) -> Reaction:
    """Makes an update call with the newest parameters; they are queued while an earlier update is on the wire."""
    pending = task.calls.get(Operation.UPDATE)
    if pending is not None and pending.is_under_way:
        return Reaction(calls={**task.calls, Operation.UPDATE: replace(pending, queued=event.params)})
    rest = without_call(task.calls, Operation.UPDATE)
    return Reaction(calls=with_call(rest, Operation.UPDATE, now, params=event.params))


def _on_retry(task: Task, event: RetryRequested, rules: Rules, now: int) -> Reaction:
    """Makes all calls now that wait for their next attempt, except a start that must not be repeated; also a rejected stop.

    `stop_unconfirmed` is cleared, as the user has seen it; it is raised again if the next stop fails too.
    """
    calls: PendingCalls = task.calls
    for operation, call in task.calls.items():
        is_repeatable = rules.repeatable and task.view.stop_asked_at is None
        if operation is not Operation.START or not call.ambiguous or is_repeatable:
            calls = _without_pause(calls, operation)
    if task.view.state is State.STOPPING and Operation.START not in calls:
        calls = with_call(calls, Operation.STOP, now)
    return Reaction(calls=calls, cleared=(Anomaly.STOP_UNCONFIRMED,) if Operation.STOP in calls else ())


def _without_pause(calls: PendingCalls, operation: Operation) -> dict[Operation, PendingCall]:
    return {**calls, operation: replace(calls[operation], retry_at=None, doubted_at=None)}


def _on_successor(task: Task, event: SuccessorReported, rules: Rules, now: int) -> Reaction:
    """Stops the task once its successor runs; if the successor failed, another one can be started."""
    if task.renewed_by != event.successor:
        return NO_REACTION
    if not event.runs:
        return Reaction(changes={"renewed_by": None})
    if task.view.state in FINAL:
        return NO_REACTION
    requested = own_fact(task, FactKind.STOP_ASKED, now, now, event.key)
    return Reaction(calls=with_call(task.calls, Operation.STOP, now), facts=(requested,))


_REACTORS: Mapping[type, Callable[[Task, Any, Rules, int], Reaction]] = {
    StopRequested: _on_stop,
    UpdateRequested: _on_update,
    RetryRequested: _on_retry,
    SuccessorReported: _on_successor,
}

_TIMELINE_ENTRIES: Mapping[type, Callable[[Any], Mapping[str, Any]]] = {
    StopRequested: lambda event: {"kind": "stop_asked", "by": event.by},
    UpdateRequested: lambda event: {"kind": "update_asked", "by": event.by, "params": sorted(event.params)},
    RetryRequested: lambda event: {"kind": "retry_asked", "by": event.by},
    SuccessorReported: lambda event: {"kind": "renewal_runs" if event.runs else "renewal_failed", "successor": event.successor},
}
