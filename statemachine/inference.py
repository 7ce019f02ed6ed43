"""What a passed deadline means: what is concluded where nobody can be asked, and what is to be done."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from statemachine.calls import Operation
from statemachine.deadlines import IDLE_GRACE_MS, SILENCE_LOST_MS
from statemachine.facts import Ending
from statemachine.rules import Rules
from statemachine.states import Anomaly, Deadline, FileState, Reason, State
from statemachine.tasks import Task

#: So many accepted stops end a task that cannot be asked.
ENOUGH_STOPS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Inference:
    """An end that is inferred and when it was (ms), or a mark that is all that can be said."""

    outcome: Ending | None = None
    ended_at: int | None = None
    anomaly: Anomaly | None = None


NO_INFERENCE = Inference()


def unasked(task: Task, kind: Deadline | None, now: int, rules: Rules) -> Inference:
    """What it means that this deadline of a task passed that cannot be asked."""
    return _OF_KIND[kind](task, now, rules) if kind in _OF_KIND else NO_INFERENCE


def unheard(task: Task, now: int, rules: Rules) -> Inference:
    return Inference(anomaly=Anomaly.UNHEARD)


def idle_end(task: Task, now: int, rules: Rules) -> Inference:
    """It ended because nobody published for long enough."""
    since = max(task.view.idle_since or 0, task.view.scheduled_at or 0)
    if task.view.revoked is Deadline.IDLE and task.view.revoked_at is not None:
        since = max(since, task.view.revoked_at)
    ended = since + int((rules.idle_s or 0) * 1000) if since else now - IDLE_GRACE_MS
    return Inference(outcome=Ending(state=State.IDLE_TIMEOUT, reason=Reason.MAX_IDLE_TIME), ended_at=min(ended, now))


def expired_end(task: Task, now: int, rules: Rules) -> Inference:
    """Its allowed life is over."""
    started = task.view.started_at
    ended = now if started is None or rules.life_s is None else started + int(rules.life_s * 1000)
    return Inference(outcome=Ending(state=State.EXPIRED, reason=Reason.MAX_LIFETIME), ended_at=max(ended, task.view.evidence_at))


def finished_end(task: Task, now: int, rules: Rules) -> Inference:
    """No file can be awaited any longer."""
    state, reason = task.view.fallback or (State.COMPLETED, Reason.FILES_UNKNOWN)
    if any(file.state is not FileState.FAILED for file in task.view.files):
        state, reason = State.COMPLETED, Reason.FILES_DELIVERED
    return Inference(outcome=Ending(state=state, reason=reason), ended_at=now)


def stopped_end(task: Task, now: int, rules: Rules) -> Inference:
    """It was stopped often enough."""
    if task.view.gave_up and not task.view.shown:
        return Inference(outcome=START_UNKNOWN, ended_at=now)
    return Inference(outcome=Ending(state=State.STOPPED, reason=Reason.STOP_REQUESTED), ended_at=task.view.stop_accepted_at or now)


START_UNKNOWN = Ending(state=State.FAILED, reason=Reason.START_UNKNOWN)


def start_unknown(task: Task, now: int, rules: Rules) -> Inference:
    """A start was given up, and asking what became of it leads nowhere."""
    if Operation.START in task.calls or task.view.shown:
        return NO_INFERENCE
    return Inference(outcome=START_UNKNOWN, ended_at=now)


def often_stopped(task: Task, now: int, rules: Rules) -> Inference:
    return stopped_end(task, now, rules) if task.view.stops_accepted >= ENOUGH_STOPS else NO_INFERENCE


def silent(task: Task, now: int, rules: Rules) -> Inference:
    if now - task.view.heard_at < SILENCE_LOST_MS:
        return Inference(anomaly=Anomaly.UNHEARD)
    return Inference(outcome=Ending(state=State.LOST, reason=Reason.SILENT), ended_at=now)


_OF_KIND: Mapping[Deadline | None, Callable[[Task, int, Rules], Inference]] = {
    Deadline.START_RETRY: start_unknown,
    Deadline.START_CONFIRM: unheard,
    Deadline.IDLE: idle_end,
    Deadline.EXPIRY: expired_end,
    Deadline.FINISH: finished_end,
    Deadline.SILENCE: silent,
    Deadline.STOP_CONFIRM: often_stopped,
}
