"""Answers to queries, in each state that a task can be queried in."""

import pytest

from statemachine.calls import CallOutcome, Inspection, Sign
from statemachine.facts import File, FilesDelivered, Output
from statemachine.states import Anomaly, Deadline, Kind, OutputState, Reason, State
from tests.unit.statemachine.lineage_scenario import DAY_S, HOUR_S, ms
from tests.unit.statemachine.managed_lineage import INSPECT, STOP, ManagedLineage, accepted, ending, running

CONFIRM, EXPIRY, FINISH, IDLE, RECOVERY, SILENCE, STOP_CONFIRM = (
    Deadline.START_CONFIRM,
    Deadline.EXPIRY,
    Deadline.FINISH,
    Deadline.IDLE,
    Deadline.RECOVERY,
    Deadline.SILENCE,
    Deadline.STOP_CONFIRM,
)
LOST = "lost/unknown_to_vendor?"
UNSTATED = Inspection(sign=Sign.ENDED, ending=ending(State.STOPPED, Reason.UNSTATED, 4))


def push(story: ManagedLineage, task_state: int, at: float, **data):
    return story.volc("TranscodeStateChanged", at, TaskState=task_state, Code=0, **data)


def interrupted() -> ManagedLineage:
    story = running()
    push(story, 2, 3)
    return story


def silent() -> ManagedLineage:
    story = running()
    push(story, 1, 3, FinishTime=0)
    return story


def stopping() -> ManagedLineage:
    story = running()
    story.stop(3)
    story.answer(STOP, at=4)
    return story


def finishing() -> ManagedLineage:
    story = running(kind=Kind.RECORD)
    story.volc("RecordStopped", 3, Code=0, RecordFileList=[{"ObjectKey": "a.mp4"}])
    return story


STANDING = {
    "accepted": (accepted, CONFIRM),
    "running": (running, SILENCE),
    "interrupted": (interrupted, RECOVERY),
    "silent": (silent, IDLE),
    "stopping": (stopping, STOP_CONFIRM),
    "finishing": (finishing, FINISH),
}


def asked(state: str) -> ManagedLineage:
    """Returns a task in this state, with a query that the deadline of this state needed."""
    begun, kind = STANDING[state]
    story = begun()
    for _ in range(20):
        if story.under_way:
            break
        story.advance_to(kind)
    assert story.under_way == [INSPECT]
    assert story.pending_call(INSPECT).asks is kind
    return story


@pytest.mark.parametrize(
    ("state", "sign", "end"),
    [
        ("accepted", Sign.ALIVE, "accepted"),
        ("accepted", Sign.ACCEPTED, "accepted"),
        ("accepted", Sign.CONNECTING, "accepted"),
        ("accepted", Sign.NO_MEDIA, "accepted"),
        ("accepted", Sign.RUNNING, "running"),
        ("accepted", Sign.CAPTURE_ENDED, "finishing"),
        ("accepted", Sign.ENDED, "stopped/unstated?"),
        ("accepted", Sign.GONE, LOST),
        ("running", Sign.ALIVE, "running"),
        ("running", Sign.ACCEPTED, "running"),
        ("running", Sign.CONNECTING, "interrupted"),
        ("running", Sign.NO_MEDIA, "interrupted"),
        ("running", Sign.RUNNING, "running"),
        ("running", Sign.CAPTURE_ENDED, "finishing"),
        ("running", Sign.ENDED, "stopped/unstated?"),
        ("running", Sign.GONE, LOST),
        ("interrupted", Sign.ALIVE, "interrupted"),
        ("interrupted", Sign.ACCEPTED, "interrupted"),
        ("interrupted", Sign.CONNECTING, "interrupted"),
        ("interrupted", Sign.NO_MEDIA, "interrupted"),
        ("interrupted", Sign.RUNNING, "running"),
        ("interrupted", Sign.ENDED, "stopped/unstated?"),
        ("interrupted", Sign.GONE, LOST),
        ("silent", Sign.ALIVE, "interrupted"),
        ("silent", Sign.NO_MEDIA, "interrupted"),
        ("silent", Sign.RUNNING, "running"),
        ("silent", Sign.ENDED, "idle_timeout/max_idle_time?"),
        ("silent", Sign.GONE, "idle_timeout/max_idle_time?"),
        ("stopping", Sign.ALIVE, "stopping"),
        ("stopping", Sign.RUNNING, "stopping"),
        ("stopping", Sign.CAPTURE_ENDED, "finishing"),
        ("stopping", Sign.ENDED, "stopped/stop_requested?"),
        ("stopping", Sign.GONE, "stopped/stop_requested?"),
        ("finishing", Sign.RUNNING, "completed/files_delivered?"),
        ("finishing", Sign.CAPTURE_ENDED, "completed/files_delivered?"),
        ("finishing", Sign.ENDED, "completed/files_delivered?"),
        ("finishing", Sign.GONE, "completed/files_delivered?"),
    ],
)
def test_a_sign_moves_a_task(state, sign, end):
    story = asked(state)
    story.inspected(sign)
    assert story.end == end


@pytest.mark.parametrize("state", ["accepted", "running", "interrupted", "silent", "stopping"])
@pytest.mark.parametrize(
    ("ending", "end"),
    [
        (ending(State.STOPPED, Reason.STOP_REQUESTED), "stopped/stop_requested"),
        (ending(State.IDLE_TIMEOUT, Reason.MAX_IDLE_TIME), "idle_timeout/max_idle_time"),
        (ending(State.STOPPED, Reason.REMOVED_FROM_ROOM), "stopped/removed_from_room"),
        (ending(State.FAILED, Reason.START_REFUSED), "failed/start_refused"),
        (ending(State.FAILED, Reason.VENDOR_ERROR), "failed/vendor_error"),
    ],
)
def test_a_told_reason_ends_a_task_and_is_not_inferred(state, ending, end):
    story = asked(state)
    story.inspected(Inspection(sign=Sign.ENDED, ending=ending, ended_at=ms(7)))
    assert (story.end, story.task.view.ended_at, story.due) == (end, ms(7), {})


def test_an_end_without_a_reason_is_the_end_of_the_deadline_that_asked():
    story = asked("silent")
    story.inspected(UNSTATED)
    assert story.end == "idle_timeout/max_idle_time?"


def test_an_end_without_a_reason_has_the_time_that_the_vendor_told():
    story = asked("running")
    story.inspected(Inspection(sign=Sign.ENDED, ended_at=ms(7)))
    assert story.task.view.ended_at == ms(7)


def test_gone_after_a_stop_of_ours_is_the_stop():
    story = running()
    story.stop(3)
    story.answer(STOP, CallOutcome.REFUSED, 4)
    story.advance(1000)
    assert story.pending_call(INSPECT).asks is SILENCE
    story.inspected(Sign.GONE)
    assert story.end == "stopped/stop_requested?"


def test_an_answer_counts_from_when_the_call_was_sent():
    story = asked("accepted")
    push(story, 1, 70, FinishTime=0)
    story.inspected(Sign.RUNNING, 75, sent=65)
    assert story.end == "interrupted"
    assert story.task.view.running_at == ms(65)


def test_no_such_task_proves_nothing_against_a_callback_that_is_newer_than_the_question():
    story = asked("accepted")
    push(story, 3, 70)
    story.inspected(Sign.GONE, 75, sent=65)
    assert story.end == "running"


def test_an_answer_shows_the_output():
    story = asked("accepted")
    story.inspected(Inspection(sign=Sign.RUNNING, output=Output(url="rtmp://a", state=OutputState.RUNNING)))
    assert story.outputs == {"rtmp://a": "running"}


def test_nobody_publishes_arms_idle():
    story = asked("accepted")
    story.inspected(Sign.NO_MEDIA, 61)
    assert story.due[IDLE] == 61 + 180 + 30


# The run that an answer is about.


@pytest.mark.parametrize("sign", [Sign.CAPTURE_ENDED, Sign.ENDED, Sign.GONE])
def test_an_answer_about_a_run_before_ours_says_that_ours_is_gone(sign):
    story = asked("accepted")
    story.inspected(Inspection(sign=sign, started_at=ms(-HOUR_S), ending=None))
    assert story.end == LOST


def test_an_answer_about_our_run_fits_within_its_tolerance():
    story = asked("accepted")
    story.inspected(Inspection(sign=Sign.RUNNING, started_at=ms(-4)))
    assert story.ends == ["running"]


def test_an_answer_about_a_newer_run_opens_it():
    story = asked("accepted")
    story.inspected(Inspection(sign=Sign.RUNNING, started_at=ms(30)))
    assert story.ends == ["stopped/unstated?", "running"]


def test_an_answer_about_an_observed_task_is_its_own_however_old():
    story = ManagedLineage()
    push(story, 3, 0)
    story.advance(1000)
    story.inspected(Inspection(sign=Sign.RUNNING, started_at=ms(-HOUR_S)))
    assert story.ends == ["running"]


# The time within which the vendor knows a task.


@pytest.mark.parametrize("outcome", [CallOutcome.ALREADY_GONE, CallOutcome.REFUSED])
def test_no_such_task_outside_the_window_proves_nothing(outcome):
    story = running(rules={"reach_s": 3600})
    story.advance(1000)
    story.answer(INSPECT, outcome, 3700, says=Sign.GONE)
    assert (story.end, story.task.anomalies) == ("running", (Anomaly.OUT_OF_REACH, Anomaly.UNHEARD))


def test_no_such_task_inside_the_window_proves_an_end_however_late_the_answer_is_told():
    story = running(rules={"reach_s": 3600})
    story.advance(1000)
    story.inspected(Sign.GONE, 4000, sent=1000)
    assert story.end == LOST


def test_a_sign_of_life_outside_the_window_counts():
    story = running(rules={"reach_s": 1200})
    story.advance(1000)
    story.inspected(Sign.CONNECTING, 1300)
    assert story.end == "interrupted"


def test_a_deadline_outside_the_window_asks_nobody():
    story = running(kind=Kind.RECORD, params={"Control": {"MaxRecordTime": 2 * HOUR_S}}, rules={"reach_s": 600})
    story.advance_to(EXPIRY)
    assert (story.end, story.call_count(INSPECT)) == ("expired/max_lifetime?", 0)


# Recordings and pages.


@pytest.mark.parametrize("kind", [Kind.RECORD, Kind.PAGE])
@pytest.mark.parametrize("sign", [Sign.GONE, Sign.ENDED])
def test_a_recording_that_was_heard_of_awaits_its_files_before_it_ends(kind, sign):
    story = running(kind=kind)
    story.advance(1000)
    story.inspected(sign)
    assert story.end == "finishing"
    assert FINISH in story.due


@pytest.mark.parametrize("kind", [Kind.RECORD, Kind.PAGE])
def test_a_recording_of_which_nothing_was_heard_is_lost_at_once(kind):
    story = accepted(kind=kind)
    story.advance(61)
    story.inspected(Sign.GONE)
    assert story.end == LOST


@pytest.mark.parametrize("sign", [Sign.RUNNING, Sign.ALIVE])
def test_a_recording_that_awaits_its_files_and_lives_is_not_over(sign):
    story = running(kind=Kind.RECORD)
    story.advance(1000)
    story.inspected(Sign.GONE)
    story.advance_to(FINISH)
    story.inspected(sign)
    assert story.end == "running"


def test_a_capture_that_ended_by_a_told_reason_without_files_is_complete():
    story = asked_record()
    story.inspected(
        Inspection(sign=Sign.CAPTURE_ENDED, ending=ending(State.STOPPED, Reason.STOP_REQUESTED), delivery=FilesDelivered.OVER)
    )
    assert (story.end, story.due) == ("completed/no_files", {})


def test_a_capture_that_ended_with_files_awaits_their_upload():
    story = asked_record()
    story.inspected(Inspection(sign=Sign.CAPTURE_ENDED, files=(File(name="a.mp4"),)))
    assert (story.end, story.files) == ("finishing", {"a.mp4": "known"})


def test_a_capture_that_ended_without_files_ends_by_its_reason_when_none_come():
    story = asked_record()
    story.inspected(Inspection(sign=Sign.CAPTURE_ENDED, ending=ending(State.IDLE_TIMEOUT, Reason.MAX_IDLE_TIME)))
    assert story.end == "finishing"
    story.advance_to(FINISH)
    story.inspected(Sign.GONE)
    assert (story.end, story.due) == ("idle_timeout/max_idle_time?", {})


def asked_record() -> ManagedLineage:
    story = running(kind=Kind.RECORD)
    story.advance(1000)
    assert story.under_way == [INSPECT]
    return story


def test_files_that_are_known_already_are_not_told_away():
    story = asked("finishing")
    story.inspected(
        Inspection(sign=Sign.CAPTURE_ENDED, ending=ending(State.STOPPED, Reason.STOP_REQUESTED), delivery=FilesDelivered.OVER)
    )
    assert (story.end, story.files) == ("completed/files_delivered?", {"a.mp4": "known"})


def test_a_recording_that_failed_has_ended():
    story = asked_record()
    story.inspected(Inspection(sign=Sign.ENDED, ending=ending(State.FAILED, Reason.VENDOR_ERROR)))
    assert (story.end, story.due) == ("failed/vendor_error", {})


def test_tencents_recording_exits_without_a_reason():
    story = running("tencent", Kind.RECORD)
    story.advance(1000)
    story.inspected(Sign.CAPTURE_ENDED)
    assert story.end == "finishing"
    story.advance_to(FINISH)
    story.inspected(Sign.GONE)
    assert story.end == "stopped/unstated?"


def test_an_overdue_question_that_tells_of_life_marks_the_task():
    story = running(kind=Kind.INGEST, rules={"silence_s": 90 * DAY_S})
    while INSPECT not in story.under_way:
        story.advance_to(EXPIRY)
    story.inspected(Inspection(sign=Sign.RUNNING))
    assert story.task.anomalies == (Anomaly.OVERDUE,)


def test_what_ran_before_our_start_and_still_runs_is_ours():
    """Our start found it running: the vendor reports that it was created long before."""
    story = asked("accepted")
    story.inspected(Inspection(sign=Sign.RUNNING, started_at=ms(-3600)), 62)
    assert (story.ends, story.task.anomalies) == (["running"], ())


def test_what_was_over_before_our_start_is_not_ours():
    story = asked("accepted")
    ended = Inspection(
        sign=Sign.ENDED, started_at=ms(-3600), ended_at=ms(-1800), ending=ending(State.IDLE_TIMEOUT, Reason.MAX_IDLE_TIME, 2)
    )
    story.inspected(ended, 62)
    assert story.end == "lost/unknown_to_vendor?"
