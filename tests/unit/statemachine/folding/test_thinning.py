"""Thinning: of very many facts of a run those stay that its view depends on; only very late facts may be folded differently."""

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from statemachine.decide import decide
from statemachine.events import CallbackReceived
from statemachine.facts import Fact
from statemachine.folding import thinning
from statemachine.folding.archiving import MAX_OPEN_RUNS
from statemachine.folding.output_limits import MAX_OUTPUTS
from statemachine.folding.thinning import MAX_FACTS, STRIDE
from statemachine.rules import Rules
from statemachine.states import Anomaly
from statemachine.tasks import Lineage
from tests.support.hypothesis_effort import effort
from tests.unit.statemachine.lineage_scenario import LineageScenario
from tests.unit.statemachine.strategies import FAMILIES, lineages
from tests.unit.statemachine.test_order import KEY, NOW

#: As a limit of facts: none.
NEVER = 10**9


@contextmanager
def limits(most: int, tail: int) -> Iterator[None]:
    """Thins runs of more than `most` facts at each fact, and keeps the newest `tail`."""
    old = most if most == NEVER else tail
    with patch.multiple(thinning, MAX_FACTS=most, STRIDE=1, TAIL=tail, OLD_TAIL=tail, OLD_MAX_FACTS=old):
        yield


def stand(lineage: Lineage) -> list[tuple]:
    """Returns everything visible of the tasks; accepted stops beyond those needed for an inferred end may be uncounted."""
    return [
        (task.run, task.id, task.kind, task.origin, task.anomalies, task.deadlines, thinning._comparable_view(task.view))
        for task in lineage.tasks
    ]


def courses(facts: Sequence[Fact], rules: Rules) -> tuple[list[list[tuple]], Lineage]:
    """Returns the visible tasks after each of these facts, and the lineage at the end."""
    lineage, seen = Lineage(key=KEY), []
    for number, fact in enumerate(facts):
        lineage = decide(lineage, CallbackReceived(fact=fact), NOW + number, lambda kind, params: rules).lineage
        seen.append(stand(lineage))
    return seen, lineage


def in_windows(facts: Sequence[Fact], size: int, data: st.DataObject) -> list[Fact]:
    """Returns the facts in order, except that a fact may arrive after up to `size` newer ones."""
    places = [index + data.draw(st.integers(0, size)) for index in range(len(facts))]
    return [fact for _, fact in sorted(zip(places, facts, strict=True), key=lambda pair: pair[0])]


@effort(80)
@given(lineages(FAMILIES, 40))
def test_facts_in_order_give_the_same_views_at_each_step(drawn):
    rules, facts = drawn
    ordered = sorted(facts, key=lambda fact: fact.order)
    with limits(NEVER, NEVER):
        expected, _ = courses(ordered, rules)
    with limits(10, 4):
        views, _ = courses(ordered, rules)
    assert views == expected


@effort(80)
@given(lineages(FAMILIES, 40), st.data())
def test_facts_a_little_late_give_the_same_views_at_each_step(drawn, data):
    """Late by fewer facts than the newest ones that are always kept."""
    rules, facts = drawn
    arrived = in_windows(sorted(facts, key=lambda fact: fact.order), 6, data)
    with limits(NEVER, NEVER):
        expected, _ = courses(arrived, rules)
    with limits(14, 8):
        views, _ = courses(arrived, rules)
    assert views == expected


@effort(60)
@given(lineages(FAMILIES, 40), st.data())
def test_a_repeated_fact_changes_nothing(drawn, data):
    """Every fact is replayed after most of them were dropped."""
    rules, facts = drawn
    ordered = sorted(facts, key=lambda fact: fact.order)
    with limits(10, 4):
        views, lineage = courses(ordered, rules)
        for number, fact in enumerate(ordered):
            event = CallbackReceived(fact=fact, replaces=fact.source)
            lineage = decide(lineage, event, NOW + len(facts) + number, lambda kind, params: rules).lineage
    assert [parts[-1] for parts in stand(lineage)] == [parts[-1] for parts in views[-1]]


# Thousands of facts, with the real limits.


def flap(story: LineageScenario, second: int) -> None:
    story.volc("TranscodeStateChanged", second, TaskState=2 + second % 2, Code=0)


def flap_in_new_words(story: LineageScenario, second: int) -> None:
    story.volc("TranscodeStateChanged", second, TaskState=2 + second % 2, Code=0, ErrorMessage=f"attempt {second}")


def outputs_come_and_go(story: LineageScenario, second: int) -> None:
    story.tencent(401, second, Url="ab"[second % 2], Status=(1, 2, 3, 4)[second // 2 % 4])


def ever_new_outputs(story: LineageScenario, second: int) -> None:
    story.tencent(401, second, Url=f"rtmp://a/{second}", Status=2)


def relay_comes_and_goes(story: LineageScenario, second: int) -> None:
    story.volc("RelayStreamStateChanged", second, Status=1 + second % 2)


def stop_fails(story: LineageScenario, second: int) -> None:
    story.volc("TranscodeStateChanged", second, TaskState=(2, 3, 4)[second % 3], Code=0)


def ends_again_and_again(story: LineageScenario, second: int) -> None:
    story.volc("TranscodeStateChanged", second, TaskState=1, Code=second % 3, FinishTime=0)


def runs_again_and_again(story: LineageScenario, second: int) -> None:
    if second % 2:
        story.volc("RelayStreamStateChanged", second, Status=4, Reason=3)
    else:
        story.volc("RelayStreamStateChanged", second, Status=1)


STREAMS = [
    flap,
    flap_in_new_words,
    outputs_come_and_go,
    ever_new_outputs,
    relay_comes_and_goes,
    stop_fails,
    ends_again_and_again,
    runs_again_and_again,
]


@pytest.mark.parametrize("stream", STREAMS)
def test_few_facts_are_kept_of_any_number_of_callbacks(stream):
    """The cost of a callback does not grow: this counts the facts that each one sorts, cuts and folds."""
    story, most = LineageScenario(), 0
    for second in range(300):
        stream(story, second)
        most = max(most, len(story.lineage.facts))
    assert most <= MAX_FACTS + STRIDE + 2 * MAX_OUTPUTS + 2 * MAX_OPEN_RUNS


@pytest.mark.parametrize("stream", [stream for stream in STREAMS if stream not in (ever_new_outputs, runs_again_and_again)])
def test_hundreds_of_facts_give_the_same_views_as_if_all_were_kept(stream):
    bounded, unbounded = LineageScenario(), LineageScenario()
    for second in range(260):
        stream(bounded, second)
        with limits(NEVER, NEVER):
            stream(unbounded, second)
        if second % 10 == 0:
            assert stand(bounded.lineage) == stand(unbounded.lineage)
    assert len(bounded.lineage.facts) <= len(unbounded.lineage.facts)


@pytest.mark.parametrize("stream", [flap, flap_in_new_words, relay_comes_and_goes])
def test_facts_in_any_order_give_the_same_views_in_the_end(stream):
    """Facts later than those always kept: a view depends on the first and last fact of each signature, and on the newest few."""
    seconds = list(range(400))
    in_order = LineageScenario()
    for second in seconds:
        stream(in_order, second)
    for seed in range(2):
        random.Random(seed).shuffle(seconds)
        shuffled = LineageScenario()
        for second in seconds:
            stream(shuffled, second)
        words = ("state", "reason", "accepted_at", "running_at", "idle_since", "interrupted_since", "evidence_at")
        views, expected = ([getattr(story.task.view, word) for word in words] for story in (shuffled, in_order))
        assert views == expected


@pytest.mark.parametrize("at", [-0.5, 3.5, 150.5, 235.5, 258.5])
def test_a_late_end_ends_the_task_at_its_own_time(at):
    """Dropped facts cost one thing: `zombie_since` may be later than it was."""
    bounded, unbounded = LineageScenario(), LineageScenario()
    for second in range(260):
        flap(bounded, second)
        with limits(NEVER, NEVER):
            flap(unbounded, second)
    ended = {"TaskState": 1, "Code": 0, "FinishTime": 1}
    bounded.volc("TranscodeStateChanged", at, received=300, **ended)
    with limits(NEVER, NEVER):
        unbounded.volc("TranscodeStateChanged", at, received=300, **ended)
    assert bounded.ends == unbounded.ends == ["stopped/unstated"]
    assert bounded.task.anomalies == unbounded.task.anomalies == (Anomaly.ZOMBIE,)
    assert bounded.task.view.zombie_at == unbounded.task.view.zombie_at
    assert bounded.task.view.zombie_since >= unbounded.task.view.zombie_since
