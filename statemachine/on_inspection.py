"""Reacts to the answer of a query.

What the vendor reports is a fact at the time when the query was sent. If the vendor reports that the task ended but not why, the
deadline that needed the query decides: the end is inferred. A recording or page of which anything was seen first waits for its
files.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from statemachine.calls import Inspection, Operation, Sign
from statemachine.events import CallAnswered
from statemachine.facts import Ending, Fact, FactKind, FilesDelivered
from statemachine.inference import ENOUGH_STOPS, START_UNKNOWN, Inference, expired_end, finished_end, idle_end, stopped_end
from statemachine.on_restore import start_unless_too_late
from statemachine.pending_calls import PendingCalls, with_call
from statemachine.policy import parse_policy
from statemachine.reaction import Reaction, inference_facts, inferred_end
from statemachine.rules import Rules
from statemachine.states import FINAL, Anomaly, Deadline, Kind, Reason, State
from statemachine.tasks import Task

_LIFE_SIGNS: Mapping[Sign, Mapping[str, Any]] = {
    Sign.ALIVE: {"kind": FactKind.START},
    Sign.ACCEPTED: {"kind": FactKind.START},
    Sign.CONNECTING: {"kind": FactKind.CONNECTING},
    Sign.NO_MEDIA: {"kind": FactKind.NO_MEDIA, "idle": True},
    Sign.RUNNING: {"kind": FactKind.MEDIA},
}
_KINDS_WITH_FILES = (Kind.RECORD, Kind.PAGE)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Report:
    """The vendor's report on a task, and what is needed to judge it."""

    task: Task
    inspection: Inspection
    serial: int
    #: When the query was sent, ms.
    sent_at: int
    #: The deadline that needed the query; None: a contradiction did.
    needed_by: Deadline | None
    #: The task's other pending calls.
    calls: PendingCalls
    rules: Rules
    now: int

    @property
    def key(self) -> str:
        return f"inspection {self.task.id} {self.serial}"

    def fact(self, **more: Any) -> Fact:
        """Returns a fact of this report. The creation time decides its run, if it is reported."""
        started_at = self.inspection.started_at
        about = self.task.anchor if started_at is None else None
        return Fact(at=self.sent_at, received_at=self.now, key=self.key, about=about, started_at=started_at, **more)


def react_to_inspection(
    task: Task, event: CallAnswered, needed_by: Deadline | None, calls: PendingCalls, rules: Rules, now: int
) -> Reaction:
    """Returns the effect of a query's answer.

    needed_by: the deadline that needed the query; None: a contradiction did. calls: the task's other pending calls.
    """
    inspection = event.inspection
    assert inspection is not None
    report = _Report(
        task=task,
        inspection=inspection,
        serial=event.serial,
        sent_at=event.sent_at,
        needed_by=needed_by,
        calls=calls,
        rules=rules,
        now=now,
    )
    if inspection.sign is Sign.GONE or _is_of_earlier_run(report):
        return _react_to_missing_task(report)
    if _is_older_than_start(report):  # our start found it running: it is ours from then on
        report = replace(report, inspection=replace(inspection, started_at=None))
    if inspection.sign in _LIFE_SIGNS:
        return _react_to_life_sign(report)
    if inspection.sign is Sign.CAPTURE_ENDED:
        return _react_to_capture_end(report)
    return _react_to_end(report)


def _is_older_than_start(report: _Report) -> bool:
    """Returns whether the reported task was created before we requested this run."""
    created_at, task = report.inspection.started_at, report.task
    return created_at is not None and task.action is not None and created_at < task.view.begins_at - report.rules.start_tolerance_ms


def _is_of_earlier_run(report: _Report) -> bool:
    """Returns whether the report is about a run of this id that ended before ours began: the vendor does not know ours."""
    inspection = report.inspection
    is_over = inspection.sign not in _LIFE_SIGNS and (inspection.ended_at or 0) < report.task.view.begins_at
    return is_over and _is_older_than_start(report)


def _react_to_missing_task(report: _Report) -> Reaction:
    """Reacts to "no such task". A start that is in doubt since a restore was not made, then."""
    task, start = report.task, report.calls.get(Operation.START)
    is_in_doubt = start is not None and start.doubted_at is not None
    if start is not None and is_in_doubt and not task.key.is_provisional and task.view.stop_asked_at is None:
        return start_unless_too_late(task, start, report.calls, report.now, report.key)
    return _react_to_end(replace(report, inspection=Inspection(sign=Sign.GONE)))


def _react_to_life_sign(report: _Report) -> Reaction:
    task, view, calls, now = report.task, report.task.view, report.calls, report.now
    inspection = report.inspection
    facts = (report.fact(output=inspection.output, files=inspection.files, **_LIFE_SIGNS[inspection.sign]),)
    if _should_have_stopped(report):
        is_new = view.stops_accepted >= ENOUGH_STOPS and Anomaly.STOP_UNCONFIRMED not in task.anomalies
        raised = Anomaly.STOP_UNCONFIRMED if is_new else None
        return Reaction(calls=with_call(calls, Operation.STOP, now), facts=facts, raised=raised)
    if report.needed_by is Deadline.EXPIRY:
        return Reaction(calls=calls, facts=facts, raised=Anomaly.OVERDUE)
    if report.needed_by is Deadline.FINISH and view.captured_by is not None:
        return Reaction(calls=calls, facts=(*facts, *_finished_facts(report, task)))
    if view.state in FINAL and not view.inferred and parse_policy(task.policy).stop_zombies:
        return Reaction(calls=with_call(calls, Operation.STOP, now), facts=facts)
    return Reaction(calls=calls, facts=facts)


def _should_have_stopped(report: _Report) -> bool:
    """Returns whether the vendor accepted a stop and the time to confirm it is over."""
    view, last = report.task.view, report.task.passed.get(Deadline.STOP_CONFIRM)
    has_waited = last is not None and last.base == view.stop_accepted_at
    return view.state is State.STOPPING and (has_waited or report.needed_by is Deadline.STOP_CONFIRM)


def _react_to_capture_end(report: _Report) -> Reaction:
    view, inspection = report.task.view, report.inspection
    ending = inspection.ending if _has_reason(inspection) else None
    if ending is None and view.captured_by is None:
        ending = _infer_end(report).outcome
    delivery = None if view.files else inspection.delivery
    fact = report.fact(kind=FactKind.CAPTURE_END, outcome=ending, files=inspection.files, delivery=delivery)
    if report.needed_by is not Deadline.FINISH or delivery is FilesDelivered.OVER:
        return Reaction(calls=report.calls, facts=(fact,))
    view = replace(view, files=(*view.files, *inspection.files))
    if ending is not None and view.fallback != (ending.state, ending.reason):  # from now on this fact is the capture's end
        view = replace(view, fallback=(ending.state, ending.reason), captured_by=fact.key)
    return Reaction(calls=report.calls, facts=(fact, *_finished_facts(report, replace(report.task, view=view))))


def _react_to_end(report: _Report) -> Reaction:
    task, inspection, calls = report.task, report.inspection, report.calls
    if _has_reason(inspection):
        fact = report.fact(kind=FactKind.END, outcome=inspection.ending, ended_at=inspection.ended_at)
        return Reaction(calls=calls, facts=(fact,))
    if task.view.state in FINAL:
        return Reaction(calls=calls)
    if task.view.state is State.FINISHING:
        return Reaction(calls=calls, facts=_finished_facts(report, task) if report.needed_by is Deadline.FINISH else ())
    inference = _infer_end(report)
    assert inference.outcome is not None
    end = inferred_end(
        task,
        inference.outcome,
        report.now,
        key=report.key,
        ended_at=inspection.ended_at or min(inference.ended_at or report.sent_at, report.sent_at),
        deadline=report.needed_by,
        known_at=report.sent_at,
        finishing=task.kind in _KINDS_WITH_FILES and task.view.shown,
    )
    return Reaction(calls=calls, facts=(end,))


def _has_reason(inspection: Inspection) -> bool:
    return inspection.ending is not None and inspection.ending.reason is not Reason.UNSTATED


def _infer_end(report: _Report) -> Inference:
    """Infers how the task ended, where the vendor reports no reason."""
    task, needed_by, rules, now = report.task, report.needed_by, report.rules, report.now
    if (task.view.gave_up or needed_by is Deadline.START_RETRY) and not task.view.shown:
        return Inference(outcome=START_UNKNOWN)
    if task.view.stop_asked_at is not None:
        return stopped_end(task, rules, now)
    if needed_by is Deadline.EXPIRY:
        return expired_end(task, rules, now)
    if needed_by is Deadline.IDLE:
        return idle_end(task, rules, now)
    if report.inspection.sign is Sign.GONE:
        return Inference(outcome=Ending(state=State.LOST, reason=Reason.UNKNOWN_TO_VENDOR))
    return Inference(outcome=Ending(state=State.STOPPED, reason=Reason.UNSTATED))


def _finished_facts(report: _Report, task: Task) -> tuple[Fact, ...]:
    """Returns the fact that no more files will arrive. task: with the files of this report."""
    inference = finished_end(task, report.rules, report.now)
    return inference_facts(task, inference, report.now, Deadline.FINISH, f"finish {task.id} {report.serial}")
