"""Runs and their tasks: ids, run numbers, merging."""

from itertools import permutations

import pytest

from statemachine.decide import decide
from statemachine.events import CallbackReceived
from statemachine.facts import Fact, FactKind
from statemachine.rules import Rules
from statemachine.states import State
from statemachine.tasks import Lineage, earliest_id, new_id, task_id
from tests.unit.statemachine.lineage_scenario import LineageScenario, ms, state_in_words
from tests.unit.statemachine.test_order import KEY

RUNS = [
    ("RecordStarted", 0, {"Code": 0}),
    ("RecordStopped", 10, {"Code": 1}),
    ("RecordStarted", 20, {"Code": 0}),
    ("RecordStopped", 30, {"Code": 0, "RecordFileList": []}),
]


def push(story: LineageScenario, task_state: int, at: float, *, start: float | None = None, **data):
    created = {} if start is None else {"StartTime": ms(start)}
    return story.volc("TranscodeStateChanged", at, TaskState=task_state, Code=0, **created, **data)


@pytest.mark.parametrize("order", list(permutations(range(4))))
def test_runs_are_numbered_by_start_in_any_order_of_arrival(order):
    story = LineageScenario()
    for index in order:
        event, at, data = RUNS[index]
        story.volc(event, at, received=100, **data)
    assert [(task.run, state_in_words(task)) for task in story.tasks] == [(1, "failed/vendor_error"), (2, "completed/no_files")]


def test_a_task_keeps_its_id_when_an_older_run_is_found():
    story = LineageScenario()
    story.volc("RecordStarted", 20, Code=0)
    first = story.task.id
    story.volc("RecordStopped", 10, received=30, Code=1)
    assert (story.run(2).id, story.run(2).view.state) == (first, State.RUNNING)


def test_a_task_stays_with_the_fact_that_made_it():
    story = LineageScenario()
    story.volc("RecordStarted", 0, Code=0)
    story.volc("RecordStopped", 30, Code=0, RecordFileList=[])
    first = story.task.id
    story.volc("RecordStarted", 20, received=40, Code=0)
    assert story.run(1).id == first
    assert story.ends == ["stopped/unstated?", "completed/no_files"]


def test_a_final_task_whose_end_was_another_runs_is_corrected():
    story = LineageScenario()
    story.volc("TranscodeStarted", 0, Code=0)
    story.volc("TranscodeStopped", 30, Code=0)
    push(story, 3, 40, start=20)
    assert story.ends == ["stopped/unstated?", "stopped/unstated"]
    assert not story.changes[-2].move or story.changes[-2].move.corrects


def test_runs_that_turn_out_to_be_one_are_merged_into_the_older_task():
    story = LineageScenario()
    story.volc("TranscodeStarted", 10, Code=1)
    story.volc("TranscodeStarted", 20, Code=0)
    older, younger = story.tasks
    decision = push(story, 3, 15, received=30)
    assert story.task.id == older.id
    merged = next(change.after for change in decision.changes if change.after.id == younger.id)
    assert (merged.merged_into, merged.deadlines, merged.version) == (older.id, {}, younger.version + 1)


def test_of_two_tasks_that_are_one_the_managed_one_stays():
    intent = Fact(kind=FactKind.INTENT, at=ms(20), received_at=ms(20), key="ours")
    refused = Fact(kind=FactKind.REFUSED, at=ms(10), received_at=ms(10), key="refused")
    media = Fact(kind=FactKind.MEDIA, at=ms(15), received_at=ms(30), key="media")
    lineage = Lineage(key=KEY)
    for number, fact in enumerate([refused, intent]):
        lineage = decide(lineage, CallbackReceived(fact=fact), ms(20) + number, lambda kind, params: Rules()).lineage
    managed = lineage.tasks[1]
    decision = decide(lineage, CallbackReceived(fact=media), ms(30), lambda kind, params: Rules())
    assert [task.id for task in decision.lineage.tasks] == [managed.id]


def test_a_task_whose_first_news_was_a_callback_is_observed():
    story = LineageScenario()
    push(story, 3, 0)
    assert (story.task.origin, story.task.run, story.task.version) == ("observed", 1, 1)


def test_a_replay_that_takes_away_the_first_news_leaves_the_task_its_id():
    story = LineageScenario()
    push(story, 3, 0)
    push(story, 2, 10)
    first = story.task.id
    story.withdraw(1)
    assert (story.task.id, story.ends) == (first, ["interrupted"])
    push(story, 3, 20)
    assert (story.task.id, story.ends) == (first, ["running"])


def test_ids_sort_by_time_and_are_the_same_each_time():
    assert task_id(KEY, "a", 5) == task_id(KEY, "a", 5)
    assert task_id(KEY, "z", 5) < task_id(KEY, "a", 6)
    assert task_id(KEY, "a", 5) != task_id(KEY, "b", 5)
    assert len(task_id(KEY, "a", 5)) == 26


def test_ids_of_what_is_no_task_have_the_same_form():
    assert len(new_id(5, 2**80 - 1)) == 26
    assert new_id(5, 0) == earliest_id(5)
    assert new_id(5, 7) < new_id(5, 2**80 - 1) < new_id(6, 0)


def test_a_push_and_a_recording_of_one_id_are_two_keys():
    stories = [LineageScenario(), LineageScenario()]
    stories[0].volc("RecordStarted", 0, Code=0)
    stories[1].volc("TranscodeStarted", 0, Code=0)
    assert len({story.task.key for story in stories}) == 2
    assert {story.task.kind for story in stories} == {"record", "push"}
