"""Verdicts on callbacks: applied, stale or anomaly (docs/tasks.md); and versions of tasks."""

import pytest

from statemachine.states import Verdict
from tests.unit.statemachine.lineage_scenario import URL, LineageScenario

APPLIED, STALE, ANOMALY = (Verdict.APPLIED, None), (Verdict.STALE, None), Verdict.ANOMALY


def push(story: LineageScenario, task_state: int, at: float, **data):
    return story.volc("TranscodeStateChanged", at, TaskState=task_state, Code=0, **data)


def said(decision):
    return decision.verdict, decision.reason


def test_news_is_applied():
    story = LineageScenario()
    assert said(push(story, 3, 0)) == APPLIED
    assert said(push(story, 2, 5)) == APPLIED


def test_a_newest_repeat_is_applied():
    story = LineageScenario()
    push(story, 3, 0)
    assert said(push(story, 3, 5)) == APPLIED


def test_what_a_newer_sign_superseded_is_stale():
    story = LineageScenario()
    push(story, 3, 0)
    push(story, 2, 10)
    assert said(push(story, 3, 5, received=11)) == STALE


def test_an_older_sign_that_tells_when_it_first_ran_is_applied():
    story = LineageScenario()
    push(story, 2, 10)
    assert said(push(story, 3, 5, received=11)) == APPLIED


def test_a_further_end_that_says_nothing_new_is_stale():
    story = LineageScenario()
    story.volc("TranscodeStopped", 0, Code=0)
    assert said(push(story, 1, 5, FinishTime=1_700_000_001_000)) == STALE


def test_an_end_of_a_better_rank_is_applied():
    story = LineageScenario()
    story.volc("TranscodeStopped", 0, Code=0)
    decision = story.volc("TranscodeStateChanged", 5, TaskState=1, Code=2, FinishTime=1_700_000_001_000)
    assert said(decision) == APPLIED
    assert story.ends == ["failed/bad_source"]


def test_timeline_events_are_applied_even_after_the_end():
    story = LineageScenario()
    push(story, 3, 0)
    story.volc("TranscodeStopped", 5, Code=0)
    assert said(story.volc("TranscodeUpdated", 1, received=9, Code=1)) == APPLIED


def test_a_sign_of_life_after_a_told_end_is_an_anomaly():
    story = LineageScenario()
    story.volc("TranscodeStopped", 0, Code=0)
    assert said(push(story, 3, 5)) == (ANOMALY, "zombie")


def test_an_end_that_makes_a_zombie_of_earlier_news_is_applied():
    story = LineageScenario()
    push(story, 3, 5)
    assert said(story.volc("TranscodeStopped", 0, received=9, Code=0)) == APPLIED


def test_a_failed_stop_of_a_living_task_is_an_anomaly():
    story = LineageScenario()
    push(story, 3, 0)
    assert said(story.volc("TranscodeStopped", 5, Code=1)) == (ANOMALY, "stop_failed")


def test_the_second_delivery_of_a_superseded_sign_is_stale_and_changes_nothing():
    story = LineageScenario()
    push(story, 3, 0)
    push(story, 2, 5)
    decision = story.repeat_callback(1)
    assert (said(decision), decision.changes) == (STALE, ())


def test_a_sign_older_than_an_inferred_end_is_stale():
    story = LineageScenario()
    story.volc("RelayStreamStateChanged", 5, Status=3)
    story.volc("RelayStreamStateChanged", 10, Status=1)
    story.pass_due(700)
    assert said(story.volc("RelayStreamStateChanged", 7, received=701, Status=3)) == STALE


def test_a_decision_names_its_task():
    story = LineageScenario()
    story.volc("RecordStarted", 0, Code=0)
    story.volc("RecordStopped", 5, Code=1)
    assert story.volc("RecordStarted", 10, Code=0).task_id == story.run(2).id


def test_withdrawing_the_only_news_of_a_task_is_ignored():
    story = LineageScenario()
    push(story, 3, 0)
    assert said(story.withdraw(1)) == (Verdict.IGNORED, "only_news_of_its_task")
    assert story.ends == ["running"]


# Versions.


def test_each_visible_change_is_a_version():
    story = LineageScenario()
    push(story, 3, 0, PushURL=URL)
    push(story, 2, 1, PushURL=URL)
    push(story, 3, 2, PushURL=URL)
    assert story.task.version == 3


def test_what_nobody_sees_is_no_version():
    story = LineageScenario()
    push(story, 3, 0)
    push(story, 3, 1)
    story.repeat_callback(1)
    assert story.task.version == 1


def test_changes_of_two_tasks_are_versions_of_both():
    story = LineageScenario()
    story.volc("RecordStarted", 0, Code=0)
    decision = story.volc("RecordStarted", 9, Code=0)
    assert [(change.before is not None, change.after.version) for change in decision.changes] == [(True, 2), (False, 1)]


@pytest.mark.parametrize("state", [2, 3])
def test_news_tells_when_the_task_was_updated(state):
    story = LineageScenario()
    push(story, 3, 0)
    push(story, state, 60)
    assert (story.task.updated_at == story.task.created_at) == (state == 3)
