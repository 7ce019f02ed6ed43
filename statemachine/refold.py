"""Folds a lineage anew and says what changed in each of its tasks."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from operator import attrgetter
from typing import Any

from statemachine.calls import Operation
from statemachine.deadlines import Due, armed_deadlines, can_be_asked, due_times
from statemachine.events import CancelCall, Change, Command, DeadlinePassed, Decision, PostEvent, SuccessorReported, Touch
from statemachine.facts import Fact, FactKind, sort_facts
from statemachine.fast_dataclasses import fast_replace
from statemachine.folding.archiving import archive_runs, excess_run_count
from statemachine.folding.compaction import MIN_FACTS, drop_repeats
from statemachine.folding.run_view import View, fold_run, lineage_kind
from statemachine.folding.runs import Run, cut_runs, cut_sorted_facts
from statemachine.folding.thinning import tails_to_keep, thin_facts
from statemachine.inference import finished_end
from statemachine.pending_calls import reconcile_calls, with_call, with_inspection
from statemachine.reaction import inference_facts
from statemachine.rules import Rules
from statemachine.states import FINAL, Anomaly, Deadline, Kind, Origin, Reason, State, Verdict
from statemachine.task_diff import deadline_entries, is_visible_change, move_entries, updated_anomalies
from statemachine.tasks import Lineage, Task, task_id
from statemachine.transition_table import Move, checked_move, is_ordinary

#: How a new task stands until its run is folded.
_UNSEEN = View(state=State.REQUESTED, evidence_at=0, heard_at=0)
#: The rules for tasks of a kind, started with these parameters.
RulesOf = Callable[[Kind, Mapping[str, Any]], Rules]


class Refold:
    """A lineage before, and how it is folded after."""

    def __init__(self, lineage: Lineage, now: int, rules_of: RulesOf, kind: Kind | None, epoch: int = 0) -> None:
        self.lineage = lineage
        self.now = now
        self.rules_of = rules_of
        self._kind = kind
        self._epoch = epoch
        #: Tasks that were not of this lineage before -> as they were; None: they are new.
        self._was: Mapping[str, Task | None] = {}

    def rules_for(self, task: Task) -> Rules:
        return self.rules_of(task.kind, task.params)

    def with_tasks(self, tasks: Sequence[Task], was: Mapping[str, Task | None]) -> "Refold":
        """With these tasks beside its own."""
        self.lineage = replace(self.lineage, tasks=(*self.lineage.tasks, *tasks))
        self._was = was
        return self

    def due_item(self, task: Task, event: DeadlinePassed) -> Due | None:
        """The armed deadline that this passing means; None if it is armed for later, or not at all."""
        for item in armed_deadlines(task, self.rules_of(task.kind, task.params)):
            if item.kind is event.kind and item.at <= self.now:
                return item
        return None

    def run(self, facts: Iterable[Fact], *, newest: Fact | None = None, touch: Touch | None = None) -> "Refolded":
        kept = sort_facts(facts)
        folded = self._run(kept, newest, touch)
        hurried = self._hurried(folded)
        return self._run(sort_facts((*kept, *hurried)), newest, touch) if hurried else folded

    def _run(self, kept: tuple[Fact, ...], newest: Fact | None, touch: Touch | None) -> "Refolded":
        kind = lineage_kind(kept, self._kind)
        runs = cut_sorted_facts(kept, self.rules_of(kind, {}))
        owners, merged = match_runs(runs, self.lineage.tasks)
        changes = []
        for number, run in enumerate(runs, self.lineage.sealed.runs + 1):
            before = owners.get(id(run))
            if before is not None:
                before = _with_updates(before, [task for task, into in merged if into is run])
            changes.append(self._change(run, number, kind, before, newest, touch))
        rules = [self.rules_of(kind, change.after.params) for change in changes]
        facts = _kept(kept, runs, changes, rules)
        changes += [self._merge(task, into, changes, runs) for task, into in merged]
        return Refolded(self, facts, runs, changes)

    def _hurried(self, folded: "Refolded") -> list[Fact]:
        """The ends of runs of which there are too many, and whose files were still awaited: as if they had come to nothing."""
        waiting = [
            change.after for change in folded.changes[: excess_run_count(folded.runs)] if change.after.view.state is State.FINISHING
        ]
        return [
            fact
            for task in waiting
            for fact in inference_facts(
                task, finished_end(task, self.now, self.rules_for(task)), self.now, Deadline.FINISH, f"{task.id}:crowded:{self.now}"
            )
        ]

    def _change(self, run: Run, number: int, kind: Kind, found: Task | None, newest: Fact | None, touch: Touch | None) -> Change:
        task = found or self._new(run, number, kind, newest)
        before = None if found is None else self._was.get(found.id, found)
        rules = self.rules_of(kind, task.params)
        view = fold_run(run, rules)
        mine = touch if touch is not None and touch.task_id == task.id else None
        anomalies, raised, marks = updated_anomalies(task, view, mine)
        now_known = fast_replace(
            task,
            run=number,
            kind=kind,
            view=view,
            anomalies=anomalies,
            raised=raised,
            passed=mine.passed if mine is not None and mine.passed is not None else task.passed,
            calls=mine.calls if mine is not None and mine.calls is not None else task.calls,
            **(mine.changes if mine is not None else {}),
        )
        questioned = self._questioned(before, now_known, rules, newest)
        pursuing, effects = reconcile_calls(before, questioned, rules)
        after = self._versioned(before, pursuing, due_times(pursuing, task.deadlines, rules, self.now))
        moved = self._moved(before, after, run)
        entries = (*(mine.entries if mine else ()), *marks, *deadline_entries(before, after), *move_entries(moved, after))
        news = _news_for_predecessor(before, after)
        return Change(before=before, after=after, move=moved, entries=entries, commands=(*effects, *news))

    def _questioned(self, before: Task | None, task: Task, rules: Rules, newest: Fact | None) -> Task:
        """A callback that shows a zombie, or an end of which the vendor did not say why: the vendor is asked once."""
        puzzling = newest is not None and (_new_zombie(before, task) or _newly_unstated(before, task))
        if not puzzling:
            return task
        if not can_be_asked(task, rules, self.now):
            unwanted = _new_zombie(before, task) and task.policy.get("stop_zombies") and rules.callable
            return replace(task, calls=with_call(task.calls, Operation.STOP, self.now)) if unwanted else task
        return replace(task, calls=with_inspection(task.calls, self.now, None))

    def _new(self, run: Run, number: int, kind: Kind, newest: Fact | None) -> Task:
        mine = newest is not None and any(fact.key == newest.key for fact in run.facts)
        anchor = newest.key if mine and newest is not None else run.facts[0].key
        managed = any(fact.kind is FactKind.INTENT for fact in run.facts)
        return Task(
            id=task_id(self.lineage.key, anchor, self.now),
            key=self.lineage.key,
            run=number,
            kind=kind,
            origin=Origin.MANAGED if managed else Origin.OBSERVED,
            anchor=anchor,
            view=_UNSEEN,
            created_at=self.now,
            updated_at=self.now,
        )

    def _moved(self, before: Task | None, after: Task, run: Run) -> Move | None:
        if before is None:
            return checked_move(None, after.view.state)
        if before.view.state is after.view.state and before.view.reason is after.view.reason:
            return None
        if before.view.state is after.view.state:
            return Move(before=before.view.state, after=after.view.state, corrects=True)
        was, now = before.view.state, after.view.state
        return checked_move(was, now, corrects=was in FINAL or (not is_ordinary(was, now) and self._recut(before, run)))

    def _recut(self, before: Task, run: Run) -> bool:
        """Whether facts that were known left the task's run: it is cut elsewhere than was thought, or a callback was read anew."""
        then = cut_runs(self.lineage.facts, self.rules_of(before.kind, {}))
        held = next((old for old in then if any(fact.key == before.anchor for fact in old.facts)), None)
        return held is None or not set(held.facts) <= set(run.facts)

    def _versioned(self, before: Task | None, after: Task, deadlines: Mapping[Deadline, int]) -> Task:
        if before is None:
            return fast_replace(after, deadlines=deadlines, version=self._next_version(0))
        if not is_visible_change(before, after, deadlines):
            return fast_replace(after, deadlines=deadlines)
        return fast_replace(after, deadlines=deadlines, version=self._next_version(before.version), updated_at=self.now)

    def _next_version(self, version: int) -> int:
        """What a restored ledger does not know of may have had all versions up to its epoch."""
        return max(version, self._epoch) + 1

    def _merge(self, task: Task, into: Run, changes: Sequence[Change], runs: Sequence[Run]) -> Change:
        winner = changes[next(i for i, run in enumerate(runs) if run is into)].after
        after = replace(
            task, merged_into=winner.id, deadlines={}, calls={}, version=self._next_version(task.version), updated_at=self.now
        )
        before = self._was.get(task.id, task)
        dropped = [CancelCall(task_id=task.id, serial=p.serial) for p in task.calls.values() if p.serial is not None]
        entries = ({"kind": "merged", "into": winner.id},)
        return Change(before=before, after=after, entries=entries, commands=(*dropped, *_failed_to_renew(task, winner)))


def _kept(facts: tuple[Fact, ...], runs: Sequence[Run], changes: Sequence[Change], rules: Sequence[Rules]) -> tuple[Fact, ...]:
    """The facts that the lineage keeps: what nothing rests on goes once there are many."""
    if len(facts) <= MIN_FACTS:
        return facts
    anchors = {change.after.anchor for change in changes} | {fact.about for fact in facts if fact.about is not None}
    facts = drop_repeats(facts, runs, anchors)
    tail_of = tails_to_keep(runs, newly_begun=changes[-1].before is None)
    return thin_facts(facts, runs, anchors, rules, tail_of) if tail_of else facts


@dataclass(frozen=True, slots=True)
class Refolded:
    """A lineage after."""

    folding: Refold
    facts: tuple[Fact, ...]
    runs: Sequence[Run]
    changes: Sequence[Change]

    def _of(self, fact: Fact) -> tuple[Run, Change]:
        if len(self.runs) == 1:
            return self.runs[0], self.changes[0]
        index = next(i for i, run in enumerate(self.runs) if any(f.key == fact.key for f in run.facts))
        return self.runs[index], self.changes[index]

    def task_of(self, fact: Fact) -> Task:
        return self._of(fact)[1].after

    def verdict(self, fact: Fact) -> tuple[Verdict, str | None]:
        """What a callback with this fact did."""
        run, change = self._of(fact)
        before, view = change.before, change.after.view
        if fact.shows_life and view.zombie_since is not None and fact.at >= view.zombie_since:
            return Verdict.ANOMALY, Anomaly.ZOMBIE.value
        if fact.kind is FactKind.STOP_FAILED and view.ended_at is None:
            return Verdict.ANOMALY, Anomaly.STOP_FAILED.value
        if fact.kind is FactKind.NOTE or before is None or _says_more(before.view, view):
            return Verdict.APPLIED, None
        superseded = view.ended_at is not None or any(f.order > fact.order for f in run.facts if f.from_vendor)
        return (Verdict.STALE if superseded else Verdict.APPLIED), None

    def decision(
        self,
        verdict: Verdict,
        reason: str | None = None,
        task: str | None = None,
        effects: tuple[Command, ...] = (),
    ) -> Decision:
        return Decision(
            lineage=self._lineage(),
            changes=tuple(change for change in self.changes if change.before != change.after or change.entries),
            commands=(*effects, *(effect for change in self.changes for effect in change.commands)),
            verdict=verdict,
            reason=reason,
            task_id=task,
        )

    def _lineage(self) -> Lineage:
        tasks = tuple(change.after for change in self.changes if change.after.merged_into is None)
        sealed, count = archive_runs(self.folding.lineage.sealed, self.runs, self.changes, self.folding.now)
        gone = {fact.key for run in self.runs[:count] for fact in run.facts}
        kept = tuple(fact for fact in self.facts if fact.key not in gone) if gone else self.facts
        return Lineage(key=self.folding.lineage.key, facts=kept, tasks=tasks[count:], sealed=sealed)


def _failed_to_renew(task: Task, winner: Task) -> tuple[Command, ...]:
    """A successor that turned out to be somebody else's task follows nobody."""
    if task.renews is None or winner.renews == task.renews:
        return ()
    key = f"succession {task.id} merged"
    return (PostEvent(event=SuccessorReported(task_id=task.renews, successor=task.id, runs=False, key=key)),)


def _with_updates(task: Task, twins: Sequence[Task]) -> Task:
    """An update that is wanted of a twin is wanted of the task that it turned out to be; stops are wanted by facts."""
    for twin in twins:
        update = twin.calls.get(Operation.UPDATE)
        if update is not None and Operation.UPDATE not in task.calls:
            task = replace(task, calls={**task.calls, Operation.UPDATE: replace(update, serial=None)})
    return task


def _new_zombie(before: Task | None, task: Task) -> bool:
    seen = before.view.zombie_at if before else None
    return task.view.zombie_at is not None and task.view.zombie_at != seen


def _newly_unstated(before: Task | None, task: Task) -> bool:
    view, was = task.view, before.view if before else None
    if view.reason is not Reason.UNSTATED or view.inferred or view.state is not State.STOPPED:
        return False
    return was is None or was.state is not view.state or was.reason is not view.reason


def _news_for_predecessor(before: Task | None, after: Task) -> tuple[Command, ...]:
    """A successor tells the task that it renews once that it runs, or that it ended before it did."""
    if after.renews is None or (before is not None and (before.view.running_at is not None or before.view.state in FINAL)):
        return ()
    runs = after.view.running_at is not None
    if not runs and after.view.state not in FINAL:
        return ()
    key = f"succession {after.id} {'runs' if runs else 'failed'}"
    return (PostEvent(event=SuccessorReported(task_id=after.renews, successor=after.id, runs=runs, key=key)),)


#: All fields of a view but those that only count receipts and evidence.
_evident_fields = attrgetter(*(field.name for field in fields(View) if field.name not in ("evidence_at", "heard_at")))


def _says_more(before: View, view: View) -> bool:
    return bool(_evident_fields(before) != _evident_fields(view))


def match_runs(runs: Sequence[Run], tasks: Sequence[Task]) -> tuple[dict[int, Task], list[tuple[Task, Run]]]:
    """run -> the task that tells its story; and the tasks whose run turned out to be another task's.

    A task stays with the run that holds the fact that made it. Of two that meet in one run the managed one stays, else the older.
    """
    holder = {fact.key: run for run in runs for fact in run.facts}
    owners: dict[int, Task] = {}
    merged: list[tuple[Task, Run]] = []
    orphans: list[Task] = []
    for task in sorted(tasks, key=lambda task: (task.origin is not Origin.MANAGED, task.id)):
        run = holder.get(task.anchor)
        if run is None:
            orphans.append(task)
        elif id(run) in owners:
            merged.append((task, run))
        else:
            owners[id(run)] = task
    free = [run for run in runs if id(run) not in owners]
    for task in sorted(orphans, key=lambda task: task.run):  # a replay took away the fact that had made it
        if free:
            run = free.pop(0)
            owners[id(run)] = replace(task, anchor=run.facts[0].key)
        else:
            merged.append((task, runs[-1]))
    return owners, merged
