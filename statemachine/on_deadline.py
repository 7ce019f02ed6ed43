"""What a passed deadline does: asks the vendor where it can be asked, concludes where not, calls again, or starts a successor."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from statemachine.calls import Operation, Pursuit
from statemachine.deadlines import Due, can_be_asked
from statemachine.events import Post, StartAsked
from statemachine.facts import FactKind, Rules
from statemachine.inference import unasked
from statemachine.on_answer import awaiting, give_up
from statemachine.on_restore import look_again
from statemachine.pending_calls import asking, wanting
from statemachine.policy import Policy, read
from statemachine.reaction import Said, concluded, ours
from statemachine.states import Anomaly, Deadline, State
from statemachine.tasks import Task, task_id

#: So often is looked whether there is an account again, for a call that must not be forgotten, ms.
_NO_ACCOUNT_MS = 60_000


def passed(task: Task, item: Due, rules: Rules, now: int) -> Said:
    """What it means that this deadline of this task passed."""
    return _OF_KIND.get(item.kind, _ask)(task, item, rules, read(task.policy), now)


def _ask(task: Task, item: Due, rules: Rules, policy: Policy, now: int) -> Said:
    if item.kind is Deadline.SILENCE and Operation.START in task.calls:
        return Said(calls=task.calls)  # its start is still being tried: there is nothing to ask about
    if can_be_asked(task, rules, now):
        waits = item.kind is Deadline.SILENCE and task.view.state is State.FINISHING
        return Said(calls=task.calls if waits else asking(task.calls, now, item.kind))
    conclusion = unasked(task, item.kind, now, rules)
    facts = concluded(task, conclusion, now, item.kind, f"{task.id}:{item.kind.value}:{now}")
    return Said(calls=task.calls, facts=facts, anomaly=conclusion.anomaly)


def _start_again(task: Task, item: Due, rules: Rules, policy: Policy, now: int) -> Said:
    pursuit = task.calls[Operation.START]
    if pursuit.doubted_at is not None:
        return look_again(task, pursuit, rules, now)
    must_not = pursuit.ambiguous and (task.view.stop_asked_at is not None or not (rules.repeatable or rules.askable_unnamed))
    if not must_not:
        return Said(calls={**task.calls, Operation.START: replace(pursuit, retry_at=None)})
    last = pursuit.since + policy.start.max_elapsed_s * 1000
    if now >= last:
        return give_up(task, pursuit, rules, now, f"{task.id}:give_up:{now}")
    return Said(calls={**task.calls, Operation.START: awaiting(task, pursuit, rules, now)})


def _call_again(task: Task, item: Due, rules: Rules, policy: Policy, now: int) -> Said:
    due: dict[Operation, Pursuit] = {
        operation: replace(pursuit, retry_at=None if rules.callable else now + _NO_ACCOUNT_MS)
        for operation, pursuit in task.calls.items()
        if operation is not Operation.START and pursuit.retry_at is not None and pursuit.retry_at <= now
    }
    return Said(calls={**task.calls, **due})


def _recover(task: Task, item: Due, rules: Rules, policy: Policy, now: int) -> Said:
    given_up = policy.recovery.stop and now - item.base >= policy.recovery.max_s * 1000
    if given_up and rules.callable and task.view.stop_asked_at is None:
        return _stop(task, now, item)
    return _ask(task, item, rules, policy, now)


def _reach(task: Task, item: Due, rules: Rules, policy: Policy, now: int) -> Said:
    if policy.reach_stop and task.view.stop_asked_at is None:
        return replace(_stop(task, now, item), anomaly=Anomaly.OUT_OF_REACH)
    return Said(calls=task.calls, anomaly=Anomaly.OUT_OF_REACH)


def _stop(task: Task, now: int, item: Due) -> Said:
    asked = ours(task, FactKind.STOP_ASKED, now, now, f"{task.id}:{item.kind.value}:stop:{now}")
    return Said(calls=wanting(task.calls, Operation.STOP, now), facts=(asked,))


def _confirm(task: Task, item: Due, rules: Rules, policy: Policy, now: int) -> Said:
    said = _ask(task, item, rules, policy, now)
    if said.facts or Operation.INSPECT in said.calls or not rules.callable:
        return said
    return Said(calls=wanting(said.calls, Operation.STOP, now))


def _renew(task: Task, item: Due, rules: Rules, policy: Policy, now: int) -> Said:
    """The two sets of parameters alternate."""
    renew = policy.renew
    assert renew is not None, "armed only with a policy"
    follow = {**task.policy, "renew": {**task.policy["renew"], "params": dict(task.params)}}
    begun = _successor(task, now, "renew", params=renew.params, policy=follow, renews=task.id)
    return Said(calls=task.calls, changes={"renewed_by": begun.event.task_id}, effects=(begun,))


def _restart(task: Task, item: Due, rules: Rules, policy: Policy, now: int) -> Said:
    begun = _successor(
        task, now, "restart", params=task.params, policy=task.policy, restarts=task.id, restart_count=task.restart_count + 1
    )
    return Said(calls=task.calls, changes={"restarted_by": begun.event.task_id}, effects=(begun,))


def _successor(task: Task, now: int, why: str, **more: Any) -> Post:
    anchor = f"{why} {task.id} {now}"
    asked = StartAsked(
        task_id=task_id(task.key, anchor, now),
        kind=task.kind,
        action=task.action or "",
        api_version=task.api_version,
        by=f"policy.{why}",
        key=anchor,
        **more,
    )
    return Post(event=asked, vendor=task.key.vendor)


_OF_KIND: Mapping[Deadline, Callable[[Task, Due, Rules, Policy, int], Said]] = {
    Deadline.START_RETRY: _start_again,
    Deadline.CALL_RETRY: _call_again,
    Deadline.RECOVERY: _recover,
    Deadline.REACH: _reach,
    Deadline.RENEW: _renew,
    Deadline.RESTART: _restart,
    Deadline.STOP_CONFIRM: _confirm,
}
