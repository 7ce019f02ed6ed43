"""Old runs of an id that is used again and again are sealed: they are what they are, and nobody reads their facts any more.

An id that a room uses for every broadcast gathers thousands of runs. Only the newest matter to what comes; the others' tasks stay
in the ledger as they ended. Sealed is a beginning of the order only, and only what ended long after any vendor has stopped trying
to deliver, so that what comes late still finds its run. Runs are sealed sooner only where a key has so many of them, or they have
so many facts and files, that each callback would take long.
"""

from collections.abc import Sequence

from statemachine.events import Change
from statemachine.folding.runs import Run
from statemachine.states import FINAL
from statemachine.tasks import Sealed

#: Runs of a key that are never sealed, the newest.
KEPT_RUNS = 32
#: More runs than these, or more facts or files of them together, are not kept open, however young they are; but never fewer runs
#: than the newest few.
MOST_RUNS, MOST_FACTS, MOST_FILES, FEWEST_RUNS = 96, 600, 10_000, 4
#: A run that ended more recently is not sealed: a week, ms.
OPEN_MS = 7 * 24 * 3600 * 1000


def seal(before: Sealed, runs: Sequence[Run], changes: Sequence[Change], now: int) -> tuple[Sealed, int]:
    """What is sealed now, and how many of these runs are, from the oldest on."""
    must = crowded(runs)
    count = 0
    for run, change, follower in zip(runs, changes, runs[1:], strict=False):
        too_many = count < must and change.after.view.state in FINAL
        if not too_many and (count >= len(runs) - KEPT_RUNS or not _is_past(run, change, follower, now)):
            break
        count += 1
    if not count:
        return before, 0
    return Sealed(runs=before.runs + count, until=runs[count].begins_at), count


def crowded(runs: Sequence[Run]) -> int:
    """Returns how many of these runs, from the oldest on, are too many or hold too much to be kept open."""
    if len(runs) <= FEWEST_RUNS:
        return 0
    facts, files, open_runs = 0, 0, 0
    for run in reversed(runs):
        facts += len(run.facts)
        files += sum(len(fact.files) for fact in run.facts)
        if open_runs >= FEWEST_RUNS and (open_runs >= MOST_RUNS or facts > MOST_FACTS or files > MOST_FILES):
            break
        open_runs += 1
    return len(runs) - open_runs


def _is_past(run: Run, change: Change, follower: Run, now: int) -> bool:
    newest = max(fact.at for fact in run.facts)
    return change.after.view.state in FINAL and newest < follower.begins_at and newest + OPEN_MS < now
