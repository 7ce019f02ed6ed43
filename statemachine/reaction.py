"""What an event says of one task, before anything is folded: its facts, and what is wanted of the vendor from now on."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from statemachine.calls import Operation, PendingCall
from statemachine.events import Command
from statemachine.facts import Ending, Fact, FactKind
from statemachine.inference import Inference
from statemachine.states import Anomaly, Deadline, Reason, State
from statemachine.tasks import Task

#: The task never was: whoever says so need not be asked why.
NEVER_SENT = Ending(state=State.STOPPED, reason=Reason.STOP_REQUESTED, rank=1)

#: No further start is tried, and none is in doubt.
GAVE_UP = Ending(state=State.FAILED, reason=Reason.START_GAVE_UP, rank=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reaction:
    calls: Mapping[Operation, PendingCall]
    facts: tuple[Fact, ...] = ()
    anomaly: Anomaly | None = None
    #: Marks that are dealt with.
    clear: tuple[Anomaly, ...] = ()
    #: Fields of the task that change.
    changes: Mapping[str, Any] = field(default_factory=dict)
    effects: tuple[Command, ...] = ()


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
    """An end that we conclude. It stands in the order where our knowledge stood, so that news sorts behind it.

    What was heard after the vendor was asked is news, even if it was known before the answer.

    known_at: when the vendor was asked, ms, where it was.
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


def inference_facts(task: Task, conclusion: Inference, now: int, deadline: Deadline | None, key: str) -> tuple[Fact, ...]:
    """The fact of a conclusion that is an end."""
    if conclusion.outcome is None:
        return ()
    return (inferred_end(task, conclusion.outcome, now, key=key, ended_at=conclusion.ended_at, deadline=deadline),)


def own_fact(task: Task, kind: FactKind, at: int, now: int, key: str, **more: Any) -> Fact:
    """A fact that comes from us, about this task's run."""
    return Fact(kind=kind, at=max(at, task.view.begins_at), received_at=now, key=key, about=task.anchor, **more)


def never_started(task: Task, outcome: Ending, now: int, key: str, code: str | None = None, message: str | None = None) -> Fact:
    """It was never started, for this reason."""
    return own_fact(task, FactKind.REFUSED, now, now, key, outcome=outcome, code=code, message=message)
