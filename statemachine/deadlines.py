"""When to look at a task again.

Deadlines are a function of how the task stands, of what is wanted of the vendor and of what passed before; they count from the
vendor's own times, only `silence` from receipt. Passing one twice, or late, changes nothing more than passing it once.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from statemachine.calls import Operation
from statemachine.policy import Policy, parse_policy
from statemachine.rules import Rules
from statemachine.states import FINAL, Deadline, Reason, State
from statemachine.tasks import Task

_S = 1000
_CONFIRM_MS = 60 * _S
IDLE_GRACE_MS = 30 * _S
_RECOVERY_FIRST_MS = 90 * _S
_RECOVERY_AGAIN_MS = 300 * _S
_EXPIRY_GRACE_MS = 300 * _S
_EXPIRY_AGAIN_MS = 3600 * _S
_SILENCE_MS = 24 * 3600 * _S
SILENCE_LOST_MS = 30 * 24 * 3600 * _S
_REACH_LEAD_MS = 3600 * _S
_FINISH_AGAIN_MS = 3600 * _S
_RENEW_AGAIN_MS = 60 * _S
#: `silence` of tasks that can be asked is spread by this part of it, so that they are not all asked at once.
_SPREAD = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """One armed deadline: what it counts from, and when it passes. ms."""

    kind: Deadline
    base: int
    at: int


def can_be_asked(task: Task, rules: Rules, now: int) -> bool:
    """Whether a query settles questions about it now: the vendor still promises to know it."""
    if task.view.followed or (task.key.is_provisional and not rules.askable_unnamed):
        return False
    return rules.askable and (rules.reach_s is None or task.view.started_at is None or now < _reach_ends(task, rules))


def _reach_ends(task: Task, rules: Rules) -> int:
    return (task.view.started_at or 0) + int((rules.reach_s or 0) * _S)


def armed_deadlines(task: Task, rules: Rules) -> Iterator[Due]:
    """The deadlines of a task that stands so: at least `silence` for one that lives, and few for one that has ended."""
    policy = parse_policy(task.policy) if task.policy else _USUAL
    arms = _OF_FINAL if task.view.state in FINAL else _OF_LIVE
    for arm in arms:
        item = arm(task, rules, policy)
        if item is not None:
            yield item


_USUAL = Policy()


def due_times(task: Task, before: Mapping[Deadline, int], rules: Rules, now: int) -> dict[Deadline, int]:
    """kind -> when it passes, ms, soonest first. before: those of the task until now.

    `silence` stays where it was armed until then: each callback would move it, and nothing is lost by looking once too early.
    """
    deadlines = {item.kind: item.at for item in armed_deadlines(task, rules)}
    silence = deadlines.get(Deadline.SILENCE)
    earlier = before.get(Deadline.SILENCE)
    if silence is not None and earlier is not None and now < earlier < silence:
        deadlines[Deadline.SILENCE] = earlier
    return dict(sorted(deadlines.items(), key=lambda item: (item[1], item[0])))


def _start_retry(task: Task, rules: Rules, policy: Policy) -> Due | None:
    return _retry(task, Deadline.START_RETRY, (Operation.START,))


def _call_retry(task: Task, rules: Rules, policy: Policy) -> Due | None:
    return _retry(task, Deadline.CALL_RETRY, (Operation.STOP, Operation.UPDATE, Operation.INSPECT))


def _retry(task: Task, kind: Deadline, operations: tuple[Operation, ...]) -> Due | None:
    if not task.calls:
        return None
    waiting = (task.calls[operation].retry_at for operation in operations if operation in task.calls)
    soonest = min((at for at in waiting if at is not None), default=None)
    return None if soonest is None else Due(kind=kind, base=soonest, at=soonest)


def _start_confirm(task: Task, rules: Rules, policy: Policy) -> Due | None:
    view = task.view
    if view.state is not State.ACCEPTED:
        return None
    base = max(view.accepted_at or view.evidence_at, view.scheduled_at or 0)
    if view.revoked is Deadline.START_CONFIRM and view.revoked_at is not None:
        base = max(base, view.revoked_at)
    return None if _done(task, Deadline.START_CONFIRM, base) else _due(Deadline.START_CONFIRM, base, _CONFIRM_MS)


def _idle(task: Task, rules: Rules, policy: Policy) -> Due | None:
    view = task.view
    if view.idle_since is None or rules.idle_s is None or view.state not in (State.ACCEPTED, State.INTERRUPTED):
        return None
    base = max(view.idle_since, view.scheduled_at or 0)
    if view.revoked is Deadline.IDLE and view.revoked_at is not None:
        base = max(base, view.revoked_at)
    return None if _done(task, Deadline.IDLE, base) else _due(Deadline.IDLE, base, int(rules.idle_s * _S) + IDLE_GRACE_MS)


def _recovery(task: Task, rules: Rules, policy: Policy) -> Due | None:
    base = task.view.interrupted_since
    if base is None:
        return None
    last, given_up = task.passed.get(Deadline.RECOVERY), base + policy.recovery.max_s * _S
    again, seen = base + _RECOVERY_FIRST_MS, base
    if last is not None and last.base == base:
        again, seen = last.at + _RECOVERY_AGAIN_MS, last.at
    if policy.recovery.stop and seen < given_up < again:
        again = given_up
    return Due(kind=Deadline.RECOVERY, base=base, at=again)


def _expiry(task: Task, rules: Rules, policy: Policy) -> Due | None:
    view = task.view
    if view.started_at is None or rules.life_s is None or view.state in (State.REQUESTED, State.FINISHING):
        return None
    revoked = view.revoked is Deadline.EXPIRY
    base = view.revoked_at if revoked and view.revoked_at is not None else view.started_at
    last = task.passed.get(Deadline.EXPIRY)
    if last is not None and last.base == base:
        return Due(kind=Deadline.EXPIRY, base=base, at=last.at + _EXPIRY_AGAIN_MS)
    return _due(Deadline.EXPIRY, base, _EXPIRY_AGAIN_MS if revoked else int(rules.life_s * _S) + _EXPIRY_GRACE_MS)


def _renew(task: Task, rules: Rules, policy: Policy) -> Due | None:
    view = task.view
    lives = view.state in (State.ACCEPTED, State.RUNNING, State.INTERRUPTED)
    if policy.renew is None or rules.life_s is None or view.started_at is None or task.renewed_by or task.wiped or not lives:
        return None
    base, last = view.started_at, task.passed.get(Deadline.RENEW)
    if _may_be_done(task, rules, base + int((rules.life_s - policy.renew.lead_s) * _S)):
        return None
    if last is not None and last.base == base:  # its successor failed
        return Due(kind=Deadline.RENEW, base=base, at=last.at + _RENEW_AGAIN_MS)
    return _due(Deadline.RENEW, base, int((rules.life_s - policy.renew.lead_s) * _S))


def _restart(task: Task, rules: Rules, policy: Policy) -> Due | None:
    view, restart = task.view, policy.restart
    if restart is None or view.state not in restart.on or task.restart_count >= restart.max or not rules.callable:
        return None
    if task.restarted_by or task.renewed_by or task.wiped or view.followed:
        return None
    if view.stop_asked_at is not None and not view.gave_up:
        return None
    if task.renews is not None and view.running_at is None:  # whom it was to follow starts another one
        return None
    if view.reason is Reason.START_UNKNOWN and rules.single_run:  # it may run, and a second one would run beside it
        return None
    base = view.ended_at or view.evidence_at
    known_until = view.evidence_at if view.inferred else base  # of an end that nobody told: when it was last seen
    if _may_be_done(task, rules, known_until):
        return None
    return _due(Deadline.RESTART, base, restart.pause_s * _S)


def _may_be_done(task: Task, rules: Rules, at: int) -> bool:
    """Whether what was due then (ms) may have been done between a backup and its restore, and would run twice.

    Under an id of ours a second start finds the first; a vendor that mints ids would start another task.
    """
    return rules.single_run and task.restored_at is not None and at < task.restored_at


def _stop_confirm(task: Task, rules: Rules, policy: Policy) -> Due | None:
    view = task.view
    if view.state is not State.STOPPING or view.stop_accepted_at is None or Operation.STOP in task.calls:
        return None
    base = view.stop_accepted_at
    return None if _done(task, Deadline.STOP_CONFIRM, base) else _due(Deadline.STOP_CONFIRM, base, _CONFIRM_MS)


def _finish(task: Task, rules: Rules, policy: Policy) -> Due | None:
    view = task.view
    if view.state is not State.FINISHING or view.finishing_since is None:
        return None
    unheard = rules.finish_unheard_s is not None and not view.upload_heard
    base, wait_s = view.finishing_since, rules.finish_unheard_s if unheard and rules.finish_unheard_s else rules.finish_s
    if _done(task, Deadline.FINISH, base):  # what was asked then told nothing
        return Due(kind=Deadline.FINISH, base=base, at=task.passed[Deadline.FINISH].at + _FINISH_AGAIN_MS)
    return _due(Deadline.FINISH, base, int(wait_s * _S))


def _silence(task: Task, rules: Rules, policy: Policy) -> Due | None:
    base, last = task.view.heard_at, task.passed.get(Deadline.SILENCE)
    again = last if last is not None and last.base == base else None
    spread = 1 - _SPREAD / 2 + _SPREAD * stable_fraction(task.id, "silence", base)
    ask_at = (again.at if again else base) + int(rules.silence_s * _S * spread)
    if can_be_asked(task, rules, ask_at) and task.view.state is not State.FINISHING:  # `finish` asks about files
        return Due(kind=Deadline.SILENCE, base=base, at=ask_at)
    if again is None:
        return _due(Deadline.SILENCE, base, _SILENCE_MS)
    return Due(kind=Deadline.SILENCE, base=base, at=max(base + SILENCE_LOST_MS, again.at + _SILENCE_MS))


def _reach(task: Task, rules: Rules, policy: Policy) -> Due | None:
    if not rules.callable or rules.reach_s is None or task.view.started_at is None or task.view.state is State.REQUESTED:
        return None
    base = task.view.started_at
    if _done(task, Deadline.REACH, base):
        return None
    return Due(kind=Deadline.REACH, base=base, at=_reach_ends(task, rules) - _REACH_LEAD_MS)


_OF_FINAL = (_call_retry, _restart)
_OF_LIVE = (
    _start_retry,
    _call_retry,
    _start_confirm,
    _idle,
    _recovery,
    _expiry,
    _renew,
    _stop_confirm,
    _finish,
    _silence,
    _reach,
)


def _due(kind: Deadline, base: int, after_ms: int) -> Due:
    return Due(kind=kind, base=base, at=base + after_ms)


def _done(task: Task, kind: Deadline, base: int) -> bool:
    last = task.passed.get(kind)
    return last is not None and last.base == base


def stable_fraction(*names: object) -> float:
    """A number from 0 up to 1 that is the same each time for the same names: what is spread must not depend on who asks."""
    digest = hashlib.sha256("\x00".join(map(str, names)).encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:7]) / 256**7
