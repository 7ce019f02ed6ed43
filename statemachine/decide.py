"""The one question: what does this event change?

`decide` puts the event's facts into the lineage's set, cuts and folds it anew, and compares. It reads no clock and does nothing;
called twice with the same arguments it answers the same.
"""

from dataclasses import replace
from typing import Any

from statemachine.deadlines import conclude
from statemachine.events import Decision, Event, Heard, Inspect, Marked, Passed, Touch, Withdrawn
from statemachine.facts import Fact, FactKind, Outcome
from statemachine.folding import Folding, RulesOf
from statemachine.states import Deadline, Kind, Reason, State, Verdict
from statemachine.tasks import Lineage, Pass, Task

#: The reason of what came too late for its run.
SEALED = "sealed"
#: The reason of a callback that was read again and says what it said.
UNCHANGED = "unchanged"

_MARK_REASONS = {State.STOPPED: Reason.STOP_REQUESTED, State.FAILED: Reason.VENDOR_ERROR, State.LOST: Reason.UNKNOWN_TO_VENDOR}


def decide(lineage: Lineage, event: Event, now: int, rules_of: RulesOf, *, kind: Kind | None = None) -> Decision:
    """What this event changes.

    now: ms since the epoch. kind: of the lineage's tasks, where its key alone says it; None: its facts do.
    """
    match event:
        case Heard():
            return _hear(lineage, event, Folding(lineage, now, rules_of, kind))
        case Withdrawn():
            return _withdraw(lineage, event, Folding(lineage, now, rules_of, kind))
        case Passed():
            return _pass(lineage, event, Folding(lineage, now, rules_of, kind))
        case Marked():
            return _mark(lineage, event, Folding(lineage, now, rules_of, kind))


def _hear(lineage: Lineage, event: Heard, folding: Folding) -> Decision:
    if event.fact.at < lineage.sealed.until:
        return Decision(lineage=lineage, verdict=Verdict.STALE, reason=SEALED)
    if event.replaces is not None and [fact for fact in lineage.facts if fact.source == event.replaces] == [event.fact]:
        return _unchanged(lineage, event.fact, folding)
    facts = {fact.key: fact for fact in lineage.facts if event.replaces is None or fact.source != event.replaces}
    facts[event.fact.key] = event.fact
    folded = folding.over(facts.values(), newest=event.fact)
    verdict, reason = folded.verdict(event.fact)
    return folded.decision(verdict, reason, folded.task_of(event.fact).id)


def _unchanged(lineage: Lineage, fact: Fact, folding: Folding) -> Decision:
    """A callback that is read as it was read before: what it did then still stands."""
    folded = folding.over(lineage.facts)
    return folded.decision(Verdict.STALE, UNCHANGED, folded.task_of(fact).id)


def _withdraw(lineage: Lineage, event: Withdrawn, folding: Folding) -> Decision:
    facts = [fact for fact in lineage.facts if fact.source != event.source]
    if not facts:
        return Decision(lineage=lineage, verdict=Verdict.IGNORED, reason="only_news_of_its_task")
    return folding.over(facts).decision(Verdict.APPLIED)


def _pass(lineage: Lineage, event: Passed, folding: Folding) -> Decision:
    task = _task(lineage, event.task_id)
    item = folding.due_item(task, event) if task else None
    if task is None or item is None:
        return folding.over(lineage.facts).decision(Verdict.STALE, "not_due", event.task_id)
    conclusion = conclude(task, item, folding.now, folding.rules(task.kind, task.params))
    facts = list(lineage.facts)
    if conclusion.outcome is not None:
        facts.append(_inferred(task, conclusion.outcome, folding.now, conclusion.ended_at, deadline=item.kind))
    last = task.passed.get(item.kind)
    times = last.times + 1 if last is not None and last.base == item.base else 1
    entries: list[dict[str, Any]] = [{"kind": "deadline_passed", "deadline": item.kind.value, "due_at": item.at}]
    if times > 1 and conclusion.outcome is None and conclusion.anomaly is None:
        entries = []  # recovery looks every five minutes: one line is enough
    touch = Touch(
        task_id=task.id,
        passed={**task.passed, item.kind: Pass(base=item.base, at=folding.now, times=times)},
        raise_=conclusion.anomaly,
        entries=tuple(entries),
    )
    effects = (Inspect(task_id=task.id, deadline=item.kind),) if conclusion.inspect else ()
    return folding.over(facts, touch=touch).decision(Verdict.APPLIED, None, task.id, effects)


def _mark(lineage: Lineage, event: Marked, folding: Folding) -> Decision:
    task = _task(lineage, event.task_id)
    if task is None:
        return Decision(lineage=lineage, verdict=Verdict.STALE, reason="no_such_task")
    facts = list(lineage.facts)
    if event.state is not None:
        outcome = Outcome(state=event.state, reason=_MARK_REASONS[event.state])
        facts.append(replace(_inferred(task, outcome, folding.now, folding.now), key=event.key))
    entry = {"kind": "mark", "by": event.by, "note": event.note, "clear": [a.value for a in event.clear]}
    if event.state is not None:
        entry["state"] = event.state.value
    touch = Touch(task_id=task.id, clear=event.clear, entries=(entry,))
    return folding.over(facts, touch=touch).decision(Verdict.APPLIED, None, task.id)


def _task(lineage: Lineage, wanted: str) -> Task | None:
    return next((task for task in lineage.tasks if task.id == wanted), None)


def _inferred(task: Task, outcome: Outcome, now: int, ended_at: int | None, deadline: Deadline | None = None) -> Fact:
    """An end that we conclude. It stands in the order where our knowledge stood, so that news sorts behind it."""
    name = deadline.value if deadline else "mark"
    return Fact(
        kind=FactKind.INFERRED,
        at=task.view.evidence_at,
        received_at=now,
        key=f"{task.id}:{name}:{now}",
        outcome=outcome,
        deadline=deadline,
        about=task.anchor,
        knew=task.view.captured_by,
        ended_at=ended_at,
    )
