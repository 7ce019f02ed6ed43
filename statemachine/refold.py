"""Folds a lineage again after an event, and compares the result with its tasks, one by one."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from operator import attrgetter
from typing import Any

from statemachine.calls import Operation
from statemachine.commands import CancelCall, Command, PostEvent
from statemachine.deadlines import due_times
from statemachine.decision import Change, Decision
from statemachine.events import SuccessorReported
from statemachine.facts import Fact, FactKind, sort_facts
from statemachine.fast_dataclasses import fast_replace
from statemachine.folding.archiving import archive_runs, excess_run_count
from statemachine.folding.compaction import MIN_FACTS, drop_repeats
from statemachine.folding.run_view import View, fold_run, lineage_kind
from statemachine.folding.runs import Run, cut_runs, cut_sorted_facts
from statemachine.folding.thinning import tails_to_keep, thin_facts
from statemachine.inference import finished_end
from statemachine.pending_calls import reconcile_calls, with_call, with_inspection
from statemachine.reaction import NO_REACTION, Reaction, inference_facts
from statemachine.rules import Rules
from statemachine.run_matching import match_runs
from statemachine.states import FINAL, Anomaly, Deadline, Kind, Origin, Reason, State, Verdict
from statemachine.task_diff import deadline_entries, is_visible_change, move_entries, update_anomalies
from statemachine.tasks import Lineage, Task, task_id
from statemachine.transition_table import Move, checked_move, is_ordinary
from statemachine.vendor_reach import can_be_queried

#: The view of a new task until its run is folded.
_NO_VIEW = View(state=State.REQUESTED, evidence_at=0, heard_at=0)
#: (kind, parameters of the start) -> the rules for such tasks.
RulesOf = Callable[[Kind, Mapping[str, Any]], Rules]


@dataclass(frozen=True, slots=True)
class _Trigger:
    """The event, as far as it matters when tasks are compared."""

    #: The fact of the callback, if the event is one.
    newest: Fact | None
    #: The task that the event concerns, and the event's effect on it.
    task_id: str | None
    reaction: Reaction

    def reaction_of(self, task: Task) -> Reaction:
        return self.reaction if task.id == self.task_id else NO_REACTION


@dataclass(frozen=True, slots=True, kw_only=True)
class Refold:
    """A lineage before an event, and what it takes to fold it again. Times in ms."""

    lineage: Lineage
    now: int
    rules_of: RulesOf
    #: The kind of the lineage's tasks, if its key determines it; None: its facts do.
    kind: Kind | None = None
    #: The epoch of the ledger: every new version is greater.
    epoch: int = 0
    #: Tasks that joined the lineage by this event, by id -> as they were before; None: new.
    joined: Mapping[str, Task | None] = field(default_factory=dict)

    def rules_for(self, task: Task) -> Rules:
        """Returns the rules for this task."""
        return self.rules_of(task.kind, task.params)

    def find_task(self, task_id: str) -> Task | None:
        """Returns the lineage's task of this id; None: there is none."""
        return next((task for task in self.lineage.tasks if task.id == task_id), None)

    def with_tasks(self, tasks: Sequence[Task], before: Mapping[str, Task | None]) -> "Refold":
        """Returns the same with more tasks in the lineage. before: each as it was, by id; None: new."""
        return replace(self, lineage=replace(self.lineage, tasks=(*self.lineage.tasks, *tasks)), joined=before)

    def run(
        self,
        facts: Iterable[Fact],
        *,
        newest: Fact | None = None,
        task_id: str | None = None,
        reaction: Reaction = NO_REACTION,
    ) -> "Refolded":
        """Folds these facts in place of the lineage's own.

        newest: the fact of the callback that is the event. reaction: the event's effect on the task of `task_id`.
        """
        trigger, ordered = _Trigger(newest, task_id, reaction), sort_facts(facts)
        refolded = self._fold_facts(ordered, trigger)
        ends = self._ends_of_excess_runs(refolded)
        return self._fold_facts(sort_facts((*ordered, *ends)), trigger) if ends else refolded

    def _fold_facts(self, facts: tuple[Fact, ...], trigger: _Trigger) -> "Refolded":
        kind = lineage_kind(facts, self.kind)
        runs = cut_sorted_facts(facts, self.rules_of(kind, {}))
        match = match_runs(runs, self.lineage.tasks)
        changes = [
            self._compare_task(run, number, kind, match.owner(run), trigger)
            for number, run in enumerate(runs, self.lineage.sealed.runs + 1)
        ]
        rules = [self.rules_of(kind, change.after.params) for change in changes]
        kept = _facts_to_keep(facts, runs, changes, rules)
        changes += [self._merge_task(task, run, changes, runs) for task, run in match.merged]
        return Refolded(before=self.lineage, now=self.now, facts=kept, runs=runs, changes=changes)

    def _ends_of_excess_runs(self, refolded: "Refolded") -> list[Fact]:
        """Returns ends for runs that wait for files and are too many to stay open: as if no more files had come."""
        excess = refolded.changes[: excess_run_count(refolded.runs)]
        ends: list[Fact] = []
        for task in (change.after for change in excess if change.after.view.state is State.FINISHING):
            inference = finished_end(task, self.rules_for(task), self.now)
            ends += inference_facts(task, inference, self.now, Deadline.FINISH, f"{task.id}:crowded:{self.now}")
        return ends

    def _compare_task(self, run: Run, number: int, kind: Kind, owner: Task | None, trigger: _Trigger) -> Change:
        task = owner or self._new_task(run, number, kind, trigger.newest)
        before = None if owner is None else self.joined.get(owner.id, owner)
        rules, reaction = self.rules_of(kind, task.params), trigger.reaction_of(task)
        view = fold_run(run, rules)
        anomalies, raised, anomaly_entries = update_anomalies(task, view, reaction)
        folded = fast_replace(
            task,
            run=number,
            kind=kind,
            view=view,
            anomalies=anomalies,
            raised=raised,
            passed=task.passed if reaction.passed is None else reaction.passed,
            calls=reaction.calls_of(task),
            **reaction.changes,
        )
        if trigger.newest is not None:
            folded = self._query_contradiction(before, folded, rules)
        reconciled, commands = reconcile_calls(before, folded, rules)
        after = self._with_version(before, reconciled, due_times(reconciled, task.deadlines, rules, self.now))
        move = self._find_move(before, after, run)
        entries = (*reaction.entries, *anomaly_entries, *deadline_entries(before, after), *move_entries(move, after))
        return Change(
            before=before, after=after, move=move, entries=entries, commands=(*commands, *_report_to_predecessor(before, after))
        )

    def _query_contradiction(self, before: Task | None, task: Task, rules: Rules) -> Task:
        """Adds a query if a callback shows a zombie, or an end without a reason; a zombie may be stopped instead."""
        is_zombie = _is_new_zombie(before, task)
        if not is_zombie and not _is_new_unstated_end(before, task):
            return task
        if can_be_queried(task, rules, self.now):
            return replace(task, calls=with_inspection(task.calls, self.now, None))
        if is_zombie and task.policy.get("stop_zombies") and rules.callable:
            return replace(task, calls=with_call(task.calls, Operation.STOP, self.now))
        return task

    def _new_task(self, run: Run, number: int, kind: Kind, newest: Fact | None) -> Task:
        has_newest = newest is not None and any(fact.key == newest.key for fact in run.facts)
        anchor = newest.key if newest is not None and has_newest else run.facts[0].key
        is_managed = any(fact.kind is FactKind.INTENT for fact in run.facts)
        return Task(
            id=task_id(self.lineage.key, anchor, self.now),
            key=self.lineage.key,
            run=number,
            kind=kind,
            origin=Origin.MANAGED if is_managed else Origin.OBSERVED,
            anchor=anchor,
            view=_NO_VIEW,
            created_at=self.now,
            updated_at=self.now,
        )

    def _find_move(self, before: Task | None, after: Task, run: Run) -> Move | None:
        if before is None:
            return checked_move(None, after.view.state)
        old, new = before.view.state, after.view.state
        if old is new:
            return None if before.view.reason is after.view.reason else Move(before=old, after=new, corrects=True)
        return checked_move(old, new, corrects=old in FINAL or (not is_ordinary(old, new) and self._is_recut(before, run)))

    def _is_recut(self, before: Task, run: Run) -> bool:
        """Returns whether known facts left the task's run: runs are cut differently now, or a callback was replayed."""
        old_runs = cut_runs(self.lineage.facts, self.rules_of(before.kind, {}))
        old_run = next((old for old in old_runs if any(fact.key == before.anchor for fact in old.facts)), None)
        return old_run is None or not set(old_run.facts) <= set(run.facts)

    def _with_version(self, before: Task | None, after: Task, deadlines: Mapping[Deadline, int]) -> Task:
        if before is None:
            return fast_replace(after, deadlines=deadlines, version=self._next_version(0))
        if not is_visible_change(before, after, deadlines):
            return fast_replace(after, deadlines=deadlines)
        return fast_replace(after, deadlines=deadlines, version=self._next_version(before.version), updated_at=self.now)

    def _next_version(self, version: int) -> int:
        """Returns the version after this one; after a restore, versions up to the epoch may have been used."""
        return max(version, self.epoch) + 1

    def _merge_task(self, task: Task, run: Run, changes: Sequence[Change], runs: Sequence[Run]) -> Change:
        """Merges a task into the task of this run."""
        winner = changes[next(index for index, other in enumerate(runs) if other is run)].after
        version = self._next_version(task.version)
        after = replace(task, merged_into=winner.id, deadlines={}, calls={}, version=version, updated_at=self.now)
        cancels = [CancelCall(task_id=task.id, serial=call.serial) for call in task.calls.values() if call.serial is not None]
        return Change(
            before=self.joined.get(task.id, task),
            after=after,
            entries=({"kind": "merged", "into": winner.id},),
            commands=(*cancels, *_report_lost_successor(task, winner)),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Refolded:
    """A lineage that was folded again."""

    #: The lineage before the event, with the tasks that joined it.
    before: Lineage
    now: int
    #: The facts to keep.
    facts: tuple[Fact, ...]
    runs: Sequence[Run]
    #: One for each run, in their order; then those of merged tasks.
    changes: Sequence[Change]

    def task_of(self, fact: Fact) -> Task:
        """Returns the task whose run has this fact."""
        return self._find_run(fact)[1].after

    def _find_run(self, fact: Fact) -> tuple[Run, Change]:
        if len(self.runs) == 1:
            return self.runs[0], self.changes[0]
        index = next(i for i, run in enumerate(self.runs) if any(other.key == fact.key for other in run.facts))
        return self.runs[index], self.changes[index]

    def verdict(self, fact: Fact) -> tuple[Verdict, str | None]:
        """Returns the verdict on the callback with this fact, and its reason."""
        run, change = self._find_run(fact)
        before, view = change.before, change.after.view
        if fact.shows_life and view.zombie_since is not None and fact.at >= view.zombie_since:
            return Verdict.ANOMALY, Anomaly.ZOMBIE.value
        if fact.kind is FactKind.STOP_FAILED and view.ended_at is None:
            return Verdict.ANOMALY, Anomaly.STOP_FAILED.value
        if fact.kind is FactKind.NOTE or before is None or _shows_more(before.view, view):
            return Verdict.APPLIED, None
        is_superseded = view.ended_at is not None or any(other.order > fact.order for other in run.facts if other.from_vendor)
        return (Verdict.STALE if is_superseded else Verdict.APPLIED), None

    def decision(
        self,
        verdict: Verdict,
        reason: str | None = None,
        task_id: str | None = None,
        commands: tuple[Command, ...] = (),
    ) -> Decision:
        """Returns the decision. commands: those of the event itself."""
        return Decision(
            lineage=self._new_lineage(),
            changes=tuple(change for change in self.changes if change.before != change.after or change.entries),
            commands=(*commands, *(command for change in self.changes for command in change.commands)),
            verdict=verdict,
            reason=reason,
            task_id=task_id,
        )

    def _new_lineage(self) -> Lineage:
        tasks = tuple(change.after for change in self.changes if change.after.merged_into is None)
        archived, count = archive_runs(self.before.sealed, self.runs, self.changes, self.now)
        gone = {fact.key for run in self.runs[:count] for fact in run.facts}
        kept = tuple(fact for fact in self.facts if fact.key not in gone) if gone else self.facts
        return Lineage(key=self.before.key, facts=kept, tasks=tasks[count:], sealed=archived)


def _facts_to_keep(
    facts: tuple[Fact, ...], runs: Sequence[Run], changes: Sequence[Change], rules: Sequence[Rules]
) -> tuple[Fact, ...]:
    """Returns the facts without those that no result depends on, once there are more than `MIN_FACTS`."""
    if len(facts) <= MIN_FACTS:
        return facts
    anchors = {change.after.anchor for change in changes} | {fact.about for fact in facts if fact.about is not None}
    facts = drop_repeats(facts, runs, anchors)
    tail_of = tails_to_keep(runs, newly_begun=changes[-1].before is None)
    return thin_facts(facts, runs, anchors, rules, tail_of) if tail_of else facts


def _is_new_zombie(before: Task | None, task: Task) -> bool:
    old = before.view.zombie_at if before else None
    return task.view.zombie_at is not None and task.view.zombie_at != old


def _is_new_unstated_end(before: Task | None, task: Task) -> bool:
    view, old = task.view, before.view if before else None
    if view.reason is not Reason.UNSTATED or view.inferred or view.state is not State.STOPPED:
        return False
    return old is None or old.state is not view.state or old.reason is not view.reason


def _report_to_predecessor(before: Task | None, after: Task) -> tuple[Command, ...]:
    """Reports to the task that this one renews, once this one runs, or has ended before it ran."""
    if after.renews is None or (before is not None and (before.view.running_at is not None or before.view.state in FINAL)):
        return ()
    runs = after.view.running_at is not None
    if not runs and after.view.state not in FINAL:
        return ()
    key = f"succession {after.id} {'runs' if runs else 'failed'}"
    return (PostEvent(event=SuccessorReported(task_id=after.renews, successor=after.id, runs=runs, key=key)),)


def _report_lost_successor(task: Task, winner: Task) -> tuple[Command, ...]:
    """Reports a failed successor, if the task that was to be one is merged into a task that is not."""
    if task.renews is None or winner.renews == task.renews:
        return ()
    key = f"succession {task.id} merged"
    return (PostEvent(event=SuccessorReported(task_id=task.renews, successor=task.id, runs=False, key=key)),)


#: All fields of a view but those that change with every callback.
_fields_shown = attrgetter(*(field.name for field in fields(View) if field.name not in ("evidence_at", "heard_at")))


def _shows_more(before: View, view: View) -> bool:
    return bool(_fields_shown(before) != _fields_shown(view))
