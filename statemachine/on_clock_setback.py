"""What a task waits for once the clock was set back: no longer than its own schedule can make it wait from now.

Times that lie ahead of now were taken from a clock that was ahead. What we saw then was seen by now; what is to be tried again is
tried after the pause that its failures give it. Deadlines that count from the vendor's own times stay as they are.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from statemachine.calls import Operation, PendingCall
from statemachine.on_answer import await_adoption
from statemachine.pending_calls import LONGEST_PAUSE_MS, longest_pause_ms
from statemachine.rules import Rules
from statemachine.states import Deadline
from statemachine.tasks import DeadlinePass, Task

TIMELINE_ENTRY: Mapping[str, Any] = {"kind": "clock_corrected"}


def corrected_calls(task: Task, rules: Rules, now: int) -> dict[Operation, PendingCall]:
    """The task's calls, none of which waits for longer than it can."""
    return {operation: _corrected_call(task, operation, pursuit, rules, now) for operation, pursuit in task.calls.items()}


def corrected_passes(task: Task, now: int) -> dict[Deadline, DeadlinePass]:
    """When its deadlines last passed: by now."""
    return {kind: replace(item, at=min(item.at, now)) for kind, item in task.passed.items()}


def _corrected_call(task: Task, operation: Operation, pursuit: PendingCall, rules: Rules, now: int) -> PendingCall:
    known = replace(
        pursuit,
        since=min(pursuit.since, now),
        failing_since=_at_most(pursuit.failing_since, now),
        ambiguous_at=_at_most(pursuit.ambiguous_at, now),
        doubted_at=_at_most(pursuit.doubted_at, now),
    )
    if known.retry_at is None or known.retry_at <= now:
        return known
    return replace(known, retry_at=min(known.retry_at, _latest_retry_at(task, operation, known, rules, now)))


def _at_most(at: int | None, now: int) -> int | None:
    return None if at is None else min(at, now)


def _latest_retry_at(task: Task, operation: Operation, pursuit: PendingCall, rules: Rules, now: int) -> int:
    """When it is tried, or looked at, again at the latest. What may have happened gets its time to be heard of."""
    if pursuit.doubted_at is not None:
        return now + LONGEST_PAUSE_MS
    if operation is Operation.START and pursuit.ambiguous:
        repeats = task.view.stop_asked_at is None and (rules.repeatable or rules.askable_unnamed)
        return now + LONGEST_PAUSE_MS if repeats else await_adoption(task, pursuit, rules, now).retry_at or now
    return now + (longest_pause_ms(pursuit.failures) if pursuit.failures else LONGEST_PAUSE_MS)
