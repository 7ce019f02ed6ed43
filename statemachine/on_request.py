"""What requests mean: of users, of policies, of successors."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from statemachine.calls import Operation, PendingCall
from statemachine.events import CancelCall, RetryRequested, StartRequested, StopRequested, SuccessorReported, UpdateRequested
from statemachine.facts import Fact, FactKind
from statemachine.folding.run_view import View
from statemachine.pending_calls import with_call, with_inspection, without_call
from statemachine.reaction import NEVER_SENT, Reaction, never_started, own_fact
from statemachine.rules import Rules
from statemachine.states import FINAL, Anomaly, Deadline, Origin, State
from statemachine.tasks import Task, TaskKey


def requested_task(key: TaskKey, event: StartRequested, after: int, now: int) -> tuple[Task, Fact]:
    """The task that is wanted, and the fact that it is. after: ms, the newest time known under its key."""
    asked_at = now if event.asked_at is None else min(event.asked_at, now)
    since = asked_at if event.doubted else now  # what may have run since then must not look older than this
    at = max(since, after + 1)
    fact = Fact(
        kind=FactKind.INTENT,
        at=at,
        received_at=now,
        key=event.key,
        room_id=event.room_id,
        robot=event.robot,
        scheduled_at=event.scheduled_at,
        kind_hint=event.kind,
    )
    task = Task(
        id=event.task_id,
        key=key,
        run=1,
        kind=event.kind,
        origin=Origin.MANAGED,
        anchor=fact.key,
        view=View(state=State.REQUESTED, evidence_at=at, heard_at=now, begins_at=at),
        action=event.action,
        api_version=event.api_version,
        params=event.params,
        policy=event.policy,
        calls={Operation.START: PendingCall(since=since)},
        renews=event.renews,
        restarts=event.restarts,
        restart_count=event.restart_count,
        created_at=asked_at,
        updated_at=now,
    )
    return task, fact


def react_to_stop(task: Task, event: StopRequested, rules: Rules, now: int) -> Reaction:
    """A stop of a start that was never sent ends the task at once; else Stop is called as soon as it can be."""
    start = task.calls.get(Operation.START)
    asked = own_fact(task, FactKind.STOP_ASKED, now, now, event.key)
    if task.view.state in FINAL and not task.view.inferred and task.view.zombie_at is None:
        return Reaction(calls=task.calls, facts=(asked,))
    if start is not None and not start.ambiguous and start.serial not in event.taken and not task.view.shown:
        end = never_started(task, NEVER_SENT, now, f"{event.key} never sent")
        waits = () if start.serial is None else (CancelCall(task_id=task.id, serial=start.serial, unsent=True),)
        return Reaction(calls=without_call(task.calls, Operation.START), facts=(asked, end), effects=waits)
    calls = task.calls
    if start is not None and start.retry_at is not None and not task.key.is_provisional:
        calls = without_call(calls, Operation.START)  # it may have happened: the stop settles it
    elif start is not None and start.retry_at is not None and rules.askable_unnamed:
        calls = with_inspection(calls, now, Deadline.START_RETRY, start.ambiguous)
    facts = () if task.view.state in FINAL and task.view.stop_asked_at is not None else (asked,)
    return Reaction(calls=_tried_now(with_call(calls, Operation.STOP, now), Operation.STOP, now), facts=facts)


def react_to_update(task: Task, event: UpdateRequested, now: int) -> Reaction:
    """The newest parameters win: those that wait for an answer are followed by these."""
    known = task.calls.get(Operation.UPDATE)
    if known is not None and known.is_under_way:
        return Reaction(calls={**task.calls, Operation.UPDATE: replace(known, queued=event.params)})
    fresh = without_call(task.calls, Operation.UPDATE)
    return Reaction(calls=with_call(fresh, Operation.UPDATE, now, params=event.params))


def react_to_retry(task: Task, event: RetryRequested, rules: Rules, now: int) -> Reaction:
    """All calls that wait for their next attempt are tried now, except a start that must not be repeated; so is a refused stop.

    Whoever asks has seen that stops fail: the mark goes, and comes back if the next one fails too.
    """
    calls: Mapping[Operation, PendingCall] = task.calls
    for operation, pursuit in task.calls.items():
        may_repeat = rules.repeatable and task.view.stop_asked_at is None
        if operation is not Operation.START or not pursuit.ambiguous or may_repeat:
            calls = _tried_now(calls, operation, now)
    if task.view.state is State.STOPPING and Operation.START not in calls:
        calls = with_call(calls, Operation.STOP, now)
    return Reaction(calls=calls, clear=(Anomaly.STOP_UNCONFIRMED,) if Operation.STOP in calls else ())


def _tried_now(calls: Mapping[Operation, PendingCall], operation: Operation, now: int) -> dict[Operation, PendingCall]:
    return {**calls, operation: replace(calls[operation], retry_at=None, doubted_at=None)}


def react_to_successor(task: Task, event: SuccessorReported, now: int) -> Reaction:
    """Its successor runs, so that it can end; or failed, so that another one must be started."""
    if task.renewed_by != event.successor:
        return Reaction(calls=task.calls)
    if not event.runs:
        return Reaction(calls=task.calls, changes={"renewed_by": None})
    if task.view.state in FINAL:
        return Reaction(calls=task.calls)
    asked = own_fact(task, FactKind.STOP_ASKED, now, now, event.key)
    return Reaction(calls=with_call(task.calls, Operation.STOP, now), facts=(asked,))


def timeline_entry(event: StopRequested | UpdateRequested | RetryRequested | SuccessorReported) -> Mapping[str, Any]:
    """The request in the timeline."""
    return _ENTRIES[type(event)](event)


_ENTRIES: Mapping[type, Callable[[Any], Mapping[str, Any]]] = {
    StopRequested: lambda event: {"kind": "stop_asked", "by": event.by},
    UpdateRequested: lambda event: {"kind": "update_asked", "by": event.by, "params": sorted(event.params)},
    RetryRequested: lambda event: {"kind": "retry_asked", "by": event.by},
    SuccessorReported: lambda event: {"kind": "renewal_runs" if event.runs else "renewal_failed", "successor": event.successor},
}
