"""Compaction: of repeated facts the first and the last stay, and no view changes."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from statemachine.decide import decide
from statemachine.events import CallbackReceived
from statemachine.facts import FactKind
from statemachine.folding.compaction import MIN_FACTS, drop_repeats
from statemachine.folding.run_view import fold_run, lineage_kind
from statemachine.folding.runs import cut_runs
from statemachine.rules import Rules
from statemachine.tasks import Lineage
from tests.support.hypothesis_effort import effort
from tests.unit.statemachine.lineage_scenario import LineageScenario
from tests.unit.statemachine.strategies import FAMILIES, lineages
from tests.unit.statemachine.test_order import KEY, NOW, heard, outcome

#: Few different facts, so that three equal ones in a row are frequent.
FEW = [(rules, signs[:3] + [sign for sign in signs if sign["kind"] is FactKind.NOTE], False) for rules, signs, _ in FAMILIES]
FEW += [
    (rules, [sign for sign in signs if sign["kind"] in (FactKind.OUTPUT, FactKind.UPLOAD, FactKind.MEDIA)], True)
    for rules, signs, _ in FAMILIES[2:5]
]
FEW = [(rules, signs, told) for rules, signs, told in FEW if signs]


def views(facts, rules):
    told = ("state", "reason", "inferred", "files", "outputs", "running_at", "accepted_at", "ended_at", "evidence_at", "zombie_at")
    return [tuple(getattr(fold_run(run, rules), name) for name in told) for run in cut_runs(facts, rules)]


@effort(500)
@given(lineages(FAMILIES + FEW * 2, 14))
def test_the_views_of_compacted_facts_are_the_same(drawn):
    rules, facts = drawn
    runs = cut_runs(facts, rules)
    kept = drop_repeats(sorted(facts, key=lambda fact: fact.order), runs, frozenset(), 0)
    assert views(kept, rules) == views(facts, rules)
    assert lineage_kind(kept, None) is lineage_kind(facts, None)


@effort(250)
@given(lineages(FAMILIES + FEW * 2, 14), st.data())
def test_a_lineage_that_is_compacted_as_it_grows_ends_the_same(drawn, data):
    rules, facts = drawn
    arrived = data.draw(st.permutations(facts))
    short = Lineage(key=KEY)
    for number, fact in enumerate(arrived):
        grown = decide(short, CallbackReceived(fact=fact), NOW + number, lambda kind, params: rules).lineage
        anchors = {task.anchor for task in grown.tasks}
        short = replace(grown, facts=drop_repeats(grown.facts, cut_runs(grown.facts, rules), anchors, 0))
    assert outcome(short) == outcome(heard(arrived, rules))
    assert len(short.facts) <= len(facts)


def test_compacted_twice_is_compacted_once():
    story = LineageScenario()
    for second in range(3 * MIN_FACTS):
        story.tencent(401, second, Url="a", Status=1)
    facts = story.lineage.facts
    runs = cut_runs(facts, Rules(single_run=True))
    assert drop_repeats(facts, runs, frozenset(), 0) == drop_repeats(
        drop_repeats(facts, runs, frozenset(), 0), runs, frozenset(), 0
    )


def test_a_long_lineage_stays_short_and_keeps_its_first_and_last_sign():
    story = LineageScenario()
    for second in range(3 * MIN_FACTS):
        story.tencent(401, second, Url="a", Status=1)
    kept = [fact.key for fact in story.lineage.facts]
    assert len(kept) <= MIN_FACTS + 1
    assert (kept[0], kept[-1]) == ("d1", f"d{3 * MIN_FACTS}")


def test_below_the_threshold_nothing_is_dropped():
    story = LineageScenario()
    for second in range(MIN_FACTS):
        story.tencent(401, second, Url="a", Status=1)
    assert len(story.lineage.facts) == MIN_FACTS


def test_the_fact_that_made_a_task_stays():
    story = LineageScenario()
    story.tencent(401, MIN_FACTS, Url="a", Status=1)
    first = story.task.id
    for second in range(3 * MIN_FACTS):
        story.tencent(401, second + 0.5, Url="a", Status=1)
    assert any(fact.key == "d1" for fact in story.lineage.facts)
    assert story.task.id == first
    assert story.lineage.key != KEY


def test_start_signs_stay_because_a_late_end_may_come_between_them():
    story = LineageScenario()
    for second in range(MIN_FACTS + 1):
        story.volc("RelayStreamStateChanged", second, Status=1)
    for second in (0, 1):
        story.volc("RelayStreamStateChanged", second, received=99, Status=4, Reason=3)
    assert story.ends == ["completed/source_finished", "completed/source_finished", "accepted"]
