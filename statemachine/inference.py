"""What a passed deadline means: what is concluded where nobody can be asked, and what is to be done."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from statemachine.calls import Operation
from statemachine.deadlines import IDLE_GRACE_MS, SILENCE_LOST_MS
from statemachine.facts import Outcome, Rules
from statemachine.states import Anomaly, Deadline, FileState, Reason, State
from statemachine.tasks import Task

#: So many accepted stops end a task that cannot be asked.
STOPS_ENOUGH = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Conclusion:
    """An end that is inferred and when it was (ms), or a mark that is all that can be said."""

    outcome: Outcome | None = None
    ended_at: int | None = None
    anomaly: Anomaly | None = None


NOTHING = Conclusion()


def unasked(task: Task, kind: Deadline | None, now: int, rules: Rules) -> Conclusion:
    """What it means that this deadline of a task passed that cannot be asked."""
    return _OF_KIND[kind](task, now, rules) if kind in _OF_KIND else NOTHING


def _unheard(task: Task, now: int, rules: Rules) -> Conclusion:
    return Conclusion(anomaly=Anomaly.UNHEARD)


def idled(task: Task, now: int, rules: Rules) -> Conclusion:
    """It ended because nobody published for long enough."""
    since = max(task.view.idle_since or 0, task.view.scheduled_at or 0)
    if task.view.revoked is Deadline.IDLE and task.view.revoked_at is not None:
        since = max(since, task.view.revoked_at)
    ended = since + int((rules.idle_s or 0) * 1000) if since else now - IDLE_GRACE_MS
    return Conclusion(outcome=Outcome(state=State.IDLE_TIMEOUT, reason=Reason.MAX_IDLE_TIME), ended_at=min(ended, now))


def expired(task: Task, now: int, rules: Rules) -> Conclusion:
    """Its allowed life is over."""
    started = task.view.started_at
    ended = now if started is None or rules.life_s is None else started + int(rules.life_s * 1000)
    return Conclusion(outcome=Outcome(state=State.EXPIRED, reason=Reason.MAX_LIFETIME), ended_at=max(ended, task.view.evidence_at))


def finished(task: Task, now: int, rules: Rules) -> Conclusion:
    """No file can be awaited any longer."""
    state, reason = task.view.fallback or (State.COMPLETED, Reason.FILES_UNKNOWN)
    if any(file.state is not FileState.FAILED for file in task.view.files):
        state, reason = State.COMPLETED, Reason.FILES_DELIVERED
    return Conclusion(outcome=Outcome(state=state, reason=reason), ended_at=now)


def stopped(task: Task, now: int, rules: Rules) -> Conclusion:
    """It was stopped often enough."""
    if task.view.gave_up and not task.view.shown:
        return Conclusion(outcome=START_UNKNOWN, ended_at=now)
    return Conclusion(
        outcome=Outcome(state=State.STOPPED, reason=Reason.STOP_REQUESTED), ended_at=task.view.stop_accepted_at or now
    )


START_UNKNOWN = Outcome(state=State.FAILED, reason=Reason.START_UNKNOWN)


def _start_unknown(task: Task, now: int, rules: Rules) -> Conclusion:
    """A start was given up, and asking what became of it leads nowhere."""
    if Operation.START in task.calls or task.view.shown:
        return NOTHING
    return Conclusion(outcome=START_UNKNOWN, ended_at=now)


def _stopped_often(task: Task, now: int, rules: Rules) -> Conclusion:
    return stopped(task, now, rules) if task.view.stops_accepted >= STOPS_ENOUGH else NOTHING


def _silent(task: Task, now: int, rules: Rules) -> Conclusion:
    if now - task.view.heard_at < SILENCE_LOST_MS:
        return Conclusion(anomaly=Anomaly.UNHEARD)
    return Conclusion(outcome=Outcome(state=State.LOST, reason=Reason.SILENT), ended_at=now)


_OF_KIND: Mapping[Deadline | None, Callable[[Task, int, Rules], Conclusion]] = {
    Deadline.START_RETRY: _start_unknown,
    Deadline.START_CONFIRM: _unheard,
    Deadline.IDLE: idled,
    Deadline.EXPIRY: expired,
    Deadline.FINISH: finished,
    Deadline.SILENCE: _silent,
    Deadline.STOP_CONFIRM: _stopped_often,
}
