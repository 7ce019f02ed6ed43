"""The one question: what does this event change?

`decide` puts the event's facts into the lineage's set, cuts and folds it anew, and compares. It reads no clock and does nothing;
called twice with the same arguments it answers the same.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from statemachine import on_answer, on_clock_setback, on_request, on_restore
from statemachine.calls import Operation
from statemachine.events import (
    CallAnswered,
    CallbackReceived,
    CallbackWithdrawn,
    ClockCorrected,
    DeadlinePassed,
    Decision,
    Event,
    LedgerRestored,
    OperatorMarked,
    RetryRequested,
    StartRequested,
    StopRequested,
    SuccessorReported,
    SurplusTaskFound,
    TasksAdopted,
    Touch,
    UpdateRequested,
)
from statemachine.facts import Ending, FactKind
from statemachine.folding.output_limits import limit_files
from statemachine.on_deadline import react_to_deadline
from statemachine.pending_calls import with_call
from statemachine.reaction import Reaction, inferred_end, own_fact
from statemachine.refold import Refold, RulesOf
from statemachine.states import Kind, Reason, State, Verdict
from statemachine.tasks import DeadlinePass, Lineage, Task

#: The reason of what came too late for its run.
SEALED = "sealed"
#: The reason of a callback that was read again and says what it said.
UNCHANGED = "unchanged"

_MARK_REASONS = {State.STOPPED: Reason.STOP_REQUESTED, State.FAILED: Reason.VENDOR_ERROR, State.LOST: Reason.UNKNOWN_TO_VENDOR}


def decide(lineage: Lineage, event: Event, now: int, rules_of: RulesOf, *, kind: Kind | None = None, epoch: int = 0) -> Decision:
    """What this event changes.

    now: ms since 1970. kind: of the lineage's tasks, where its key alone says it; None: its facts do. epoch: of the ledger; every
    version that is given is greater.
    """
    return _HANDLERS[type(event)](lineage, event, Refold(lineage, now, rules_of, kind, epoch))


def _on_callback(lineage: Lineage, event: CallbackReceived, folding: Refold) -> Decision:
    event = replace(event, fact=limit_files(event.fact))
    if event.fact.at < lineage.sealed.until:
        return Decision(lineage=lineage, verdict=Verdict.STALE, reason=SEALED)
    if event.replaces is not None and [fact for fact in lineage.facts if fact.source == event.replaces] == [event.fact]:
        folded = folding.run(lineage.facts)  # read as it was read before: what it did then still stands
        return folded.decision(Verdict.STALE, UNCHANGED, folded.task_of(event.fact).id)
    facts = {fact.key: fact for fact in lineage.facts if event.replaces is None or fact.source != event.replaces}
    facts[event.fact.key] = event.fact
    folded = folding.run(facts.values(), newest=event.fact)
    verdict, reason = folded.verdict(event.fact)
    return folded.decision(verdict, reason, folded.task_of(event.fact).id)


def _on_withdrawal(lineage: Lineage, event: CallbackWithdrawn, folding: Refold) -> Decision:
    facts = [fact for fact in lineage.facts if fact.source != event.source]
    if not facts:
        return Decision(lineage=lineage, verdict=Verdict.IGNORED, reason="only_news_of_its_task")
    return folding.run(facts).decision(Verdict.APPLIED)


def _on_deadline(lineage: Lineage, event: DeadlinePassed, folding: Refold) -> Decision:
    task = _find_task(lineage, event.task_id)
    item = folding.due_item(task, event) if task else None
    if task is None or item is None:
        return folding.run(lineage.facts).decision(Verdict.STALE, "not_due", event.task_id)
    said = react_to_deadline(task, item, folding.rules_for(task), folding.now)
    last = task.passed.get(item.kind)
    times = last.times + 1 if last is not None and last.base == item.base else 1
    entries: tuple[Mapping[str, Any], ...] = ({"kind": "deadline_passed", "deadline": item.kind.value, "due_at": item.at},)
    if times > 1 and not said.facts and said.anomaly is None and not said.effects:
        entries = ()  # recovery looks every five minutes: one line is enough
    pass_ = {**task.passed, item.kind: DeadlinePass(base=item.base, at=folding.now, times=times)}
    return _apply(lineage, folding, task, said, entries, passed=pass_)


def _on_mark(lineage: Lineage, event: OperatorMarked, folding: Refold) -> Decision:
    task = _find_task(lineage, event.task_id)
    if task is None:
        return _no_such_task(lineage)
    facts = list(lineage.facts)
    if event.state is not None:
        outcome = Ending(state=event.state, reason=_MARK_REASONS[event.state])
        facts.append(inferred_end(task, outcome, folding.now, key=event.key, ended_at=folding.now))
    entry = {"kind": "mark", "by": event.by, "note": event.note, "clear": [a.value for a in event.clear]}
    if event.state is not None:
        entry["state"] = event.state.value
    touch = Touch(task_id=task.id, clear=event.clear, entries=(entry,))
    return folding.run(facts, touch=touch).decision(Verdict.APPLIED, None, task.id)


def _on_start_request(lineage: Lineage, event: StartRequested, folding: Refold) -> Decision:
    if any(task.id == event.task_id for task in lineage.tasks):
        return Decision(lineage=lineage, verdict=Verdict.STALE, reason="begun_before", task_id=event.task_id)
    newest = max((fact.at for fact in lineage.facts), default=0)
    task, fact = on_request.requested_task(lineage.key, event, newest, folding.now)
    if event.doubted:
        task = replace(task, calls=on_restore.with_doubts(task, task.calls, folding.rules_for(task), folding.now))
    entry = {"kind": "start_asked", "by": event.by, "action": event.action}
    links = {name: value for name in ("renews", "restarts") if (value := getattr(event, name)) is not None}
    folded = folding.with_tasks([task], was={task.id: None}).run(
        [*lineage.facts, fact], touch=Touch(task_id=task.id, entries=({**entry, **links},))
    )
    return folded.decision(Verdict.APPLIED, None, task.id)


def _on_stop_request(lineage: Lineage, event: StopRequested, folding: Refold) -> Decision:
    return _on_request_for_task(
        lineage, event, folding, lambda task: on_request.react_to_stop(task, event, folding.rules_for(task), folding.now)
    )


def _on_update_request(lineage: Lineage, event: UpdateRequested, folding: Refold) -> Decision:
    return _on_request_for_task(lineage, event, folding, lambda task: on_request.react_to_update(task, event, folding.now))


def _on_retry_request(lineage: Lineage, event: RetryRequested, folding: Refold) -> Decision:
    return _on_request_for_task(
        lineage, event, folding, lambda task: on_request.react_to_retry(task, event, folding.rules_for(task), folding.now)
    )


def _on_successor_report(lineage: Lineage, event: SuccessorReported, folding: Refold) -> Decision:
    return _on_request_for_task(lineage, event, folding, lambda task: on_request.react_to_successor(task, event, folding.now))


def _on_request_for_task(
    lineage: Lineage,
    event: StopRequested | UpdateRequested | RetryRequested | SuccessorReported,
    folding: Refold,
    says: Callable[[Task], Reaction],
) -> Decision:
    task = _find_task(lineage, event.task_id)
    if task is None:
        return _no_such_task(lineage)
    said = says(task)
    if not isinstance(event, RetryRequested) and event.doubted:
        said = on_restore.inspected_first(task, said, folding.rules_for(task), folding.now)
    return _apply(lineage, folding, task, said, (on_request.timeline_entry(event),))


def _on_restore(lineage: Lineage, event: LedgerRestored, folding: Refold) -> Decision:
    task = _find_task(lineage, event.task_id)
    if task is None:
        return _no_such_task(lineage)
    said = on_restore.react_to_restore(task, event, folding.rules_for(task), folding.now)
    return _apply(lineage, folding, task, said, (on_restore.timeline_entry(task, event),))


def _on_clock_correction(lineage: Lineage, event: ClockCorrected, folding: Refold) -> Decision:
    task = _find_task(lineage, event.task_id)
    if task is None:
        return _no_such_task(lineage)
    calls = on_clock_setback.corrected_calls(task, folding.rules_for(task), folding.now)
    passes = on_clock_setback.corrected_passes(task, folding.now)
    if calls == task.calls and passes == task.passed:
        return folding.run(lineage.facts).decision(Verdict.STALE, UNCHANGED, task.id)
    return _apply(lineage, folding, task, Reaction(calls=calls), (on_clock_setback.TIMELINE_ENTRY,), passed=passes)


def _on_answer(lineage: Lineage, event: CallAnswered, folding: Refold) -> Decision:
    task = _find_task(lineage, event.task_id)
    if task is None:
        return _no_such_task(lineage)
    said = on_answer.react_to_answer(task, event, folding.rules_for(task), folding.now)
    return _apply(lineage, folding, task, said, (on_answer.timeline_entry(event),))


def _on_adoption(lineage: Lineage, event: TasksAdopted, folding: Refold) -> Decision:
    """What was known under our own name for a task joins what is known under the vendor's."""
    moved = [replace(task, key=lineage.key) for task in event.tasks]
    entry = {"kind": "named" if event.told else "adopted", "vendor_task_id": lineage.key.vendor_task_id}
    touch = Touch(task_id=moved[0].id, entries=(entry,)) if moved else None
    was: dict[str, Task | None] = {task.id: task for task in event.tasks}
    folded = folding.with_tasks(moved, was=was).run([*lineage.facts, *event.facts], touch=touch)
    return folded.decision(Verdict.APPLIED, None, moved[0].id if moved else None)


def _on_surplus_task(lineage: Lineage, event: SurplusTaskFound, folding: Refold) -> Decision:
    """The vendor runs it for us, and nobody wants it."""
    now = folding.now
    known = next((task for task in lineage.tasks), None)
    if known is None:
        asked = StartRequested(
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
        known, intent = on_request.requested_task(lineage.key, asked, event.sent_at - 1, event.sent_at)
        folding = folding.with_tasks([replace(known, wiped=True)], was={known.id: None})
        lineage = replace(lineage, facts=(intent,))
    facts = (
        *lineage.facts,
        own_fact(known, FactKind.ACCEPTED, event.sent_at, now, f"surplus {event.key} accepted"),
        own_fact(known, FactKind.STOP_ASKED, now, now, f"surplus {event.key} stop"),
    )
    entry = {"kind": "surplus", "of": event.of.id}
    touch = Touch(task_id=known.id, calls=with_call({}, Operation.STOP, now), entries=(entry,))
    return folding.run(facts, touch=touch).decision(Verdict.APPLIED, None, known.id)


def _apply(
    lineage: Lineage,
    folding: Refold,
    task: Task,
    said: Reaction,
    entries: tuple[Mapping[str, Any], ...],
    passed: Mapping[Any, DeadlinePass] | None = None,
) -> Decision:
    touch = Touch(
        task_id=task.id,
        passed=passed,
        raise_=said.anomaly,
        clear=said.clear,
        calls=said.calls,
        changes=said.changes,
        entries=entries,
    )
    facts = {fact.key: fact for fact in (*lineage.facts, *map(limit_files, said.facts))}
    folded = folding.run(facts.values(), touch=touch)
    return folded.decision(Verdict.APPLIED, None, task.id, effects=said.effects)


def _no_such_task(lineage: Lineage) -> Decision:
    return Decision(lineage=lineage, verdict=Verdict.STALE, reason="no_such_task")


def _find_task(lineage: Lineage, wanted: str) -> Task | None:
    return next((task for task in lineage.tasks if task.id == wanted), None)


_HANDLERS: Mapping[type, Callable[[Lineage, Any, Refold], Decision]] = {
    CallbackReceived: _on_callback,
    CallbackWithdrawn: _on_withdrawal,
    DeadlinePassed: _on_deadline,
    OperatorMarked: _on_mark,
    StartRequested: _on_start_request,
    StopRequested: _on_stop_request,
    UpdateRequested: _on_update_request,
    RetryRequested: _on_retry_request,
    SuccessorReported: _on_successor_report,
    LedgerRestored: _on_restore,
    ClockCorrected: _on_clock_correction,
    CallAnswered: _on_answer,
    TasksAdopted: _on_adoption,
    SurplusTaskFound: _on_surplus_task,
}
