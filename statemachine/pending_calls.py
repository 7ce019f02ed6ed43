"""What is wanted of the vendor: which calls a task pursues, and which of them can be made now.

Starts and stops of one task never overlap; nothing is called for a run whose key has a newer one; what a task wanted before it
ended is dropped when it ends.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from statemachine.calls import Operation, PendingCall
from statemachine.deadlines import stable_fraction
from statemachine.events import CancelCall, Command, MakeCall
from statemachine.rules import Rules
from statemachine.states import FINAL, Deadline, Reason, State
from statemachine.tasks import Task

#: What must not be forgotten because there is no account for a while: a call that cannot be made waits for its next attempt.
_OUTLIVES_ACCOUNT = (Operation.START, Operation.STOP)

Calls = Mapping[Operation, PendingCall]

_BASE_MS = 1000
#: No pause before a call is tried again is longer, unless the vendor asks for it.
LONGEST_PAUSE_MS = 60_000
#: Which of two deadlines that ask the same question speaks for it: the one whose end is the most particular.
_WEIGHT = {Deadline.EXPIRY: 4, Deadline.FINISH: 3, Deadline.IDLE: 2, Deadline.STOP_CONFIRM: 1}


def with_call(calls: Calls, operation: Operation, now: int, **more: Any) -> dict[Operation, PendingCall]:
    """These calls, and one that is wanted now, unless it is wanted already."""
    return {operation: PendingCall(since=now, **more), **calls}


def with_inspection(calls: Calls, now: int, asks: Deadline | None, ambiguous: tuple[int, ...] = ()) -> dict[Operation, PendingCall]:
    """These calls, and a question to the vendor; if one is asked already, the weightier deadline speaks.

    ambiguous: the attempts of the start that is asked about.
    """
    known = calls.get(Operation.INSPECT)
    if known is None:
        return with_call(calls, Operation.INSPECT, now, asks=asks, ambiguous=ambiguous)
    weightier = _WEIGHT.get(asks, 0) if asks else 0
    if weightier > (_WEIGHT.get(known.asks, 0) if known.asks else 0):
        known = replace(known, asks=asks)
    return {**calls, Operation.INSPECT: known}


def without_call(calls: Calls, operation: Operation) -> dict[Operation, PendingCall]:
    return {name: pursuit for name, pursuit in calls.items() if name is not operation}


def backed_off(task: Task, operation: Operation, pursuit: PendingCall, now: int, hint_s: float | None = None) -> PendingCall:
    """The pursuit after an attempt that failed: tried again after a full-jitter exponential pause, honouring the vendor's hint."""
    failures = pursuit.failures + 1
    pause = int(longest_pause_ms(failures) * stable_fraction(task.id, operation.value, pursuit.serial or task.serial))
    return replace(
        pursuit,
        serial=None,
        retry_at=now + max(pause, int((hint_s or 0) * 1000)),
        failures=failures,
        failing_since=pursuit.failing_since or now,
    )


def longest_pause_ms(failures: int) -> int:
    """The longest pause after so many failures in a row, ms; at least one failed."""
    return min(LONGEST_PAUSE_MS, _BASE_MS << min(failures - 1, 16))


def reconcile_calls(before: Task | None, task: Task, rules: Rules) -> tuple[Task, list[Command]]:
    """The task with the calls that it still wants, and what is to be called or dropped now."""
    if not task.calls and task.view.state is not State.STOPPING:
        return task, []
    calls, effects = dict(task.calls), list[Command]()
    if _must_stop_again(before, task, rules):
        calls.setdefault(Operation.STOP, PendingCall(since=task.view.heard_at))
    for operation, pursuit in list(calls.items()):
        if not _is_wanted(operation, before, task, rules) and not (operation is Operation.START and pursuit.is_under_way):
            del calls[operation]
            if pursuit.serial is not None:
                effects.append(CancelCall(task_id=task.id, serial=pursuit.serial))
    serial = task.serial
    for operation, pursuit in list(calls.items()):
        if pursuit.is_under_way or pursuit.retry_at is not None or _is_blocked(operation, task, calls, rules):
            continue
        serial += 1
        calls[operation] = replace(pursuit, serial=serial)
        effects.append(MakeCall(task_id=task.id, operation=operation, serial=serial, step=pursuit.step))
    return replace(task, calls=calls, serial=serial), effects


def _must_stop_again(before: Task | None, task: Task, rules: Rules) -> bool:
    """What was taken to have ended, or to be another task, lives, and is to be stopped."""
    again = before is None or before.view.state is not State.STOPPING
    return task.view.state is State.STOPPING and again and rules.callable and not task.view.followed


def _is_wanted(operation: Operation, before: Task | None, task: Task, rules: Rules) -> bool:
    view = task.view
    ended = view.state in FINAL and (before is None or before.view.state not in FINAL)
    if view.followed:
        return False
    if not rules.callable and operation not in _OUTLIVES_ACCOUNT:
        return False
    match operation:
        case Operation.START:
            return view.accepted_at is None and view.state in (State.REQUESTED, State.STOPPING)
        case Operation.STOP:
            return view.state is not State.FINISHING and not ended
        case Operation.UPDATE:
            return view.state not in FINAL and view.state is not State.FINISHING
        case Operation.INSPECT:
            puzzling = view.reason is Reason.UNSTATED and not view.inferred
            return not ended or puzzling or view.zombie_at is not None


def _is_blocked(operation: Operation, task: Task, calls: Calls, rules: Rules) -> bool:
    """Whether it must wait: for the vendor's id, or for what became of a start."""
    match operation:
        case Operation.START:
            return False
        case Operation.INSPECT:
            return task.key.is_provisional and not rules.askable_unnamed
        case _:
            return task.key.is_provisional or Operation.START in calls or not rules.callable
