"""The order of arrival does not matter: any order and repetition of a set of facts gives the same result."""

from hypothesis import given
from hypothesis import strategies as st

from statemachine.decide import decide
from statemachine.events import CallbackReceived
from statemachine.facts import Fact
from statemachine.rules import Rules
from statemachine.states import FINAL, LIVE
from statemachine.tasks import Lineage, TaskKey
from tests.support.hypothesis_effort import effort
from tests.support.times import T0
from tests.unit.statemachine.strategies import lineages

KEY = TaskKey(vendor="v", app_id="a", room_id="r", vendor_task_id="t", family="f")
NOW = T0 + 10_000_000_000


def heard(facts: list[Fact], rules: Rules) -> Lineage:
    lineage = Lineage(key=KEY)
    for n, fact in enumerate(facts):
        lineage = decide(lineage, CallbackReceived(fact=fact), NOW + n, lambda kind, params: rules).lineage
    return lineage


def outcome(lineage: Lineage) -> list[tuple]:
    words = ("state", "reason", "inferred", "files", "outputs", "running_at", "ended_at", "vendor_code", "zombie_at")
    return [(task.run, task.kind, *(getattr(task.view, word) for word in words)) for task in lineage.tasks]


@effort(750)
@given(lineages(), st.data())
def test_any_order_and_duplication_ends_the_same(drawn, data):
    rules, facts = drawn
    shuffled = data.draw(st.permutations(facts))
    doubled = [*shuffled, *data.draw(st.lists(st.sampled_from(facts), max_size=3))]
    assert outcome(heard(doubled, rules)) == outcome(heard(sorted(facts, key=lambda f: f.order), rules))


@effort(250)
@given(lineages(), st.data())
def test_a_set_heard_at_once_and_one_by_one_is_the_same(drawn, data):
    rules, facts = drawn
    last = data.draw(st.sampled_from(facts))
    rest = tuple(sorted((f for f in facts if f is not last), key=lambda f: f.order))
    at_once = decide(Lineage(key=KEY, facts=rest), CallbackReceived(fact=last), NOW, lambda kind, params: rules).lineage
    assert outcome(at_once) == outcome(heard(facts, rules))


@effort(250)
@given(lineages(), st.data())
def test_decide_is_deterministic(drawn, data):
    rules, facts = drawn
    before = heard(facts[:-1], rules)
    event = CallbackReceived(fact=facts[-1])
    assert decide(before, event, NOW, lambda k, p: rules) == decide(before, event, NOW, lambda k, p: rules)


@effort(500)
@given(lineages(), st.data())
def test_a_final_state_changes_only_by_a_move_that_says_it_corrects(drawn, data):
    rules, facts = drawn
    lineage = Lineage(key=KEY)
    for n, fact in enumerate(data.draw(st.permutations(facts))):
        decision = decide(lineage, CallbackReceived(fact=fact), NOW + n, lambda kind, params: rules)
        for change in decision.changes:
            was = change.before.view.state if change.before else None
            if was in FINAL and change.after.view.state is not was and change.after.merged_into is None:
                assert change.move is not None
                assert change.move.corrects
        lineage = decision.lineage


@effort(250)
@given(lineages())
def test_every_live_task_has_a_deadline_and_no_final_one_has(drawn):
    rules, facts = drawn
    for task in heard(facts, rules).tasks:
        assert bool(task.deadlines) == (task.view.state in LIVE)


@effort(250)
@given(lineages(), st.data())
def test_a_task_keeps_its_id_while_its_lineage_grows(drawn, data):
    rules, facts = drawn
    lineage, seen, merged = Lineage(key=KEY), set(), set()
    for n, fact in enumerate(data.draw(st.permutations(facts))):
        decision = decide(lineage, CallbackReceived(fact=fact), NOW + n, lambda kind, params: rules)
        lineage = decision.lineage
        seen |= {task.id for task in lineage.tasks}
        merged |= {change.after.id for change in decision.changes if change.after.merged_into}
    assert seen - merged == {task.id for task in lineage.tasks}


@effort(250)
@given(lineages(), st.data())
def test_versions_grow_by_one_with_each_visible_change(drawn, data):
    rules, facts = drawn
    lineage = Lineage(key=KEY)
    for n, fact in enumerate(data.draw(st.permutations(facts))):
        decision = decide(lineage, CallbackReceived(fact=fact), NOW + n, lambda kind, params: rules)
        for change in decision.changes:
            if change.before is not None:
                assert change.after.version - change.before.version == change.is_visible
        lineage = decision.lineage
