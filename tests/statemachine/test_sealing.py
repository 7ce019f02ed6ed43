"""Runs of an id that is used again and again: the old ones are sealed, and everything goes on as before."""

from statemachine.decide import decide
from statemachine.events import Decision, Heard
from statemachine.facts import Fact, FactKind, Outcome, Rules, TaskKey
from statemachine.sealing import KEPT_RUNS, OPEN_MS
from statemachine.states import Reason, State, Verdict
from statemachine.tasks import Lineage, Sealed

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
