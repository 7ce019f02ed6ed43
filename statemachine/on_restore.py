"""What a task wants once its ledger was restored from a backup: what was done since the backup is not known any more.

A call that waited or was on the wire then may have been made since, and followed by others. So none is repeated before the vendor
was asked; where it cannot be asked, a start is never repeated: it is known again by what it started, or given up as
`start_unknown`. A stop under an id that the vendor minted can only end that task, so it is repeated where nobody can be asked.
Parameters of an update may be older than what the task has now: an update is dropped, and the timeline says so.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from statemachine.calls import Operation, PendingCall
from statemachine.deadlines import can_be_asked
from statemachine.events import LedgerRestored
from statemachine.inference import START_UNKNOWN
from statemachine.pending_calls import with_inspection, without_call
from statemachine.policy import parse_policy
from statemachine.reaction import GAVE_UP, Reaction, inferred_end, never_started
from statemachine.rules import Rules
from statemachine.states import FINAL, Deadline, State
from statemachine.tasks import Task

#: A start whose fate is not known is looked at so often: whether it is known by now, ms.
_LOOK_MS = 60_000

Calls = Mapping[Operation, PendingCall]


def react_to_restore(task: Task, event: LedgerRestored, rules: Rules, now: int) -> Reaction:
    """What the opening of a new epoch means for a task that lived, or wanted something, when the backup was made."""
    changes: dict[str, Any] = {"restored_at": event.at}
    calls = with_doubts(task, task.calls, rules, now, sent_at=event.sent_at)
    lives = task.view.state not in FINAL
    if lives and not calls and can_be_asked(task, rules, now):
        calls = with_inspection(calls, now, None)
    return Reaction(calls=calls, changes=changes)


def timeline_entry(task: Task, event: LedgerRestored) -> Mapping[str, Any]:
    """The restore in the timeline."""
    dropped = {"dropped": ["update"]} if Operation.UPDATE in task.calls else {}
    return {"kind": "restored", "epoch_began_at": event.at, **dropped}


def with_doubts(task: Task, calls: Calls, rules: Rules, now: int, *, sent_at: int | None = None) -> Calls:
    """These calls, of which none is made before it is known what became of it.

    sent_at: when the start that was under way was sent, or was to be, ms.
    """
    kept: dict[Operation, PendingCall] = {
        operation: _unsent(pursuit) for operation, pursuit in calls.items() if operation is not Operation.UPDATE
    }
    start = calls.get(Operation.START)
    if start is not None:
        kept = _doubted_start(task, start, kept, rules, now, sent_at)
    if Operation.STOP in kept and Operation.START not in kept:
        kept = _doubted_stop(task, kept, rules, now)
    return kept


def inspected_first(task: Task, said: Reaction, rules: Rules, now: int) -> Reaction:
    """What a request says that had not been applied when the backup was made: its call, too, may have been made since."""
    stopping = task if task.view.state in FINAL else replace(task, view=replace(task.view, state=State.STOPPING))
    return replace(said, calls=with_doubts(stopping if Operation.STOP in said.calls else task, said.calls, rules, now))


def _unsent(pursuit: PendingCall) -> PendingCall:
    return pursuit if pursuit.serial is None else replace(pursuit, serial=None, step=None)


def _doubted_start(
    task: Task, start: PendingCall, calls: Calls, rules: Rules, now: int, sent_at: int | None
) -> dict[Operation, PendingCall]:
    stops = task.view.stop_asked_at is not None or Operation.STOP in calls
    if stops and not task.key.is_provisional:
        return without_call(calls, Operation.START)  # it has a name: the stop settles it
    doubtful = replace(
        start,
        serial=None,
        retry_at=now + _LOOK_MS,
        ambiguous=start.ambiguous or (start.serial or task.serial + 1,),
        ambiguous_at=start.ambiguous_at or sent_at or start.retry_at or start.since,
        doubted_at=now,
    )
    waiting = {**calls, Operation.START: doubtful}
    return _asked_about(task, doubtful, waiting, rules, now)


def _asked_about(task: Task, start: PendingCall, calls: Calls, rules: Rules, now: int) -> dict[Operation, PendingCall]:
    if not can_be_asked(task, rules, now):
        return dict(calls)
    asks = Deadline.START_RETRY if task.key.is_provisional else None
    return with_inspection(calls, now, asks, start.ambiguous)


def _doubted_stop(task: Task, calls: Calls, rules: Rules, now: int) -> dict[Operation, PendingCall]:
    """Under an id that its caller chose another task may run by now."""
    if task.key.is_provisional or not can_be_asked(task, rules, now):
        return dict(calls)
    asks = Deadline.STOP_CONFIRM if task.view.state is State.STOPPING else None
    return with_inspection(without_call(calls, Operation.STOP), now, asks)


def recheck_start(task: Task, start: PendingCall, rules: Rules, now: int) -> Reaction:
    """A start that is in doubt since a restore has waited: for an answer, or for a sign of what it started."""
    waiting = replace(start, retry_at=now + _LOOK_MS)
    calls = {**task.calls, Operation.START: waiting}
    if Operation.INSPECT in task.calls:
        return Reaction(calls=calls)
    last = (start.doubted_at or now) + parse_policy(task.policy).start.max_elapsed_s * 1000
    if now < last:
        soon = replace(waiting, retry_at=min(now + _LOOK_MS, last))
        return Reaction(calls=_asked_about(task, soon, {**calls, Operation.START: soon}, rules, now))
    return _unknown(task, calls, now)


def _unknown(task: Task, calls: Calls, now: int) -> Reaction:
    key = f"{task.id}:restored:{now}"
    known_at = task.view.begins_at  # nothing is known of it since: any sign of it is news
    end = inferred_end(task, START_UNKNOWN, now, key=key, ended_at=now, deadline=Deadline.START_RETRY, known_at=known_at)
    return Reaction(calls=without_call(calls, Operation.START), facts=(end,))


def start_if_not_too_late(task: Task, start: PendingCall, calls: Calls, now: int, key: str) -> Reaction:
    """The vendor, which knows every id for longer than a start is tried, knows none like this: it was never started.

    So it is started now, unless that comes too late for whoever asked for it.
    """
    if now <= start.since + parse_policy(task.policy).start.max_elapsed_s * 1000:
        fresh = replace(start, retry_at=None, ambiguous=(), ambiguous_at=None, doubted_at=None)
        return Reaction(calls={**calls, Operation.START: fresh})
    return Reaction(calls=without_call(calls, Operation.START), facts=(never_started(task, GAVE_UP, now, key),))
