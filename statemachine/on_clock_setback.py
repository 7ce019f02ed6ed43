"""Reacts to a corrected clock: no task waits longer than its own schedule allows, counted from now.

Times in the future were taken from a clock that was ahead. Events seen then were seen by now. A call that waits for its next
attempt waits for the pause that its failures give it. Deadlines that count from the vendor's own times stay as they are.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from statemachine.ambiguous_start import await_adoption
from statemachine.calls import Operation, PendingCall
from statemachine.pending_calls import MAX_PAUSE_MS, max_pause_ms
from statemachine.reaction import Reaction
from statemachine.rules import Rules
from statemachine.states import Deadline
from statemachine.tasks import DeadlinePass, Task

_TIMELINE_ENTRY: Mapping[str, Any] = {"kind": "clock_corrected"}


def react_to_clock_setback(task: Task, rules: Rules, now: int) -> Reaction | None:
    """Returns the effect of a corrected clock on a task; None: nothing of it lies in the future."""
    calls, passed = corrected_calls(task, rules, now), corrected_passes(task, now)
    if calls == task.calls and passed == task.passed:
        return None
    return Reaction(calls=calls, passed=passed, entries=(_TIMELINE_ENTRY,))


def corrected_calls(task: Task, rules: Rules, now: int) -> dict[Operation, PendingCall]:
    """Returns the task's pending calls; none of them waits longer than it can."""
    return {operation: _corrected_call(task, operation, call, rules, now) for operation, call in task.calls.items()}


def corrected_passes(task: Task, now: int) -> dict[Deadline, DeadlinePass]:
    """Returns when the task's deadlines last passed; none of them in the future."""
    return {kind: replace(last, at=min(last.at, now)) for kind, last in task.passed.items()}


def _corrected_call(task: Task, operation: Operation, call: PendingCall, rules: Rules, now: int) -> PendingCall:
    known = replace(
        call,
        since=min(call.since, now),
        failing_since=_at_most(call.failing_since, now),
        ambiguous_at=_at_most(call.ambiguous_at, now),
        doubted_at=_at_most(call.doubted_at, now),
    )
    if known.retry_at is None or known.retry_at <= now:
        return known
    return replace(known, retry_at=min(known.retry_at, _latest_retry_at(task, operation, known, rules, now)))


def _at_most(at: int | None, now: int) -> int | None:
    return None if at is None else min(at, now)


def _latest_retry_at(task: Task, operation: Operation, call: PendingCall, rules: Rules, now: int) -> int:
    """Returns until when the call may wait, ms. An ambiguous start gets its full time for callbacks to arrive."""
    if call.doubted_at is not None:
        return now + MAX_PAUSE_MS
    if operation is Operation.START and call.ambiguous:
        is_repeated = task.view.stop_asked_at is None and (rules.repeatable or rules.askable_unnamed)
        return now + MAX_PAUSE_MS if is_repeated else await_adoption(task, call, rules, now).retry_at or now
    return now + (max_pause_ms(call.failures) if call.failures else MAX_PAUSE_MS)
