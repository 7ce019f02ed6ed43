"""Deadlines that pass, and operators' words, between callbacks: what is inferred yields to what is told, and nothing breaks."""

from hypothesis import given, settings
from hypothesis import strategies as st

from statemachine.decide import decide
from statemachine.events import Decision, Event, Heard, Marked, Passed
from statemachine.facts import Fact, FactKind, Rules
from statemachine.states import FINAL, LIVE, State
from statemachine.tasks import Lineage
from tests.statemachine.strategies import FAMILIES, T0, S, lineages
from tests.statemachine.test_order import KEY, outcome

#: Hypothesis tries few; the hunt tries many (`--hypothesis-profile`, or change it here).
EXAMPLES = 3000
HOUR = 3600 * S
DAY = 24 * HOUR
WAITS = st.sampled_from([0, 2 * S, 90 * S, 700 * S, HOUR, 25 * HOUR, 80 * HOUR, 31 * DAY])
MARKS = st.sampled_from([State.STOPPED, State.FAILED, State.LOST])
INFERENCE_FAMILIES = [
    (rules, [sign for sign in signs if sign["kind"] not in (FactKind.INTENT, FactKind.ACCEPTED)], tells_creation)
    for rules, signs, tells_creation in FAMILIES
]


def asked(lineage: Lineage, event: Event, now: int, rules: Rules) -> Decision:
    decision = decide(lineage, event, now, lambda kind, params: rules)
    for task in decision.lineage.tasks:
        assert bool(task.deadlines) == (task.view.state in LIVE)
    return decision


def passing(lineage: Lineage, now: int, rules: Rules) -> list[Decision]:
    """All deadlines that are due pass."""
    decisions: list[Decision] = []
    while due := [(at, kind, task.id) for task in lineage.tasks for kind, at in task.deadlines.items() if at <= now]:
        at, kind, task_id = min(due)
        decisions.append(asked(lineage, Passed(task_id=task_id, kind=kind, due_at=at), now, rules))
        lineage = decisions[-1].lineage
        assert len(decisions) < 50, "what passed is due again"
    return decisions


@st.composite
def stories(draw: st.DrawFn, marks: bool = True) -> tuple[Rules, list[Decision], list[Fact]]:
    """Facts in any order; between them time goes on, all that is due passes, and now and then an operator has a word."""
    rules, facts = draw(lineages(INFERENCE_FAMILIES))
    now = T0 + draw(st.sampled_from([0, 20 * S, 80 * HOUR]))
    lineage = Lineage(key=KEY)
    decisions: list[Decision] = []
    for number, fact in enumerate(draw(st.permutations(facts))):
        now += draw(WAITS)
        decisions += passing(lineage, now, rules)
        lineage = decisions[-1].lineage if decisions else lineage
        if marks and lineage.tasks and draw(st.integers(0, 5)) == 0:
            task = draw(st.sampled_from(lineage.tasks))
            decisions.append(asked(lineage, Marked(task_id=task.id, state=draw(MARKS), key=f"m{number}"), now, rules))
            lineage = decisions[-1].lineage
        now += 1
        heard = Fact(**{name: getattr(fact, name) for name in Fact.__slots__} | {"received_at": max(fact.at, now)})
        decisions.append(asked(lineage, Heard(fact=heard), now, rules))
        lineage = decisions[-1].lineage
    now += draw(WAITS)
    decisions += passing(lineage, now, rules)
    return rules, decisions, facts


@settings(max_examples=EXAMPLES, deadline=None)
@given(stories())
def test_nothing_raises_and_every_live_task_has_a_deadline(story):
    _, decisions, _ = story
    assert decisions


@settings(max_examples=EXAMPLES, deadline=None)
@given(stories())
def test_at_most_one_run_of_a_key_is_live_finishing_ones_apart(story):
    _, decisions, _ = story
    for decision in decisions:
        live = [task for task in decision.lineage.tasks if task.view.state in LIVE - {State.FINISHING}]
        assert len(live) <= 1
        assert not live or live[0] is decision.lineage.tasks[-1]


@settings(max_examples=EXAMPLES, deadline=None)
@given(stories())
def test_a_final_state_is_left_only_by_a_correction(story):
    for change in (change for decision in story[1] for change in decision.changes):
        before = change.before.view.state if change.before else None
        if before in FINAL and change.after.view.state is not before:
            assert change.move is not None
            assert change.move.corrects


@settings(max_examples=EXAMPLES, deadline=None)
@given(stories())
def test_an_end_that_the_vendor_told_stays_an_end(story):
    """Unless the facts that told it are now another run's, or show that a refused start was none."""
    for decision in story[1]:
        for change in decision.changes:
            if change.before is None or change.after.merged_into is not None:
                continue
            was, view = change.before.view, change.after.view
            if was.state in FINAL and not was.inferred and view.state in LIVE:
                assert change.before.run != change.after.run or was.reason == "start_refused" or _recut(change, decision)


def _recut(change, decision) -> bool:
    return len(decision.changes) > 1 or (change.move.corrects and decision.lineage.facts != ())


@settings(max_examples=EXAMPLES, deadline=None)
@given(stories(marks=False))
def test_what_passes_between_callbacks_does_not_change_what_the_vendor_told(story):
    """With and without deadlines between, a run that ends by the vendor's word ends the same."""
    rules, decisions, facts = story
    with_deadlines = decisions[-1].lineage
    lineage = Lineage(key=KEY)
    for fact in facts:
        lineage = asked(lineage, Heard(fact=fact), T0 + 400 * DAY, rules).lineage
    if len(lineage.tasks) != len(with_deadlines.tasks):
        return
    for plain, inferring in zip(outcome(lineage), outcome(with_deadlines), strict=True):
        state, inferred = plain[2], plain[4]
        if state in FINAL and not inferred:
            assert inferring[:5] == plain[:5]
