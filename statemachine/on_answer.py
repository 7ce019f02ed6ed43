"""What the answer to a call means for its task.

An answer that settles the call ends its pursuit; one that does not leaves it waiting for the next attempt. Late answers, of
attempts that were counted as lost, still count for what they tell.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from statemachine.calls import Operation, Outcome, Pursuit
from statemachine.deadlines import can_be_asked
from statemachine.events import Answered
from statemachine.facts import FactKind, Rules
from statemachine.facts import Outcome as Ending
from statemachine.folding.run_scan import GIVE_UP
from statemachine.inference import START_UNKNOWN, stopped, unasked
from statemachine.on_inspection import inspected
from statemachine.pending_calls import asking, later, wanting, without
from statemachine.policy import read
from statemachine.reaction import GAVE_UP, NEVER_SENT, Said, concluded, inferred, never, ours
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
_AGAIN = (Outcome.RETRY, Outcome.THROTTLED, Outcome.NOT_MADE)


def answered(task: Task, event: Answered, rules: Rules, now: int) -> Said:
    """What this answer to a call of this task says."""
    pursuit = task.calls.get(event.operation)
    mine = pursuit if pursuit is not None and pursuit.serial == event.serial else None
    return _OF_OPERATION[event.operation](task, event, mine, rules, now)


def entry(event: Answered) -> Mapping[str, Any]:
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


def _key(event: Answered) -> str:
    return f"call {event.task_id} {event.serial}"


# Starts.


def _start(task: Task, event: Answered, mine: Pursuit | None, rules: Rules, now: int) -> Said:
    if _is_started(event, rules):
        start = task.calls.get(Operation.START)
        again = start is not None and any(serial != event.serial for serial in start.ambiguous)
        fact = ours(task, FactKind.ACCEPTED, event.sent_at, now, _key(event), again=again)
        other_attempt = mine is None and start is not None and start.under_way  # its answer must come before any stop goes out
        attempts = task.attempts + (1 if mine is not None else 0)
        calls = task.calls if other_attempt else without(task.calls, Operation.START)
        return Said(calls=calls, facts=(fact,), changes={"attempts": attempts})
    if mine is None:
        return _late_start(task, event, rules, now)
    if event.outcome is not Outcome.NOT_MADE:
        first = task.attempts == 0
        mine = replace(mine, since=event.sent_at) if first else mine  # waiting for a quota is no trying
        task = replace(task, attempts=task.attempts + 1)
    return replace(_of_attempt(task, event, mine, rules, now), changes={"attempts": task.attempts})


def _of_attempt(task: Task, event: Answered, mine: Pursuit, rules: Rules, now: int) -> Said:
    """What the answer to the newest attempt says, where it does not say that it started."""
    if task.view.accepted_at is not None:
        return Said(calls=without(task.calls, Operation.START))  # callbacks showed it meanwhile: whatever this attempt did
    if event.outcome is Outcome.AMBIGUOUS or event.outcome is Outcome.ALREADY_THERE:
        return _unsure(task, event, mine, rules, now)
    if event.outcome in _AGAIN:
        return _try_again(task, event, later(task, Operation.START, mine, now, event.retry_after_s), rules, now)
    return _given_up(task, event, mine, rules, now, _REFUSED)


def _is_started(event: Answered, rules: Rules) -> bool:
    """A vendor that mints ids may say that it runs already without saying which it is."""
    if event.outcome not in (Outcome.ACCEPTED, Outcome.ALREADY_THERE):
        return False
    return event.vendor_task_id is not None or not rules.single_run


def _late_start(task: Task, event: Answered, rules: Rules, now: int) -> Said:
    """An attempt that was taken for lost did not happen after all: one doubt less.

    But what is on the wire may go under the name of that attempt, where starts have names.
    """
    pursuit = task.calls.get(Operation.START)
    if pursuit is None or (pursuit.under_way and rules.askable_unnamed):
        return Said(calls=task.calls)
    if event.outcome is Outcome.AMBIGUOUS or event.serial not in pursuit.ambiguous:
        return Said(calls=task.calls)
    left = tuple(serial for serial in pursuit.ambiguous if serial != event.serial)
    surer = replace(pursuit, ambiguous=left, ambiguous_at=pursuit.ambiguous_at if left else None)
    if not left and surer.retry_at is not None:
        surer = replace(surer, retry_at=now)
    return Said(calls={**task.calls, Operation.START: surer})


def _unsure(task: Task, event: Answered, mine: Pursuit, rules: Rules, now: int) -> Said:
    """It may have happened. Where it can be asked about, it is; where it can be repeated, it is repeated."""
    known_to_run = event.outcome is Outcome.ALREADY_THERE
    if known_to_run and not mine.ambiguous and not rules.askable_unnamed:
        return _given_up(task, event, mine, rules, now, _REFUSED)  # somebody else's
    doubtful = mine
    if not known_to_run or not mine.ambiguous:
        doubtful = replace(mine, ambiguous=(*mine.ambiguous, event.serial), ambiguous_at=event.sent_at)
    if task.view.stop_asked_at is not None and not rules.single_run:
        return Said(calls=without(task.calls, Operation.START))  # the stop that waits settles it
    waiting = later(task, Operation.START, doubtful, now, _patience_s(event, rules))
    if rules.askable_unnamed and (known_to_run or task.view.stop_asked_at is not None):
        calls = {**task.calls, Operation.START: waiting}
        return Said(calls=asking(calls, now, Deadline.START_RETRY, waiting.ambiguous))
    if rules.repeatable and task.view.stop_asked_at is None:
        return _try_again(task, event, waiting, rules, now)
    return Said(calls={**task.calls, Operation.START: awaiting(task, doubtful, rules, now)})


def _patience_s(event: Answered, rules: Rules) -> float | None:
    """Before a start that may have happened is repeated: time for its answer, or for its first callbacks."""
    if rules.replaces:
        return _ADOPTION_PAUSE_S
    return _LEASE_PAUSE_S if event.lease else event.retry_after_s


def awaiting(task: Task, pursuit: Pursuit, rules: Rules, now: int) -> Pursuit:
    """A start that must not be repeated waits to be adopted by what it started: until it is given up."""
    last = pursuit.since + read(task.policy).start.max_elapsed_s * _S
    meets = None if rules.meets_s is None else (pursuit.ambiguous_at or now) + int(rules.meets_s * _S)
    look = meets if meets is not None and now < meets < last else last
    return replace(pursuit, serial=None, retry_at=max(look, now))


def _try_again(task: Task, event: Answered, waiting: Pursuit, rules: Rules, now: int) -> Said:
    policy = read(task.policy).start
    if task.view.stop_asked_at is not None and not waiting.ambiguous:
        fact = never(task, NEVER_SENT, now, _key(event))
        return Said(calls=without(task.calls, Operation.START), facts=(fact,))
    over = (waiting.retry_at or now) > waiting.since + policy.max_elapsed_s * _S
    if task.attempts >= policy.max_attempts or over:
        return _given_up(task, event, waiting, rules, now, GAVE_UP)
    return Said(calls={**task.calls, Operation.START: waiting})


def _given_up(task: Task, event: Answered, pursuit: Pursuit, rules: Rules, now: int, how: Ending) -> Said:
    """No further start. If one of them may have happened, it must not run on unseen."""
    if pursuit.ambiguous:
        return give_up(task, pursuit, rules, now, _key(event))
    if task.view.stop_asked_at is not None:
        how = NEVER_SENT
    fact = never(task, how, now, _key(event), event.code, event.message)
    return Said(calls=without(task.calls, Operation.START), facts=(fact,))


def give_up(task: Task, start: Pursuit, rules: Rules, now: int, key: str) -> Said:
    """A start that may have happened is given up: stopped or asked about where it has a name, else unknown for good."""
    calls = without(task.calls, Operation.START)
    if not task.key.pending and rules.callable:
        stop = ours(task, FactKind.STOP_ASKED, now, now, f"{key} give-up", code=GIVE_UP)
        return Said(calls=wanting(calls, Operation.STOP, now), facts=(stop,))
    if rules.askable_unnamed:
        return Said(calls=asking(calls, now, Deadline.START_RETRY, start.ambiguous))
    begins_at = task.view.begins_at  # nothing is known of it since: any answer to a start of it is news
    unknown = inferred(task, START_UNKNOWN, now, key=key, ended_at=now, deadline=Deadline.START_RETRY, known_at=begins_at)
    return Said(calls=calls, facts=(unknown,))


# Stops.


def _stop(task: Task, event: Answered, mine: Pursuit | None, rules: Rules, now: int) -> Said:
    if event.outcome is Outcome.ACCEPTED:
        fact = ours(task, FactKind.STOP_ACCEPTED, event.sent_at, now, _key(event))
        return Said(calls=without(task.calls, Operation.STOP) if mine else task.calls, facts=(fact,))
    if mine is None:
        return Said(calls=task.calls)
    rest = without(task.calls, Operation.STOP)
    if event.outcome is Outcome.ALREADY_GONE:
        return _stopped_before(task, event, rest, rules, now)
    if event.outcome in _AGAIN:
        waiting = later(task, Operation.STOP, mine, now, event.retry_after_s)
        fails = now - (waiting.failing_since or now) >= _STOP_FAILS_MS
        unconfirmed = Anomaly.STOP_UNCONFIRMED if fails and Anomaly.STOP_UNCONFIRMED not in task.anomalies else None
        return Said(calls={**rest, Operation.STOP: waiting}, anomaly=unconfirmed)
    return Said(calls=rest, anomaly=Anomaly.STOP_UNCONFIRMED)


def _stopped_before(task: Task, event: Answered, rest: Mapping[Operation, Pursuit], rules: Rules, now: int) -> Said:
    """The vendor knows nothing that could be stopped. Only a query tells how it ended."""
    if task.view.state in FINAL or task.view.state is State.FINISHING:
        return Said(calls=rest)
    if can_be_asked(task, rules, now):
        return Said(calls=asking(rest, now, Deadline.STOP_CONFIRM))
    return Said(calls=rest, facts=concluded(task, stopped(task, now, rules), now, Deadline.STOP_CONFIRM, _key(event)))


# Updates.


def _update(task: Task, event: Answered, mine: Pursuit | None, rules: Rules, now: int) -> Said:
    if mine is None:
        return Said(calls=task.calls)
    policy = read(task.policy).start
    tried_enough = mine.failures + 1 >= policy.max_attempts or now - mine.since >= policy.max_elapsed_s * _S
    if event.outcome in _AGAIN and not tried_enough and mine.queued is None:
        return Said(calls={**task.calls, Operation.UPDATE: later(task, Operation.UPDATE, mine, now, event.retry_after_s)})
    rest = without(task.calls, Operation.UPDATE)
    return Said(calls=wanting(rest, Operation.UPDATE, now, params=mine.queued) if mine.queued is not None else rest)


# Questions.


def _inspect(task: Task, event: Answered, mine: Pursuit | None, rules: Rules, now: int) -> Said:
    if mine is not None and event.step is not None:
        return Said(calls={**task.calls, Operation.INSPECT: replace(mine, serial=None, step=event.step)})
    if event.outcome in _AGAIN:
        waiting = {} if mine is None else {Operation.INSPECT: later(task, Operation.INSPECT, mine, now, event.retry_after_s)}
        return Said(calls={**task.calls, **waiting})
    asks = mine.asks if mine is not None else None
    rest = without(task.calls, Operation.INSPECT) if mine is not None else task.calls
    settles = event.inspection is not None and can_be_asked(task, rules, event.sent_at)
    if event.inspection is not None and (settles or event.outcome is Outcome.ACCEPTED):
        return inspected(task, event, asks, rest, rules, now)
    if task.view.state in FINAL:
        return Said(calls=rest)
    conclusion = unasked(replace(task, calls=rest), asks, now, rules)
    facts = concluded(task, conclusion, now, asks, _key(event))
    if asks is Deadline.STOP_CONFIRM and not facts and rules.callable:
        rest = wanting(rest, Operation.STOP, now)
    return Said(calls=rest, facts=facts, anomaly=conclusion.anomaly)


_Reader = Callable[[Task, Answered, Pursuit | None, Rules, int], Said]
_OF_OPERATION: Mapping[Operation, _Reader] = {
    Operation.START: _start,
    Operation.STOP: _stop,
    Operation.UPDATE: _update,
    Operation.INSPECT: _inspect,
}
