"""Tells when each deadline of a task is due; `deadlines` has the table of them.

A deadline follows from the task's view, its pending calls and the deadlines that passed before. It counts from the vendor's own
times; only `silence` counts from receipt. If it passes twice, or late, the result is the same as if it passed once.
"""

from dataclasses import dataclass

from statemachine.calls import Operation
from statemachine.pending_calls import stable_fraction
from statemachine.policy import Policy, RestartPolicy
from statemachine.rules import Rules
from statemachine.states import Deadline, Reason, State
from statemachine.tasks import DeadlinePass, Task
from statemachine.vendor_reach import can_be_queried, reach_ends_at

_S = 1000
#: Time for a start or stop that the vendor accepted to show an effect, ms.
_CONFIRM_MS = 60 * _S
#: Grace time after the vendor's idle limit, ms.
IDLE_GRACE_MS = 30 * _S
#: Time for an interrupted task to recover before the first query, and between queries, ms.
_RECOVERY_FIRST_MS = 90 * _S
_RECOVERY_AGAIN_MS = 300 * _S
#: Grace time after the maximum lifetime, and the interval of queries after that, ms.
_EXPIRY_GRACE_MS = 300 * _S
_EXPIRY_AGAIN_MS = 3600 * _S
#: Time without news after which a task that cannot be queried is `unheard`, then `lost`, ms.
_SILENCE_MS = 24 * 3600 * _S
SILENCE_LOST_MS = 30 * 24 * 3600 * _S
#: Time left to act before the vendor stops answering for a task, ms.
_REACH_LEAD_MS = 3600 * _S
#: Interval of queries for files that are late, ms.
_FINISH_AGAIN_MS = 3600 * _S
#: Pause before the next successor, if one failed, ms.
_RENEW_AGAIN_MS = 60 * _S
#: Width of the spread of `silence`, as a part of `Rules.silence_s`: tasks that began together are not all queried at once.
_SPREAD = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmedDeadline:
    """A deadline of a task. Times in ms."""

    kind: Deadline
    #: The time that it counts from.
    base: int
    #: The time when it is due.
    at: int


def arm_start_retry(task: Task, rules: Rules, policy: Policy) -> ArmedDeadline | None:
    return _armed_retry(task, Deadline.START_RETRY, (Operation.START,))


def arm_call_retry(task: Task, rules: Rules, policy: Policy) -> ArmedDeadline | None:
    return _armed_retry(task, Deadline.CALL_RETRY, (Operation.STOP, Operation.UPDATE, Operation.INSPECT))


def _armed_retry(task: Task, kind: Deadline, operations: tuple[Operation, ...]) -> ArmedDeadline | None:
    if not task.calls:
        return None
    retries = (task.calls[operation].retry_at for operation in operations if operation in task.calls)
    earliest = min((at for at in retries if at is not None), default=None)
    return None if earliest is None else ArmedDeadline(kind=kind, base=earliest, at=earliest)


def arm_start_confirm(task: Task, rules: Rules, policy: Policy) -> ArmedDeadline | None:
    view = task.view
    if view.state is not State.ACCEPTED:
        return None
    base = max(view.accepted_at or view.evidence_at, view.scheduled_at or 0)
    if view.revoked is Deadline.START_CONFIRM and view.revoked_at is not None:
        base = max(base, view.revoked_at)
    return _armed_once(task, Deadline.START_CONFIRM, base, _CONFIRM_MS)


def arm_idle(task: Task, rules: Rules, policy: Policy) -> ArmedDeadline | None:
    view = task.view
    if view.idle_since is None or rules.idle_s is None or view.state not in (State.ACCEPTED, State.INTERRUPTED):
        return None
    base = max(view.idle_since, view.scheduled_at or 0)
    if view.revoked is Deadline.IDLE and view.revoked_at is not None:
        base = max(base, view.revoked_at)
    return _armed_once(task, Deadline.IDLE, base, int(rules.idle_s * _S) + IDLE_GRACE_MS)


def arm_recovery(task: Task, rules: Rules, policy: Policy) -> ArmedDeadline | None:
    base = task.view.interrupted_since
    if base is None:
        return None
    last, max_at = _last_pass(task, Deadline.RECOVERY, base), base + policy.recovery.max_s * _S
    looked_at, due_at = base, base + _RECOVERY_FIRST_MS
    if last is not None:
        looked_at, due_at = last.at, last.at + _RECOVERY_AGAIN_MS
    if policy.recovery.stop and looked_at < max_at < due_at:
        due_at = max_at
    return ArmedDeadline(kind=Deadline.RECOVERY, base=base, at=due_at)


def arm_expiry(task: Task, rules: Rules, policy: Policy) -> ArmedDeadline | None:
    view = task.view
    if view.started_at is None or rules.life_s is None or view.state in (State.REQUESTED, State.FINISHING):
        return None
    is_revoked = view.revoked is Deadline.EXPIRY
    base = view.revoked_at if is_revoked and view.revoked_at is not None else view.started_at
    last = _last_pass(task, Deadline.EXPIRY, base)
    if last is not None:
        return ArmedDeadline(kind=Deadline.EXPIRY, base=base, at=last.at + _EXPIRY_AGAIN_MS)
    return _armed_after(Deadline.EXPIRY, base, _EXPIRY_AGAIN_MS if is_revoked else int(rules.life_s * _S) + _EXPIRY_GRACE_MS)


def arm_renew(task: Task, rules: Rules, policy: Policy) -> ArmedDeadline | None:
    view = task.view
    is_live = view.state in (State.ACCEPTED, State.RUNNING, State.INTERRUPTED)
    if policy.renew is None or rules.life_s is None or view.started_at is None or task.renewed_by or task.wiped or not is_live:
        return None
    base, after_ms = view.started_at, int((rules.life_s - policy.renew.lead_s) * _S)
    if _may_be_done(task, rules, base + after_ms):
        return None
    last = _last_pass(task, Deadline.RENEW, base)
    if last is not None:  # the successor failed: start another one
        return ArmedDeadline(kind=Deadline.RENEW, base=base, at=last.at + _RENEW_AGAIN_MS)
    return _armed_after(Deadline.RENEW, base, after_ms)


def arm_stop_confirm(task: Task, rules: Rules, policy: Policy) -> ArmedDeadline | None:
    view = task.view
    if view.state is not State.STOPPING or view.stop_accepted_at is None or Operation.STOP in task.calls:
        return None
    return _armed_once(task, Deadline.STOP_CONFIRM, view.stop_accepted_at, _CONFIRM_MS)


def arm_finish(task: Task, rules: Rules, policy: Policy) -> ArmedDeadline | None:
    view = task.view
    if view.state is not State.FINISHING or view.finishing_since is None:
        return None
    base = view.finishing_since
    last = _last_pass(task, Deadline.FINISH, base)
    if last is not None:  # the query proved nothing, or files are still on their way
        return ArmedDeadline(kind=Deadline.FINISH, base=base, at=last.at + _FINISH_AGAIN_MS)
    wait_s = rules.finish_s if view.upload_heard else rules.finish_unheard_s or rules.finish_s
    return _armed_after(Deadline.FINISH, base, int(wait_s * _S))


def arm_silence(task: Task, rules: Rules, policy: Policy) -> ArmedDeadline | None:
    base = task.view.heard_at
    last = _last_pass(task, Deadline.SILENCE, base)
    spread = 1 - _SPREAD / 2 + _SPREAD * stable_fraction(task.id, "silence", base)
    query_at = (last.at if last else base) + int(rules.silence_s * _S * spread)
    if can_be_queried(task, rules, query_at) and task.view.state is not State.FINISHING:  # `finish` queries for files
        return ArmedDeadline(kind=Deadline.SILENCE, base=base, at=query_at)
    if last is None:
        return _armed_after(Deadline.SILENCE, base, _SILENCE_MS)
    return ArmedDeadline(kind=Deadline.SILENCE, base=base, at=max(base + SILENCE_LOST_MS, last.at + _SILENCE_MS))


def arm_reach(task: Task, rules: Rules, policy: Policy) -> ArmedDeadline | None:
    base = task.view.started_at
    if not rules.callable or rules.reach_s is None or base is None or task.view.state is State.REQUESTED:
        return None
    if _last_pass(task, Deadline.REACH, base) is not None:
        return None
    return ArmedDeadline(kind=Deadline.REACH, base=base, at=reach_ends_at(task, rules) - _REACH_LEAD_MS)


def arm_restart(task: Task, rules: Rules, policy: Policy) -> ArmedDeadline | None:
    view, restart = task.view, policy.restart
    if restart is None or not rules.callable or not _is_to_be_restarted(task, rules, restart):
        return None
    base = view.ended_at or view.evidence_at
    known_until = view.evidence_at if view.inferred else base  # the vendor reported no end: the last time it was seen counts
    return None if _may_be_done(task, rules, known_until) else _armed_after(Deadline.RESTART, base, restart.pause_s * _S)


def _is_to_be_restarted(task: Task, rules: Rules, restart: RestartPolicy) -> bool:
    view = task.view
    if view.state not in restart.on or task.restart_count >= restart.max:
        return False
    if task.restarted_by or task.renewed_by or task.wiped or view.followed:
        return False
    if view.stop_asked_at is not None and not view.gave_up:
        return False
    if task.renews is not None and view.running_at is None:  # a successor that failed: the task before it starts another one
        return False
    # after `start_unknown` the task may run, and under another id a second one would run beside it
    return not (view.reason is Reason.START_UNKNOWN and rules.single_run)


def _may_be_done(task: Task, rules: Rules, at: int) -> bool:
    """Returns whether a successor due at this time (ms) may have been started between a backup and its restore.

    It would run twice: under an id of ours a second start finds the first, but a vendor that assigns ids starts another task.
    """
    return rules.single_run and task.restored_at is not None and at < task.restored_at


def _armed_after(kind: Deadline, base: int, after_ms: int) -> ArmedDeadline:
    return ArmedDeadline(kind=kind, base=base, at=base + after_ms)


def _armed_once(task: Task, kind: Deadline, base: int, after_ms: int) -> ArmedDeadline | None:
    return None if _last_pass(task, kind, base) is not None else _armed_after(kind, base, after_ms)


def _last_pass(task: Task, kind: Deadline, base: int) -> DeadlinePass | None:
    """Returns when this deadline last passed, if it counted from this base."""
    last = task.passed.get(kind)
    return last if last is not None and last.base == base else None
