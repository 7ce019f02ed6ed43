"""Deadlines of tasks that cannot be queried: when each is armed and due, and what follows (docs/deadlines.md)."""

import pytest

from statemachine.events import DeadlinePassed
from statemachine.states import Anomaly, Deadline, State
from tests.unit.statemachine.lineage_scenario import DAY_S, HOUR_S, MINUTE_S, LineageScenario, ms

CONFIRM, IDLE, RECOVERY, EXPIRY, FINISH, SILENCE = (
    Deadline.START_CONFIRM,
    Deadline.IDLE,
    Deadline.RECOVERY,
    Deadline.EXPIRY,
    Deadline.FINISH,
    Deadline.SILENCE,
)
RELAY = "RelayStreamStateChanged"
LIFE = 72 * HOUR_S
GRACE = 5 * MINUTE_S


def push(story: LineageScenario, task_state: int, at: float, **data):
    return story.volc("TranscodeStateChanged", at, TaskState=task_state, Code=0, **data)


def relay(story: LineageScenario, status: int, at: float, **data):
    return story.volc(RELAY, at, Status=status, **data)


# start_confirm


def test_an_accepted_task_is_confirmed_within_a_minute():
    story = LineageScenario()
    story.volc("TranscodeStarted", 0, received=10, Code=0)
    assert story.due[CONFIRM] == 60
    assert story.pass_due(59) == []
    assert story.pass_due(60) == [CONFIRM]
    assert (story.ends, story.task.anomalies) == (["accepted"], (Anomaly.UNHEARD,))
    assert CONFIRM not in story.due


def test_a_start_that_is_planned_is_confirmed_after_it():
    story = LineageScenario()
    relay(story, 1, 0, StartTimeStamp=ms(HOUR_S) // 1000)
    assert story.due == {CONFIRM: HOUR_S + 60, IDLE: HOUR_S + 630, EXPIRY: HOUR_S + LIFE + GRACE, SILENCE: DAY_S}


def test_a_running_task_needs_no_confirmation():
    story = LineageScenario()
    push(story, 3, 0)
    assert story.due == {SILENCE: DAY_S}


# idle


@pytest.mark.parametrize(("params", "due"), [({}, 630), ({"MaxIdleTime": 120}, 150)])
def test_a_standby_relay_is_idle_after_its_max_idle_time(params, due):
    story = LineageScenario(**params)
    relay(story, 1, 0, received=20)
    assert story.due[IDLE] == due
    story.pass_due(due)
    assert story.ends == ["idle_timeout/max_idle_time?"]
    assert story.task.view.ended_at == ms(due - 30)
    assert story.due == {}


def test_a_push_that_pushes_nothing_is_idle_after_the_longest_max_idle_time():
    story = LineageScenario()
    push(story, 3, 0)
    push(story, 1, 10, FinishTime=0)
    push(story, 1, 50, FinishTime=0)
    assert story.due[IDLE] == 10 + DAY_S + 30


@pytest.mark.parametrize("status", [2, 3])
def test_signs_of_a_source_disarm_idle(status):
    story = LineageScenario()
    relay(story, 1, 0)
    relay(story, status, 5)
    assert IDLE not in story.due


def test_a_task_of_which_only_its_start_is_known_is_not_idle():
    story = LineageScenario()
    story.volc("TranscodeStarted", 0, Code=0)
    assert IDLE not in story.due


def test_a_sign_that_revokes_idle_arms_it_anew():
    story = LineageScenario()
    relay(story, 1, 0)
    story.pass_due(700)
    relay(story, 1, 800)
    assert story.ends == ["accepted"]
    assert story.due[IDLE] == 800 + 630


def test_media_that_came_late_revokes_idle_for_good():
    story = LineageScenario()
    relay(story, 1, 0)
    story.pass_due(700)
    relay(story, 3, 5, received=710)
    assert story.ends == ["running"]
    assert IDLE not in story.due


# recovery


@pytest.mark.parametrize("again", [2, 4])
def test_a_push_that_reconnects_is_looked_at_after_90_seconds_and_then_every_five_minutes(again):
    story = LineageScenario()
    push(story, 3, 0)
    push(story, 2, 10)
    push(story, again, 30)
    assert story.due[RECOVERY] == 100
    story.pass_due(100)
    assert story.due[RECOVERY] == 400
    story.pass_due(1000)
    assert story.due[RECOVERY] == 1300
    assert story.ends == ["interrupted"]


def test_a_push_without_media_is_not_recovering():
    story = LineageScenario()
    push(story, 3, 0)
    push(story, 1, 10, FinishTime=0)
    assert RECOVERY not in story.due


def test_a_new_interruption_counts_anew():
    story = LineageScenario()
    push(story, 2, 0)
    story.pass_due(200)
    push(story, 3, 210)
    push(story, 2, 220)
    assert story.due[RECOVERY] == 310


# expiry


def test_a_relay_expires_after_72_hours():
    story = LineageScenario()
    relay(story, 2, 0, received=100)
    relay(story, 3, 10)
    assert story.due[EXPIRY] == LIFE + GRACE
    story.pass_due(LIFE + GRACE)
    assert story.ends == ["expired/max_lifetime?"]
    assert story.task.view.ended_at == ms(LIFE)


def test_a_first_callback_that_says_running_since_80_hours_ago_is_due_at_once():
    story = LineageScenario()
    relay(story, 3, 0, StartTimeStamp=ms(-80 * HOUR_S) // 1000)
    assert story.ends == ["running"]
    assert story.pass_due(0) == [EXPIRY]
    assert story.ends == ["expired/max_lifetime?"]
    assert story.task.view.ended_at == ms(0)


def test_a_sign_of_life_after_expiry_revokes_it_for_an_hour_and_marks_it_overdue():
    story = LineageScenario()
    relay(story, 3, 0)
    story.pass_due(73 * HOUR_S)
    relay(story, 3, 74 * HOUR_S)
    assert story.ends == ["running"]
    assert story.task.anomalies == (Anomaly.OVERDUE, Anomaly.UNHEARD)
    assert story.due[EXPIRY] == 75 * HOUR_S
    story.pass_due(75 * HOUR_S)
    assert story.ends == ["expired/max_lifetime?"]


def test_a_told_end_corrects_an_expiry():
    story = LineageScenario()
    relay(story, 3, 0)
    story.pass_due(73 * HOUR_S)
    relay(story, 4, 74 * HOUR_S, Reason=3)
    assert story.ends == ["completed/source_finished"]


def test_a_zero_start_time_stamp_is_none():
    story = LineageScenario()
    relay(story, 3, 0, StartTimeStamp=0)
    assert story.due[EXPIRY] == LIFE + GRACE


def test_an_ingest_expires_after_its_max_duration():
    story = LineageScenario(MaxDuration=10)
    story.tencent(701, 0, Status=0)
    assert story.due[EXPIRY] == 10 * MINUTE_S + GRACE
    story.pass_due(10 * MINUTE_S + GRACE)
    assert story.ends == ["expired/max_lifetime?"]


def test_without_parameters_an_ingest_has_no_allowed_life():
    story = LineageScenario()
    story.tencent(701, 0, Status=0)
    assert EXPIRY not in story.due


def test_a_page_expires_after_its_max_duration_limit_but_not_while_finishing():
    story = LineageScenario(MaxDurationLimit=600)
    story.tencent(801, 0, Status=1)
    assert story.due[EXPIRY] == 900
    story.tencent(802, 10, Status=1)
    assert set(story.due) == {FINISH, SILENCE}


# finish


def test_a_recording_without_an_upload_event_is_finished_after_ten_minutes():
    story = LineageScenario()
    story.volc("RecordStopped", 0, received=30, Code=0, RecordFileList=[{"ObjectKey": "a"}])
    assert story.due[FINISH] == 600
    story.pass_due(600)
    assert story.ends == ["completed/files_delivered?"]


def test_an_upload_event_of_its_run_gives_a_recording_a_day():
    story = LineageScenario()
    story.volc("RecordStopped", 0, Code=0, RecordFileList=[{"ObjectKey": "a"}])
    story.volc("RecordUploadStarted", 5, Code=0)
    assert story.due[FINISH] == DAY_S


def test_a_cloud_recording_has_a_day_without_any_upload_event():
    story = LineageScenario()
    story.tencent(302, 0, LeaveCode=0)
    assert story.due[FINISH] == DAY_S


# silence


def test_silence_counts_from_receipt():
    story = LineageScenario()
    push(story, 3, 0, received=500)
    assert story.due[SILENCE] == 500 + DAY_S


def test_a_day_of_silence_is_unheard_and_thirty_days_are_lost():
    story = LineageScenario()
    push(story, 3, 0)
    story.pass_due(DAY_S)
    assert (story.ends, story.task.anomalies) == (["running"], (Anomaly.UNHEARD,))
    assert story.due[SILENCE] == 30 * DAY_S
    story.pass_due(30 * DAY_S - 1)
    assert story.ends == ["running"]
    story.pass_due(30 * DAY_S)
    assert story.ends == ["lost/silent?"]


def test_silence_that_passes_thirty_days_late_is_lost_at_once():
    story = LineageScenario()
    push(story, 3, 0)
    assert story.pass_due(31 * DAY_S) == [SILENCE]
    assert story.ends == ["lost/silent?"]


def test_news_ends_silence():
    story = LineageScenario()
    push(story, 3, 0)
    push(story, 3, DAY_S - 1)
    story.pass_due(DAY_S)
    assert story.task.anomalies == ()
    assert story.due[SILENCE] == 2 * DAY_S - 1


def test_a_sign_of_life_after_thirty_days_of_silence_is_believed():
    story = LineageScenario()
    push(story, 3, 0)
    story.pass_due(31 * DAY_S)
    push(story, 3, 32 * DAY_S)
    assert story.ends == ["running"]
    assert story.due == {SILENCE: 33 * DAY_S}


# Deadlines that pass late, early and repeatedly.


def test_a_deadline_that_passes_early_is_stale_and_moves_nothing():
    story = LineageScenario()
    relay(story, 1, 0)
    before = story.task.view
    decision = story.apply_event(DeadlinePassed(task_id=story.task.id, kind=IDLE, due_at=ms(5)))
    assert (decision.verdict, decision.reason) == ("stale", "not_due")
    assert story.task.view == before


def test_a_deadline_that_passes_twice_changes_nothing_the_second_time():
    story = LineageScenario()
    relay(story, 1, 0)
    event = DeadlinePassed(task_id=story.task.id, kind=IDLE, due_at=ms(630))
    story.pass_due(630)
    once = story.task
    assert story.apply_event(event).changes == ()
    assert story.task == once


def test_a_deadline_of_a_task_that_nobody_knows_is_stale():
    story = LineageScenario()
    relay(story, 3, 0)
    assert story.apply_event(DeadlinePassed(task_id="nobody", kind=IDLE, due_at=0)).verdict == "stale"


def test_the_same_deadlines_late_conclude_the_same():
    late, soon = LineageScenario(), LineageScenario()
    for story in (late, soon):
        relay(story, 1, 0)
    soon.pass_due(630)
    late.pass_due(10 * HOUR_S)
    assert soon.task.view == late.task.view


# Inferred ends that are corrected.


def test_an_inferred_end_stands_where_our_knowledge_stood():
    story = LineageScenario()
    relay(story, 1, 0)
    story.pass_due(DAY_S)
    assert story.task.view.evidence_at == ms(0)
    relay(story, 1, 0, received=DAY_S)
    assert story.ends == ["idle_timeout/max_idle_time?"]
    relay(story, 1, 0.001, received=DAY_S)
    assert story.ends == ["accepted"]


@pytest.mark.parametrize(
    ("state", "end"),
    [(State.STOPPED, "stopped/stop_requested?"), (State.FAILED, "failed/vendor_error?"), (State.LOST, "lost/unknown_to_vendor?")],
)
def test_an_operators_mark_counts_as_inferred(state, end):
    story = LineageScenario()
    push(story, 3, 0)
    story.mark(state, at=50)
    assert story.ends == [end]
    assert story.task.view.ended_at == ms(50)
    push(story, 3, 10, received=60)
    assert story.ends == ["running"]


def test_an_operators_mark_does_not_move_what_the_vendor_told():
    story = LineageScenario()
    relay(story, 4, 0, Reason=3)
    story.mark(State.LOST, at=50)
    assert story.ends == ["completed/source_finished"]


def test_the_last_of_several_marks_counts():
    story = LineageScenario()
    push(story, 3, 0)
    for at, state in enumerate([State.LOST, State.FAILED, State.STOPPED, State.FAILED, State.LOST]):
        story.mark(state, at=50 + at)
        assert story.task.view.state is state
