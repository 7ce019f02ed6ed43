"""Reacts to the answer of a call.

An answer completes the pending call, or leaves it waiting for the next attempt. Late answers, of attempts that were taken to be
lost, still count for what they report.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from statemachine.ambiguous_start import await_adoption, give_up_start
from statemachine.calls import CallOutcome, Operation, PendingCall
from statemachine.deadlines import infer_without_answer
from statemachine.events import CallAnswered
from statemachine.facts import Ending, FactKind
from statemachine.inference import stopped_end
from statemachine.on_inspection import react_to_inspection
from statemachine.pending_calls import PendingCalls, backed_off, with_call, with_inspection, without_call
from statemachine.policy import parse_policy
from statemachine.reaction import GAVE_UP, NEVER_SENT, NO_REACTION, Reaction, inference_facts, never_started, own_fact
from statemachine.rules import Rules
from statemachine.states import FINAL, Anomaly, Deadline, Reason, State
from statemachine.tasks import Task
from statemachine.vendor_reach import can_be_queried

#: Time for which stop calls fail before the task is marked `stop_unconfirmed`, ms.
_STOP_FAILS_MS = 600_000
_S = 1000
#: Pause after a call whose lease expired: its worker gets this long to deliver the answer before the call is repeated, s.
_LEASE_PAUSE_S = 10.0
#: Pause before a start that replaces the task of the one before: time for callbacks of that one to arrive, s.
_ADOPTION_PAUSE_S = 15.0
_REJECTED_START = Ending(state=State.FAILED, reason=Reason.START_REFUSED, rank=1)
#: It did not happen; the same call may succeed later.
_RETRYABLE = (CallOutcome.RETRY, CallOutcome.THROTTLED, CallOutcome.NOT_MADE)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    """An answer and the task it is about."""

    task: Task
    event: CallAnswered
    #: The pending call, if this answers its newest attempt; None: the answer is late.
    call: PendingCall | None
    rules: Rules
    now: int

    @property
    def key(self) -> str:
        return f"call {self.event.task_id} {self.event.serial}"

    @property
    def is_stop_requested(self) -> bool:
        return self.task.view.stop_asked_at is not None

    def calls_without(self, operation: Operation) -> dict[Operation, PendingCall]:
        return without_call(self.task.calls, operation)

    def backed_off(self, call: PendingCall, hint_s: float | None) -> PendingCall:
        return backed_off(self.task, self.event.operation, call, self.now, hint_s)


def react_to_answer(task: Task, event: CallAnswered, rules: Rules, now: int) -> Reaction:
    """Returns the effect of an answer on the task that made the call."""
    call = task.calls.get(event.operation)
    is_newest = call is not None and call.serial == event.serial
    answer = _Answer(task=task, event=event, call=call if is_newest else None, rules=rules, now=now)
    return replace(_REACTORS[event.operation](answer), entries=(_timeline_entry(event),))


def _timeline_entry(event: CallAnswered) -> Mapping[str, Any]:
    optional = {
        "action": event.action or None,
        "code": event.code,
        "message": event.message,
        "request_id": event.request_id,
        "sent_at": event.sent_at,
        "duration_ms": event.duration_ms,
        "says": event.inspection.sign.value if event.inspection else None,
    }
    entry = {"kind": "call", "operation": event.operation.value, "number": event.serial, "outcome": event.outcome.value}
    return {**entry, **{name: value for name, value in optional.items() if value is not None}}


# Starts.


def _on_start(answer: _Answer) -> Reaction:
    task, event, call = answer.task, answer.event, answer.call
    if _is_started(event, answer.rules):
        return _confirm_start(answer)
    if call is None:
        return _react_to_late_failure(answer)
    if event.outcome is not CallOutcome.NOT_MADE:
        if task.attempts == 0:
            call = replace(call, since=event.sent_at)  # the time spent waiting for quota does not count
        answer = replace(answer, task=replace(task, attempts=task.attempts + 1))
    return replace(_react_to_failed_start(answer, call), changes={"attempts": answer.task.attempts})


def _is_started(event: CallAnswered, rules: Rules) -> bool:
    """Returns whether the task runs. A vendor that assigns ids may answer "already running" without an id: that proves nothing."""
    if event.outcome not in (CallOutcome.ACCEPTED, CallOutcome.ALREADY_THERE):
        return False
    return event.vendor_task_id is not None or not rules.single_run


def _confirm_start(answer: _Answer) -> Reaction:
    task, event = answer.task, answer.event
    start = task.calls.get(Operation.START)
    again = start is not None and any(serial != event.serial for serial in start.ambiguous)
    fact = own_fact(task, FactKind.ACCEPTED, event.sent_at, answer.now, answer.key, again=again)
    if answer.call is not None:
        return Reaction(calls=answer.calls_without(Operation.START), facts=(fact,), changes={"attempts": task.attempts + 1})
    if start is not None and start.is_under_way:  # the answer to that attempt must arrive before a stop is sent
        return Reaction(facts=(fact,))
    return Reaction(calls=answer.calls_without(Operation.START), facts=(fact,))


def _react_to_failed_start(answer: _Answer, start: PendingCall) -> Reaction:
    """Reacts to the newest attempt, which does not prove that the task runs."""
    outcome = answer.event.outcome
    if answer.task.view.accepted_at is not None:  # callbacks have shown meanwhile that it runs
        return Reaction(calls=answer.calls_without(Operation.START))
    if outcome is CallOutcome.AMBIGUOUS or outcome is CallOutcome.ALREADY_THERE:
        return _react_to_ambiguous_start(answer, start)
    if outcome in _RETRYABLE:
        return _retry_start(answer, answer.backed_off(start, answer.event.retry_after_s))
    return _end_start(answer, start, _REJECTED_START)


def _react_to_late_failure(answer: _Answer) -> Reaction:
    """Reacts to an attempt that was taken to be ambiguous and did not happen after all.

    If starts are queried by a name of ours, the attempt on the wire may go under the name of this one: then nothing is proved.
    """
    event, start = answer.event, answer.task.calls.get(Operation.START)
    if start is None or (start.is_under_way and answer.rules.askable_unnamed):
        return NO_REACTION
    if event.outcome is CallOutcome.AMBIGUOUS or event.serial not in start.ambiguous:
        return NO_REACTION
    left = tuple(serial for serial in start.ambiguous if serial != event.serial)
    start = replace(start, ambiguous=left, ambiguous_at=start.ambiguous_at if left else None)
    if not left and start.retry_at is not None:
        start = replace(start, retry_at=answer.now)
    return Reaction(calls={**answer.task.calls, Operation.START: start})


def _react_to_ambiguous_start(answer: _Answer, start: PendingCall) -> Reaction:
    """Reacts to a start that may have happened: queries it or repeats it, where that is possible."""
    task, event, rules, now = answer.task, answer.event, answer.rules, answer.now
    is_running = event.outcome is CallOutcome.ALREADY_THERE
    if is_running and not start.ambiguous and not rules.askable_unnamed:
        return _end_start(answer, start, _REJECTED_START)  # a task that another system started
    if not is_running or not start.ambiguous:
        start = replace(start, ambiguous=(*start.ambiguous, event.serial), ambiguous_at=event.sent_at)
    if answer.is_stop_requested and not rules.single_run:
        return Reaction(calls=answer.calls_without(Operation.START))  # the pending stop covers it
    waiting = answer.backed_off(start, _pause_before_repeat_s(event, rules))
    if rules.askable_unnamed and (is_running or answer.is_stop_requested):
        calls = {**task.calls, Operation.START: waiting}
        return Reaction(calls=with_inspection(calls, now, Deadline.START_RETRY, waiting.ambiguous))
    if rules.repeatable and not answer.is_stop_requested:
        return _retry_start(answer, waiting)
    return Reaction(calls={**task.calls, Operation.START: await_adoption(task, start, rules, now)})


def _pause_before_repeat_s(event: CallAnswered, rules: Rules) -> float | None:
    """Returns the pause before an ambiguous start is repeated: time for its answer, or for its first callbacks."""
    if rules.replaces:
        return _ADOPTION_PAUSE_S
    return _LEASE_PAUSE_S if event.lease else event.retry_after_s


def _retry_start(answer: _Answer, waiting: PendingCall) -> Reaction:
    """Waits for the next attempt, unless the policy's limits are reached or a stop was requested."""
    task, policy = answer.task, parse_policy(answer.task.policy).start
    if answer.is_stop_requested and not waiting.ambiguous:
        fact = never_started(task, NEVER_SENT, answer.now, answer.key)
        return Reaction(calls=answer.calls_without(Operation.START), facts=(fact,))
    is_over = (waiting.retry_at or answer.now) > waiting.since + policy.max_elapsed_s * _S
    if task.attempts >= policy.max_attempts or is_over:
        return _end_start(answer, waiting, GAVE_UP)
    return Reaction(calls={**task.calls, Operation.START: waiting})


def _end_start(answer: _Answer, start: PendingCall, ending: Ending) -> Reaction:
    """Makes no further start. If an attempt is ambiguous, the task must not run unseen."""
    task, event = answer.task, answer.event
    if start.ambiguous:
        return give_up_start(task, start, answer.rules, answer.now, answer.key)
    ending = NEVER_SENT if answer.is_stop_requested else ending
    fact = never_started(task, ending, answer.now, answer.key, event.code, event.message)
    return Reaction(calls=answer.calls_without(Operation.START), facts=(fact,))


# Stops.


def _on_stop(answer: _Answer) -> Reaction:
    task, event, call, now = answer.task, answer.event, answer.call, answer.now
    rest = answer.calls_without(Operation.STOP)
    if event.outcome is CallOutcome.ACCEPTED:
        fact = own_fact(task, FactKind.STOP_ACCEPTED, event.sent_at, now, answer.key)
        return Reaction(calls=rest if call is not None else None, facts=(fact,))
    if call is None:
        return NO_REACTION
    if event.outcome is CallOutcome.ALREADY_GONE:
        return _react_to_missing_task(answer, rest)
    if event.outcome in _RETRYABLE:
        waiting = answer.backed_off(call, event.retry_after_s)
        fails_long = now - (waiting.failing_since or now) >= _STOP_FAILS_MS
        is_new = fails_long and Anomaly.STOP_UNCONFIRMED not in task.anomalies
        return Reaction(calls={**rest, Operation.STOP: waiting}, raised=Anomaly.STOP_UNCONFIRMED if is_new else None)
    return Reaction(calls=rest, raised=Anomaly.STOP_UNCONFIRMED)


def _react_to_missing_task(answer: _Answer, rest: PendingCalls) -> Reaction:
    """Reacts to "no such task" after a stop: only a query tells how the task ended."""
    task, rules, now = answer.task, answer.rules, answer.now
    if task.view.state in FINAL or task.view.state is State.FINISHING:
        return Reaction(calls=rest)
    if can_be_queried(task, rules, now):
        return Reaction(calls=with_inspection(rest, now, Deadline.STOP_CONFIRM))
    facts = inference_facts(task, stopped_end(task, rules, now), now, Deadline.STOP_CONFIRM, answer.key)
    return Reaction(calls=rest, facts=facts)


# Updates.


def _on_update(answer: _Answer) -> Reaction:
    task, event, call, now = answer.task, answer.event, answer.call, answer.now
    if call is None:
        return NO_REACTION
    policy = parse_policy(task.policy).start
    is_over = call.failures + 1 >= policy.max_attempts or now - call.since >= policy.max_elapsed_s * _S
    if event.outcome in _RETRYABLE and not is_over and call.queued is None:
        return Reaction(calls={**task.calls, Operation.UPDATE: answer.backed_off(call, event.retry_after_s)})
    rest = answer.calls_without(Operation.UPDATE)
    return Reaction(calls=rest if call.queued is None else with_call(rest, Operation.UPDATE, now, params=call.queued))


# Queries.


def _on_inspect(answer: _Answer) -> Reaction:
    task, event, call = answer.task, answer.event, answer.call
    if call is not None and event.step is not None:
        return Reaction(calls={**task.calls, Operation.INSPECT: replace(call, serial=None, step=event.step)})
    if event.outcome in _RETRYABLE:
        if call is None:
            return NO_REACTION
        return Reaction(calls={**task.calls, Operation.INSPECT: answer.backed_off(call, event.retry_after_s)})
    needed_by = None if call is None else call.asks
    rest = task.calls if call is None else answer.calls_without(Operation.INSPECT)
    if _is_proof(answer):
        return react_to_inspection(task, event, needed_by, rest, answer.rules, answer.now)
    if task.view.state in FINAL:
        return Reaction(calls=rest)
    return _infer_from_deadline(answer, needed_by, rest)


def _is_proof(answer: _Answer) -> bool:
    """Returns whether the answer proves how the task was doing when it was sent. "No such task" proves it only within reach."""
    event = answer.event
    if event.inspection is None:
        return False
    return event.outcome is CallOutcome.ACCEPTED or can_be_queried(answer.task, answer.rules, event.sent_at)


def _infer_from_deadline(answer: _Answer, needed_by: Deadline | None, rest: PendingCalls) -> Reaction:
    """Reacts to a query that proved nothing as if the task could not be queried."""
    task, rules, now = answer.task, answer.rules, answer.now
    inference = infer_without_answer(replace(task, calls=rest), needed_by, rules, now)
    facts = inference_facts(task, inference, now, needed_by, answer.key)
    if needed_by is Deadline.STOP_CONFIRM and not facts and rules.callable:
        rest = with_call(rest, Operation.STOP, now)
    return Reaction(calls=rest, facts=facts, raised=inference.anomaly)


_REACTORS: Mapping[Operation, Callable[[_Answer], Reaction]] = {
    Operation.START: _on_start,
    Operation.STOP: _on_stop,
    Operation.UPDATE: _on_update,
    Operation.INSPECT: _on_inspect,
}
