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
    Adopted,
    Answered,
    ClockCorrected,
    Decision,
    Event,
    Heard,
    Marked,
    Passed,
    Restored,
    RetryAsked,
    StartAsked,
    StopAsked,
    Succeeded,
    Surplus,
    Touch,
    UpdateAsked,
    Withdrawn,
)
from statemachine.facts import FactKind, Outcome
from statemachine.folding.output_limits import bounded
from statemachine.on_deadline import passed
from statemachine.pending_calls import wanting
from statemachine.reaction import Said, inferred, ours
from statemachine.refold import Folding, RulesOf
from statemachine.states import Kind, Reason, State, Verdict
from statemachine.tasks import Lineage, Pass, Task

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
    return _DECIDERS[type(event)](lineage, event, Folding(lineage, now, rules_of, kind, epoch))


def _hear(lineage: Lineage, event: Heard, folding: Folding) -> Decision:
    event = replace(event, fact=bounded(event.fact))
    if event.fact.at < lineage.sealed.until:
        return Decision(lineage=lineage, verdict=Verdict.STALE, reason=SEALED)
    if event.replaces is not None and [fact for fact in lineage.facts if fact.source == event.replaces] == [event.fact]:
        folded = folding.over(lineage.facts)  # read as it was read before: what it did then still stands
        return folded.decision(Verdict.STALE, UNCHANGED, folded.task_of(event.fact).id)
    facts = {fact.key: fact for fact in lineage.facts if event.replaces is None or fact.source != event.replaces}
    facts[event.fact.key] = event.fact
    folded = folding.over(facts.values(), newest=event.fact)
    verdict, reason = folded.verdict(event.fact)
    return folded.decision(verdict, reason, folded.task_of(event.fact).id)


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
    said = passed(task, item, folding.rules_for(task), folding.now)
    last = task.passed.get(item.kind)
    times = last.times + 1 if last is not None and last.base == item.base else 1
    entries: tuple[Mapping[str, Any], ...] = ({"kind": "deadline_passed", "deadline": item.kind.value, "due_at": item.at},)
    if times > 1 and not said.facts and said.anomaly is None and not said.effects:
        entries = ()  # recovery looks every five minutes: one line is enough
    pass_ = {**task.passed, item.kind: Pass(base=item.base, at=folding.now, times=times)}
    return _say(lineage, folding, task, said, entries, passed=pass_)


def _mark(lineage: Lineage, event: Marked, folding: Folding) -> Decision:
    task = _task(lineage, event.task_id)
    if task is None:
        return _no_such_task(lineage)
    facts = list(lineage.facts)
    if event.state is not None:
        outcome = Outcome(state=event.state, reason=_MARK_REASONS[event.state])
        facts.append(inferred(task, outcome, folding.now, key=event.key, ended_at=folding.now))
    entry = {"kind": "mark", "by": event.by, "note": event.note, "clear": [a.value for a in event.clear]}
    if event.state is not None:
        entry["state"] = event.state.value
    touch = Touch(task_id=task.id, clear=event.clear, entries=(entry,))
    return folding.over(facts, touch=touch).decision(Verdict.APPLIED, None, task.id)


def _start(lineage: Lineage, event: StartAsked, folding: Folding) -> Decision:
    if any(task.id == event.task_id for task in lineage.tasks):
        return Decision(lineage=lineage, verdict=Verdict.STALE, reason="begun_before", task_id=event.task_id)
    newest = max((fact.at for fact in lineage.facts), default=0)
    task, fact = on_request.requested(lineage.key, event, newest, folding.now)
    if event.doubted:
        task = replace(task, calls=on_restore.doubted(task, task.calls, folding.rules_for(task), folding.now))
    entry = {"kind": "start_asked", "by": event.by, "action": event.action}
    links = {name: value for name in ("renews", "restarts") if (value := getattr(event, name)) is not None}
    folded = folding.joined([task], was={task.id: None}).over(
        [*lineage.facts, fact], touch=Touch(task_id=task.id, entries=({**entry, **links},))
    )
    return folded.decision(Verdict.APPLIED, None, task.id)


def _stop(lineage: Lineage, event: StopAsked, folding: Folding) -> Decision:
    return _request(lineage, event, folding, lambda task: on_request.stop_asked(task, event, folding.rules_for(task), folding.now))


def _update(lineage: Lineage, event: UpdateAsked, folding: Folding) -> Decision:
    return _request(lineage, event, folding, lambda task: on_request.update_asked(task, event, folding.now))


def _retry(lineage: Lineage, event: RetryAsked, folding: Folding) -> Decision:
    return _request(lineage, event, folding, lambda task: on_request.retry_asked(task, event, folding.rules_for(task), folding.now))


def _succeed(lineage: Lineage, event: Succeeded, folding: Folding) -> Decision:
    return _request(lineage, event, folding, lambda task: on_request.succeeded(task, event, folding.now))


def _request(
    lineage: Lineage,
    event: StopAsked | UpdateAsked | RetryAsked | Succeeded,
    folding: Folding,
    says: Callable[[Task], Said],
) -> Decision:
    task = _task(lineage, event.task_id)
    if task is None:
        return _no_such_task(lineage)
    said = says(task)
    if not isinstance(event, RetryAsked) and event.doubted:
        said = on_restore.asked_first(task, said, folding.rules_for(task), folding.now)
    return _say(lineage, folding, task, said, (on_request.entry(event),))


def _restore(lineage: Lineage, event: Restored, folding: Folding) -> Decision:
    task = _task(lineage, event.task_id)
    if task is None:
        return _no_such_task(lineage)
    said = on_restore.restored(task, event, folding.rules_for(task), folding.now)
    return _say(lineage, folding, task, said, (on_restore.entry(task, event),))


def _correct_clock(lineage: Lineage, event: ClockCorrected, folding: Folding) -> Decision:
    task = _task(lineage, event.task_id)
    if task is None:
        return _no_such_task(lineage)
    calls = on_clock_setback.corrected_calls(task, folding.rules_for(task), folding.now)
    passes = on_clock_setback.corrected_passes(task, folding.now)
    if calls == task.calls and passes == task.passed:
        return folding.over(lineage.facts).decision(Verdict.STALE, UNCHANGED, task.id)
    return _say(lineage, folding, task, Said(calls=calls), (on_clock_setback.ENTRY,), passed=passes)


def _answer(lineage: Lineage, event: Answered, folding: Folding) -> Decision:
    task = _task(lineage, event.task_id)
    if task is None:
        return _no_such_task(lineage)
    said = on_answer.answered(task, event, folding.rules_for(task), folding.now)
    return _say(lineage, folding, task, said, (on_answer.entry(event),))


def _adopt(lineage: Lineage, event: Adopted, folding: Folding) -> Decision:
    """What was known under our own name for a task joins what is known under the vendor's."""
    moved = [replace(task, key=lineage.key) for task in event.tasks]
    entry = {"kind": "named" if event.told else "adopted", "vendor_task_id": lineage.key.vendor_task_id}
    touch = Touch(task_id=moved[0].id, entries=(entry,)) if moved else None
    was: dict[str, Task | None] = {task.id: task for task in event.tasks}
    folded = folding.joined(moved, was=was).over([*lineage.facts, *event.facts], touch=touch)
    return folded.decision(Verdict.APPLIED, None, moved[0].id if moved else None)


def _surplus(lineage: Lineage, event: Surplus, folding: Folding) -> Decision:
    """The vendor runs it for us, and nobody wants it."""
    now = folding.now
    known = next((task for task in lineage.tasks), None)
    if known is None:
        asked = StartAsked(
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
        known, intent = on_request.requested(lineage.key, asked, event.sent_at - 1, event.sent_at)
        folding = folding.joined([replace(known, wiped=True)], was={known.id: None})
        lineage = replace(lineage, facts=(intent,))
    facts = (
        *lineage.facts,
        ours(known, FactKind.ACCEPTED, event.sent_at, now, f"surplus {event.key} accepted"),
        ours(known, FactKind.STOP_ASKED, now, now, f"surplus {event.key} stop"),
    )
    entry = {"kind": "surplus", "of": event.of.id}
    touch = Touch(task_id=known.id, calls=wanting({}, Operation.STOP, now), entries=(entry,))
    return folding.over(facts, touch=touch).decision(Verdict.APPLIED, None, known.id)


def _say(
    lineage: Lineage,
    folding: Folding,
    task: Task,
    said: Said,
    entries: tuple[Mapping[str, Any], ...],
    passed: Mapping[Any, Pass] | None = None,
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
    facts = {fact.key: fact for fact in (*lineage.facts, *map(bounded, said.facts))}
    folded = folding.over(facts.values(), touch=touch)
    return folded.decision(Verdict.APPLIED, None, task.id, effects=said.effects)


def _no_such_task(lineage: Lineage) -> Decision:
    return Decision(lineage=lineage, verdict=Verdict.STALE, reason="no_such_task")


def _task(lineage: Lineage, wanted: str) -> Task | None:
    return next((task for task in lineage.tasks if task.id == wanted), None)


_DECIDERS: Mapping[type, Callable[[Lineage, Any, Folding], Decision]] = {
    Heard: _hear,
    Withdrawn: _withdraw,
    Passed: _pass,
    Marked: _mark,
    StartAsked: _start,
    StopAsked: _stop,
    UpdateAsked: _update,
    RetryAsked: _retry,
    Succeeded: _succeed,
    Restored: _restore,
    ClockCorrected: _correct_clock,
    Answered: _answer,
    Adopted: _adopt,
    Surplus: _surplus,
}
