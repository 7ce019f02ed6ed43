"""Reacts to passed deadlines: queries the vendor or infers an end, makes a call again, or starts a successor.

`deadlines` has the table of which reactor serves which deadline.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from statemachine.ambiguous_start import await_adoption, give_up_start
from statemachine.calls import Operation, PendingCall
from statemachine.commands import PostEvent
from statemachine.deadline_arming import ArmedDeadline
from statemachine.events import StartRequested
from statemachine.facts import FactKind
from statemachine.inference import Inference
from statemachine.on_restore import recheck_start
from statemachine.pending_calls import with_call, with_inspection
from statemachine.policy import Policy
from statemachine.reaction import NO_REACTION, Reaction, inference_facts, own_fact
from statemachine.rules import Rules
from statemachine.states import Anomaly, State
from statemachine.tasks import Task, task_id
from statemachine.vendor_reach import can_be_queried

#: Interval at which a call that is kept without an account checks for one, ms.
_NO_ACCOUNT_MS = 60_000


@dataclass(frozen=True, slots=True, kw_only=True)
class PassedDeadline:
    """A deadline that is due, and what is needed to react to it."""

    task: Task
    armed: ArmedDeadline
    rules: Rules
    policy: Policy
    #: (task, rules, now) -> what is inferred if the vendor cannot be queried.
    infer: Callable[[Task, Rules, int], Inference]
    now: int


def query_vendor(passed: PassedDeadline) -> Reaction:
    """Queries the vendor; if it cannot be queried, the end is inferred or the task is marked."""
    task, kind, now = passed.task, passed.armed.kind, passed.now
    if can_be_queried(task, passed.rules, now):
        return Reaction(calls=with_inspection(task.calls, now, kind))
    inference = passed.infer(task, passed.rules, now)
    facts = inference_facts(task, inference, now, kind, f"{task.id}:{kind.value}:{now}")
    return Reaction(facts=facts, raised=inference.anomaly)


def query_after_silence(passed: PassedDeadline) -> Reaction:
    """Queries the vendor, except while the start is still tried, or while files are awaited: `finish` queries for those."""
    task = passed.task
    if Operation.START in task.calls:
        return NO_REACTION
    if task.view.state is State.FINISHING and can_be_queried(task, passed.rules, passed.now):
        return NO_REACTION
    return query_vendor(passed)


def retry_start(passed: PassedDeadline) -> Reaction:
    """Makes the start call again. One that may have happened and must not be repeated waits for adoption, then is given up."""
    task, rules, now = passed.task, passed.rules, passed.now
    start = task.calls[Operation.START]
    if start.doubted_at is not None:
        return recheck_start(task, start, rules, now)
    is_repeatable = task.view.stop_asked_at is None and (rules.repeatable or rules.askable_unnamed)
    if is_repeatable or not start.ambiguous:
        return Reaction(calls={**task.calls, Operation.START: replace(start, retry_at=None)})
    if now >= start.since + passed.policy.start.max_elapsed_s * 1000:
        return give_up_start(task, start, rules, now, f"{task.id}:give_up:{now}")
    return Reaction(calls={**task.calls, Operation.START: await_adoption(task, start, rules, now)})


def retry_calls(passed: PassedDeadline) -> Reaction:
    """Makes the stop, update and query calls whose pause is over; without an account they wait on."""
    retry_at = None if passed.rules.callable else passed.now + _NO_ACCOUNT_MS
    due: dict[Operation, PendingCall] = {
        operation: replace(call, retry_at=retry_at)
        for operation, call in passed.task.calls.items()
        if operation is not Operation.START and call.retry_at is not None and call.retry_at <= passed.now
    }
    return Reaction(calls={**passed.task.calls, **due})


def query_or_stop_interrupted(passed: PassedDeadline) -> Reaction:
    """Queries the vendor; stops the task after `recovery.max_s`, if the policy says so."""
    recovery = passed.policy.recovery
    is_over = recovery.stop and passed.now - passed.armed.base >= recovery.max_s * 1000
    if is_over and passed.rules.callable and passed.task.view.stop_asked_at is None:
        return _stop(passed)
    return query_vendor(passed)


def warn_out_of_reach(passed: PassedDeadline) -> Reaction:
    """Marks the task `out_of_reach`; stops it too, if the policy says so."""
    if passed.policy.reach_stop and passed.task.view.stop_asked_at is None:
        return replace(_stop(passed), raised=Anomaly.OUT_OF_REACH)
    return Reaction(raised=Anomaly.OUT_OF_REACH)


def _stop(passed: PassedDeadline) -> Reaction:
    task, now = passed.task, passed.now
    requested = own_fact(task, FactKind.STOP_ASKED, now, now, f"{task.id}:{passed.armed.kind.value}:stop:{now}")
    return Reaction(calls=with_call(task.calls, Operation.STOP, now), facts=(requested,))


def confirm_stop(passed: PassedDeadline) -> Reaction:
    """Queries the vendor; makes the stop call again if the vendor cannot be queried and no end is inferred."""
    reaction = query_vendor(passed)
    calls = reaction.calls_of(passed.task)
    if reaction.facts or Operation.INSPECT in calls or not passed.rules.callable:
        return reaction
    return Reaction(calls=with_call(calls, Operation.STOP, passed.now))


def start_renewal(passed: PassedDeadline) -> Reaction:
    """Starts a successor with the policy's parameters; its policy has those of this task, so that the two sets alternate."""
    task, renew = passed.task, passed.policy.renew
    assert renew is not None, "armed only with a policy"
    policy = {**task.policy, "renew": {**task.policy["renew"], "params": dict(task.params)}}
    command = _start_successor(passed, "renew", params=renew.params, policy=policy, renews=task.id)
    return Reaction(changes={"renewed_by": command.event.task_id}, commands=(command,))


def start_repetition(passed: PassedDeadline) -> Reaction:
    """Starts the task again, with the same parameters and policy."""
    task, count = passed.task, passed.task.restart_count + 1
    command = _start_successor(passed, "restart", params=task.params, policy=task.policy, restarts=task.id, restart_count=count)
    return Reaction(changes={"restarted_by": command.event.task_id}, commands=(command,))


def _start_successor(passed: PassedDeadline, reason: str, **more: Any) -> PostEvent:
    task, anchor = passed.task, f"{reason} {passed.task.id} {passed.now}"
    event = StartRequested(
        task_id=task_id(task.key, anchor, passed.now),
        kind=task.kind,
        action=task.action or "",
        api_version=task.api_version,
        by=f"policy.{reason}",
        key=anchor,
        **more,
    )
    return PostEvent(event=event, vendor=task.key.vendor)
