"""Runs of an id that is used again and again: the old ones are sealed, and everything goes on as before."""

from statemachine.decide import decide
from statemachine.events import Decision, Heard
from statemachine.facts import Fact, FactKind, File, Outcome, Rules, TaskKey
from statemachine.folding.archiving import FEWEST_RUNS, KEPT_RUNS, MOST_FACTS, MOST_FILES, MOST_RUNS, OPEN_MS
from statemachine.states import Reason, State, Verdict
from statemachine.tasks import Lineage, Sealed, Task

DAY = 24 * 3600 * 1000
T0 = 1_700_000_000_000
KEY = TaskKey(vendor="v", app_id="a", room_id="r", vendor_task_id="t", family="f")
STOPPED = Outcome(state=State.STOPPED, reason=Reason.UNSTATED)


def hear(lineage: Lineage, fact: Fact) -> Decision:
    return decide(lineage, Heard(fact=fact), fact.received_at, lambda *_: Rules())


def start(at: int, **more: object) -> Fact:
    return Fact(kind=FactKind.START, opens=True, at=at, received_at=at, key=f"start {at}", **more)  # type: ignore[arg-type]


def end(at: int, received_at: int | None = None) -> Fact:
    return Fact(kind=FactKind.END, outcome=STOPPED, at=at, received_at=received_at or at, key=f"end {at}")


def daily(runs: int) -> Lineage:
    """A broadcast of an hour each day."""
    lineage = Lineage(key=KEY)
    for day in range(runs):
        lineage = hear(lineage, start(T0 + day * DAY)).lineage
        lineage = hear(lineage, end(T0 + day * DAY + 3_600_000)).lineage
    return lineage


def test_few_runs_are_never_sealed():
    lineage = daily(KEPT_RUNS)
    assert (lineage.sealed, len(lineage.tasks)) == (Sealed(), KEPT_RUNS)


def test_of_many_runs_the_newest_stay_and_are_numbered_on():
    lineage = daily(100)
    assert lineage.sealed.runs + len(lineage.tasks) == 100
    assert [task.run for task in lineage.tasks] == list(range(lineage.sealed.runs + 1, 101))
    assert len(lineage.tasks) == max(KEPT_RUNS, OPEN_MS // DAY + 1)
    assert len(lineage.facts) == 2 * len(lineage.tasks)


def test_a_run_of_the_last_week_is_not_sealed():
    lineage = Lineage(key=KEY)
    for hour in range(3 * KEPT_RUNS):
        lineage = hear(lineage, start(T0 + hour * 3_600_000)).lineage
        lineage = hear(lineage, end(T0 + hour * 3_600_000 + 60_000)).lineage
    assert lineage.sealed == Sealed()


def test_what_comes_too_late_for_its_run_is_stale_and_changes_nothing():
    lineage = daily(100)
    late = end(T0 + 30 * 60_000, received_at=T0 + 101 * DAY)
    decision = hear(lineage, late)
    assert (decision.verdict, decision.reason, decision.changes) == (Verdict.STALE, "sealed", ())
    assert decision.lineage == lineage


def test_a_late_word_for_an_open_run_still_finds_it():
    lineage = daily(100)
    task = lineage.tasks[3]
    late = Fact(
        kind=FactKind.MEDIA,
        at=task.view.accepted_at + 1_000,
        received_at=T0 + 100 * DAY,
        key="late",
    )
    decision = hear(lineage, late)
    assert [(c.after.id, c.after.view.running_at) for c in decision.changes if c.visible] == [(task.id, late.at)]


def test_a_live_run_holds_up_the_sealing():
    lineage = hear(Lineage(key=KEY), start(T0)).lineage
    for day in range(1, 100):
        at = T0 + day * DAY
        fact = Fact(kind=FactKind.NOTE, at=at, received_at=at, key=f"note {at}")
        lineage = hear(lineage, fact).lineage
    assert (lineage.sealed, len(lineage.tasks)) == (Sealed(), 1)


# Too many for a week.

SECOND = 1_000


def each_minute(runs: int) -> Lineage:
    """Runs of half a minute, one a minute."""
    lineage = Lineage(key=KEY)
    for number in range(runs):
        lineage = hear(lineage, start(T0 + number * 60 * SECOND)).lineage
        lineage = hear(lineage, end(T0 + number * 60 * SECOND + 30 * SECOND)).lineage
    return lineage


def test_of_very_many_runs_within_a_week_the_oldest_are_sealed():
    lineage = each_minute(MOST_RUNS + 20)
    assert len(lineage.tasks) == MOST_RUNS
    assert lineage.sealed == Sealed(runs=20, until=lineage.tasks[0].view.begins_at)
    assert [task.run for task in lineage.tasks] == list(range(21, MOST_RUNS + 21))
    assert hear(lineage, end(T0 + 40 * SECOND, received_at=T0 + DAY)).reason == "sealed"


def capture(at: int, files: int) -> Fact:
    """Capturing ended, and these files are to be uploaded yet."""
    named = tuple(File(name=f"{at} {number}.mp4") for number in range(files))
    unknown = Outcome(state=State.COMPLETED, reason=Reason.FILES_UNKNOWN)
    return Fact(kind=FactKind.CAPTURE_END, outcome=unknown, files=named, at=at, received_at=at, key=f"capture {at}")


def recorded(runs: int, files: int) -> tuple[Lineage, dict[str, Task]]:
    """Recordings of which nobody tells that their files are delivered; how each task stood at last."""
    lineage, last = Lineage(key=KEY), {}
    for number in range(runs):
        at = T0 + number * 60 * SECOND
        for fact in (start(at, media=True, one_off=True), capture(at + 30 * SECOND, files)):
            decision = hear(lineage, fact)
            lineage = decision.lineage
            last |= {change.after.id: change.after for change in decision.changes}
    return lineage, last


def test_files_are_awaited_of_as_many_runs_as_are_kept_open():
    lineage, last = recorded(MOST_RUNS + 3, 1)
    assert [task.view.state for task in lineage.tasks] == [State.FINISHING] * MOST_RUNS
    sealed = [task for task in last.values() if task.run <= 3]
    assert [(task.view.state, task.view.inferred, task.deadlines) for task in sealed] == [(State.COMPLETED, True, {})] * 3


def test_of_runs_with_very_many_files_the_oldest_are_sealed_and_the_newest_few_never():
    lineage, last = recorded(FEWEST_RUNS + 2, MOST_FILES)
    assert [task.run for task in lineage.tasks] == list(range(3, FEWEST_RUNS + 3))
    assert len(last) == FEWEST_RUNS + 2


def test_the_facts_of_all_open_runs_together_are_bounded():
    """Runs of which each has many signs of its own."""
    lineage = Lineage(key=KEY)
    for number in range(40):
        at = T0 + number * 600 * SECOND
        lineage = hear(lineage, start(at)).lineage
        for second in range(1, 40):
            kind = (FactKind.MEDIA, FactKind.INTERRUPTED)[second % 2]
            lineage = hear(
                lineage, Fact(kind=kind, at=at + second * SECOND, received_at=at + second * SECOND, key=f"{at} {second}")
            ).lineage
        lineage = hear(lineage, end(at + 90 * SECOND)).lineage
    assert len(lineage.facts) <= MOST_FACTS
    assert len(lineage.tasks) > FEWEST_RUNS
