"""What a passed deadline does: asks the vendor where it can be asked, concludes where not, calls again, or starts a successor."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from statemachine.calls import Operation, PendingCall
from statemachine.deadlines import Due, can_be_asked
from statemachine.events import PostEvent, StartRequested
from statemachine.facts import FactKind
from statemachine.inference import unasked
from statemachine.on_answer import await_adoption, give_up
from statemachine.on_restore import recheck_start
from statemachine.pending_calls import with_call, with_inspection
from statemachine.policy import Policy, parse_policy
from statemachine.reaction import Reaction, inference_facts, own_fact
from statemachine.rules import Rules
from statemachine.states import Anomaly, Deadline, State
from statemachine.tasks import Task, task_id

#: So often is looked whether there is an account again, for a call that must not be forgotten, ms.
_NO_ACCOUNT_MS = 60_000


def react_to_deadline(task: Task, item: Due, rules: Rules, now: int) -> Reaction:
    """What it means that this deadline of this task passed."""
    return _OF_KIND.get(item.kind, _ask)(task, item, rules, parse_policy(task.policy), now)


def _ask(task: Task, item: Due, rules: Rules, policy: Policy, now: int) -> Reaction:
    if item.kind is Deadline.SILENCE and Operation.START in task.calls:
        return Reaction(calls=task.calls)  # its start is still being tried: there is nothing to ask about
    if can_be_asked(task, rules, now):
        waits = item.kind is Deadline.SILENCE and task.view.state is State.FINISHING
        return Reaction(calls=task.calls if waits else with_inspection(task.calls, now, item.kind))
    conclusion = unasked(task, item.kind, now, rules)
    facts = inference_facts(task, conclusion, now, item.kind, f"{task.id}:{item.kind.value}:{now}")
    return Reaction(calls=task.calls, facts=facts, anomaly=conclusion.anomaly)


def _start_again(task: Task, item: Due, rules: Rules, policy: Policy, now: int) -> Reaction:
    pursuit = task.calls[Operation.START]
    if pursuit.doubted_at is not None:
        return recheck_start(task, pursuit, rules, now)
    must_not = pursuit.ambiguous and (task.view.stop_asked_at is not None or not (rules.repeatable or rules.askable_unnamed))
    if not must_not:
        return Reaction(calls={**task.calls, Operation.START: replace(pursuit, retry_at=None)})
    last = pursuit.since + policy.start.max_elapsed_s * 1000
    if now >= last:
        return give_up(task, pursuit, rules, now, f"{task.id}:give_up:{now}")
    return Reaction(calls={**task.calls, Operation.START: await_adoption(task, pursuit, rules, now)})


def _call_again(task: Task, item: Due, rules: Rules, policy: Policy, now: int) -> Reaction:
    due: dict[Operation, PendingCall] = {
        operation: replace(pursuit, retry_at=None if rules.callable else now + _NO_ACCOUNT_MS)
        for operation, pursuit in task.calls.items()
        if operation is not Operation.START and pursuit.retry_at is not None and pursuit.retry_at <= now
    }
    return Reaction(calls={**task.calls, **due})


def _recover(task: Task, item: Due, rules: Rules, policy: Policy, now: int) -> Reaction:
    given_up = policy.recovery.stop and now - item.base >= policy.recovery.max_s * 1000
    if given_up and rules.callable and task.view.stop_asked_at is None:
        return _stop(task, now, item)
    return _ask(task, item, rules, policy, now)


def _reach(task: Task, item: Due, rules: Rules, policy: Policy, now: int) -> Reaction:
    if policy.reach_stop and task.view.stop_asked_at is None:
        return replace(_stop(task, now, item), anomaly=Anomaly.OUT_OF_REACH)
    return Reaction(calls=task.calls, anomaly=Anomaly.OUT_OF_REACH)


def _stop(task: Task, now: int, item: Due) -> Reaction:
    asked = own_fact(task, FactKind.STOP_ASKED, now, now, f"{task.id}:{item.kind.value}:stop:{now}")
    return Reaction(calls=with_call(task.calls, Operation.STOP, now), facts=(asked,))


def _confirm(task: Task, item: Due, rules: Rules, policy: Policy, now: int) -> Reaction:
    said = _ask(task, item, rules, policy, now)
    if said.facts or Operation.INSPECT in said.calls or not rules.callable:
        return said
    return Reaction(calls=with_call(said.calls, Operation.STOP, now))


def _renew(task: Task, item: Due, rules: Rules, policy: Policy, now: int) -> Reaction:
    """The two sets of parameters alternate."""
    renew = policy.renew
    assert renew is not None, "armed only with a policy"
    follow = {**task.policy, "renew": {**task.policy["renew"], "params": dict(task.params)}}
    begun = _successor(task, now, "renew", params=renew.params, policy=follow, renews=task.id)
    return Reaction(calls=task.calls, changes={"renewed_by": begun.event.task_id}, effects=(begun,))


def _restart(task: Task, item: Due, rules: Rules, policy: Policy, now: int) -> Reaction:
    begun = _successor(
        task, now, "restart", params=task.params, policy=task.policy, restarts=task.id, restart_count=task.restart_count + 1
    )
    return Reaction(calls=task.calls, changes={"restarted_by": begun.event.task_id}, effects=(begun,))


def _successor(task: Task, now: int, why: str, **more: Any) -> PostEvent:
    anchor = f"{why} {task.id} {now}"
    asked = StartRequested(
        task_id=task_id(task.key, anchor, now),
        kind=task.kind,
        action=task.action or "",
        api_version=task.api_version,
        by=f"policy.{why}",
        key=anchor,
        **more,
    )
    return PostEvent(event=asked, vendor=task.key.vendor)


_OF_KIND: Mapping[Deadline, Callable[[Task, Due, Rules, Policy, int], Reaction]] = {
    Deadline.START_RETRY: _start_again,
    Deadline.CALL_RETRY: _call_again,
    Deadline.RECOVERY: _recover,
    Deadline.REACH: _reach,
    Deadline.RENEW: _renew,
    Deadline.RESTART: _restart,
    Deadline.STOP_CONFIRM: _confirm,
}
