"""When to look at a task again, and what its passing means where nobody can be asked.

Deadlines are a function of how the task stands and of what passed before; they count from the vendor's own times, only
`silence` from receipt. Passing one twice, or late, changes nothing more than passing it once.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from statemachine.facts import Outcome, Rules
from statemachine.fold import View
from statemachine.states import FINAL, Anomaly, Deadline, FileState, Reason, State
from statemachine.tasks import Pass, Task

_S = 1000
_CONFIRM_MS = 60 * _S
_IDLE_GRACE_MS = 30 * _S
_RECOVERY_FIRST_MS = 90 * _S
_RECOVERY_AGAIN_MS = 300 * _S
_EXPIRY_GRACE_MS = 300 * _S
_EXPIRY_AGAIN_MS = 3600 * _S
_SILENCE_ASKABLE_MS = 15 * 60 * _S
_SILENCE_MS = 24 * 3600 * _S
_SILENCE_LOST_MS = 30 * 24 * 3600 * _S
_REACH_LEAD_MS = 3600 * _S


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """One armed deadline: what it counts from, and when it passes. ms."""

    kind: Deadline
    base: int
    at: int


def due(view: View, rules: Rules, passed: Mapping[Deadline, Pass]) -> Iterator[Due]:
    """The deadlines of a task that stands so; none for a final one, at least `silence` for any other."""
    if view.state in FINAL:
        return
    for arm in (_start_confirm, _idle, _recovery, _expiry, _finish, _silence, _reach):
        armed = arm(view, rules, passed)
        if armed is not None:
            yield armed


def armed(task: Task, view: View, rules: Rules, passed: Mapping[Deadline, Pass], now: int) -> dict[Deadline, int]:
    """kind -> when it passes, ms, soonest first.

    `silence` stays where it was armed until then: each callback would move it, and nothing is lost by looking once too early.
    """
    deadlines = {item.kind: item.at for item in due(view, rules, passed)}
    silence = deadlines.get(Deadline.SILENCE)
    earlier = task.deadlines.get(Deadline.SILENCE)
    if silence is not None and earlier is not None and now < earlier < silence:
        deadlines[Deadline.SILENCE] = earlier
    return dict(sorted(deadlines.items(), key=lambda item: (item[1], item[0])))


def _start_confirm(view: View, rules: Rules, passed: Mapping[Deadline, Pass]) -> Due | None:
    if view.state is not State.ACCEPTED:
        return None
    base = max(view.accepted_at or view.evidence_at, view.scheduled_at or 0)
    return (
        None if _done(passed, Deadline.START_CONFIRM, base) else Due(kind=Deadline.START_CONFIRM, base=base, at=base + _CONFIRM_MS)
    )


def _idle(view: View, rules: Rules, passed: Mapping[Deadline, Pass]) -> Due | None:
    if view.idle_since is None or rules.idle_s is None or view.state not in (State.ACCEPTED, State.INTERRUPTED):
        return None
    base = max(view.idle_since, view.scheduled_at or 0)
    if view.revoked is Deadline.IDLE and view.revoked_at is not None:
        base = max(base, view.revoked_at)
    if _done(passed, Deadline.IDLE, base):
        return None
    return Due(kind=Deadline.IDLE, base=base, at=base + int(rules.idle_s * _S) + _IDLE_GRACE_MS)


def _recovery(view: View, rules: Rules, passed: Mapping[Deadline, Pass]) -> Due | None:
    if view.interrupted_since is None:
        return None
    base = view.interrupted_since
    last = passed.get(Deadline.RECOVERY)
    if last is None or last.base != base:
        return Due(kind=Deadline.RECOVERY, base=base, at=base + _RECOVERY_FIRST_MS)
    return Due(kind=Deadline.RECOVERY, base=base, at=last.at + _RECOVERY_AGAIN_MS)


def _expiry(view: View, rules: Rules, passed: Mapping[Deadline, Pass]) -> Due | None:
    if view.started_at is None or rules.life_s is None or view.state is State.FINISHING:
        return None
    if view.revoked is Deadline.EXPIRY and view.revoked_at is not None:
        return Due(kind=Deadline.EXPIRY, base=view.revoked_at, at=view.revoked_at + _EXPIRY_AGAIN_MS)
    last = passed.get(Deadline.EXPIRY)
    if last is not None and last.base == view.started_at:
        return Due(kind=Deadline.EXPIRY, base=view.started_at, at=last.at + _EXPIRY_AGAIN_MS)
    return Due(kind=Deadline.EXPIRY, base=view.started_at, at=view.started_at + int(rules.life_s * _S) + _EXPIRY_GRACE_MS)


def _finish(view: View, rules: Rules, passed: Mapping[Deadline, Pass]) -> Due | None:
    if view.state is not State.FINISHING or view.finishing_since is None:
        return None
    wait_s = rules.finish_s
    if rules.finish_unheard_s is not None and not view.upload_heard:
        wait_s = rules.finish_unheard_s
    return Due(kind=Deadline.FINISH, base=view.finishing_since, at=view.finishing_since + int(wait_s * _S))


def _silence(view: View, rules: Rules, passed: Mapping[Deadline, Pass]) -> Due | None:
    base = view.heard_at
    if rules.askable:
        return Due(kind=Deadline.SILENCE, base=base, at=base + _SILENCE_ASKABLE_MS)
    wait_ms = _SILENCE_LOST_MS if _done(passed, Deadline.SILENCE, base) else _SILENCE_MS
    return Due(kind=Deadline.SILENCE, base=base, at=base + wait_ms)


def _reach(view: View, rules: Rules, passed: Mapping[Deadline, Pass]) -> Due | None:
    if not rules.callable or rules.reach_s is None or view.started_at is None:
        return None
    base = view.started_at
    if _done(passed, Deadline.REACH, base):
        return None
    return Due(kind=Deadline.REACH, base=base, at=base + int(rules.reach_s * _S) - _REACH_LEAD_MS)


def _done(passed: Mapping[Deadline, Pass], kind: Deadline, base: int) -> bool:
    last = passed.get(kind)
    return last is not None and last.base == base


@dataclass(frozen=True, slots=True, kw_only=True)
class Conclusion:
    """What a passed deadline means."""

    #: An end that is inferred, and when it was, ms.
    outcome: Outcome | None = None
    ended_at: int | None = None
    anomaly: Anomaly | None = None
    #: The vendor must be asked; until its answer nothing changes.
    inspect: bool = False


NOTHING = Conclusion()


def conclude(task: Task, item: Due, now: int, rules: Rules) -> Conclusion:
    """What it means that this deadline of this task passed."""
    if item.kind is Deadline.REACH:
        return Conclusion(anomaly=Anomaly.OUT_OF_REACH)
    if rules.askable:
        return Conclusion(inspect=True)
    return _UNASKED.get(item.kind, _nothing)(task, item, now, rules)


def _nothing(task: Task, item: Due, now: int, rules: Rules) -> Conclusion:
    return NOTHING


def _unheard(task: Task, item: Due, now: int, rules: Rules) -> Conclusion:
    return Conclusion(anomaly=Anomaly.UNHEARD)


def _idled(task: Task, item: Due, now: int, rules: Rules) -> Conclusion:
    return Conclusion(outcome=Outcome(state=State.IDLE_TIMEOUT, reason=Reason.MAX_IDLE_TIME), ended_at=item.at - _IDLE_GRACE_MS)


def _expired(task: Task, item: Due, now: int, rules: Rules) -> Conclusion:
    started = task.view.started_at
    ended = item.base if started is None or rules.life_s is None else started + int(rules.life_s * _S)
    return Conclusion(outcome=Outcome(state=State.EXPIRED, reason=Reason.MAX_LIFETIME), ended_at=max(ended, task.view.evidence_at))


def _finished(task: Task, item: Due, now: int, rules: Rules) -> Conclusion:
    state, reason = task.view.fallback or (State.COMPLETED, Reason.FILES_UNKNOWN)
    if any(file.state is not FileState.FAILED for file in task.view.files):
        state, reason = State.COMPLETED, Reason.FILES_DELIVERED
    return Conclusion(outcome=Outcome(state=state, reason=reason), ended_at=now)


def _silent(task: Task, item: Due, now: int, rules: Rules) -> Conclusion:
    if now - item.base < _SILENCE_LOST_MS:
        return Conclusion(anomaly=Anomaly.UNHEARD)
    return Conclusion(outcome=Outcome(state=State.LOST, reason=Reason.SILENT), ended_at=now)


_UNASKED: Mapping[Deadline, Callable[[Task, Due, int, Rules], Conclusion]] = {
    Deadline.START_CONFIRM: _unheard,
    Deadline.IDLE: _idled,
    Deadline.EXPIRY: _expired,
    Deadline.FINISH: _finished,
    Deadline.SILENCE: _silent,
}
