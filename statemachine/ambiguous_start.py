"""A start call that may have happened, and that must not be repeated: it waits for adoption, then it is given up."""

from dataclasses import replace

from statemachine.calls import Operation, PendingCall
from statemachine.facts import FactKind
from statemachine.folding.run_scan import GIVE_UP_CODE
from statemachine.inference import START_UNKNOWN
from statemachine.pending_calls import with_call, with_inspection, without_call
from statemachine.policy import parse_policy
from statemachine.reaction import Reaction, inferred_end, own_fact
from statemachine.rules import Rules
from statemachine.states import Deadline
from statemachine.tasks import Task

_S = 1000


def await_adoption(task: Task, start: PendingCall, rules: Rules, now: int) -> PendingCall:
    """Returns the start, waiting until callbacks show which task it created, or until it is given up.

    It is due first when `Rules.meets_s` are over, and then when `start.max_elapsed_s` of the policy are.
    """
    last = start.since + parse_policy(task.policy).start.max_elapsed_s * _S
    meets = None if rules.meets_s is None else (start.ambiguous_at or now) + int(rules.meets_s * _S)
    retry_at = meets if meets is not None and now < meets < last else last
    return replace(start, serial=None, retry_at=max(retry_at, now))


def give_up_start(task: Task, start: PendingCall, rules: Rules, now: int, key: str) -> Reaction:
    """Gives up a start that may have happened: the task must not run unseen.

    If its id is known, it is stopped; if the vendor can be queried without an id, it is queried; else it is `start_unknown`.
    """
    calls = without_call(task.calls, Operation.START)
    if not task.key.is_provisional and rules.callable:
        stop = own_fact(task, FactKind.STOP_ASKED, now, now, f"{key} give-up", code=GIVE_UP_CODE)
        return Reaction(calls=with_call(calls, Operation.STOP, now), facts=(stop,))
    if rules.askable_unnamed:
        return Reaction(calls=with_inspection(calls, now, Deadline.START_RETRY, start.ambiguous))
    known_at = task.view.begins_at  # nothing has been heard of it since: any later sign of it is news
    end = inferred_end(task, START_UNKNOWN, now, key=key, ended_at=now, deadline=Deadline.START_RETRY, known_at=known_at)
    return Reaction(calls=calls, facts=(end,))
