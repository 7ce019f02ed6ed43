"""Archiving the oldest runs of an id that is used again and again; newer runs are not affected."""

from statemachine.decide import decide
from statemachine.decision import Decision
from statemachine.events import CallbackReceived
from statemachine.facts import Ending, Fact, FactKind, File
from statemachine.folding.archiving import MAX_OPEN_FACTS, MAX_OPEN_FILES, MAX_OPEN_RUNS, MIN_AGE_MS, MIN_OPEN_RUNS, RUNS_KEPT_OPEN
from statemachine.rules import Rules
from statemachine.states import Reason, State, Verdict
from statemachine.tasks import ArchivedRuns, Lineage, Task, TaskKey
from tests.support.times import DAY, SECOND, T0

KEY = TaskKey(vendor="v", app_id="a", room_id="r", vendor_task_id="t", family="f")
STOPPED = Ending(state=State.STOPPED, reason=Reason.UNSTATED)


def receive(lineage: Lineage, fact: Fact) -> Decision:
    return decide(lineage, CallbackReceived(fact=fact), fact.received_at, lambda *_: Rules())


def start(at: int, **more: object) -> Fact:
    return Fact(kind=FactKind.START, opens=True, at=at, received_at=at, key=f"start {at}", **more)  # type: ignore[arg-type]


def end(at: int, received_at: int | None = None) -> Fact:
    return Fact(kind=FactKind.END, outcome=STOPPED, at=at, received_at=received_at or at, key=f"end {at}")


def daily(runs: int) -> Lineage:
    """Returns a lineage with one broadcast of an hour per day."""
    lineage = Lineage(key=KEY)
    for day in range(runs):
        lineage = receive(lineage, start(T0 + day * DAY)).lineage
        lineage = receive(lineage, end(T0 + day * DAY + 3_600_000)).lineage
    return lineage


def test_few_runs_are_never_archived():
    lineage = daily(RUNS_KEPT_OPEN)
    assert (lineage.sealed, len(lineage.tasks)) == (ArchivedRuns(), RUNS_KEPT_OPEN)


def test_of_many_runs_the_newest_stay_and_are_numbered_on():
    lineage = daily(100)
    assert lineage.sealed.runs + len(lineage.tasks) == 100
    assert [task.run for task in lineage.tasks] == list(range(lineage.sealed.runs + 1, 101))
    assert len(lineage.tasks) == max(RUNS_KEPT_OPEN, MIN_AGE_MS // DAY + 1)
    assert len(lineage.facts) == 2 * len(lineage.tasks)


def test_a_run_of_the_last_week_is_not_archived():
    lineage = Lineage(key=KEY)
    for hour in range(3 * RUNS_KEPT_OPEN):
        lineage = receive(lineage, start(T0 + hour * 3_600_000)).lineage
        lineage = receive(lineage, end(T0 + hour * 3_600_000 + 60_000)).lineage
    assert lineage.sealed == ArchivedRuns()


def test_a_fact_of_an_archived_run_is_stale_and_changes_nothing():
    lineage = daily(100)
    late = end(T0 + 30 * 60_000, received_at=T0 + 101 * DAY)
    decision = receive(lineage, late)
    assert (decision.verdict, decision.reason, decision.changes) == (Verdict.STALE, "sealed", ())
    assert decision.lineage == lineage


def test_a_late_fact_of_an_open_run_is_assigned_to_it():
    lineage = daily(100)
    task = lineage.tasks[3]
    late = Fact(
        kind=FactKind.MEDIA,
        at=task.view.accepted_at + 1_000,
        received_at=T0 + 100 * DAY,
        key="late",
    )
    decision = receive(lineage, late)
    assert [(c.after.id, c.after.view.running_at) for c in decision.changes if c.is_visible] == [(task.id, late.at)]


def test_a_live_run_is_never_archived():
    lineage = receive(Lineage(key=KEY), start(T0)).lineage
    for day in range(1, 100):
        at = T0 + day * DAY
        fact = Fact(kind=FactKind.NOTE, at=at, received_at=at, key=f"note {at}")
        lineage = receive(lineage, fact).lineage
    assert (lineage.sealed, len(lineage.tasks)) == (ArchivedRuns(), 1)


# More runs than are kept open, all within a week.


def each_minute(runs: int) -> Lineage:
    """Returns a lineage of runs of half a minute, one per minute."""
    lineage = Lineage(key=KEY)
    for number in range(runs):
        lineage = receive(lineage, start(T0 + number * 60 * SECOND)).lineage
        lineage = receive(lineage, end(T0 + number * 60 * SECOND + 30 * SECOND)).lineage
    return lineage


def test_of_very_many_runs_within_a_week_the_oldest_are_archived():
    lineage = each_minute(MAX_OPEN_RUNS + 20)
    assert len(lineage.tasks) == MAX_OPEN_RUNS
    assert lineage.sealed == ArchivedRuns(runs=20, until=lineage.tasks[0].view.begins_at)
    assert [task.run for task in lineage.tasks] == list(range(21, MAX_OPEN_RUNS + 21))
    assert receive(lineage, end(T0 + 40 * SECOND, received_at=T0 + DAY)).reason == "sealed"


def capture(at: int, files: int) -> Fact:
    """Returns the end of a capture whose files are not uploaded yet."""
    named = tuple(File(name=f"{at} {number}.mp4") for number in range(files))
    unknown = Ending(state=State.COMPLETED, reason=Reason.FILES_UNKNOWN)
    return Fact(kind=FactKind.CAPTURE_END, outcome=unknown, files=named, at=at, received_at=at, key=f"capture {at}")


def recorded(runs: int, files: int) -> tuple[Lineage, dict[str, Task]]:
    """Returns a lineage of recordings whose files are never reported as delivered, and the last state of each task."""
    lineage, last = Lineage(key=KEY), {}
    for number in range(runs):
        at = T0 + number * 60 * SECOND
        for fact in (start(at, media=True, one_off=True), capture(at + 30 * SECOND, files)):
            decision = receive(lineage, fact)
            lineage = decision.lineage
            last |= {change.after.id: change.after for change in decision.changes}
    return lineage, last


def test_files_are_awaited_of_as_many_runs_as_are_kept_open():
    lineage, last = recorded(MAX_OPEN_RUNS + 3, 1)
    assert [task.view.state for task in lineage.tasks] == [State.FINISHING] * MAX_OPEN_RUNS
    archived = [task for task in last.values() if task.run <= 3]
    assert [(task.view.state, task.view.inferred, task.deadlines) for task in archived] == [(State.COMPLETED, True, {})] * 3


def test_of_runs_with_very_many_files_the_oldest_are_archived_and_the_newest_few_never():
    lineage, last = recorded(MIN_OPEN_RUNS + 2, MAX_OPEN_FILES)
    assert [task.run for task in lineage.tasks] == list(range(3, MIN_OPEN_RUNS + 3))
    assert len(last) == MIN_OPEN_RUNS + 2


def test_the_facts_of_all_open_runs_together_are_bounded():
    """Each run has many facts."""
    lineage = Lineage(key=KEY)
    for number in range(40):
        at = T0 + number * 600 * SECOND
        lineage = receive(lineage, start(at)).lineage
        for second in range(1, 40):
            kind = (FactKind.MEDIA, FactKind.INTERRUPTED)[second % 2]
            lineage = receive(
                lineage, Fact(kind=kind, at=at + second * SECOND, received_at=at + second * SECOND, key=f"{at} {second}")
            ).lineage
        lineage = receive(lineage, end(at + 90 * SECOND)).lineage
    assert len(lineage.facts) <= MAX_OPEN_FACTS
    assert len(lineage.tasks) > MIN_OPEN_RUNS
