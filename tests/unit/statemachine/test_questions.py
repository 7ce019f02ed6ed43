"""Deadlines of tasks that can be queried: the query, what follows from its answer, and the next query (docs/deadlines.md)."""

import pytest

from statemachine.calls import CallOutcome, Inspection, Sign
from statemachine.facts import File
from statemachine.states import Anomaly, Deadline, Kind, Reason, State
from tests.support.times import T0
from tests.unit.statemachine.lineage_scenario import DAY_S, HOUR_S, MINUTE_S, ms
from tests.unit.statemachine.managed_lineage import INSPECT, STOP, ManagedLineage, accepted, ending, receive_media_sign, running

CALL_RETRY, CONFIRM, EXPIRY, FINISH, IDLE, REACH, RECOVERY, SILENCE = (
    Deadline.CALL_RETRY,
    Deadline.START_CONFIRM,
    Deadline.EXPIRY,
    Deadline.FINISH,
    Deadline.IDLE,
    Deadline.REACH,
    Deadline.RECOVERY,
    Deadline.SILENCE,
)
LOST = "lost/unknown_to_vendor?"
FILES = [{"ObjectKey": "a.mp4"}]
#: `silence` is hardly ever due.
QUIET = {"silence_s": 400 * DAY_S}


def push(story: ManagedLineage, task_state: int, at: float, **data):
    return story.volc("TranscodeStateChanged", at, TaskState=task_state, **{"Code": 0} | data)


def asked_by(kind: Deadline, story: ManagedLineage) -> ManagedLineage:
    """Returns the scenario with a query that this deadline needed; if it passes early, it is armed again first."""
    if not story.advance_to(kind) or not story.under_way:
        story.advance_to(kind)
    assert story.under_way == [INSPECT]
    assert story.pending_call(INSPECT).asks is kind
    return story


# start_confirm


def test_an_accepted_task_that_lives_is_waited_for():
    story = asked_by(CONFIRM, accepted())
    story.inspected(Sign.ALIVE)
    assert (story.end, story.task.anomalies, CONFIRM in story.due) == ("accepted", (), False)


def test_an_accepted_task_that_is_gone_is_lost():
    story = asked_by(CONFIRM, accepted())
    story.inspected(Sign.GONE)
    assert (story.end, story.due) == (LOST, {})


def test_an_accepted_task_that_cannot_be_asked_is_unheard():
    story = accepted("tencent")
    story.advance_to(CONFIRM)
    assert (story.end, story.task.anomalies, story.under_way) == ("accepted", (Anomaly.UNHEARD,), [])


def test_an_accepted_task_whose_query_is_refused_is_unheard():
    story = asked_by(CONFIRM, accepted())
    story.answer(INSPECT, CallOutcome.REFUSED)
    assert (story.end, story.task.anomalies) == ("accepted", (Anomaly.UNHEARD,))


def test_a_start_sign_after_it_was_lost_is_confirmed_anew():
    story = asked_by(CONFIRM, accepted())
    story.inspected(Sign.GONE, 62)
    story.volc("TranscodeStarted", 70, Code=0)
    assert (story.end, story.due[CONFIRM]) == ("accepted", 130)


# idle


def standby() -> ManagedLineage:
    story = accepted(kind=Kind.INGEST)
    story.volc("RelayStreamStateChanged", 2, Status=1)
    return story


def test_a_task_that_can_be_asked_is_idle_after_the_defaults_of_its_vendor():
    assert standby().due[IDLE] == 2 + 300 + 30


def test_an_idle_task_that_is_gone_timed_out():
    story = standby()
    story.advance_to(CONFIRM)
    story.inspected(Sign.ACCEPTED)
    asked_by(IDLE, story)
    story.inspected(Sign.GONE)
    assert (story.end, story.task.view.ended_at, story.due) == ("idle_timeout/max_idle_time?", ms(302), {})


def test_an_idle_task_that_lives_is_waited_for():
    story = standby()
    story.advance_to(CONFIRM)
    story.inspected(Sign.ACCEPTED)
    asked_by(IDLE, story)
    story.inspected(Sign.ACCEPTED)
    assert (story.end, IDLE in story.due) == ("accepted", False)


def test_an_idle_task_that_cannot_be_asked_timed_out():
    story = ManagedLineage(kind=Kind.INGEST, rules={"askable": False})
    story.start(0)
    story.answer(story.under_way[0], at=1)
    story.volc("RelayStreamStateChanged", 2, Status=1)
    story.advance_to(IDLE)
    assert story.end == "idle_timeout/max_idle_time?"


def test_a_task_of_which_nothing_was_heard_is_not_idle():
    assert IDLE not in accepted().due


# recovery


def recovering(**policy) -> ManagedLineage:
    story = running(rules=QUIET, policy=policy)
    push(story, 2, 10)
    return story


def test_an_interrupted_task_is_asked_after_90_seconds_and_then_every_five_minutes():
    story = recovering()
    for at in (100, 400, 700):
        assert story.advance_to(RECOVERY) == at
        assert story.under_way == [INSPECT]
        story.inspected(Inspection(sign=Sign.CONNECTING))
    assert story.end == "interrupted"


def test_an_interrupted_task_that_runs_has_recovered():
    story = asked_by(RECOVERY, recovering())
    story.inspected(Sign.RUNNING)
    assert (story.end, RECOVERY in story.due) == ("running", False)


def test_an_interrupted_task_that_is_gone_has_the_end_that_the_answer_tells():
    story = asked_by(RECOVERY, recovering())
    story.inspected(Inspection(sign=Sign.ENDED, ending=ending(State.IDLE_TIMEOUT, Reason.MAX_IDLE_TIME)))
    assert (story.end, story.due) == ("idle_timeout/max_idle_time", {})


def test_without_a_policy_a_task_that_does_not_recover_is_asked_on():
    story = recovering()
    story.advance(3 * HOUR_S)
    assert story.call_count(STOP) == 0


def test_a_policy_stops_what_does_not_recover_after_half_an_hour():
    story = recovering(recovery={"stop": True})
    story.advance(10 + 1800 - 1)
    assert story.call_count(STOP) == 0
    story.advance(10 + 1800)
    assert (story.end, story.call_count(STOP)) == ("stopping", 1)


@pytest.mark.parametrize("max_s", [60, 95, 100, 1000])
def test_a_policy_says_after_how_long(max_s):
    story = recovering(recovery={"stop": True, "max_s": max_s})
    story.advance(10 + max_s - 0.001)
    assert story.call_count(STOP) == 0
    story.advance(10 + max_s)
    assert story.call_count(STOP) == 1


def test_a_stop_for_a_policy_is_confirmed_like_any_other():
    story = recovering(recovery={"stop": True, "max_s": 200})
    story.advance(210)
    story.answer(STOP)
    assert Deadline.STOP_CONFIRM in story.due


# expiry


def test_a_task_that_is_gone_after_its_allowed_life_has_expired():
    story = asked_by(EXPIRY, running(kind=Kind.INGEST, rules=QUIET))
    story.inspected(Sign.GONE)
    assert (story.end, story.task.view.ended_at, story.due) == ("expired/max_lifetime?", ms(1 + 72 * HOUR_S), {})


def test_a_task_that_lives_after_its_allowed_life_is_overdue_and_asked_hourly():
    story = running(kind=Kind.INGEST, rules=QUIET)
    due = story.due[EXPIRY]
    for hour in range(3):
        assert story.advance_to(EXPIRY) == due + hour * HOUR_S
        story.inspected(Sign.RUNNING)
        assert (story.end, story.task.anomalies) == ("running", (Anomaly.OVERDUE,))


def test_a_task_that_cannot_be_asked_after_its_allowed_life_has_expired():
    story = running(kind=Kind.INGEST, rules=QUIET | {"askable": False})
    story.advance_to(EXPIRY)
    assert (story.end, story.due) == ("expired/max_lifetime?", {})


def test_a_sign_of_life_revokes_an_expiry_for_an_hour_and_marks_it_overdue():
    story = asked_by(EXPIRY, running(kind=Kind.INGEST, rules=QUIET))
    story.inspected(Sign.GONE)
    receive_media_sign(story, 80 * HOUR_S)
    assert (story.end, story.task.anomalies, story.due[EXPIRY]) == ("running", (Anomaly.OVERDUE,), 81 * HOUR_S)


def test_a_question_that_expiry_asks_as_well_has_its_end():
    story = running(kind=Kind.INGEST)
    story.advance(story.due[SILENCE])
    assert story.pending_call(INSPECT).asks is SILENCE
    story.advance(story.due[EXPIRY])
    assert (story.call_count(INSPECT), story.pending_call(INSPECT).asks) == (1, EXPIRY)
    story.inspected(Sign.GONE)
    assert story.end == "expired/max_lifetime?"


# silence


def test_silence_asks_after_a_jittered_quarter_of_an_hour():
    dues = []
    for number in range(40):
        story = ManagedLineage()
        story.start(0, task=f"task {number}")
        story.answer(story.under_way[0], at=1)
        receive_media_sign(story, 100)
        dues.append(story.task.deadlines[SILENCE])
    spread = [due - min(dues) for due in dues]
    assert ms(0) + 0.9 * 900_000 <= min(dues)
    assert max(dues) <= ms(100) + 1.1 * 900_000
    assert max(spread) > 60_000


def test_silence_asks_again_and_again_and_is_never_due_at_once():
    story = running()
    for _ in range(20):
        asked_by(SILENCE, story)
        at = (story._now - T0) / 1000
        assert story.due[SILENCE] > at + 800
        story.inspected(Sign.RUNNING)
        assert story.due[SILENCE] > at + 800
    assert (story.end, story.task.anomalies) == ("running", ())


def test_silence_that_nobody_answers_asks_no_second_time():
    story = running()
    for _ in range(5):
        story.advance_to(SILENCE)
    assert story.call_count(INSPECT) == 1


def test_silence_is_stretched_where_there_are_many_to_ask():
    story = running(rules={"silence_s": 9000})
    assert 8000 < story.due[SILENCE] < 10_000


def test_a_silent_task_that_is_gone_is_lost():
    story = asked_by(SILENCE, running())
    story.inspected(Sign.GONE)
    assert (story.end, story.due) == (LOST, {})


def test_a_silent_task_that_has_ended_has_stopped_for_no_stated_reason():
    story = asked_by(SILENCE, running())
    story.inspected(Sign.ENDED)
    assert (story.end, story.due) == ("stopped/unstated?", {})


def test_a_silent_task_whose_query_is_refused_is_unheard_and_after_30_days_lost():
    story = asked_by(SILENCE, running(rules={"reach_s": None, "silence_s": 8 * HOUR_S}))
    story.answer(INSPECT, CallOutcome.REFUSED)
    assert (story.end, story.task.anomalies) == ("running", (Anomaly.UNHEARD,))
    story.advance(31 * DAY_S)
    story.answer(INSPECT, CallOutcome.REFUSED)
    assert story.end == "lost/silent?"


def test_out_of_the_window_silence_is_unheard_after_a_day():
    story = running(rules={"reach_s": 60, "silence_s": 900})
    story.advance(1000)
    assert story.due[SILENCE] == 2 + DAY_S
    story.advance(2 + DAY_S)
    assert (story.end, story.under_way) == ("running", [])
    assert Anomaly.UNHEARD in story.task.anomalies


# call_retry


@pytest.mark.parametrize("outcome", [CallOutcome.RETRY, CallOutcome.THROTTLED, CallOutcome.NOT_MADE])
def test_a_question_that_fails_retryably_is_asked_again(outcome):
    story = asked_by(CONFIRM, accepted())
    story.answer(INSPECT, outcome)
    story.advance_to(CALL_RETRY)
    assert (story.under_way, story.pending_call(INSPECT).asks) == ([INSPECT], CONFIRM)


def test_a_question_that_another_one_follows_is_not_settled_by_its_first_answer():
    story = asked_by(CONFIRM, accepted())
    story.answer(INSPECT, step={"index": 1})
    assert (story.end, story.under_way, story.made_calls[-1].step) == ("accepted", [INSPECT], {"index": 1})
    story.inspected(Sign.GONE)
    assert story.end == LOST


def test_a_question_that_fails_on_its_second_step_goes_on_there():
    story = asked_by(CONFIRM, accepted())
    story.answer(INSPECT, step={"index": 1})
    story.answer(INSPECT, CallOutcome.RETRY)
    story.advance_to(CALL_RETRY)
    assert story.made_calls[-1].step == {"index": 1}


def test_the_real_answer_to_a_question_counts_after_its_lease_was_over():
    story = asked_by(CONFIRM, accepted())
    story.lose_answer(INSPECT, 92)
    story.answer(INSPECT, serial=2, at=93, sent=62, says=Sign.RUNNING)
    assert story.end == "running"


# finish


def finishing(rules=QUIET, files=FILES) -> ManagedLineage:
    story = running(kind=Kind.RECORD, rules=rules)
    story.volc("RecordStopped", 10, Code=0, RecordFileList=files)
    assert story.end == "finishing"
    return story


def test_a_recording_without_an_upload_event_is_asked_about_after_ten_minutes():
    assert finishing().due[FINISH] == 10 + 10 * MINUTE_S


@pytest.mark.parametrize("sign", [Sign.GONE, Sign.ENDED, Sign.CAPTURE_ENDED, Sign.RUNNING])
def test_a_recording_whose_files_are_known_is_complete_when_nothing_more_can_be_awaited(sign):
    story = asked_by(FINISH, finishing())
    story.inspected(sign)
    assert (story.end, story.files, story.due) == ("completed/files_delivered?", {"a.mp4": "known"}, {})


def test_files_that_the_answer_tells_complete_a_recording():
    story = running("tencent", Kind.RECORD)
    story.tencent(302, 10, LeaveCode=1)
    story.advance(10 + DAY_S - 1)
    asked_by(FINISH, story)
    story.inspected(Inspection(sign=Sign.CAPTURE_ENDED, files=(File(name="b.mp4"),)))
    assert (story.end, story.files) == ("completed/files_delivered?", {"b.mp4": "known"})


@pytest.mark.parametrize(
    ("leave", "end"),
    [
        (99, "idle_timeout/max_idle_time?"),
        (0, "stopped/stop_requested?"),
        (1, "stopped/removed_from_room?"),
        (2, "stopped/room_dismissed?"),
        (101, "stopped/evicted?"),
        (3, "failed/vendor_error?"),
    ],
)
def test_a_recording_without_files_ends_as_its_capture_did(leave, end):
    story = running("tencent", Kind.RECORD, rules=QUIET)
    story.tencent(302, 10, LeaveCode=leave)
    asked_by(FINISH, story)
    story.inspected(Sign.CAPTURE_ENDED)
    assert (story.end, story.due) == (end, {})


def test_a_recording_that_cannot_be_asked_finishes_as_what_is_known():
    story = finishing(QUIET | {"askable": False})
    story.advance_to(FINISH)
    assert (story.end, story.due) == ("completed/files_delivered?", {})


def test_a_finish_whose_query_is_refused_concludes_too():
    story = asked_by(FINISH, finishing())
    story.answer(INSPECT, CallOutcome.REFUSED)
    assert story.end == "completed/files_delivered?"


def test_a_run_that_another_one_followed_finishes_without_a_question():
    story = running(kind=Kind.RECORD, rules=QUIET)
    story.volc("RecordStopped", 10, Code=0, RecordFileList=FILES)
    story.volc("RecordStarted", 20, Code=0)
    story.advance(10 + 10 * MINUTE_S)
    assert (story.ends, story.call_count(INSPECT)) == (["completed/files_delivered?", "running"], 0)


def test_a_recording_that_is_gone_and_was_heard_of_awaits_its_files_first():
    story = asked_by(SILENCE, running(kind=Kind.RECORD))
    story.inspected(Sign.GONE)
    assert story.end == "finishing"
    story.advance_to(FINISH)
    story.inspected(Sign.GONE)
    assert (story.end, story.due) == (LOST, {})


def test_files_that_come_meanwhile_complete_it():
    story = asked_by(SILENCE, running(kind=Kind.RECORD))
    story.inspected(Sign.GONE, 1000)
    story.volc("RecordStopped", 900, received=1001, Code=0, RecordFileList=FILES)
    story.volc("RecordUploadDone", 1002, Code=0)
    assert story.end == "completed/files_delivered"


def test_a_finish_that_tells_nothing_is_asked_hourly():
    story = asked_by(FINISH, finishing())
    story.answer(INSPECT, CallOutcome.THROTTLED, retry_after_s=10 * HOUR_S)
    assert story.due[FINISH] == 610 + HOUR_S


# reach


def test_an_hour_before_the_window_closes_a_task_is_marked():
    story = running(rules=QUIET)
    assert story.advance_to(REACH) == 1 + 71 * HOUR_S
    assert (story.end, story.task.anomalies, story.call_count(STOP)) == ("running", (Anomaly.OUT_OF_REACH,), 0)
    assert REACH not in story.due


def test_a_policy_stops_a_task_before_the_window_closes():
    story = running(rules=QUIET, policy={"reach": "stop"})
    story.advance_to(REACH)
    assert (story.end, story.task.anomalies, story.call_count(STOP)) == ("stopping", (Anomaly.OUT_OF_REACH,), 1)


def test_a_task_that_is_to_be_stopped_already_is_only_marked():
    story = running(rules=QUIET, policy={"reach": "stop"})
    story.stop(10)
    story.advance_to(REACH)
    assert (story.task.anomalies, story.call_count(STOP)) == ((Anomaly.OUT_OF_REACH,), 1)


def test_a_recordings_window_is_its_resource_expired_hour():
    story = running("tencent", Kind.RECORD, params={"ResourceExpiredHour": 2}, rules=QUIET)
    assert story.due[REACH] == 1 + HOUR_S


def test_a_window_without_an_end_is_not_marked():
    assert REACH not in running(kind=Kind.INGEST).due


# Zombies.


def zombie(**policy) -> ManagedLineage:
    """Returns a task with a sign of life at 20 s, after the vendor reported its end."""
    story = running(policy=policy)
    story.volc("TranscodeStopped", 10, Code=0)
    story.inspected(Sign.GONE, 11)
    push(story, 3, 20)
    return story


def test_a_sign_of_life_after_a_told_end_is_asked_about_once_per_callback():
    story = zombie()
    assert (story.end, story.task.anomalies, story.under_way) == ("stopped/unstated", (Anomaly.ZOMBIE,), [INSPECT])
    story.inspected(Sign.RUNNING, 21)
    assert (story.end, story.under_way, story.task.calls) == ("stopped/unstated", [], {})
    push(story, 3, 30)
    assert story.under_way == [INSPECT]


def test_a_policy_stops_a_zombie():
    story = zombie(stop_zombies=True)
    story.inspected(Sign.RUNNING, 21)
    assert (story.end, story.under_way) == ("stopped/unstated", [STOP])
    story.answer(STOP, at=22)
    assert (story.end, story.due) == ("stopped/unstated", {})


def test_a_zombie_that_is_gone_is_not_stopped():
    story = zombie(stop_zombies=True)
    story.inspected(Sign.GONE, 21)
    assert story.call_count(STOP) == 0


def test_a_zombies_stop_is_retried():
    story = zombie(stop_zombies=True)
    story.inspected(Sign.RUNNING, 21)
    story.answer(STOP, CallOutcome.RETRY, 22)
    assert story.due.keys() == {CALL_RETRY}
    story.advance_to(CALL_RETRY)
    assert story.under_way == [STOP]


def test_a_user_stops_a_zombie():
    story = zombie()
    story.inspected(Sign.RUNNING, 21)
    story.stop(22)
    assert story.under_way == [STOP]


# Unstated ends.


def unstated() -> ManagedLineage:
    story = running()
    story.volc("TranscodeStopped", 10, Code=0)
    assert (story.end, story.under_way) == ("stopped/unstated", [INSPECT])
    return story


def test_a_told_end_without_a_reason_is_asked_about_and_refined():
    story = unstated()
    story.inspected(Inspection(sign=Sign.ENDED, ending=ending(State.IDLE_TIMEOUT, Reason.MAX_IDLE_TIME)), 11)
    assert (story.end, story.due) == ("idle_timeout/max_idle_time", {})
    assert story.changes[-1].move.corrects


@pytest.mark.parametrize("sign", [Sign.GONE, Sign.ENDED])
def test_an_answer_without_a_reason_leaves_it(sign):
    story = unstated()
    story.inspected(sign, 11)
    assert (story.end, story.task.calls) == ("stopped/unstated", {})


def test_it_is_asked_about_once():
    story = unstated()
    story.inspected(Sign.ENDED, 11)
    push(story, 1, 12, FinishTime=ms(12) // 1000)
    assert (story.end, story.call_count(INSPECT)) == ("stopped/unstated", 1)


def test_it_is_asked_about_until_there_is_an_answer():
    story = unstated()
    story.answer(INSPECT, CallOutcome.RETRY, 11)
    assert story.due.keys() == {CALL_RETRY}
    story.advance_to(CALL_RETRY)
    assert story.under_way == [INSPECT]


def test_an_end_that_cannot_be_asked_about_is_left():
    story = running("tencent", Kind.INGEST, rules={"askable": False})
    story.tencent(702, 10, Status=0)
    assert (story.end, story.task.calls) == ("completed/unstated", {})


def test_an_end_with_a_reason_is_not_asked_about():
    story = running()
    push(story, 1, 10, FinishTime=ms(10) // 1000, Code=2)
    assert (story.end, story.task.calls) == ("failed/bad_source", {})


def test_a_newer_run_makes_the_older_one_not_be_asked_about():
    story = unstated()
    story.volc("TranscodeStarted", 20, Code=0)
    assert (story.run(1).calls, story.under_way) == ({}, [])


def test_nothing_is_called_for_a_run_whose_key_has_a_newer_one():
    story = unstated()
    story.inspected(Sign.GONE, 11)
    story.volc("TranscodeStarted", 20, Code=0)
    story.stop(30, run=1)
    assert story.under_way == []
