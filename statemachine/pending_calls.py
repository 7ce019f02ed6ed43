"""Pending calls of a task: adds and removes them, paces their attempts, and finds those that can be made now.

Start and stop calls of one task never overlap. No call is made for a run whose key has a newer run. Calls that were pending when a
task ended are cancelled.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from statemachine.calls import Operation, PendingCall
from statemachine.commands import CancelCall, Command, MakeCall
from statemachine.folding.run_view import View
from statemachine.rules import Rules
from statemachine.states import FINAL, Deadline, Reason, State
from statemachine.tasks import Task

PendingCalls = Mapping[Operation, PendingCall]

#: Calls that stay pending while no account is configured; the others are cancelled.
_KEPT_WITHOUT_ACCOUNT = (Operation.START, Operation.STOP)
#: Upper limit of the pause after the first failure, ms; it doubles with each failure.
_FIRST_PAUSE_MS = 1000
#: Upper limit of any pause before the next attempt, ms; only the vendor may ask for a longer one.
MAX_PAUSE_MS = 60_000
#: If two deadlines need the same query, the heavier one decides what its answer means: its end is the more specific one.
_WEIGHT = {Deadline.EXPIRY: 4, Deadline.FINISH: 3, Deadline.IDLE: 2, Deadline.STOP_CONFIRM: 1}


def with_call(calls: PendingCalls, operation: Operation, now: int, **more: Any) -> dict[Operation, PendingCall]:
    """Returns these calls and a new one, unless a call of this operation is pending already."""
    return {operation: PendingCall(since=now, **more), **calls}


def with_inspection(
    calls: PendingCalls, now: int, asks: Deadline | None, ambiguous: tuple[int, ...] = ()
) -> dict[Operation, PendingCall]:
    """Returns these calls and a query; if one is pending already, it serves the heavier of the two deadlines.

    asks: the deadline that needs the query; None: a contradiction does. ambiguous: the start attempts that it is about, before the
    task has an id.
    """
    known = calls.get(Operation.INSPECT)
    if known is None:
        return with_call(calls, Operation.INSPECT, now, asks=asks, ambiguous=ambiguous)
    if _deadline_weight(asks) > _deadline_weight(known.asks):
        known = replace(known, asks=asks)
    return {**calls, Operation.INSPECT: known}


def _deadline_weight(kind: Deadline | None) -> int:
    return _WEIGHT.get(kind, 0) if kind else 0


def without_call(calls: PendingCalls, operation: Operation) -> dict[Operation, PendingCall]:
    """Returns these calls without the one of this operation."""
    return {name: call for name, call in calls.items() if name is not operation}


def backed_off(task: Task, operation: Operation, call: PendingCall, now: int, hint_s: float | None = None) -> PendingCall:
    """Returns the call after a failed attempt: it waits for an exponential pause with full jitter.

    hint_s: the pause that the vendor asks for, s; it counts if it is longer.
    """
    failures = call.failures + 1
    pause = int(max_pause_ms(failures) * stable_fraction(task.id, operation.value, call.serial or task.serial))
    return replace(
        call,
        serial=None,
        retry_at=now + max(pause, int((hint_s or 0) * 1000)),
        failures=failures,
        failing_since=call.failing_since or now,
    )


def max_pause_ms(failures: int) -> int:
    """Returns the upper limit of the pause after this many failures in a row (at least 1), ms."""
    return min(MAX_PAUSE_MS, _FIRST_PAUSE_MS << min(failures - 1, 16))


def stable_fraction(*names: object) -> float:
    """Returns a number in [0, 1) derived from these names.

    It replaces a random number: every worker must compute the same one.
    """
    digest = hashlib.sha256("\x00".join(map(str, names)).encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:7]) / 256**7


def reconcile_calls(before: Task | None, task: Task, rules: Rules) -> tuple[Task, list[Command]]:
    """Returns the task with the calls that it still needs, and commands for those to make or cancel now.

    before: the task before the event; None: it is new.
    """
    if not task.calls and task.view.state is not State.STOPPING:
        return task, []
    calls, commands, serial = dict(task.calls), list[Command](), task.serial
    if _must_stop_again(before, task, rules):
        calls.setdefault(Operation.STOP, PendingCall(since=task.view.heard_at))
    for operation, call in list(calls.items()):
        if not _is_needed(operation, call, before, task, rules):
            del calls[operation]
            if call.serial is not None:
                commands.append(CancelCall(task_id=task.id, serial=call.serial))
    for operation, call in list(calls.items()):
        if not call.is_under_way and call.retry_at is None and not _is_blocked(operation, task, calls, rules):
            serial += 1
            calls[operation] = replace(call, serial=serial)
            commands.append(MakeCall(task_id=task.id, operation=operation, serial=serial, step=call.step))
    return replace(task, calls=calls, serial=serial), commands


def _must_stop_again(before: Task | None, task: Task, rules: Rules) -> bool:
    """Returns whether the task has just become `stopping`: it was taken to have ended, or to be another task, and is alive."""
    was_stopping = before is not None and before.view.state is State.STOPPING
    return task.view.state is State.STOPPING and not was_stopping and rules.callable and not task.view.followed


def _is_needed(operation: Operation, call: PendingCall, before: Task | None, task: Task, rules: Rules) -> bool:
    if operation is Operation.START and call.is_under_way:  # its answer must be awaited in any case
        return True
    if task.view.followed or (not rules.callable and operation not in _KEPT_WITHOUT_ACCOUNT):
        return False
    has_just_ended = task.view.state in FINAL and (before is None or before.view.state not in FINAL)
    return _IS_NEEDED[operation](task.view, has_just_ended)


def _is_start_needed(view: View, has_just_ended: bool) -> bool:
    return view.accepted_at is None and view.state in (State.REQUESTED, State.STOPPING)


def _is_stop_needed(view: View, has_just_ended: bool) -> bool:
    return view.state is not State.FINISHING and not has_just_ended


def _is_update_needed(view: View, has_just_ended: bool) -> bool:
    return view.state not in FINAL and view.state is not State.FINISHING


def _is_query_needed(view: View, has_just_ended: bool) -> bool:
    lacks_reason = view.reason is Reason.UNSTATED and not view.inferred
    return not has_just_ended or lacks_reason or view.zombie_at is not None


_IS_NEEDED: Mapping[Operation, Callable[[View, bool], bool]] = {
    Operation.START: _is_start_needed,
    Operation.STOP: _is_stop_needed,
    Operation.UPDATE: _is_update_needed,
    Operation.INSPECT: _is_query_needed,
}


def _is_blocked(operation: Operation, task: Task, calls: PendingCalls, rules: Rules) -> bool:
    """Returns whether a call must wait: for the vendor's id, for the result of a start, or for an account."""
    match operation:
        case Operation.START:
            return False
        case Operation.INSPECT:
            return task.key.is_provisional and not rules.askable_unnamed
        case _:
            return task.key.is_provisional or Operation.START in calls or not rules.callable
