"""A relay reports only its urls (event 401): their states, and the state of the task that follows."""

from itertools import permutations

import pytest

from statemachine.facts import Fact, FactKind, Output
from statemachine.states import Anomaly, Deadline, OutputState
from tests.unit.statemachine.lineage_scenario import LineageScenario, ms
from tests.unit.statemachine.strategies import ONE_RUN
from tests.unit.statemachine.test_order import heard

ENDED, CONNECTING, RUNNING, RECOVERING, FAILED, DISCONNECTING = range(6)


def relay(*statuses: tuple[str, int]) -> LineageScenario:
    story = LineageScenario()
    for second, (url, status) in enumerate(statuses):
        story.tencent(401, second, Url=url, Status=status, RoomId="r", UserId="robot")
    return story


@pytest.mark.parametrize(
    ("statuses", "state"),
    [
        ([("a", CONNECTING)], "accepted"),
        ([("a", CONNECTING), ("b", FAILED)], "accepted"),
        ([("a", CONNECTING), ("a", RUNNING), ("b", CONNECTING)], "running"),
        ([("a", RUNNING), ("a", RECOVERING)], "interrupted"),
        ([("a", RUNNING), ("a", CONNECTING)], "interrupted"),
        ([("a", RUNNING), ("a", RECOVERING), ("a", FAILED)], "interrupted"),
        ([("a", FAILED)], "interrupted"),
        ([("a", RUNNING), ("b", FAILED)], "running"),
        ([("a", RUNNING), ("a", DISCONNECTING)], "interrupted"),
        ([("a", RUNNING), ("b", RUNNING), ("a", ENDED)], "running"),
        ([("a", RUNNING), ("a", ENDED), ("b", CONNECTING)], "interrupted"),
    ],
)
def test_outputs_make_the_state(statuses, state):
    assert relay(*statuses).ends == [state]


@pytest.mark.parametrize(
    ("statuses", "end"),
    [
        ([("a", RUNNING), ("a", ENDED)], "stopped/unstated?"),
        ([("a", RUNNING), ("a", DISCONNECTING), ("a", ENDED)], "stopped/unstated?"),
        ([("a", FAILED), ("a", ENDED)], "failed/vendor_error?"),
        ([("a", FAILED), ("a", ENDED), ("a", ENDED)], "failed/vendor_error?"),
        ([("a", FAILED), ("a", ENDED), ("b", RUNNING), ("b", ENDED)], "stopped/unstated?"),
        ([("a", FAILED), ("a", ENDED), ("b", FAILED), ("b", ENDED)], "failed/vendor_error?"),
        ([("a", FAILED), ("a", CONNECTING), ("a", ENDED)], "stopped/unstated?"),
    ],
)
def test_when_all_outputs_ended_the_task_did(statuses, end):
    assert relay(*statuses).ends == [end]


def test_a_further_output_takes_the_inferred_end_back():
    story = relay(("a", FAILED), ("a", ENDED))
    story.tencent(401, 60, Url="b", Status=RUNNING)
    assert story.ends == ["running"]
    assert story.task.anomalies == ()
    assert story.outputs == {"a": "ended", "b": "running"}


def test_outputs_are_known_in_any_order_of_arrival():
    told = [("a", CONNECTING, 0), ("a", RUNNING, 5), ("b", FAILED, 5), ("a", RECOVERING, 9)]
    for order in permutations(told):
        story = LineageScenario()
        for url, status, at in order:
            story.tencent(401, at, received=10, Url=url, Status=status)
        assert story.outputs == {"a": "recovering", "b": "failed"}
        assert story.ends == ["interrupted"]


@pytest.mark.parametrize(
    ("earlier", "later"),
    [(CONNECTING, RECOVERING), (RECOVERING, RUNNING), (RUNNING, FAILED), (FAILED, DISCONNECTING), (DISCONNECTING, ENDED)],
)
def test_at_equal_times_outputs_have_an_order(earlier, later):
    stories = [LineageScenario(), LineageScenario()]
    for story, order in zip(stories, [(earlier, later), (later, earlier)], strict=True):
        for status in order:
            story.tencent(401, 0, Url="a", Status=status)
    assert stories[0].outputs == stories[1].outputs == relay(("a", later)).outputs


def test_an_interrupted_relay_is_looked_at_again_and_again():
    story = relay(("a", RUNNING), ("a", RECOVERING), ("a", RECOVERING))
    assert story.due[Deadline.RECOVERY] == 1 + 90
    assert story.pass_due(100) == [Deadline.RECOVERY]
    assert story.due[Deadline.RECOVERY] == 100 + 300
    assert story.ends == ["interrupted"]


def test_the_vendors_words_about_an_output_are_the_tasks():
    story = LineageScenario()
    story.tencent(401, 0, Url="a", Status=FAILED, ErrorCode=7, ErrorMsg="refused by the CDN")
    assert (story.task.view.vendor_code, story.task.view.vendor_message) == ("7", "refused by the CDN")


# With our own stop.


def fact(kind: FactKind, at: float, url: str = "a", state: OutputState | None = None) -> Fact:
    output = None if state is None else Output(url=url, state=state)
    return Fact(kind=kind, at=ms(at), received_at=ms(at), key=f"{kind}@{at}", output=output)


STOPPED = [
    fact(FactKind.OUTPUT, 0, state=OutputState.RUNNING),
    fact(FactKind.STOP_ASKED, 1),
    fact(FactKind.STOP_ACCEPTED, 2),
    fact(FactKind.OUTPUT, 3, state=OutputState.DISCONNECTING),
    fact(FactKind.OUTPUT, 4, state=OutputState.ENDED),
]


@pytest.mark.parametrize(("known", "state"), [(1, "running"), (2, "stopping"), (3, "stopping"), (4, "stopping"), (5, "stopped")])
def test_a_stop_of_ours_is_stopping_until_all_outputs_ended(known, state):
    assert heard(STOPPED[:known], ONE_RUN).tasks[0].view.state == state


def test_outputs_that_ended_after_an_accepted_stop_were_requested_to():
    view = heard(STOPPED, ONE_RUN).tasks[0].view
    assert (view.reason, view.inferred) == ("stop_requested", False)


@pytest.mark.parametrize("life_first", [True, False])
def test_an_output_that_runs_after_an_accepted_stop_ended_all_is_a_zombie(life_first):
    life = fact(FactKind.OUTPUT, 9, state=OutputState.RUNNING)
    task = heard([life, *STOPPED] if life_first else [*STOPPED, life], ONE_RUN).tasks[0]
    assert task.view.state == "stopped"
    assert task.anomalies == (Anomaly.ZOMBIE,)


def test_an_output_that_goes_away_after_that_end_opens_nothing_again():
    gone = fact(FactKind.OUTPUT, 9, url="b", state=OutputState.DISCONNECTING)
    task = heard([*STOPPED, gone], ONE_RUN).tasks[0]
    assert (task.view.state, task.view.reason, task.anomalies) == ("stopped", "stop_requested", ())
