"""Inferences: the end of a task, or its anomaly, where the vendor cannot be queried or reports no reason.

Which deadline leads to which inference is in the table of `deadlines`. An inferred end is a fact like any other: a later report of
the vendor corrects it.
"""

from dataclasses import dataclass

from statemachine.calls import Operation
from statemachine.deadline_arming import IDLE_GRACE_MS, SILENCE_LOST_MS
from statemachine.facts import Ending
from statemachine.rules import Rules
from statemachine.states import Anomaly, Deadline, FileState, Reason, State
from statemachine.tasks import Task

#: Accepted stop calls after which a task that cannot be queried counts as stopped.
ENOUGH_STOPS = 3
#: The end of a task whose start is given up although it may have happened.
START_UNKNOWN = Ending(state=State.FAILED, reason=Reason.START_UNKNOWN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Inference:
    """An inferred end and its time (ms), or an anomaly, or neither."""

    outcome: Ending | None = None
    #: None: the time of the inference.
    ended_at: int | None = None
    anomaly: Anomaly | None = None


NO_INFERENCE = Inference()


def unheard(task: Task, rules: Rules, now: int) -> Inference:
    """Infers no end: the task is marked `unheard`."""
    return Inference(anomaly=Anomaly.UNHEARD)


def idle_end(task: Task, rules: Rules, now: int) -> Inference:
    """Infers that the vendor ended the task because it had no publisher for `Rules.idle_s`."""
    since = max(task.view.idle_since or 0, task.view.scheduled_at or 0)
    if task.view.revoked is Deadline.IDLE and task.view.revoked_at is not None:
        since = max(since, task.view.revoked_at)
    ended = since + int((rules.idle_s or 0) * 1000) if since else now - IDLE_GRACE_MS
    return Inference(outcome=Ending(state=State.IDLE_TIMEOUT, reason=Reason.MAX_IDLE_TIME), ended_at=min(ended, now))


def expired_end(task: Task, rules: Rules, now: int) -> Inference:
    """Infers that the vendor ended the task after its maximum lifetime, `Rules.life_s`."""
    started = task.view.started_at
    ended = now if started is None or rules.life_s is None else started + int(rules.life_s * 1000)
    return Inference(outcome=Ending(state=State.EXPIRED, reason=Reason.MAX_LIFETIME), ended_at=max(ended, task.view.evidence_at))


def finished_end(task: Task, rules: Rules, now: int) -> Inference:
    """Infers that no more files will arrive: the known files decide how the task ended."""
    state, reason = task.view.fallback or (State.COMPLETED, Reason.FILES_UNKNOWN)
    if any(file.state is not FileState.FAILED for file in task.view.files):
        state, reason = State.COMPLETED, Reason.FILES_DELIVERED
    return Inference(outcome=Ending(state=state, reason=reason), ended_at=now)


def stopped_end(task: Task, rules: Rules, now: int) -> Inference:
    """Infers that our stop ended the task; `start_unknown` if the stop only made sure of a start that was given up."""
    if task.view.gave_up and not task.view.shown:
        return Inference(outcome=START_UNKNOWN, ended_at=now)
    return Inference(outcome=Ending(state=State.STOPPED, reason=Reason.STOP_REQUESTED), ended_at=task.view.stop_accepted_at or now)


def end_of_repeated_stops(task: Task, rules: Rules, now: int) -> Inference:
    """Infers that the task is stopped once the vendor has accepted `ENOUGH_STOPS` stop calls."""
    return stopped_end(task, rules, now) if task.view.stops_accepted >= ENOUGH_STOPS else NO_INFERENCE


def unknown_start(task: Task, rules: Rules, now: int) -> Inference:
    """Infers `start_unknown` for a start that was given up and whose result cannot be queried."""
    if Operation.START in task.calls or task.view.shown:
        return NO_INFERENCE
    return Inference(outcome=START_UNKNOWN, ended_at=now)


def silent_end(task: Task, rules: Rules, now: int) -> Inference:
    """Infers `lost` after 30 days without news (`SILENCE_LOST_MS`); before, the task is marked `unheard`."""
    if now - task.view.heard_at < SILENCE_LOST_MS:
        return Inference(anomaly=Anomaly.UNHEARD)
    return Inference(outcome=Ending(state=State.LOST, reason=Reason.SILENT), ended_at=now)
