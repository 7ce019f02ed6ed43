"""Reactions: the effect of an event on one task, before its lineage is folded again; and builders of our own facts."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from statemachine.calls import Operation, PendingCall
from statemachine.commands import Command
from statemachine.facts import Ending, Fact, FactKind
from statemachine.inference import Inference
from statemachine.states import Anomaly, Deadline, Reason, State
from statemachine.tasks import DeadlinePass, Task

#: The end of a task that was stopped before its start was sent. The vendor never knew it, so it is not queried for a reason.
NEVER_SENT = Ending(state=State.STOPPED, reason=Reason.STOP_REQUESTED, rank=1)
#: The end of a task whose start is not tried again, where no attempt is ambiguous.
GAVE_UP = Ending(state=State.FAILED, reason=Reason.START_GAVE_UP, rank=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reaction:
    """The effect of an event on one task. Every reactor (`on_*.py`) returns one; `refold` applies it."""

    #: New facts about the task's run.
    facts: tuple[Fact, ...] = ()
    #: The task's pending calls from now on; None: unchanged.
    calls: Mapping[Operation, PendingCall] | None = None
    raised: Anomaly | None = None
    cleared: tuple[Anomaly, ...] = ()
    #: Fields of the task that get new values.
    changes: Mapping[str, Any] = field(default_factory=dict)
    #: Commands beside the calls, which follow from `calls`.
    commands: tuple[Command, ...] = ()
    #: When each deadline last passed; None: unchanged.
    passed: Mapping[Deadline, DeadlinePass] | None = None
    #: Lines for the timeline.
    entries: tuple[Mapping[str, Any], ...] = ()

    def calls_of(self, task: Task) -> Mapping[Operation, PendingCall]:
        """Returns the task's pending calls after this reaction."""
        return task.calls if self.calls is None else self.calls


NO_REACTION = Reaction()


def inferred_end(
    task: Task,
    outcome: Ending,
    now: int,
    *,
    key: str,
    ended_at: int | None = None,
    deadline: Deadline | None = None,
    known_at: int | None = None,
    finishing: bool = False,
) -> Fact:
    """Returns the fact of an end that we infer.

    Its place in the order of facts is the newest evidence at the time, so that later news sorts after it. Callbacks that arrive
    after the vendor was queried are news, even if they arrive before the answer.

    known_at: when the vendor was queried, ms; None: it was not queried.
    """
    return Fact(
        kind=FactKind.INFERRED,
        at=task.view.evidence_at if known_at is None else max(known_at, task.view.begins_at),
        received_at=now,
        key=key,
        outcome=outcome,
        deadline=deadline,
        about=task.anchor,
        knew=task.view.captured_by,
        ended_at=ended_at,
        finishing=finishing,
    )


def inference_facts(task: Task, inference: Inference, now: int, deadline: Deadline | None, key: str) -> tuple[Fact, ...]:
    """Returns the fact of an inferred end; nothing if the inference is no end."""
    if inference.outcome is None:
        return ()
    return (inferred_end(task, inference.outcome, now, key=key, ended_at=inference.ended_at, deadline=deadline),)


def own_fact(task: Task, kind: FactKind, at: int, now: int, key: str, **more: Any) -> Fact:
    """Returns a fact of our own about this task's run."""
    return Fact(kind=kind, at=max(at, task.view.begins_at), received_at=now, key=key, about=task.anchor, **more)


def never_started(task: Task, ending: Ending, now: int, key: str, code: str | None = None, message: str | None = None) -> Fact:
    """Returns the fact that the task was never started. code, message: the vendor's reason."""
    return own_fact(task, FactKind.REFUSED, now, now, key, outcome=ending, code=code, message=message)
