"""Matches the runs of a lineage with its tasks, and finds tasks that turned out to be one."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from statemachine.calls import Operation
from statemachine.folding.runs import Run
from statemachine.states import Origin
from statemachine.tasks import Task


@dataclass(frozen=True, slots=True)
class Match:
    """The task of each run, and the tasks that belong to another task's run."""

    #: id() of a run -> its task.
    owners: dict[int, Task]
    #: (task, the run of another task that it belongs to)
    merged: list[tuple[Task, Run]]

    def owner(self, run: Run) -> Task | None:
        """Returns the task of a run; None: the run is new.

        An update that is pending for a merged task is pending for this one. Stops are not: they are facts, which the run has.
        """
        task = self.owners.get(id(run))
        if task is None:
            return None
        for twin, twin_run in self.merged:
            update = twin.calls.get(Operation.UPDATE)
            if twin_run is run and update is not None and Operation.UPDATE not in task.calls:
                task = replace(task, calls={**task.calls, Operation.UPDATE: replace(update, serial=None)})
        return task


def match_runs(runs: Sequence[Run], tasks: Sequence[Task]) -> Match:
    """Matches runs with tasks.

    A task stays with the run that contains its anchor, the fact that created it. If two tasks meet in one run, the managed one
    stays, else the older one.
    """
    run_of_fact = {fact.key: run for run in runs for fact in run.facts}
    owners: dict[int, Task] = {}
    merged: list[tuple[Task, Run]] = []
    orphans: list[Task] = []
    for task in sorted(tasks, key=lambda task: (task.origin is not Origin.MANAGED, task.id)):
        run = run_of_fact.get(task.anchor)
        if run is None:
            orphans.append(task)
        elif id(run) in owners:
            merged.append((task, run))
        else:
            owners[id(run)] = task
    free = [run for run in runs if id(run) not in owners]
    for task in sorted(orphans, key=lambda task: task.run):  # a replay removed the anchor
        if free:
            run = free.pop(0)
            owners[id(run)] = replace(task, anchor=run.facts[0].key)
        else:
            merged.append((task, runs[-1]))
    return Match(owners, merged)
