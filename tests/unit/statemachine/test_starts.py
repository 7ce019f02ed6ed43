"""Start calls: tried, retried, given up, and answered late (docs/deadlines.md, `start_retry`)."""

import pytest

from statemachine.calls import CallOutcome, Sign
from statemachine.events import CallAnswered
from statemachine.states import Anomaly, Deadline, Kind, Origin, State
from tests.support.times import T0
from tests.unit.statemachine.lineage_scenario import DAY_S, ms
from tests.unit.statemachine.managed_lineage import INSPECT, START, STOP, ManagedLineage, accepted, receive_media_sign

RETRY, THROTTLED, REFUSED, AMBIGUOUS = CallOutcome.RETRY, CallOutcome.THROTTLED, CallOutcome.REFUSED, CallOutcome.AMBIGUOUS
START_RETRY = Deadline.START_RETRY
ONE_ATTEMPT = {"start": {"max_attempts": 1}}
UNKNOWN = "failed/start_unknown?"


def asked(vendor: str = "volcengine", kind: Kind = Kind.PUSH, **start) -> ManagedLineage:
    story = ManagedLineage(vendor, kind)
    story.start(0, **start)
    return story


def relay(**start) -> ManagedLineage:
    """Returns a start that must not be repeated and cannot be queried."""
    return asked("tencent", Kind.PUSH, **start)


def pauses(story: ManagedLineage, outcome: CallOutcome, **more) -> list[float]:
    """Returns the pause before each attempt until the start is given up, s."""
    waited = []
    while START in story.under_way:
        story.answer(START, outcome, **more)
        if START_RETRY in story.task.deadlines:
            waited.append((story.task.deadlines[START_RETRY] - story._now) / 1000)
            story.advance_to(START_RETRY)
    return waited


# Started.


def test_a_start_that_is_asked_for_is_called_at_once():
    story = asked()
    assert (story.end, story.task.origin, story.task.attempts) == ("requested", Origin.MANAGED, 0)
    assert story.under_way == [START]


def test_a_start_that_is_asked_for_twice_begins_once():
    story = asked(task="same")
    decision = story.start(5, task="same")
    assert (decision.verdict, decision.reason, decision.changes) == ("stale", "begun_before", ())
    assert story.call_count(START) == 1


@pytest.mark.parametrize("outcome", [CallOutcome.ACCEPTED, CallOutcome.ALREADY_THERE])
def test_an_accepted_start_is_accepted_when_it_was_sent(outcome):
    story = asked()
    story.answer(START, outcome, 3, sent=1)
    assert (story.end, story.task.view.accepted_at) == ("accepted", ms(1))
    assert story.under_way == []


def test_a_task_whose_start_is_under_way_has_a_deadline():
    assert asked().due.keys() == {Deadline.SILENCE}


def test_silence_asks_nothing_while_a_start_is_tried():
    story = asked()
    story.advance(DAY_S)
    assert (story.end, story.under_way, story.task.anomalies) == ("requested", [START], ())


# start_retry


@pytest.mark.parametrize(("outcome", "attempts"), [(RETRY, 1), (THROTTLED, 1), (CallOutcome.NOT_MADE, 0)])
def test_a_start_that_fails_retryably_is_called_again(outcome, attempts):
    story = asked()
    story.answer(START, outcome, 0)
    assert (story.end, story.under_way) == ("requested", [])
    story.advance_to(START_RETRY)
    assert (story.under_way, story.task.attempts) == ([START], attempts)


def test_waiting_for_a_quota_is_neither_an_attempt_nor_trying():
    story = asked(policy={"start": {"max_attempts": 2, "max_elapsed_s": 600}})
    story.answer(START, THROTTLED, 700, sent=700)
    assert (story.end, story.task.attempts) == ("requested", 1)
    story.advance_to(START_RETRY)
    story.answer(START, CallOutcome.ACCEPTED, 702)
    assert (story.end, story.task.attempts) == ("accepted", 2)


def test_pauses_are_full_jitter_of_a_second_doubled_up_to_a_minute():
    lasting = {"start": {"max_attempts": 9, "max_elapsed_s": DAY_S}}
    of_each = [pauses(asked(task=f"task {n}", policy=lasting), RETRY) for n in range(60)]
    for attempt, ceiling in enumerate([1, 2, 4, 8, 16, 32, 60, 60]):
        waited = [one[attempt] for one in of_each]
        assert 0 <= min(waited) < 0.2 * ceiling
        assert 0.8 * ceiling < max(waited) <= ceiling
        assert 0.3 * ceiling < sum(waited) / len(waited) < 0.7 * ceiling


def test_the_same_story_waits_equally_long():
    assert pauses(asked(), RETRY) == pauses(asked(), RETRY)


def test_the_vendors_hint_is_honoured():
    story = asked()
    story.answer(START, THROTTLED, 0, retry_after_s=42.5)
    assert story.due[START_RETRY] == 42.5


def test_a_hint_shorter_than_the_pause_does_not_shorten_it():
    story, hinted = asked(), asked()
    story.answer(START, RETRY, 0)
    hinted.answer(START, RETRY, 0, retry_after_s=0.001)
    assert story.due[START_RETRY] == hinted.due[START_RETRY]


def test_a_retry_that_passes_early_calls_nothing():
    story = asked()
    story.answer(START, RETRY, 0, retry_after_s=10)
    assert story.pass_due(9) == []
    assert story.under_way == []


# Given up.


def test_a_start_is_given_up_after_eight_attempts():
    story = asked()
    pauses(story, RETRY)
    assert (story.end, story.task.attempts) == ("failed/start_gave_up", 8)
    assert story.due == {}


def test_a_policy_says_how_often_a_start_is_tried():
    story = asked(policy={"start": {"max_attempts": 3}})
    pauses(story, RETRY, code="TooMany", message="later")
    assert (story.end, story.task.attempts) == ("failed/start_gave_up", 3)
    assert (story.task.view.vendor_code, story.task.view.vendor_message) == ("TooMany", "later")


def test_a_start_is_given_up_when_its_next_attempt_would_come_after_ten_minutes():
    story = asked()
    story.answer(START, THROTTLED, 0, retry_after_s=600)
    assert story.end == "requested"
    story.advance(600)
    story.answer(START, THROTTLED, 600, retry_after_s=1)
    assert (story.end, story.task.view.ended_at) == ("failed/start_gave_up", ms(600))


def test_a_policy_says_how_long_a_start_is_tried():
    story = asked(policy={"start": {"max_elapsed_s": 5}})
    story.answer(START, THROTTLED, 0, retry_after_s=6)
    assert story.end == "failed/start_gave_up"


@pytest.mark.parametrize("vendor", ["volcengine", "tencent"])
def test_a_refused_start_fails_with_the_vendors_code(vendor):
    story = asked(vendor)
    story.answer(START, REFUSED, 1, code="Forbidden", message="no such app")
    view = story.task.view
    assert (story.end, view.vendor_code, view.vendor_message) == ("failed/start_refused", "Forbidden", "no such app")
    assert (story.due, story.under_way) == ({}, [])


# Ambiguous, with ids that we choose.


def test_an_ambiguous_start_of_an_id_of_ours_is_repeated():
    story = asked()
    story.answer(START, AMBIGUOUS, 10, sent=0)
    assert story.end == "requested"
    story.advance_to(START_RETRY)
    assert story.under_way == [START]


def test_a_repeated_start_that_is_there_already_has_succeeded():
    story = asked()
    story.answer(START, AMBIGUOUS, 10, sent=0)
    at = story.advance_to(START_RETRY)
    story.answer(START, CallOutcome.ALREADY_THERE)
    assert (story.end, story.task.view.accepted_at) == ("accepted", ms(at))


@pytest.mark.parametrize("last", [RETRY, REFUSED, AMBIGUOUS])
def test_a_start_that_may_have_happened_is_stopped_before_it_is_given_up(last):
    story = asked(policy={"start": {"max_attempts": 2}})
    story.answer(START, AMBIGUOUS, 10, sent=0)
    story.advance_to(START_RETRY)
    story.answer(START, last)
    assert (story.end, story.under_way) == ("stopping", [STOP])


def given_up() -> ManagedLineage:
    story = asked(policy=ONE_ATTEMPT)
    story.answer(START, AMBIGUOUS, 10, sent=0)
    assert story.under_way == [STOP]
    return story


def test_a_given_up_start_that_is_gone_after_its_stop_is_unknown():
    story = given_up()
    story.answer(STOP, CallOutcome.ACCEPTED, 11)
    story.advance(71)
    story.inspected(Sign.GONE, 72)
    assert (story.end, story.due) == (UNKNOWN, {})


def test_a_given_up_start_of_which_the_vendor_knows_nothing_is_unknown():
    story = given_up()
    story.answer(STOP, CallOutcome.ALREADY_GONE, 11)
    assert story.under_way == [INSPECT]
    story.inspected(Sign.GONE, 12)
    assert (story.end, story.due) == (UNKNOWN, {})


def test_a_given_up_start_that_runs_all_the_same_is_stopped():
    story = given_up()
    story.answer(STOP, CallOutcome.ACCEPTED, 11)
    story.advance(71)
    story.inspected(Sign.RUNNING, 72)
    assert (story.end, story.under_way) == ("stopping", [STOP])
    story.answer(STOP, CallOutcome.ACCEPTED, 73)
    story.volc("TranscodeStopped", 74, Code=0)
    assert story.end == "stopped/stop_requested"


def test_a_given_up_start_is_not_started_again():
    story = given_up()
    story.retry(20)
    story.advance(DAY_S)
    assert story.call_count(START) == 1


# Ambiguous, with ids that the vendor assigns.


def test_an_ambiguous_start_that_must_not_be_repeated_waits_to_be_adopted_and_is_then_unknown():
    story = relay()
    story.answer(START, AMBIGUOUS, 10, sent=0)
    story.advance(599)
    assert (story.end, story.call_count(START)) == ("requested", 1)
    story.advance(600)
    assert (story.end, story.task.view.ended_at, story.due) == (UNKNOWN, ms(600), {})
    assert story.call_count(START) == 1


def test_a_policy_says_how_long_it_waits():
    story = relay(policy={"start": {"max_elapsed_s": 100}})
    story.answer(START, AMBIGUOUS, 10, sent=0)
    assert story.due[START_RETRY] == 100


def test_an_ingest_is_looked_for_a_minute_after_its_start_was_sent_and_then_waited_for():
    story = asked("tencent", Kind.INGEST)
    story.answer(START, AMBIGUOUS, 10, sent=2)
    assert story.advance_to(START_RETRY) == 62
    assert (story.end, story.due[START_RETRY]) == ("requested", 602)
    story.advance(602)
    assert (story.end, story.call_count(START)) == (UNKNOWN, 1)


def test_an_ambiguous_recording_is_repeated_and_at_last_unknown():
    story = asked("tencent", Kind.RECORD)
    pauses(story, AMBIGUOUS)
    assert (story.end, story.task.attempts) == (UNKNOWN, 8)


def test_an_ambiguous_web_recording_is_repeated_and_asked_about_before_it_is_given_up():
    story = asked("tencent", Kind.PAGE, policy={"start": {"max_attempts": 2}})
    story.answer(START, AMBIGUOUS, 10, sent=0)
    story.advance_to(START_RETRY)
    story.answer(START, AMBIGUOUS)
    assert (story.end, story.under_way) == ("requested", [INSPECT])
    assert story.pending_call(INSPECT).ambiguous == (1, 2)
    story.inspected(Sign.GONE)
    assert (story.end, story.due) == (UNKNOWN, {})


def test_a_web_recording_that_the_vendor_knows_is_adopted_by_what_it_answers():
    story = asked("tencent", Kind.PAGE, policy=ONE_ATTEMPT)
    story.answer(START, AMBIGUOUS, 10, sent=0)
    story.inspected(Sign.RUNNING, 11, task="t")
    assert (story.end, story.task.key.vendor_task_id) == ("running", "t")


def test_a_web_recording_that_cannot_be_asked_about_is_unknown():
    story = asked("tencent", Kind.PAGE, policy=ONE_ATTEMPT)
    story.answer(START, AMBIGUOUS, 10, sent=0)
    story.answer(INSPECT, REFUSED, 11)
    assert (story.end, story.due) == (UNKNOWN, {})


def test_a_web_recording_that_is_there_after_an_ambiguous_start_is_asked_about():
    story = asked("tencent", Kind.PAGE)
    story.answer(START, AMBIGUOUS, 10, sent=0)
    story.advance_to(START_RETRY)
    story.answer(START, CallOutcome.ALREADY_THERE)
    assert story.under_way == [INSPECT]
    story.inspected(Sign.RUNNING, task="t")
    assert (story.end, story.under_way, story.due.keys() & {START_RETRY}) == ("running", [], set())


def test_a_first_start_of_a_relay_that_is_there_already_is_somebody_elses():
    story = relay()
    story.answer(START, CallOutcome.ALREADY_THERE, 1, code="TaskExist")
    assert (story.end, story.task.view.vendor_code) == ("failed/start_refused", "TaskExist")


def test_an_accepted_start_tells_the_id_under_which_the_task_goes_from_then_on():
    story = relay()
    story.answer(START, CallOutcome.ACCEPTED, 1, task="t")
    assert (story.end, story.task.key.vendor_task_id, story.task.key.is_provisional) == ("accepted", "t", False)
    receive_media_sign(story, 2)
    assert story.end == "running"


# Late answers.


def test_the_real_answer_counts_after_its_lease_was_over():
    story = asked()
    story.lose_answer(START, 30)
    story.answer(START, CallOutcome.ACCEPTED, 30.001, serial=1, sent=1)
    assert (story.end, story.task.view.accepted_at, story.under_way) == ("accepted", ms(1), [])
    assert START_RETRY not in story.due


def test_the_real_answer_of_a_relay_tells_its_id_after_its_lease_was_over():
    story = relay()
    story.lose_answer(START, 30)
    story.answer(START, CallOutcome.ACCEPTED, 40, serial=1, sent=1, task="t")
    assert (story.end, story.task.key.vendor_task_id, story.under_way) == ("accepted", "t", [])


def test_a_start_answer_with_an_id_is_not_dropped_after_its_task_was_given_up():
    story = relay()
    story.lose_answer(START, 30, sent=0)
    story.advance(600)
    assert story.end == UNKNOWN
    story.answer(START, CallOutcome.ACCEPTED, 700, serial=1, sent=1, task="t")
    assert (story.end, story.task.key.vendor_task_id) == ("accepted", "t")
    assert story.changes[-1].move.corrects


def test_a_start_answer_that_was_sent_before_all_that_is_known_of_its_end_revokes_nothing():
    story = given_up()
    story.answer(STOP, CallOutcome.ACCEPTED, 11)
    story.advance(71)
    story.inspected(Sign.GONE, 72)
    story.answer(START, CallOutcome.ACCEPTED, 73, serial=1, sent=0)
    assert story.end == UNKNOWN


@pytest.mark.parametrize("outcome", [RETRY, REFUSED, CallOutcome.NOT_MADE])
def test_a_late_answer_that_it_did_not_happen_takes_the_doubt_away(outcome):
    story = relay()
    story.lose_answer(START, 30)
    story.answer(START, outcome, 40, serial=1, sent=1)
    assert (story.pending_call(START).ambiguous, story.due[START_RETRY]) == ((), 40)
    story.advance(40)
    story.answer(START, REFUSED)
    assert story.end == "failed/start_refused"


def test_one_doubt_of_two_stays():
    story = asked()
    story.lose_answer(START, 30)
    story.advance_to(START_RETRY)
    story.lose_answer(START, 70)
    story.answer(START, RETRY, 71, serial=1, sent=0)
    assert story.pending_call(START).ambiguous == (2,)


def test_an_answer_that_comes_twice_changes_nothing_the_second_time():
    story = asked()
    story.answer(START, CallOutcome.ACCEPTED, 1)
    once = story.task
    story.answer(START, CallOutcome.ACCEPTED, 2, serial=1, sent=1)
    assert story.task == once


def test_an_answer_to_a_task_that_nobody_knows_is_stale():
    story = asked()
    event = CallAnswered(task_id="nobody", operation=START, serial=1, outcome=CallOutcome.ACCEPTED, sent_at=T0)
    decision = story.apply_event(event)
    assert (decision.verdict, decision.reason, decision.changes) == ("stale", "no_such_task", ())


# Callbacks meanwhile.


@pytest.mark.parametrize("outcome", [RETRY, AMBIGUOUS, REFUSED, CallOutcome.ACCEPTED])
def test_a_start_that_callbacks_show_is_neither_repeated_nor_given_up(outcome):
    story = asked(policy=ONE_ATTEMPT)
    receive_media_sign(story, 2)
    assert story.end == "running"
    story.answer(START, outcome, 10, sent=0)
    assert (story.end, story.under_way) == ("running", [])
    story.advance(800)
    assert story.call_count(START) == 1


@pytest.mark.parametrize("outcome", [RETRY, AMBIGUOUS, REFUSED])
def test_the_answer_to_a_repeated_start_does_not_stop_what_callbacks_show(outcome):
    story = asked(policy={"start": {"max_attempts": 2}})
    story.lose_answer(START, 30)
    story.advance_to(START_RETRY)
    receive_media_sign(story, 40)
    story.answer(START, outcome, 41)
    assert (story.end, story.under_way) == ("running", [])


def test_a_start_that_waits_for_its_next_attempt_is_not_wanted_once_callbacks_show_it():
    story = asked()
    story.lose_answer(START, 30)
    receive_media_sign(story, 30.0001)
    assert START_RETRY not in story.due
    assert (story.end, story.task.calls) == ("running", {})


def test_a_start_that_was_refused_after_it_was_accepted_fails():
    story = accepted()
    story.volc("TranscodeStarted", 2, Code=1)
    assert story.end == "failed/start_refused"


# retry


def test_a_start_that_waits_is_tried_now_when_somebody_asks():
    story = asked()
    story.answer(START, THROTTLED, 0, retry_after_s=100)
    story.retry(5)
    assert (story.under_way, story.due.keys()) == ([START], {Deadline.SILENCE})


def test_an_ambiguous_start_that_can_be_repeated_is_tried_now_when_somebody_asks():
    story = asked()
    story.answer(START, AMBIGUOUS, 0, retry_after_s=100)
    story.retry(5)
    assert story.under_way == [START]


def test_an_ambiguous_start_that_must_not_be_repeated_is_not_tried_when_somebody_asks():
    story = relay()
    story.answer(START, AMBIGUOUS, 10, sent=0)
    story.retry(20)
    assert (story.under_way, story.due[START_RETRY]) == ([], 600)


def test_a_call_that_is_under_way_is_not_made_twice_when_somebody_asks():
    story = asked()
    story.retry(5)
    assert (story.under_way, story.call_count(START)) == ([START], 1)


# Planned starts.


def test_a_planned_start_is_confirmed_and_counted_from_when_it_is_planned():
    story = ManagedLineage("volcengine", Kind.INGEST)
    story.start(0, scheduled_at=ms(3600))
    story.answer(START, CallOutcome.ACCEPTED, 1)
    assert story.due[Deadline.START_CONFIRM] == 3600 + 60
    assert story.due[Deadline.EXPIRY] == 3600 + 72 * 3600 + 300
    story.volc("RelayStreamStateChanged", 2, Status=1)
    assert story.due[Deadline.IDLE] == 3600 + 300 + 30


def test_a_start_that_was_accepted_after_it_was_planned_counts_from_then():
    story = ManagedLineage("volcengine", Kind.INGEST)
    story.start(0, scheduled_at=T0 + 500)
    story.answer(START, CallOutcome.ACCEPTED, 1)
    assert story.task.view.started_at == ms(1)


# Marks of operators.


def test_an_operators_word_ends_a_start_that_waits():
    story = asked()
    story.answer(START, RETRY, 0)
    story.mark(State.FAILED, at=0)
    assert (story.end, story.task.calls, story.due) == ("failed/vendor_error?", {}, {})


def test_nothing_is_unheard_of_a_start_that_failed():
    story = asked()
    story.answer(START, REFUSED, 1)
    story.advance(40 * DAY_S)
    assert Anomaly.UNHEARD not in story.task.anomalies


def test_a_refusal_of_an_attempt_that_nobody_answered_is_not_that_of_the_next_one():
    """The first attempt started a task that failed at once; the second one, sent a moment later, runs."""
    story = asked()
    story.answer(START, AMBIGUOUS, 1, sent=0)
    story.advance_to(START_RETRY)
    story.volc("TranscodeStarted", 1.5, received=2.6, Code=1)
    assert story.end == "failed/start_refused"
    story.answer(START, CallOutcome.ACCEPTED, 2.7, sent=2)
    assert (story.end, story.changes[-1].move.corrects) == ("accepted", True)
    story.volc("TranscodeStarted", 3, Code=0)
    receive_media_sign(story, 4)
    assert (story.ends, story.task.action is not None) == (["running"], True)
    story.stop(10)
    assert story.under_way == [STOP]


def test_a_refusal_after_the_accepted_start_is_its_end():
    story = asked()
    story.answer(START, CallOutcome.ACCEPTED, 1, sent=0)
    story.volc("TranscodeStarted", 1.5, Code=1)
    assert story.end == "failed/start_refused"


def test_a_refusal_that_is_told_in_whole_seconds_is_that_of_the_only_attempt():
    story = asked(kind=Kind.RECORD)
    story.answer(START, CallOutcome.ACCEPTED, 1, sent=0.7)
    story.volc("RecordStarted", 0, received=1.5, Code=1)
    assert story.end == "failed/start_refused"
