"""Update calls: made, retried, queued and superseded."""

import pytest

from statemachine.calls import CallOutcome
from statemachine.states import Deadline, Kind
from tests.unit.statemachine.managed_lineage import START, STOP, UPDATE, ManagedLineage, running

CALL_RETRY = Deadline.CALL_RETRY


def updating(**policy) -> ManagedLineage:
    story = running(policy=policy)
    story.update(10, a=1)
    assert (story.under_way, story.pending_call(UPDATE).params) == ([UPDATE], {"a": 1})
    return story


@pytest.mark.parametrize("outcome", [CallOutcome.ACCEPTED, CallOutcome.ALREADY_GONE, CallOutcome.REFUSED])
def test_an_answer_settles_an_update_and_moves_nothing(outcome):
    story = updating()
    before = story.task.view
    story.answer(UPDATE, outcome, 11)
    assert (story.task.view, story.task.calls) == (before, {})


@pytest.mark.parametrize("outcome", [CallOutcome.RETRY, CallOutcome.THROTTLED, CallOutcome.NOT_MADE])
def test_an_update_that_fails_retryably_is_called_again_with_its_parameters(outcome):
    story = updating()
    story.answer(UPDATE, outcome, 11)
    story.advance_to(CALL_RETRY)
    assert (story.under_way, story.pending_call(UPDATE).params) == ([UPDATE], {"a": 1})


def test_an_update_is_given_up_after_as_many_attempts_as_a_start():
    story = updating(start={"max_attempts": 3})
    while UPDATE in story.under_way:
        story.answer(UPDATE, CallOutcome.RETRY)
        if CALL_RETRY in story.due:
            story.advance_to(CALL_RETRY)
    assert (story.end, story.call_count(UPDATE), story.task.calls) == ("running", 3, {})


def test_an_update_is_given_up_after_as_long_as_a_start():
    story = updating()
    story.answer(UPDATE, CallOutcome.RETRY, 700)
    assert (story.end, story.task.calls) == ("running", {})


def test_the_newest_of_the_updates_that_come_meanwhile_follows():
    story = updating()
    story.update(11, a=2)
    story.update(12, a=3)
    assert (story.under_way, story.call_count(UPDATE)) == ([UPDATE], 1)
    story.answer(UPDATE, CallOutcome.ACCEPTED, 13)
    assert (story.under_way, story.pending_call(UPDATE).params) == ([UPDATE], {"a": 3})
    story.answer(UPDATE, CallOutcome.ACCEPTED, 14)
    assert story.call_count(UPDATE) == 2


def test_an_update_that_failed_is_not_tried_again_once_another_one_waits():
    story = updating()
    story.update(11, a=2)
    story.answer(UPDATE, CallOutcome.RETRY, 12)
    assert (story.under_way, story.pending_call(UPDATE).params) == ([UPDATE], {"a": 2})


def test_an_update_that_waits_for_its_next_attempt_is_superseded():
    story = updating()
    story.answer(UPDATE, CallOutcome.RETRY, 11, retry_after_s=30)
    story.update(12, a=2)
    assert (story.under_way, story.pending_call(UPDATE).params) == ([UPDATE], {"a": 2})
    assert CALL_RETRY not in story.due


def test_an_update_waits_for_what_becomes_of_the_start():
    story = ManagedLineage()
    story.start(0)
    story.update(1, a=1)
    assert story.under_way == [START]
    story.update(2, a=2)
    story.answer(START, CallOutcome.ACCEPTED, 3)
    assert (story.under_way, story.pending_call(UPDATE).params) == ([UPDATE], {"a": 2})


def test_an_update_waits_for_the_vendors_id():
    story = ManagedLineage("tencent")
    story.start(0)
    story.update(1, a=1)
    story.answer(START, CallOutcome.AMBIGUOUS, 2, sent=0)
    assert story.under_way == []
    story.answer(START, CallOutcome.ACCEPTED, 3, serial=1, sent=0, task="t")
    assert story.under_way == [UPDATE]


def test_an_update_that_waits_is_dropped_when_its_start_fails():
    story = ManagedLineage()
    story.start(0)
    story.update(1, a=1)
    story.answer(START, CallOutcome.REFUSED, 3)
    assert (story.call_count(UPDATE), story.task.calls) == (0, {})


def test_an_update_and_a_stop_do_not_wait_for_each_other():
    story = updating()
    story.stop(11)
    assert story.under_way == [UPDATE, STOP]


def test_an_end_drops_an_update():
    story = updating()
    story.volc("TranscodeStopped", 11, Code=0)
    assert UPDATE not in story.task.calls
    assert [drop.serial for drop in story.cancelled_calls] == [2]


def test_what_has_ended_is_not_updated():
    story = running(kind=Kind.PAGE)
    story.volc("Webcast", 5, Status=2)
    story.update(10, a=1)
    assert story.call_count(UPDATE) == 0


def test_an_update_that_waits_is_tried_now_when_somebody_asks():
    story = updating()
    story.answer(UPDATE, CallOutcome.THROTTLED, 11, retry_after_s=100)
    story.retry(12)
    assert story.under_way == [UPDATE]


def test_a_late_answer_to_an_update_says_nothing():
    story = updating()
    story.lose_answer(UPDATE, 40)
    before = story.task
    story.answer(UPDATE, CallOutcome.ACCEPTED, 41, serial=2, sent=10)
    assert story.task == before
