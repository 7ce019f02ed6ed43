"""What the answer to a query says of a task (mapping.md, the tables of query answers).

What the vendor says is a fact at the time when it was asked. Where it says that the task ended and not why, the deadline that
asked says it, inferred; a recording of which anything was heard awaits its files first.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from statemachine.calls import Inspection, Operation, PendingCall, Sign
from statemachine.events import CallAnswered
from statemachine.facts import Ending, Fact, FactKind, FilesDelivered
from statemachine.inference import ENOUGH_STOPS, START_UNKNOWN, Inference, expired_end, finished_end, idle_end, stopped_end
from statemachine.on_restore import start_if_not_too_late
from statemachine.pending_calls import with_call
from statemachine.policy import parse_policy
from statemachine.reaction import Reaction, inference_facts, inferred_end
from statemachine.rules import Rules
from statemachine.states import FINAL, Anomaly, Deadline, Kind, Reason, State
from statemachine.tasks import Task

Calls = Mapping[Operation, PendingCall]

_LIFE: Mapping[Sign, Mapping[str, Any]] = {
    Sign.ALIVE: {"kind": FactKind.START},
    Sign.ACCEPTED: {"kind": FactKind.START},
    Sign.CONNECTING: {"kind": FactKind.CONNECTING},
    Sign.NO_MEDIA: {"kind": FactKind.NO_MEDIA, "idle": True},
    Sign.RUNNING: {"kind": FactKind.MEDIA},
}
_WITH_FILES = (Kind.RECORD, Kind.PAGE)


def react_to_inspection(task: Task, event: CallAnswered, asks: Deadline | None, calls: Calls, rules: Rules, now: int) -> Reaction:
    """What this answer says. asks: the deadline that asked; calls: what else is wanted."""
    inspection = event.inspection
    assert inspection is not None
    if inspection.sign is Sign.GONE or _is_of_an_older_run(task, inspection, rules):
        start = calls.get(Operation.START)
        if start is not None and start.doubted_at is not None and not task.key.is_provisional and task.view.stop_asked_at is None:
            return start_if_not_too_late(task, start, calls, now, f"inspection {task.id} {event.serial}")
        return _ended(task, event, Inspection(sign=Sign.GONE), asks, calls, rules, now)
    if _began_before(task, inspection, rules):  # our start met it running: it is ours since then
        inspection = replace(inspection, started_at=None)
    if inspection.sign in _LIFE:
        return _lives(task, event, inspection, asks, calls, now)
    if inspection.sign is Sign.CAPTURE_ENDED:
        return _captured(task, event, inspection, asks, calls, rules, now)
    return _ended(task, event, inspection, asks, calls, rules, now)


def _began_before(task: Task, inspection: Inspection, rules: Rules) -> bool:
    """What the vendor speaks of was started before we asked for this run."""
    told = inspection.started_at
    return told is not None and task.action is not None and told < task.view.begins_at - rules.start_tolerance_ms


def _is_of_an_older_run(task: Task, inspection: Inspection, rules: Rules) -> bool:
    """The vendor does not know our run of this id, only one that was over before."""
    over = inspection.sign not in _LIFE and (inspection.ended_at or 0) < task.view.begins_at
    return over and _began_before(task, inspection, rules)


def _fact(task: Task, event: CallAnswered, inspection: Inspection, now: int, **says: Any) -> Fact:
    """Its creation time, where told, decides its run."""
    about = None if inspection.started_at is not None else task.anchor
    return Fact(
        at=event.sent_at,
        received_at=now,
        key=f"inspection {task.id} {event.serial}",
        about=about,
        started_at=inspection.started_at,
        **says,
    )


def _lives(task: Task, event: CallAnswered, inspection: Inspection, asks: Deadline | None, calls: Calls, now: int) -> Reaction:
    facts = (_fact(task, event, inspection, now, output=inspection.output, files=inspection.files, **_LIFE[inspection.sign]),)
    if _should_have_stopped(task, asks):
        often = task.view.stops_accepted >= ENOUGH_STOPS and Anomaly.STOP_UNCONFIRMED not in task.anomalies
        return Reaction(
            calls=with_call(calls, Operation.STOP, now), facts=facts, anomaly=Anomaly.STOP_UNCONFIRMED if often else None
        )
    if asks is Deadline.EXPIRY:
        return Reaction(calls=calls, facts=facts, anomaly=Anomaly.OVERDUE)
    if asks is Deadline.FINISH and task.view.captured_by is not None:
        return Reaction(calls=calls, facts=(*facts, *_finished(task, now, event)))
    if task.view.state in FINAL and not task.view.inferred and parse_policy(task.policy).stop_zombies:
        return Reaction(calls=with_call(calls, Operation.STOP, now), facts=facts)
    return Reaction(calls=calls, facts=facts)


def _should_have_stopped(task: Task, asks: Deadline | None) -> bool:
    """The vendor accepted a stop, and the time to see its end is over."""
    view, last = task.view, task.passed.get(Deadline.STOP_CONFIRM)
    waited = last is not None and last.base == view.stop_accepted_at
    return view.state is State.STOPPING and (waited or asks is Deadline.STOP_CONFIRM)


def _captured(
    task: Task, event: CallAnswered, inspection: Inspection, asks: Deadline | None, calls: Calls, rules: Rules, now: int
) -> Reaction:
    view = task.view
    ending = inspection.ending if _has_reason(inspection) else None
    if ending is None and view.captured_by is None:
        ending = _how(task, inspection, asks, now, rules).outcome
    delivery = None if view.files else inspection.delivery
    fact = _fact(task, event, inspection, now, kind=FactKind.CAPTURE_END, outcome=ending, files=inspection.files, delivery=delivery)
    if asks is not Deadline.FINISH or delivery is FilesDelivered.OVER:
        return Reaction(calls=calls, facts=(fact,))
    known = replace(view, files=(*view.files, *inspection.files))
    if ending is not None and view.fallback != (ending.state, ending.reason):  # now this fact speaks for the capture's end
        known = replace(known, fallback=(ending.state, ending.reason), captured_by=fact.key)
    return Reaction(calls=calls, facts=(fact, *_finished(replace(task, view=known), now, event)))


def _ended(
    task: Task, event: CallAnswered, inspection: Inspection, asks: Deadline | None, calls: Calls, rules: Rules, now: int
) -> Reaction:
    if _has_reason(inspection):
        fact = _fact(task, event, inspection, now, kind=FactKind.END, outcome=inspection.ending, ended_at=inspection.ended_at)
        return Reaction(calls=calls, facts=(fact,))
    if task.view.state in FINAL:
        return Reaction(calls=calls)
    if task.view.state is State.FINISHING:
        return Reaction(calls=calls, facts=_finished(task, now, event) if asks is Deadline.FINISH else ())
    how = _how(task, inspection, asks, now, rules)
    assert how.outcome is not None
    fact = inferred_end(
        task,
        how.outcome,
        now,
        key=f"inspection {task.id} {event.serial}",
        ended_at=inspection.ended_at or min(how.ended_at or event.sent_at, event.sent_at),
        deadline=asks,
        known_at=event.sent_at,
        finishing=task.kind in _WITH_FILES and task.view.shown,
    )
    return Reaction(calls=calls, facts=(fact,))


def _has_reason(inspection: Inspection) -> bool:
    return inspection.ending is not None and inspection.ending.reason is not Reason.UNSTATED


def _how(task: Task, inspection: Inspection, asks: Deadline | None, now: int, rules: Rules) -> Inference:
    """How it ended where the vendor tells no reason."""
    view = task.view
    if (view.gave_up or asks is Deadline.START_RETRY) and not view.shown:
        return Inference(outcome=START_UNKNOWN)
    if view.stop_asked_at is not None:
        return stopped_end(task, now, rules)
    if asks is Deadline.EXPIRY:
        return expired_end(task, now, rules)
    if asks is Deadline.IDLE:
        return idle_end(task, now, rules)
    if inspection.sign is Sign.GONE:
        return Inference(outcome=Ending(state=State.LOST, reason=Reason.UNKNOWN_TO_VENDOR))
    return Inference(outcome=Ending(state=State.STOPPED, reason=Reason.UNSTATED))


def _finished(task: Task, now: int, event: CallAnswered) -> tuple[Fact, ...]:
    return inference_facts(task, finished_end(task, now, Rules()), now, Deadline.FINISH, f"finish {task.id} {event.serial}")
