"""Stop calls: at once, after a start, retried without limit, confirmed (docs/deadlines.md, `stop_confirm`)."""

import pytest

from statemachine.calls import CallOutcome, Sign
from statemachine.commands import CancelCall
from statemachine.states import Anomaly, Deadline, Kind, State
from tests.unit.statemachine.lineage_scenario import DAY_S, ms
from tests.unit.statemachine.managed_lineage import INSPECT, START, STOP, ManagedLineage, accepted, receive_media_sign, running

CALL_RETRY, START_RETRY, STOP_CONFIRM = Deadline.CALL_RETRY, Deadline.START_RETRY, Deadline.STOP_CONFIRM
ASKED = "stopped/stop_requested"
FAILURES = [CallOutcome.RETRY, CallOutcome.THROTTLED, CallOutcome.NOT_MADE]


def asked(vendor: str = "volcengine", kind: Kind = Kind.PUSH, **start) -> ManagedLineage:
    story = ManagedLineage(vendor, kind)
    story.start(0, **start)
    return story


def stopping(vendor: str = "volcengine", kind: Kind = Kind.PUSH, **more) -> ManagedLineage:
    """Returns a running task whose stop the vendor accepted at 11 s."""
    story = running(vendor, kind, **more)
    story.stop(10)
    story.answer(STOP, at=11)
    return story


# Before anything was sent.


def test_a_stop_before_anything_was_sent_ends_it_at_once_and_drops_its_start():
    story = asked()
    story.stop(5)
    assert (story.end, story.task.view.ended_at) == (ASKED, ms(5))
    assert story.cancelled_calls == [CancelCall(task_id=story.task.id, serial=1, unsent=True)]
    assert (story.due, story.task.calls) == ({}, {})


@pytest.mark.parametrize("outcome", FAILURES)
def test_a_stop_of_a_start_that_waits_after_it_did_not_happen_ends_it_at_once(outcome):
    story = asked()
    story.answer(START, outcome, 0, retry_after_s=100)
    story.stop(5)
    assert (story.end, story.cancelled_calls, story.due) == (ASKED, [], {})


def test_a_task_that_ended_before_anything_was_sent_is_no_doubt():
    story = asked()
    story.stop(5)
    assert not story.task.view.inferred


# While its start is on the wire.


def on_the_wire(vendor: str = "volcengine", kind: Kind = Kind.PUSH, **start) -> ManagedLineage:
    story = asked(vendor, kind, **start)
    story.stop(5, taken=True)
    return story


@pytest.mark.parametrize("vendor", ["volcengine", "tencent"])
def test_a_stop_waits_while_the_start_is_on_the_wire(vendor):
    story = on_the_wire(vendor)
    assert (story.end, story.under_way) == ("stopping", [START])


@pytest.mark.parametrize(("vendor", "task"), [("volcengine", None), ("tencent", "t")])
def test_stop_is_called_once_the_start_is_accepted(vendor, task):
    story = on_the_wire(vendor)
    story.answer(START, CallOutcome.ACCEPTED, 6, task=task)
    assert (story.end, story.under_way) == ("stopping", [STOP])


@pytest.mark.parametrize("outcome", [*FAILURES, CallOutcome.REFUSED])
def test_a_start_that_did_not_happen_is_stopped_without_a_call(outcome):
    story = on_the_wire()
    story.answer(START, outcome, 6)
    assert (story.end, story.call_count(STOP), story.due) == (ASKED, 0, {})


def test_an_ambiguous_start_of_an_id_of_ours_is_settled_by_the_stop():
    story = on_the_wire()
    story.answer(START, CallOutcome.AMBIGUOUS, 10, sent=0)
    assert (story.end, story.under_way) == ("stopping", [STOP])


@pytest.mark.parametrize("kind", [Kind.PUSH, Kind.RECORD, Kind.INGEST, Kind.PAGE])
def test_an_ambiguous_start_of_a_minted_id_is_not_repeated_after_a_stop(kind):
    story = on_the_wire("tencent", kind)
    story.answer(START, CallOutcome.AMBIGUOUS, 10, sent=0)
    story.advance(599)
    assert (story.end, story.call_count(START), story.call_count(STOP)) == ("stopping", 1, 0)


def test_a_start_that_stays_ambiguous_after_a_stop_is_unknown():
    story = on_the_wire("tencent")
    story.answer(START, CallOutcome.AMBIGUOUS, 10, sent=0)
    story.advance(600)
    assert (story.end, story.due) == ("failed/start_unknown?", {})


def test_a_start_that_is_adopted_after_a_stop_is_stopped():
    story = on_the_wire("tencent")
    story.answer(START, CallOutcome.AMBIGUOUS, 10, sent=0)
    heard = ManagedLineage("tencent")
    receive_media_sign(heard, 3)
    story.name(into=heard)
    assert (story.end, story.under_way) == ("stopping", [STOP])


def test_a_stop_of_an_ambiguous_start_that_waits_is_called_at_once():
    story = asked()
    story.answer(START, CallOutcome.AMBIGUOUS, 10, sent=0)
    story.stop(10)
    assert (story.under_way, START_RETRY in story.due) == ([STOP], False)


def test_no_start_is_tried_once_a_stop_was_asked_for():
    story = on_the_wire("tencent", Kind.RECORD)
    story.answer(START, CallOutcome.AMBIGUOUS, 10, sent=0)
    story.retry(20)
    story.advance(DAY_S)
    assert story.call_count(START) == 1


def test_the_late_answer_to_an_earlier_start_calls_no_stop_while_a_repeated_one_is_on_the_wire():
    story = asked()
    story.lose_answer(START, 30)
    story.advance_to(START_RETRY)
    story.stop(32, taken=True)
    story.answer(START, CallOutcome.ACCEPTED, 33, serial=1, sent=0)
    assert story.under_way == [START]
    story.answer(START, CallOutcome.ALREADY_THERE, 34)
    assert (story.end, story.under_way) == ("stopping", [STOP])


@pytest.mark.parametrize("outcome", [CallOutcome.RETRY, CallOutcome.REFUSED, CallOutcome.AMBIGUOUS])
def test_whatever_becomes_of_a_repeated_start_the_one_that_was_accepted_is_stopped(outcome):
    story = asked()
    story.lose_answer(START, 30)
    story.advance_to(START_RETRY)
    story.stop(32, taken=True)
    story.answer(START, CallOutcome.ACCEPTED, 33, serial=1, sent=0)
    story.answer(START, outcome, 34, serial=2)
    assert (story.end, story.under_way) == ("stopping", [STOP])


def test_a_stop_waits_for_the_answer_of_a_start_that_callbacks_show():
    story = asked()
    receive_media_sign(story, 2)
    story.stop(5, taken=True)
    assert (story.end, story.under_way) == ("stopping", [START])
    story.answer(START, CallOutcome.ACCEPTED, 6)
    assert story.under_way == [STOP]


# Called.


@pytest.mark.parametrize("vendor", ["volcengine", "tencent"])
def test_a_running_task_is_stopped_by_a_call(vendor):
    story = running(vendor)
    story.stop(10)
    assert (story.end, story.under_way) == ("stopping", [STOP])


def test_a_task_is_stopping_until_its_end_is_told_whatever_signs_of_life_say():
    story = stopping()
    receive_media_sign(story, 12)
    assert story.end == "stopping"
    story.volc("TranscodeStopped", 13, Code=0)
    assert (story.end, story.due) == (ASKED, {})


def test_a_stop_that_is_asked_for_twice_is_called_once():
    story = running()
    story.stop(10)
    story.stop(11)
    assert (story.under_way, story.call_count(STOP)) == ([STOP], 1)


def test_an_end_that_is_told_drops_a_stop_that_waits_for_its_turn():
    story = running()
    story.stop(10)
    story.volc("TranscodeStopped", 11, Code=0)
    assert (story.end, story.under_way) == (ASKED, [])
    assert [drop.unsent for drop in story.cancelled_calls] == [False]


def test_a_stop_while_files_are_on_their_way_calls_nothing():
    story = running(kind=Kind.RECORD)
    story.volc("RecordStopped", 5, Code=0, RecordFileList=[{"ObjectKey": "a"}])
    story.stop(10)
    assert (story.end, story.call_count(STOP)) == ("finishing", 0)


def test_a_task_without_an_account_is_not_called():
    story = ManagedLineage(rules={"callable": False, "askable": False})
    receive_media_sign(story, 0)
    story.stop(10)
    assert (story.end, story.made_calls) == ("stopping", [])


def test_a_stop_of_an_inferred_end_is_called():
    story = running()
    story.mark(State.LOST, at=5)
    story.stop(10)
    assert story.under_way == [STOP]


# call_retry


@pytest.mark.parametrize("outcome", FAILURES)
def test_a_stop_that_fails_retryably_is_called_again(outcome):
    story = running()
    story.stop(10)
    story.answer(STOP, outcome, 11)
    assert story.under_way == []
    story.advance_to(CALL_RETRY)
    assert story.under_way == [STOP]


def test_a_stop_honours_the_vendors_hint():
    story = running()
    story.stop(10)
    story.answer(STOP, CallOutcome.THROTTLED, 11, retry_after_s=30)
    assert story.due[CALL_RETRY] == 41


def test_a_stop_that_fails_for_ten_minutes_is_told_and_called_on_without_a_limit():
    story = running()
    story.stop(10)
    while story.call_count(STOP) < 100:
        story.answer(STOP, CallOutcome.RETRY)
        told = Anomaly.STOP_UNCONFIRMED in story.task.anomalies
        assert told == (story._now - ms(10) >= 600_000)
        story.advance_to(CALL_RETRY)
    assert (story.end, told) == ("stopping", True)


def test_a_stop_that_waits_is_called_now_when_somebody_asks():
    story = running()
    story.stop(10)
    story.answer(STOP, CallOutcome.THROTTLED, 11, retry_after_s=100)
    story.retry(12)
    assert story.under_way == [STOP]


def test_a_stop_that_waits_is_called_now_when_it_is_asked_for_again():
    story = running()
    story.stop(10)
    story.answer(STOP, CallOutcome.THROTTLED, 11, retry_after_s=100)
    story.stop(12)
    assert story.under_way == [STOP]


def test_a_refused_stop_is_told_and_not_called_again():
    story = running()
    story.stop(10)
    story.answer(STOP, CallOutcome.REFUSED, 11)
    assert (story.end, story.task.anomalies, story.task.calls) == ("stopping", (Anomaly.STOP_UNCONFIRMED,), {})


def test_a_refused_stop_can_be_asked_for_again():
    story = running()
    story.stop(10)
    story.answer(STOP, CallOutcome.REFUSED, 11)
    story.stop(12)
    assert story.under_way == [STOP]


def test_a_retry_does_not_hide_that_a_stop_was_refused():
    story = running()
    story.stop(10)
    story.answer(STOP, CallOutcome.REFUSED, 11)
    story.retry(12)
    assert STOP in story.under_way or Anomaly.STOP_UNCONFIRMED in story.task.anomalies


# Gone.


def test_a_stop_of_a_gone_task_asks_how_it_ended():
    story = running()
    story.stop(10)
    story.answer(STOP, CallOutcome.ALREADY_GONE, 11)
    assert (story.end, story.under_way) == ("stopping", [INSPECT])
    story.inspected(Sign.GONE, 12)
    assert (story.end, story.due) == (f"{ASKED}?", {})


def test_a_stop_of_a_gone_task_that_cannot_be_asked_has_stopped_it():
    story = running("tencent")
    story.stop(10)
    story.answer(STOP, CallOutcome.ALREADY_GONE, 11)
    assert (story.end, story.task.view.ended_at, story.due) == (f"{ASKED}?", ms(11), {})


def test_a_stop_of_what_has_ended_meanwhile_says_nothing():
    story = running()
    story.stop(10)
    story.volc("TranscodeStopped", 11, Code=0)
    before = story.task
    story.answer(STOP, CallOutcome.ALREADY_GONE, 12, serial=2)
    assert story.task == before


# stop_confirm


def test_an_accepted_stop_is_confirmed_after_a_minute():
    story = stopping()
    assert story.due[STOP_CONFIRM] == 71
    story.advance(71)
    assert (story.end, story.under_way) == ("stopping", [INSPECT])


@pytest.mark.parametrize("sign", [Sign.GONE, Sign.ENDED])
def test_a_stop_that_is_confirmed_ends_it(sign):
    story = stopping()
    story.advance(71)
    story.inspected(sign, 72)
    assert (story.end, story.task.view.ended_at, story.due) == (f"{ASKED}?", ms(11), {})


@pytest.mark.parametrize("sign", [Sign.RUNNING, Sign.ALIVE, Sign.NO_MEDIA, Sign.CONNECTING, Sign.ACCEPTED])
def test_a_task_that_lives_after_its_stop_is_stopped_again(sign):
    story = stopping()
    story.advance(71)
    story.inspected(sign, 72)
    assert (story.end, story.under_way) == ("stopping", [STOP])
    story.answer(STOP, at=73)
    assert story.due[STOP_CONFIRM] == 133


def test_a_task_that_lives_after_three_stops_is_told_and_stopped_on():
    story = stopping()
    for number in range(1, 5):
        story.advance_to(STOP_CONFIRM)
        story.inspected(Sign.RUNNING)
        assert (Anomaly.STOP_UNCONFIRMED in story.task.anomalies) == (number >= 3)
        story.answer(STOP)
    assert story.end == "stopping"


def test_three_accepted_stops_end_a_task_that_cannot_be_asked():
    story = stopping("tencent")
    for _ in range(2):
        story.advance_to(STOP_CONFIRM)
        assert (story.end, story.under_way) == ("stopping", [STOP])
        last = (story._now - ms(0)) / 1000
        story.answer(STOP)
    story.advance_to(STOP_CONFIRM)
    assert (story.end, story.task.view.ended_at, story.due) == (f"{ASKED}?", ms(last), {})
    assert story.call_count(STOP) == 3


def test_a_task_whose_query_is_refused_is_stopped_three_times_too():
    story = stopping()
    for _ in range(2):
        story.advance_to(STOP_CONFIRM)
        story.answer(INSPECT, CallOutcome.REFUSED)
        assert (story.end, story.under_way) == ("stopping", [STOP])
        story.answer(STOP)
    story.advance_to(STOP_CONFIRM)
    story.answer(INSPECT, CallOutcome.REFUSED)
    assert (story.end, story.due) == (f"{ASKED}?", {})


def test_a_stop_is_confirmed_by_a_question_that_another_deadline_asked_before():
    story = accepted()
    story.volc("TranscodeStateChanged", 2, TaskState=1, Code=0, FinishTime=0)
    story.advance_to(Deadline.IDLE)
    story.stop(215)
    story.answer(STOP, at=216)
    story.advance(276)
    story.inspected(Sign.RUNNING, 277)
    assert (story.end, story.under_way) == ("stopping", [STOP])


def test_an_overdue_task_that_is_to_be_stopped_is_stopped_again():
    story = running(kind=Kind.INGEST)
    end = story.due[Deadline.EXPIRY]
    story.stop(end - 60)
    story.answer(STOP, at=end - 60)
    story.advance(end)
    story.inspected(Sign.RUNNING, end + 1)
    assert (story.end, story.under_way) == ("stopping", [STOP])


def test_a_sign_of_life_after_three_stops_is_stopped_or_looked_at_again():
    story = stopping("tencent")
    for _ in range(2):
        story.advance_to(STOP_CONFIRM)
        story.answer(STOP)
    story.advance_to(STOP_CONFIRM)
    assert story.end == f"{ASKED}?"
    receive_media_sign(story, 500)
    assert story.end == "stopping"
    assert STOP in story.under_way or story.due.get(STOP_CONFIRM) == 560


def test_a_sign_of_life_after_an_operators_word_goes_on_with_the_stop():
    story = running()
    story.stop(10)
    story.mark(State.LOST, at=11)
    assert story.under_way == []
    receive_media_sign(story, 12)
    assert (story.end, story.under_way) == ("stopping", [STOP])


def test_a_sign_of_life_of_what_was_taken_to_be_never_started_is_stopped():
    story = on_the_wire()
    story.answer(START, CallOutcome.RETRY, 6)
    assert story.end == ASKED
    receive_media_sign(story, 7)
    assert story.under_way == [STOP]


def test_a_late_answer_that_a_stop_was_accepted_counts():
    story = running()
    story.stop(10)
    story.lose_answer(STOP, 40)
    story.answer(STOP, CallOutcome.ACCEPTED, 41, serial=2, sent=10)
    assert story.task.view.stop_accepted_at == ms(10)


def test_a_stop_that_the_vendor_says_failed_is_marked():
    story = stopping()
    story.volc("TranscodeStopped", 12, Code=1)
    assert (story.end, story.task.anomalies) == ("stopping", (Anomaly.STOP_FAILED,))


def test_a_recording_that_is_stopped_waits_for_its_files():
    story = stopping(kind=Kind.RECORD)
    story.advance(71)
    story.inspected(Sign.GONE, 72)
    assert story.end == "finishing"
    story.advance_to(Deadline.FINISH)
    story.inspected(Sign.GONE)
    assert (story.end, story.due) == (f"{ASKED}?", {})
