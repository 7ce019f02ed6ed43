"""Archives the oldest runs of a key: their facts are dropped, their tasks stay in the ledger as they ended.

A room that uses one id for every broadcast gathers thousands of runs, and only the newest can still change. Always the oldest runs
are archived, and only runs so old that every vendor has stopped retrying its callbacks, so that a late callback still finds its
run. Runs are archived earlier only if a key has so many runs, facts or files that each callback would take long.
"""

from collections.abc import Sequence

from statemachine.decision import Change
from statemachine.folding.runs import Run
from statemachine.states import FINAL
from statemachine.tasks import ArchivedRuns

#: Newest runs of a key that are never archived because of their age.
RUNS_KEPT_OPEN = 32
#: Limits of the open runs of a key together: above any of them the oldest runs are archived, however young they are.
MAX_OPEN_RUNS, MAX_OPEN_FACTS, MAX_OPEN_FILES = 96, 600, 10_000
#: Newest runs of a key that are never archived, whatever they hold.
MIN_OPEN_RUNS = 4
#: Minimum time since the end of an archived run, ms: a week.
MIN_AGE_MS = 7 * 24 * 3600 * 1000


def archive_runs(before: ArchivedRuns, runs: Sequence[Run], changes: Sequence[Change], now: int) -> tuple[ArchivedRuns, int]:
    """Returns the archived part of the lineage, and how many of these runs were added to it, from the oldest on."""
    excess = excess_run_count(runs)
    count = 0
    for run, change, next_run in zip(runs, changes, runs[1:], strict=False):
        is_excess = count < excess and change.after.view.state in FINAL
        if not is_excess and (count >= len(runs) - RUNS_KEPT_OPEN or not _can_be_archived(run, change, next_run, now)):
            break
        count += 1
    if not count:
        return before, 0
    return ArchivedRuns(runs=before.runs + count, until=runs[count].begins_at), count


def excess_run_count(runs: Sequence[Run]) -> int:
    """Returns how many of these runs, from the oldest on, exceed the limits of open runs."""
    if len(runs) <= MIN_OPEN_RUNS:
        return 0
    facts, files, open_runs = 0, 0, 0
    for run in reversed(runs):
        facts += len(run.facts)
        files += sum(len(fact.files) for fact in run.facts)
        if open_runs >= MIN_OPEN_RUNS and (open_runs >= MAX_OPEN_RUNS or facts > MAX_OPEN_FACTS or files > MAX_OPEN_FILES):
            break
        open_runs += 1
    return len(runs) - open_runs


def _can_be_archived(run: Run, change: Change, next_run: Run, now: int) -> bool:
    newest_at = max(fact.at for fact in run.facts)
    return change.after.view.state in FINAL and newest_at < next_run.begins_at and newest_at + MIN_AGE_MS < now
