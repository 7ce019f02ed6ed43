"""Deadlines, marks and replays between callbacks, at random: reports of the vendor correct what was inferred."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from statemachine.decide import decide
from statemachine.decision import Change, Decision
from statemachine.events import CallbackReceived, CallbackWithdrawn, DeadlinePassed, Event, OperatorMarked
from statemachine.facts import Fact, FactKind
from statemachine.folding.runs import cut_runs
from statemachine.rules import Rules
from statemachine.states import FINAL, LIVE, Reason, State
from statemachine.tasks import Lineage
from tests.support.hypothesis_effort import effort
from tests.support.times import T0
from tests.unit.statemachine.strategies import FAMILIES, S, lineages
from tests.unit.statemachine.test_order import KEY, outcome

#: Enough for everyday runs; use 20,000 when you change how facts are folded.
EXAMPLES = 300
HOUR = 3600 * S
DAY = 24 * HOUR
WAITS = st.sampled_from([0, 2 * S, 90 * S, 700 * S, HOUR, 25 * HOUR, 80 * HOUR, 31 * DAY])
MARKS = st.sampled_from([State.STOPPED, State.FAILED, State.LOST])
#: Not own calls: `test_interleavings` has those.
HEARD_FAMILIES = [
    (rules, [sign for sign in signs if sign["kind"] not in (FactKind.INTENT, FactKind.ACCEPTED)], tells_creation)
    for rules, signs, tells_creation in FAMILIES
]


class RecordedLineage:
    """A lineage, and all decisions about it."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.lineage = Lineage(key=KEY)
        self.decisions: list[Decision] = []
        self.now = T0

    def apply_event(self, event: Event) -> None:
        decision = decide(self.lineage, event, self.now, lambda kind, params: self.rules)
        self.decisions.append(decision)
        self.lineage = decision.lineage

    def pass_due(self) -> None:
        for _ in range(50):
            due = [(at, kind, task.id) for task in self.lineage.tasks for kind, at in task.deadlines.items() if at <= self.now]
            if not due:
                return
            at, kind, task_id = min(due)
            self.apply_event(DeadlinePassed(task_id=task_id, kind=kind, due_at=at))
        raise AssertionError("a deadline that passed is due again")

    def changes(self) -> Iterator[tuple[Lineage, Change, Lineage]]:
        """Yields each change of a task that existed before and after, with its lineage before and after."""
        for before, after in pairwise(self.decisions):
            for change in after.changes:
                if change.before is not None and change.after.merged_into is None:
                    yield before.lineage, change, after.lineage


def told(drawn: tuple[Rules, list[Fact]], draw: st.DrawFn, *, marks: bool, replays: bool) -> RecordedLineage:
    rules, facts = drawn
    recorded = RecordedLineage(rules)
    recorded.now += draw(st.sampled_from([0, 20 * S, 80 * HOUR]))
    for number, fact in enumerate(draw(st.permutations(facts))):
        recorded.now += draw(WAITS)
        recorded.pass_due()
        if marks and recorded.lineage.tasks and draw(st.integers(0, 5)) == 0:
            task = draw(st.sampled_from(recorded.lineage.tasks))
            recorded.apply_event(OperatorMarked(task_id=task.id, state=draw(MARKS), key=f"m{number}"))
        recorded.now += draw(st.integers(0, 1))
        recorded.apply_event(CallbackReceived(fact=replace(fact, received_at=max(fact.at, recorded.now))))
        if replays and draw(st.integers(0, 3)) == 0:
            again = draw(st.sampled_from(facts))
            other = replace(draw(st.sampled_from(facts)), key=again.key, source=again.source)
            recorded.apply_event(
                draw(st.sampled_from([CallbackWithdrawn(source=again.source), CallbackReceived(fact=other, replaces=again.source)]))
            )
    recorded.now += draw(WAITS)
    recorded.pass_due()
    return recorded


@st.composite
def stories(draw: st.DrawFn, *, marks: bool = True, replays: bool = False) -> tuple[RecordedLineage, list[Fact]]:
    """Draws facts in any order; between them time passes, deadlines pass, and operators set marks."""
    drawn = draw(lineages(HEARD_FAMILIES))
    return told(drawn, draw, marks=marks, replays=replays), drawn[1]


@effort(2 * EXAMPLES)
@given(stories(replays=True))
def test_nothing_raises_and_every_live_task_has_a_deadline(story):
    recorded, _ = story
    for decision in recorded.decisions:
        for task in decision.lineage.tasks:
            assert bool(task.deadlines) == (task.view.state in LIVE)


@effort(EXAMPLES)
@given(stories(replays=True))
def test_at_most_the_newest_run_is_live_finishing_ones_apart(story):
    recorded, _ = story
    for decision in recorded.decisions:
        live = [task for task in decision.lineage.tasks if task.view.state in LIVE - {State.FINISHING}]
        assert not live or live == [decision.lineage.tasks[-1]]


@effort(EXAMPLES)
@given(stories(replays=True))
def test_a_final_state_is_left_only_by_a_correction(story):
    recorded, _ = story
    for _, change, _ in recorded.changes():
        before, after = change.before.view.state, change.after.view.state
        if before in FINAL and after is not before:
            assert change.move is not None
            assert change.move.corrects


def held(lineage: Lineage, rules: Rules, anchor: str) -> set[str]:
    """Returns the facts of the run that has this fact."""
    runs = [{fact.key for fact in run.facts} for run in cut_runs(lineage.facts, rules)]
    return next(keys for keys in runs if anchor in keys)


@effort(EXAMPLES)
@given(stories())
def test_an_end_that_the_vendor_told_stays_an_end(story):
    """Except if its run is cut differently, a rejected start turns out to be none, or another output lives."""
    recorded, facts = story
    outputs = any(fact.kind is FactKind.OUTPUT for fact in facts)
    for before, change, after in recorded.changes():
        was, view, anchor = change.before.view, change.after.view, change.after.anchor
        if was.state in LIVE or was.inferred or was.reason is Reason.START_REFUSED or view.state in FINAL or outputs:
            continue
        assert not held(before, recorded.rules, anchor) <= held(after, recorded.rules, anchor)


@effort(EXAMPLES)
@given(stories())
def test_an_inferred_end_yields_only_to_what_the_vendor_said_since(story):
    """An inferred final state becomes live only by news: a newer sign, the end of a capture, or a new cut."""
    recorded, _ = story
    for before, change, after in recorded.changes():
        was, view, anchor = change.before.view, change.after.view, change.after.anchor
        if was.state in LIVE or not was.inferred or view.state in FINAL:
            continue
        run = held(after, recorded.rules, anchor)
        news = [f for f in after.facts if f.key in run - held(before, recorded.rules, anchor) and f.from_vendor]
        recut = not held(before, recorded.rules, anchor) <= run
        captured = any(fact.kind is FactKind.CAPTURE_END for fact in news)
        known = max((f.at for f in before.facts if f.kind is FactKind.INFERRED and f.about in run), default=was.evidence_at)
        newer = any(fact.at > known for fact in news)
        assert recut or captured or newer or any(fact.kind is FactKind.OUTPUT for fact in news)


@effort(EXAMPLES)
@given(stories(marks=False))
def test_what_passes_between_callbacks_does_not_change_what_the_vendor_told(story):
    """A run that ends by a report of the vendor ends the same with and without deadlines in between."""
    recorded, facts = story
    plain = RecordedLineage(recorded.rules)
    plain.now += 400 * DAY
    for fact in facts:
        plain.apply_event(CallbackReceived(fact=fact))
    if len(plain.lineage.tasks) != len(recorded.lineage.tasks):
        return  # after an inferred end a start opens a run; without it, the start would have been a repetition
    for without, inferring in zip(outcome(plain.lineage), outcome(recorded.lineage), strict=True):
        state, inferred = without[2], without[4]
        if state in FINAL and not inferred:
            assert inferring[:5] == without[:5]


@effort(EXAMPLES)
@given(stories(), st.data())
def test_a_deadline_that_passes_again_changes_no_state(story, data):
    recorded, _ = story
    passed = [(d, c.after.id) for d in recorded.decisions for c in d.changes for e in c.entries if e["kind"] == "deadline_passed"]
    if not passed:
        return
    decision, task_id = data.draw(st.sampled_from(passed))
    kinds = [entry for change in decision.changes for entry in change.entries if entry["kind"] == "deadline_passed"]
    before = outcome(recorded.lineage)
    recorded.apply_event(DeadlinePassed(task_id=task_id, kind=kinds[0]["deadline"], due_at=kinds[0]["due_at"]))
    assert outcome(recorded.lineage) == before
