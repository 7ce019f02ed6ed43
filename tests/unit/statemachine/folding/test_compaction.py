"""Of many repeats of one sign the first and the last stay, and nobody can tell the difference."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from statemachine.decide import decide
from statemachine.events import Heard
from statemachine.facts import FactKind, Rules
from statemachine.folding.compaction import THRESHOLD, compacted
from statemachine.folding.run_view import fold, kind_of
from statemachine.folding.runs import cut
from statemachine.tasks import Lineage
from tests.unit.statemachine.driver import Story
from tests.unit.statemachine.effort import effort
from tests.unit.statemachine.strategies import FAMILIES, lineages
from tests.unit.statemachine.test_order import KEY, NOW, heard, outcome

#: Few different signs, so that three in a row are met often.
FEW = [(rules, signs[:3] + [sign for sign in signs if sign["kind"] is FactKind.NOTE], False) for rules, signs, _ in FAMILIES]
FEW += [
    (rules, [sign for sign in signs if sign["kind"] in (FactKind.OUTPUT, FactKind.UPLOAD, FactKind.MEDIA)], True)
    for rules, signs, _ in FAMILIES[2:5]
]
FEW = [(rules, signs, told) for rules, signs, told in FEW if signs]


def views(facts, rules):
    told = ("state", "reason", "inferred", "files", "outputs", "running_at", "accepted_at", "ended_at", "evidence_at", "zombie_at")
    return [tuple(getattr(fold(run, rules), name) for name in told) for run in cut(facts, rules)]


@effort(1000)
@given(lineages(FAMILIES + FEW * 2, 14))
def test_compacted_facts_tell_the_same_story(drawn):
    rules, facts = drawn
    runs = cut(facts, rules)
    kept = compacted(sorted(facts, key=lambda fact: fact.order), runs, frozenset(), 0)
    assert views(kept, rules) == views(facts, rules)
    assert kind_of(kept, None) is kind_of(facts, None)


@effort(500)
@given(lineages(FAMILIES + FEW * 2, 14), st.data())
def test_a_lineage_that_is_compacted_as_it_grows_ends_the_same(drawn, data):
    rules, facts = drawn
    arrived = data.draw(st.permutations(facts))
    short = Lineage(key=KEY)
    for number, fact in enumerate(arrived):
        grown = decide(short, Heard(fact=fact), NOW + number, lambda kind, params: rules).lineage
        anchors = {task.anchor for task in grown.tasks}
        short = replace(grown, facts=compacted(grown.facts, cut(grown.facts, rules), anchors, 0))
    assert outcome(short) == outcome(heard(arrived, rules))
    assert len(short.facts) <= len(facts)


def test_compacted_twice_is_compacted_once():
    story = Story()
    for second in range(3 * THRESHOLD):
        story.tencent(401, second, Url="a", Status=1)
    facts = story.lineage.facts
    runs = cut(facts, Rules(single_run=True))
    assert compacted(facts, runs, frozenset(), 0) == compacted(compacted(facts, runs, frozenset(), 0), runs, frozenset(), 0)


def test_a_long_lineage_stays_short_and_keeps_its_first_and_last_sign():
    story = Story()
    for second in range(3 * THRESHOLD):
        story.tencent(401, second, Url="a", Status=1)
    kept = [fact.key for fact in story.lineage.facts]
    assert len(kept) <= THRESHOLD + 1
    assert (kept[0], kept[-1]) == ("d1", f"d{3 * THRESHOLD}")


def test_below_the_threshold_nothing_is_dropped():
    story = Story()
    for second in range(THRESHOLD):
        story.tencent(401, second, Url="a", Status=1)
    assert len(story.lineage.facts) == THRESHOLD


def test_the_fact_that_made_a_task_stays():
    story = Story()
    story.tencent(401, THRESHOLD, Url="a", Status=1)
    first = story.task.id
    for second in range(3 * THRESHOLD):
        story.tencent(401, second + 0.5, Url="a", Status=1)
    assert any(fact.key == "d1" for fact in story.lineage.facts)
    assert story.task.id == first
    assert story.lineage.key != KEY


def test_start_signs_stay_because_a_late_end_may_come_between_them():
    story = Story()
    for second in range(THRESHOLD + 1):
        story.volc("RelayStreamStateChanged", second, Status=1)
    for second in (0, 1):
        story.volc("RelayStreamStateChanged", second, received=99, Status=4, Reason=3)
    assert story.ends == ["completed/source_finished", "completed/source_finished", "accepted"]
