"""Old runs of an id that is used again and again are sealed: they are what they are, and nobody reads their facts any more.

An id that a room uses for every broadcast gathers thousands of runs. Only the newest matter to what comes; the others' tasks stay
in the ledger as they ended. Sealed is a beginning of the order only, and only what ended long after any vendor has stopped trying
to deliver, so that what comes late still finds its run.
"""

from collections.abc import Sequence

from statemachine.events import Change
from statemachine.runs import Run
from statemachine.states import FINAL
from statemachine.tasks import Sealed

#: Runs of a key that are never sealed, the newest.
KEPT_RUNS = 32
#: A run that ended more recently is not sealed: a week, ms.
OPEN_MS = 7 * 24 * 3600 * 1000


def seal(before: Sealed, runs: Sequence[Run], changes: Sequence[Change], now: int) -> tuple[Sealed, int]:
    """What is sealed now, and how many of these runs are, from the oldest on."""
    count = 0
    for run, change, follower in zip(runs, changes, runs[1:], strict=False):
        if count >= len(runs) - KEPT_RUNS or not _is_past(run, change, follower, now):
            break
        count += 1
    if not count:
        return before, 0
    return Sealed(runs=before.runs + count, until=runs[count].begins_at), count


def _is_past(run: Run, change: Change, follower: Run, now: int) -> bool:
    newest = max(fact.at for fact in run.facts)
    return change.after.view.state in FINAL and newest < follower.begins_at and newest + OPEN_MS < now
