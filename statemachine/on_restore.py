"""Reacts to the restore of the ledger from a backup: what was done since the backup is unknown.

A call that was pending or on the wire then may have been made since, and others after it. So no call is repeated before the vendor
was queried. If it cannot be queried, a start is never repeated: callbacks show which task it created, or it is given up as
`start_unknown`. A stop under an id that the vendor assigned can only end that task, so it is repeated if the vendor cannot be
queried. The parameters of an update may be older than those that the task has now: an update is dropped, and the timeline says so.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from statemachine.calls import Operation, PendingCall
from statemachine.events import LedgerRestored
from statemachine.inference import START_UNKNOWN
from statemachine.pending_calls import PendingCalls, with_inspection, without_call
from statemachine.policy import parse_policy
from statemachine.reaction import GAVE_UP, Reaction, inferred_end, never_started
from statemachine.rules import Rules
from statemachine.states import FINAL, Deadline, State
from statemachine.tasks import Task
from statemachine.vendor_reach import can_be_queried

#: Interval at which a start in doubt is checked again, ms.
_RECHECK_MS = 60_000


def react_to_restore(task: Task, event: LedgerRestored, rules: Rules, now: int) -> Reaction:
    """Returns the effect of a new epoch on a task that was live or had pending calls when the backup was made."""
    calls = with_doubts(task, task.calls, rules, now, sent_at=event.sent_at)
    if task.view.state not in FINAL and not calls and can_be_queried(task, rules, now):
        calls = with_inspection(calls, now, None)
    return Reaction(calls=calls, changes={"restored_at": event.at}, entries=(_timeline_entry(task, event),))


def _timeline_entry(task: Task, event: LedgerRestored) -> Mapping[str, Any]:
    dropped = {"dropped": ["update"]} if Operation.UPDATE in task.calls else {}
    return {"kind": "restored", "epoch_began_at": event.at, **dropped}


def with_doubts(task: Task, calls: PendingCalls, rules: Rules, now: int, *, sent_at: int | None = None) -> PendingCalls:
    """Returns these calls so that none is made before its result since the backup is known; without updates.

    sent_at: when the start that was under way was sent, or was due to be sent, ms.
    """
    doubtful: dict[Operation, PendingCall] = {
        operation: _as_unsent(call) for operation, call in calls.items() if operation is not Operation.UPDATE
    }
    start = calls.get(Operation.START)
    if start is not None:
        doubtful = _with_doubtful_start(task, start, doubtful, rules, now, sent_at)
    if Operation.STOP in doubtful and Operation.START not in doubtful:
        doubtful = _query_before_stop(task, doubtful, rules, now)
    return doubtful


def doubt_request(task: Task, reaction: Reaction, rules: Rules, now: int) -> Reaction:
    """Returns the reaction to a request that waited in the backup: its call, too, may have been made since."""
    calls = reaction.calls_of(task)
    if Operation.STOP in calls and task.view.state not in FINAL:
        task = replace(task, view=replace(task.view, state=State.STOPPING))
    return replace(reaction, calls=with_doubts(task, calls, rules, now))


def _as_unsent(call: PendingCall) -> PendingCall:
    return call if call.serial is None else replace(call, serial=None, step=None)


def _with_doubtful_start(
    task: Task, start: PendingCall, calls: PendingCalls, rules: Rules, now: int, sent_at: int | None
) -> dict[Operation, PendingCall]:
    is_stopping = task.view.stop_asked_at is not None or Operation.STOP in calls
    if is_stopping and not task.key.is_provisional:
        return without_call(calls, Operation.START)  # its id is known: the stop covers it
    doubtful = replace(
        start,
        serial=None,
        retry_at=now + _RECHECK_MS,
        ambiguous=start.ambiguous or (start.serial or task.serial + 1,),
        ambiguous_at=start.ambiguous_at or sent_at or start.retry_at or start.since,
        doubted_at=now,
    )
    return _query_start(task, doubtful, {**calls, Operation.START: doubtful}, rules, now)


def _query_start(task: Task, start: PendingCall, calls: PendingCalls, rules: Rules, now: int) -> dict[Operation, PendingCall]:
    """Returns these calls and a query about the start, if the vendor can be queried."""
    if not can_be_queried(task, rules, now):
        return dict(calls)
    asks = Deadline.START_RETRY if task.key.is_provisional else None
    return with_inspection(calls, now, asks, start.ambiguous)


def _query_before_stop(task: Task, calls: PendingCalls, rules: Rules, now: int) -> dict[Operation, PendingCall]:
    """Returns these calls with a query in place of the stop, if the vendor can be queried.

    Under an id that the caller chose another task may run by now.
    """
    if task.key.is_provisional or not can_be_queried(task, rules, now):
        return dict(calls)
    asks = Deadline.STOP_CONFIRM if task.view.state is State.STOPPING else None
    return with_inspection(without_call(calls, Operation.STOP), now, asks)


def recheck_start(task: Task, start: PendingCall, rules: Rules, now: int) -> Reaction:
    """Reacts when a start in doubt is due: queries it again, or gives it up after `start.max_elapsed_s` of the policy."""
    waiting = replace(start, retry_at=now + _RECHECK_MS)
    calls = {**task.calls, Operation.START: waiting}
    if Operation.INSPECT in task.calls:
        return Reaction(calls=calls)
    last = (start.doubted_at or now) + parse_policy(task.policy).start.max_elapsed_s * 1000
    if now < last:
        waiting = replace(waiting, retry_at=min(now + _RECHECK_MS, last))
        return Reaction(calls=_query_start(task, waiting, {**calls, Operation.START: waiting}, rules, now))
    return _give_up_doubtful_start(task, calls, now)


def _give_up_doubtful_start(task: Task, calls: PendingCalls, now: int) -> Reaction:
    key = f"{task.id}:restored:{now}"
    known_at = task.view.begins_at  # nothing has been heard of it since: any later sign of it is news
    end = inferred_end(task, START_UNKNOWN, now, key=key, ended_at=now, deadline=Deadline.START_RETRY, known_at=known_at)
    return Reaction(calls=without_call(calls, Operation.START), facts=(end,))


def start_unless_too_late(task: Task, start: PendingCall, calls: PendingCalls, now: int, key: str) -> Reaction:
    """Makes a start in doubt that was never made, as the vendor knows no task of its id.

    This is proof: the vendor remembers an id for longer than a start is tried. After `start.max_elapsed_s` of the policy it is too
    late for the start: the task has failed.
    """
    if now <= start.since + parse_policy(task.policy).start.max_elapsed_s * 1000:
        fresh = replace(start, retry_at=None, ambiguous=(), ambiguous_at=None, doubted_at=None)
        return Reaction(calls={**calls, Operation.START: fresh})
    return Reaction(calls=without_call(calls, Operation.START), facts=(never_started(task, GAVE_UP, now, key),))
