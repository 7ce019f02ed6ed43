"""The deadlines of a task: one table of when each is armed, what happens when it passes, and what is inferred without an answer.

The functions of the cells are in `deadline_arming`, `on_deadline` and `inference`. What the vendor's answer to a query means is in
`on_inspection`.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from statemachine import deadline_arming as arming
from statemachine import inference, on_deadline
from statemachine.deadline_arming import ArmedDeadline
from statemachine.events import DeadlinePassed
from statemachine.inference import NO_INFERENCE, Inference
from statemachine.on_deadline import PassedDeadline
from statemachine.policy import Policy, parse_policy
from statemachine.reaction import Reaction
from statemachine.rules import Rules
from statemachine.states import FINAL, Deadline
from statemachine.tasks import DeadlinePass, Task

Infer = Callable[[Task, Rules, int], Inference]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadlineRule:
    """A row of the table. Each cell is a function and its sentence for the docs."""

    #: Whether it is armed for live tasks, and for tasks that have ended.
    is_for_live: bool = True
    is_for_ended: bool = False
    #: (task, rules, policy) -> when it is due; None: it is not armed.
    arm: Callable[[Task, Rules, Policy], ArmedDeadline | None]
    armed_text: str
    react: Callable[[PassedDeadline], Reaction]
    passed_text: str
    #: (task, rules, now) -> what is inferred if the vendor cannot be queried, or its answer proves nothing; None: nothing.
    infer: Infer | None = None
    #: Begins with "Stays silent, because" if `infer` is None.
    inferred_text: str


#: In the order of a task's life.
DEADLINES: Mapping[Deadline, DeadlineRule] = {
    Deadline.START_RETRY: DeadlineRule(
        arm=arming.arm_start_retry,
        armed_text="A start call waits for its next attempt: when its pause is over.",
        react=on_deadline.retry_start,
        passed_text=(
            "The start call is made again. One that may have happened and must not be repeated waits for callbacks of its task, "
            "and is given up after `start.max_elapsed_s` of the policy."
        ),
        infer=inference.unknown_start,
        inferred_text="A start that was given up and may have happened: `failed`, `start_unknown`.",
    ),
    Deadline.START_CONFIRM: DeadlineRule(
        arm=arming.arm_start_confirm,
        armed_text="The task is `accepted`: 60 s after the vendor accepted the start, or after the planned start.",
        react=on_deadline.query_vendor,
        passed_text="The vendor is queried.",
        infer=inference.unheard,
        inferred_text="The task is marked `unheard`.",
    ),
    Deadline.IDLE: DeadlineRule(
        arm=arming.arm_idle,
        armed_text="The task is `accepted` or `interrupted` and has no publisher: 30 s after the vendor's limit for that.",
        react=on_deadline.query_vendor,
        passed_text="The vendor is queried. If the task is gone: `idle_timeout`, `max_idle_time`.",
        infer=inference.idle_end,
        inferred_text="`idle_timeout`, `max_idle_time`, at the time of the vendor's limit.",
    ),
    Deadline.RECOVERY: DeadlineRule(
        arm=arming.arm_recovery,
        armed_text=(
            "The task is `interrupted`: after 90 s, then every 5 minutes; with `recovery.stop` of the policy also after "
            "`recovery.max_s`."
        ),
        react=on_deadline.query_or_stop_interrupted,
        passed_text="The vendor is queried. With `recovery.stop` the task is stopped after `recovery.max_s`.",
        inferred_text="Stays silent, because an interrupted task may still recover; `idle`, `expiry` and `silence` go on.",
    ),
    Deadline.EXPIRY: DeadlineRule(
        arm=arming.arm_expiry,
        armed_text=(
            "The task has a maximum lifetime: 5 minutes after it, then every hour. If a sign of life corrects `expired`: an hour "
            "after that sign."
        ),
        react=on_deadline.query_vendor,
        passed_text="The vendor is queried. If the task is gone: `expired`, `max_lifetime`. If it lives, it is marked `overdue`.",
        infer=inference.expired_end,
        inferred_text="`expired`, `max_lifetime`, at the end of the maximum lifetime.",
    ),
    Deadline.RENEW: DeadlineRule(
        arm=arming.arm_renew,
        armed_text=(
            "The policy has `renew` and the task has a maximum lifetime: `renew.lead_s` before its end; 60 s after the last "
            "successor was started, if it failed."
        ),
        react=on_deadline.start_renewal,
        passed_text="A successor is started with `renew.params`. When it runs, this task is stopped.",
        inferred_text="Stays silent, because it needs no answer: the start of the successor is a call of its own.",
    ),
    Deadline.REACH: DeadlineRule(
        arm=arming.arm_reach,
        armed_text="The vendor answers for a task only for a limited time after its start: one hour before that time is over.",
        react=on_deadline.warn_out_of_reach,
        passed_text='The task is marked `out_of_reach`. With `"reach": "stop"` in the policy it is stopped.',
        inferred_text="Stays silent, because it needs no answer: it warns that there will soon be none.",
    ),
    Deadline.STOP_CONFIRM: DeadlineRule(
        arm=arming.arm_stop_confirm,
        armed_text="The vendor accepted a stop call and the task is still `stopping`: 60 s later.",
        react=on_deadline.confirm_stop,
        passed_text=(
            "The vendor is queried. If the task is gone: `stopped`, `stop_requested`. If it lives, the stop call is made again; "
            "after three accepted stop calls the task is also marked `stop_unconfirmed`."
        ),
        infer=inference.end_of_repeated_stops,
        inferred_text="The stop call is made again; after three accepted stop calls: `stopped`, `stop_requested`.",
    ),
    Deadline.FINISH: DeadlineRule(
        arm=arming.arm_finish,
        armed_text=(
            "The task is `finishing`: when the time for its files is over (24 h; for some kinds less, if no upload was reported), "
            "then every hour."
        ),
        react=on_deadline.query_vendor,
        passed_text="The vendor is queried. If the capture is over, the known files decide, as in the next column.",
        infer=inference.finished_end,
        inferred_text=(
            "With files: `completed`, `files_delivered`. Without: the end of the capture; if that is unknown, `completed`, "
            "`files_unknown`."
        ),
    ),
    Deadline.SILENCE: DeadlineRule(
        arm=arming.arm_silence,
        armed_text=(
            "Every live task: 15 minutes after the last news (±10 %; longer for an account with many tasks) if the vendor can be "
            "queried; else after 24 h, then after 30 days."
        ),
        react=on_deadline.query_after_silence,
        passed_text="The vendor is queried, but not while the start is still tried, nor while files are awaited.",
        infer=inference.silent_end,
        inferred_text="The task is marked `unheard`; after 30 days: `lost`, `silent`.",
    ),
    Deadline.RESTART: DeadlineRule(
        is_for_live=False,
        is_for_ended=True,
        arm=arming.arm_restart,
        armed_text=(
            "The policy has `restart`, and the task ended in one of its states without a stop request: `restart.pause_s` after the "
            "end, at most `restart.max` times."
        ),
        react=on_deadline.start_repetition,
        passed_text="The task is started again, with the same parameters and policy.",
        inferred_text="Stays silent, because it needs no answer: the new start is a call of its own.",
    ),
    Deadline.CALL_RETRY: DeadlineRule(
        is_for_ended=True,
        arm=arming.arm_call_retry,
        armed_text="A stop, update or query waits for its next attempt: when its pause is over.",
        react=on_deadline.retry_calls,
        passed_text="The call is made again. While no account is configured, a stop waits another 60 s.",
        inferred_text=(
            "Stays silent, because it only repeats a call: if a query is rejected for good, the deadline that needed it decides."
        ),
    ),
}

_ARM_LIVE = tuple(rule.arm for rule in DEADLINES.values() if rule.is_for_live)
_ARM_ENDED = tuple(rule.arm for rule in DEADLINES.values() if rule.is_for_ended)
_DEFAULT_POLICY = Policy()


def armed_deadlines(task: Task, rules: Rules) -> Iterator[ArmedDeadline]:
    """Yields the armed deadlines of a task: at least `silence` for a live one, few for one that has ended."""
    policy = parse_policy(task.policy) if task.policy else _DEFAULT_POLICY
    for arm in _ARM_ENDED if task.view.state in FINAL else _ARM_LIVE:
        armed = arm(task, rules, policy)
        if armed is not None:
            yield armed


def due_times(task: Task, before: Mapping[Deadline, int], rules: Rules, now: int) -> dict[Deadline, int]:
    """Returns when each deadline of a task is due, ms, the earliest first. before: the due times until now.

    `silence` is not moved to a later time before it is due: each callback would move it, and an early query does no harm.
    """
    deadlines = {armed.kind: armed.at for armed in armed_deadlines(task, rules)}
    silence = deadlines.get(Deadline.SILENCE)
    earlier = before.get(Deadline.SILENCE)
    if silence is not None and earlier is not None and now < earlier < silence:
        deadlines[Deadline.SILENCE] = earlier
    return dict(sorted(deadlines.items(), key=lambda item: (item[1], item[0])))


def react_to_deadline(task: Task, event: DeadlinePassed, rules: Rules, now: int) -> Reaction | None:
    """Returns the effect of a passed deadline on its task; None: it is not armed any more, or armed for later."""
    armed = next((armed for armed in armed_deadlines(task, rules) if armed.kind is event.kind and armed.at <= now), None)
    if armed is None:
        return None
    rule, policy = DEADLINES[armed.kind], parse_policy(task.policy)
    passed = PassedDeadline(task=task, armed=armed, rules=rules, policy=policy, infer=rule.infer or _infer_nothing, now=now)
    reaction = rule.react(passed)
    last = task.passed.get(armed.kind)
    times = last.times + 1 if last is not None and last.base == armed.base else 1
    this_pass = DeadlinePass(base=armed.base, at=now, times=times)
    entries = () if times > 1 and _is_routine(reaction) else (_timeline_entry(armed),)
    return replace(reaction, passed={**task.passed, armed.kind: this_pass}, entries=entries)


def _is_routine(reaction: Reaction) -> bool:
    """Returns whether nothing came of it but a query: `recovery` queries every five minutes, and one line of it is enough."""
    return not reaction.facts and reaction.raised is None and not reaction.commands


def _timeline_entry(armed: ArmedDeadline) -> Mapping[str, Any]:
    return {"kind": "deadline_passed", "deadline": armed.kind.value, "due_at": armed.at}


def infer_without_answer(task: Task, kind: Deadline | None, rules: Rules, now: int) -> Inference:
    """Returns what is inferred if the query that this deadline needed proves nothing. kind: None: a contradiction needed it."""
    infer = DEADLINES[kind].infer if kind is not None else None
    return NO_INFERENCE if infer is None else infer(task, rules, now)


def _infer_nothing(task: Task, rules: Rules, now: int) -> Inference:
    return NO_INFERENCE


def markdown_table() -> str:
    """Returns the table of deadlines as Markdown."""
    rows = ["| deadline | when it is due | what happens then | if the vendor cannot be queried |", "|---|---|---|---|"]
    rows += [
        f"| `{kind.value}` | {rule.armed_text} | {rule.passed_text} | {rule.inferred_text} |" for kind, rule in DEADLINES.items()
    ]
    return "\n".join(rows) + "\n"
