"""What the answer to a call means for its task.

An answer that settles the call ends its pursuit; one that does not leaves it waiting for the next attempt. Late answers, of
attempts that were counted as lost, still count for what they tell.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from statemachine.calls import CallOutcome, Operation, PendingCall
from statemachine.deadlines import can_be_asked
from statemachine.events import CallAnswered
from statemachine.facts import Ending, FactKind
from statemachine.folding.run_scan import GIVE_UP_CODE
from statemachine.inference import START_UNKNOWN, stopped_end, unasked
from statemachine.on_inspection import react_to_inspection
from statemachine.pending_calls import backed_off, with_call, with_inspection, without_call
from statemachine.policy import parse_policy
from statemachine.reaction import GAVE_UP, NEVER_SENT, Reaction, inference_facts, inferred_end, never_started, own_fact
from statemachine.rules import Rules
from statemachine.states import FINAL, Anomaly, Deadline, Reason, State
from statemachine.tasks import Task

#: Stops that fail for so long are told to operators, ms.
_STOP_FAILS_MS = 600_000
_S = 1000
#: Nobody brought the answer of a call in time: whoever holds it gets so long to do so before the call is repeated, s.
_LEASE_PAUSE_S = 10.0
#: A repeated start throws out what the first one may have made: that is repeated only when nothing is heard of it for so long, s.
_ADOPTION_PAUSE_S = 15.0
_REFUSED = Ending(state=State.FAILED, reason=Reason.START_REFUSED, rank=1)
_AGAIN = (CallOutcome.RETRY, CallOutcome.THROTTLED, CallOutcome.NOT_MADE)


def react_to_answer(task: Task, event: CallAnswered, rules: Rules, now: int) -> Reaction:
    """What this answer to a call of this task says."""
    pursuit = task.calls.get(event.operation)
    mine = pursuit if pursuit is not None and pursuit.serial == event.serial else None
    return _OF_OPERATION[event.operation](task, event, mine, rules, now)


def timeline_entry(event: CallAnswered) -> Mapping[str, Any]:
    """The call in the timeline."""
    told = {
        "action": event.action or None,
        "code": event.code,
        "message": event.message,
        "request_id": event.request_id,
        "sent_at": event.sent_at,
        "duration_ms": event.duration_ms,
        "says": event.inspection.sign.value if event.inspection else None,
    }
    line = {"kind": "call", "operation": event.operation.value, "number": event.serial, "outcome": event.outcome.value}
    return {**line, **{name: value for name, value in told.items() if value is not None}}


def _key(event: CallAnswered) -> str:
    return f"call {event.task_id} {event.serial}"


# Starts.


def _start(task: Task, event: CallAnswered, mine: PendingCall | None, rules: Rules, now: int) -> Reaction:
    if _is_started(event, rules):
        start = task.calls.get(Operation.START)
        again = start is not None and any(serial != event.serial for serial in start.ambiguous)
        fact = own_fact(task, FactKind.ACCEPTED, event.sent_at, now, _key(event), again=again)
        other_attempt = mine is None and start is not None and start.is_under_way  # its answer must come before any stop goes out
        attempts = task.attempts + (1 if mine is not None else 0)
        calls = task.calls if other_attempt else without_call(task.calls, Operation.START)
        return Reaction(calls=calls, facts=(fact,), changes={"attempts": attempts})
    if mine is None:
        return _late_start(task, event, rules, now)
    if event.outcome is not CallOutcome.NOT_MADE:
        first = task.attempts == 0
        mine = replace(mine, since=event.sent_at) if first else mine  # waiting for a quota is no trying
        task = replace(task, attempts=task.attempts + 1)
    return replace(_of_attempt(task, event, mine, rules, now), changes={"attempts": task.attempts})


def _of_attempt(task: Task, event: CallAnswered, mine: PendingCall, rules: Rules, now: int) -> Reaction:
    """What the answer to the newest attempt says, where it does not say that it started."""
    if task.view.accepted_at is not None:
        return Reaction(calls=without_call(task.calls, Operation.START))  # callbacks showed it meanwhile: whatever this attempt did
    if event.outcome is CallOutcome.AMBIGUOUS or event.outcome is CallOutcome.ALREADY_THERE:
        return _unsure(task, event, mine, rules, now)
    if event.outcome in _AGAIN:
        return _try_again(task, event, backed_off(task, Operation.START, mine, now, event.retry_after_s), rules, now)
    return _given_up(task, event, mine, rules, now, _REFUSED)


def _is_started(event: CallAnswered, rules: Rules) -> bool:
    """A vendor that mints ids may say that it runs already without saying which it is."""
    if event.outcome not in (CallOutcome.ACCEPTED, CallOutcome.ALREADY_THERE):
        return False
    return event.vendor_task_id is not None or not rules.single_run


def _late_start(task: Task, event: CallAnswered, rules: Rules, now: int) -> Reaction:
    """An attempt that was taken for lost did not happen after all: one doubt less.

    But what is on the wire may go under the name of that attempt, where starts have names.
    """
    pursuit = task.calls.get(Operation.START)
    if pursuit is None or (pursuit.is_under_way and rules.askable_unnamed):
        return Reaction(calls=task.calls)
    if event.outcome is CallOutcome.AMBIGUOUS or event.serial not in pursuit.ambiguous:
        return Reaction(calls=task.calls)
    left = tuple(serial for serial in pursuit.ambiguous if serial != event.serial)
    surer = replace(pursuit, ambiguous=left, ambiguous_at=pursuit.ambiguous_at if left else None)
    if not left and surer.retry_at is not None:
        surer = replace(surer, retry_at=now)
    return Reaction(calls={**task.calls, Operation.START: surer})


def _unsure(task: Task, event: CallAnswered, mine: PendingCall, rules: Rules, now: int) -> Reaction:
    """It may have happened. Where it can be asked about, it is; where it can be repeated, it is repeated."""
    known_to_run = event.outcome is CallOutcome.ALREADY_THERE
    if known_to_run and not mine.ambiguous and not rules.askable_unnamed:
        return _given_up(task, event, mine, rules, now, _REFUSED)  # somebody else's
    doubtful = mine
    if not known_to_run or not mine.ambiguous:
        doubtful = replace(mine, ambiguous=(*mine.ambiguous, event.serial), ambiguous_at=event.sent_at)
    if task.view.stop_asked_at is not None and not rules.single_run:
        return Reaction(calls=without_call(task.calls, Operation.START))  # the stop that waits settles it
    waiting = backed_off(task, Operation.START, doubtful, now, _patience_s(event, rules))
    if rules.askable_unnamed and (known_to_run or task.view.stop_asked_at is not None):
        calls = {**task.calls, Operation.START: waiting}
        return Reaction(calls=with_inspection(calls, now, Deadline.START_RETRY, waiting.ambiguous))
    if rules.repeatable and task.view.stop_asked_at is None:
        return _try_again(task, event, waiting, rules, now)
    return Reaction(calls={**task.calls, Operation.START: await_adoption(task, doubtful, rules, now)})


def _patience_s(event: CallAnswered, rules: Rules) -> float | None:
    """Before a start that may have happened is repeated: time for its answer, or for its first callbacks."""
    if rules.replaces:
        return _ADOPTION_PAUSE_S
    return _LEASE_PAUSE_S if event.lease else event.retry_after_s


def await_adoption(task: Task, pursuit: PendingCall, rules: Rules, now: int) -> PendingCall:
    """A start that must not be repeated waits to be adopted by what it started: until it is given up."""
    last = pursuit.since + parse_policy(task.policy).start.max_elapsed_s * _S
    meets = None if rules.meets_s is None else (pursuit.ambiguous_at or now) + int(rules.meets_s * _S)
    look = meets if meets is not None and now < meets < last else last
    return replace(pursuit, serial=None, retry_at=max(look, now))


def _try_again(task: Task, event: CallAnswered, waiting: PendingCall, rules: Rules, now: int) -> Reaction:
    policy = parse_policy(task.policy).start
    if task.view.stop_asked_at is not None and not waiting.ambiguous:
        fact = never_started(task, NEVER_SENT, now, _key(event))
        return Reaction(calls=without_call(task.calls, Operation.START), facts=(fact,))
    over = (waiting.retry_at or now) > waiting.since + policy.max_elapsed_s * _S
    if task.attempts >= policy.max_attempts or over:
        return _given_up(task, event, waiting, rules, now, GAVE_UP)
    return Reaction(calls={**task.calls, Operation.START: waiting})


def _given_up(task: Task, event: CallAnswered, pursuit: PendingCall, rules: Rules, now: int, how: Ending) -> Reaction:
    """No further start. If one of them may have happened, it must not run on unseen."""
    if pursuit.ambiguous:
        return give_up(task, pursuit, rules, now, _key(event))
    if task.view.stop_asked_at is not None:
        how = NEVER_SENT
    fact = never_started(task, how, now, _key(event), event.code, event.message)
    return Reaction(calls=without_call(task.calls, Operation.START), facts=(fact,))


def give_up(task: Task, start: PendingCall, rules: Rules, now: int, key: str) -> Reaction:
    """A start that may have happened is given up: stopped or asked about where it has a name, else unknown for good."""
    calls = without_call(task.calls, Operation.START)
    if not task.key.is_provisional and rules.callable:
        stop = own_fact(task, FactKind.STOP_ASKED, now, now, f"{key} give-up", code=GIVE_UP_CODE)
        return Reaction(calls=with_call(calls, Operation.STOP, now), facts=(stop,))
    if rules.askable_unnamed:
        return Reaction(calls=with_inspection(calls, now, Deadline.START_RETRY, start.ambiguous))
    begins_at = task.view.begins_at  # nothing is known of it since: any answer to a start of it is news
    unknown = inferred_end(task, START_UNKNOWN, now, key=key, ended_at=now, deadline=Deadline.START_RETRY, known_at=begins_at)
    return Reaction(calls=calls, facts=(unknown,))


# Stops.


def _stop(task: Task, event: CallAnswered, mine: PendingCall | None, rules: Rules, now: int) -> Reaction:
    if event.outcome is CallOutcome.ACCEPTED:
        fact = own_fact(task, FactKind.STOP_ACCEPTED, event.sent_at, now, _key(event))
        return Reaction(calls=without_call(task.calls, Operation.STOP) if mine else task.calls, facts=(fact,))
    if mine is None:
        return Reaction(calls=task.calls)
    rest = without_call(task.calls, Operation.STOP)
    if event.outcome is CallOutcome.ALREADY_GONE:
        return _stopped_before(task, event, rest, rules, now)
    if event.outcome in _AGAIN:
        waiting = backed_off(task, Operation.STOP, mine, now, event.retry_after_s)
        fails = now - (waiting.failing_since or now) >= _STOP_FAILS_MS
        unconfirmed = Anomaly.STOP_UNCONFIRMED if fails and Anomaly.STOP_UNCONFIRMED not in task.anomalies else None
        return Reaction(calls={**rest, Operation.STOP: waiting}, anomaly=unconfirmed)
    return Reaction(calls=rest, anomaly=Anomaly.STOP_UNCONFIRMED)


def _stopped_before(task: Task, event: CallAnswered, rest: Mapping[Operation, PendingCall], rules: Rules, now: int) -> Reaction:
    """The vendor knows nothing that could be stopped. Only a query tells how it ended."""
    if task.view.state in FINAL or task.view.state is State.FINISHING:
        return Reaction(calls=rest)
    if can_be_asked(task, rules, now):
        return Reaction(calls=with_inspection(rest, now, Deadline.STOP_CONFIRM))
    return Reaction(calls=rest, facts=inference_facts(task, stopped_end(task, now, rules), now, Deadline.STOP_CONFIRM, _key(event)))


# Updates.


def _update(task: Task, event: CallAnswered, mine: PendingCall | None, rules: Rules, now: int) -> Reaction:
    if mine is None:
        return Reaction(calls=task.calls)
    policy = parse_policy(task.policy).start
    tried_enough = mine.failures + 1 >= policy.max_attempts or now - mine.since >= policy.max_elapsed_s * _S
    if event.outcome in _AGAIN and not tried_enough and mine.queued is None:
        return Reaction(calls={**task.calls, Operation.UPDATE: backed_off(task, Operation.UPDATE, mine, now, event.retry_after_s)})
    rest = without_call(task.calls, Operation.UPDATE)
    return Reaction(calls=with_call(rest, Operation.UPDATE, now, params=mine.queued) if mine.queued is not None else rest)


# Questions.


def _inspect(task: Task, event: CallAnswered, mine: PendingCall | None, rules: Rules, now: int) -> Reaction:
    if mine is not None and event.step is not None:
        return Reaction(calls={**task.calls, Operation.INSPECT: replace(mine, serial=None, step=event.step)})
    if event.outcome in _AGAIN:
        waiting = {} if mine is None else {Operation.INSPECT: backed_off(task, Operation.INSPECT, mine, now, event.retry_after_s)}
        return Reaction(calls={**task.calls, **waiting})
    asks = mine.asks if mine is not None else None
    rest = without_call(task.calls, Operation.INSPECT) if mine is not None else task.calls
    settles = event.inspection is not None and can_be_asked(task, rules, event.sent_at)
    if event.inspection is not None and (settles or event.outcome is CallOutcome.ACCEPTED):
        return react_to_inspection(task, event, asks, rest, rules, now)
    if task.view.state in FINAL:
        return Reaction(calls=rest)
    conclusion = unasked(replace(task, calls=rest), asks, now, rules)
    facts = inference_facts(task, conclusion, now, asks, _key(event))
    if asks is Deadline.STOP_CONFIRM and not facts and rules.callable:
        rest = with_call(rest, Operation.STOP, now)
    return Reaction(calls=rest, facts=facts, anomaly=conclusion.anomaly)


_Reader = Callable[[Task, CallAnswered, PendingCall | None, Rules, int], Reaction]
_OF_OPERATION: Mapping[Operation, _Reader] = {
    Operation.START: _start,
    Operation.STOP: _stop,
    Operation.UPDATE: _update,
    Operation.INSPECT: _inspect,
}
