"""Decides what an event changes in a lineage.

`decide` adds the event's facts to those of the lineage, cuts and folds them again, and compares the result with the tasks. It is
pure: it reads no clock and does no I/O, and the same arguments give the same decision.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from statemachine import on_request, on_restore
from statemachine.calls import Operation
from statemachine.deadlines import react_to_deadline
from statemachine.decision import Decision
from statemachine.events import (
    CallAnswered,
    CallbackReceived,
    CallbackWithdrawn,
    ClockCorrected,
    DeadlinePassed,
    Event,
    LedgerRestored,
    OperatorMarked,
    RetryRequested,
    StartRequested,
    StopRequested,
    SuccessorReported,
    SurplusTaskFound,
    TasksAdopted,
    UpdateRequested,
)
from statemachine.facts import Ending, Fact, FactKind
from statemachine.folding.output_limits import limit_files
from statemachine.on_answer import react_to_answer
from statemachine.on_clock_setback import react_to_clock_setback
from statemachine.pending_calls import with_call
from statemachine.reaction import Reaction, inferred_end, own_fact
from statemachine.refold import Refold, RulesOf
from statemachine.states import Kind, Reason, State, Verdict
from statemachine.tasks import Lineage, Task

#: The reason of a callback that is too late for its run: the run is archived.
RUN_ARCHIVED = "sealed"
#: The reason of a replay that gave the same fact as before.
UNCHANGED = "unchanged"

_MARK_REASONS = {State.STOPPED: Reason.STOP_REQUESTED, State.FAILED: Reason.VENDOR_ERROR, State.LOST: Reason.UNKNOWN_TO_VENDOR}


def decide(lineage: Lineage, event: Event, now: int, rules_of: RulesOf, *, kind: Kind | None = None, epoch: int = 0) -> Decision:
    """Returns what an event changes in its lineage.

    now: ms since the Unix epoch. kind: the kind of the lineage's tasks, if its key determines it; None: its facts do. epoch: of the
    ledger; every new version of a task is greater.
    """
    refold = Refold(lineage=lineage, now=now, rules_of=rules_of, kind=kind, epoch=epoch)
    return _HANDLERS[type(event)](event, refold)


def _on_callback(event: CallbackReceived, refold: Refold) -> Decision:
    lineage, fact = refold.lineage, limit_files(event.fact)
    if fact.at < lineage.sealed.until:
        return Decision(lineage=lineage, verdict=Verdict.STALE, reason=RUN_ARCHIVED)
    if event.replaces is not None and [known for known in lineage.facts if known.source == event.replaces] == [fact]:
        refolded = refold.run(lineage.facts)  # the replay gave the same fact: its effect at the time still stands
        return refolded.decision(Verdict.STALE, UNCHANGED, refolded.task_of(fact).id)
    facts = {known.key: known for known in lineage.facts if event.replaces is None or known.source != event.replaces}
    facts[fact.key] = fact
    refolded = refold.run(facts.values(), newest=fact)
    verdict, reason = refolded.verdict(fact)
    return refolded.decision(verdict, reason, refolded.task_of(fact).id)


def _on_withdrawal(event: CallbackWithdrawn, refold: Refold) -> Decision:
    facts = [fact for fact in refold.lineage.facts if fact.source != event.source]
    if not facts:
        return Decision(lineage=refold.lineage, verdict=Verdict.IGNORED, reason="only_news_of_its_task")
    return refold.run(facts).decision(Verdict.APPLIED)


def _on_deadline(event: DeadlinePassed, refold: Refold) -> Decision:
    task = refold.find_task(event.task_id)
    reaction = None if task is None else react_to_deadline(task, event, refold.rules_for(task), refold.now)
    if task is None or reaction is None:
        return refold.run(refold.lineage.facts).decision(Verdict.STALE, "not_due", event.task_id)
    return _apply_reaction(refold, task, reaction)


def _on_mark(event: OperatorMarked, refold: Refold) -> Decision:
    task = refold.find_task(event.task_id)
    if task is None:
        return _no_such_task(refold)
    facts: tuple[Fact, ...] = ()
    entry = {"kind": "mark", "by": event.by, "note": event.note, "clear": [anomaly.value for anomaly in event.clear]}
    if event.state is not None:
        ending = Ending(state=event.state, reason=_MARK_REASONS[event.state])
        facts = (inferred_end(task, ending, refold.now, key=event.key, ended_at=refold.now),)
        entry["state"] = event.state.value
    return _apply_reaction(refold, task, Reaction(facts=facts, cleared=event.clear, entries=(entry,)))


def _on_start_request(event: StartRequested, refold: Refold) -> Decision:
    lineage, now = refold.lineage, refold.now
    if refold.find_task(event.task_id) is not None:
        return Decision(lineage=lineage, verdict=Verdict.STALE, reason="begun_before", task_id=event.task_id)
    newest_at = max((fact.at for fact in lineage.facts), default=0)
    task, fact = on_request.requested_task(lineage.key, event, newest_at, now)
    if event.doubted:
        task = replace(task, calls=on_restore.with_doubts(task, task.calls, refold.rules_for(task), now))
    links = {name: value for name in ("renews", "restarts") if (value := getattr(event, name)) is not None}
    entry = {"kind": "start_asked", "by": event.by, "action": event.action, **links}
    return _apply_reaction(refold.with_tasks([task], {task.id: None}), task, Reaction(facts=(fact,), entries=(entry,)))


def _on_request(event: on_request.TaskRequest, refold: Refold) -> Decision:
    task = refold.find_task(event.task_id)
    if task is None:
        return _no_such_task(refold)
    return _apply_reaction(refold, task, on_request.react_to_request(task, event, refold.rules_for(task), refold.now))


def _on_restore(event: LedgerRestored, refold: Refold) -> Decision:
    task = refold.find_task(event.task_id)
    if task is None:
        return _no_such_task(refold)
    return _apply_reaction(refold, task, on_restore.react_to_restore(task, event, refold.rules_for(task), refold.now))


def _on_clock_correction(event: ClockCorrected, refold: Refold) -> Decision:
    task = refold.find_task(event.task_id)
    if task is None:
        return _no_such_task(refold)
    reaction = react_to_clock_setback(task, refold.rules_for(task), refold.now)
    if reaction is None:
        return refold.run(refold.lineage.facts).decision(Verdict.STALE, UNCHANGED, task.id)
    return _apply_reaction(refold, task, reaction)


def _on_answer(event: CallAnswered, refold: Refold) -> Decision:
    task = refold.find_task(event.task_id)
    if task is None:
        return _no_such_task(refold)
    return _apply_reaction(refold, task, react_to_answer(task, event, refold.rules_for(task), refold.now))


def _on_adoption(event: TasksAdopted, refold: Refold) -> Decision:
    """Adds what is known under a provisional key to what is known under the vendor's key."""
    lineage = refold.lineage
    moved = [replace(task, key=lineage.key) for task in event.tasks]
    task_id = moved[0].id if moved else None
    entry = {"kind": "named" if event.named_by_answer else "adopted", "vendor_task_id": lineage.key.vendor_task_id}
    refolded = refold.with_tasks(moved, {task.id: task for task in event.tasks}).run(
        [*lineage.facts, *event.facts], task_id=task_id, reaction=Reaction(entries=(entry,))
    )
    return refolded.decision(Verdict.APPLIED, None, task_id)


def _on_surplus_task(event: SurplusTaskFound, refold: Refold) -> Decision:
    """Stops a task that the vendor runs beside the one that serves the request."""
    facts: tuple[Fact, ...] = ()
    task = next(iter(refold.lineage.tasks), None)
    if task is None:
        task, intent = _surplus_task(event, refold.lineage)
        facts = (intent,)
        refold = refold.with_tasks([replace(task, wiped=True)], {task.id: None})
    facts += (
        own_fact(task, FactKind.ACCEPTED, event.sent_at, refold.now, f"surplus {event.key} accepted"),
        own_fact(task, FactKind.STOP_ASKED, refold.now, refold.now, f"surplus {event.key} stop"),
    )
    entry = {"kind": "surplus", "of": event.of.id}
    return _apply_reaction(refold, task, Reaction(facts=facts, calls=with_call({}, Operation.STOP, refold.now), entries=(entry,)))


def _surplus_task(event: SurplusTaskFound, lineage: Lineage) -> tuple[Task, Fact]:
    request = StartRequested(
        task_id=event.key,
        kind=event.of.kind,
        action=event.of.action or "",
        api_version=event.of.api_version,
        params={},
        policy={},
        room_id=event.of.view.room_id,
        robot=event.of.view.robot,
        key=f"surplus {event.key}",
    )
    return on_request.requested_task(lineage.key, request, event.sent_at - 1, event.sent_at)


def _apply_reaction(refold: Refold, task: Task, reaction: Reaction) -> Decision:
    """Applies a reaction to its task."""
    facts = {fact.key: fact for fact in (*refold.lineage.facts, *map(limit_files, reaction.facts))}
    refolded = refold.run(facts.values(), task_id=task.id, reaction=reaction)
    return refolded.decision(Verdict.APPLIED, None, task.id, reaction.commands)


def _no_such_task(refold: Refold) -> Decision:
    return Decision(lineage=refold.lineage, verdict=Verdict.STALE, reason="no_such_task")


_HANDLERS: Mapping[type, Callable[[Any, Refold], Decision]] = {
    CallbackReceived: _on_callback,
    CallbackWithdrawn: _on_withdrawal,
    DeadlinePassed: _on_deadline,
    OperatorMarked: _on_mark,
    StartRequested: _on_start_request,
    StopRequested: _on_request,
    UpdateRequested: _on_request,
    RetryRequested: _on_request,
    SuccessorReported: _on_request,
    LedgerRestored: _on_restore,
    ClockCorrected: _on_clock_correction,
    CallAnswered: _on_answer,
    TasksAdopted: _on_adoption,
    SurplusTaskFound: _on_surplus_task,
}
