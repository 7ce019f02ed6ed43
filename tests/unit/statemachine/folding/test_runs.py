"""Cutting facts into runs: where one run of a key ends and the next begins."""

import pytest

from statemachine.states import Anomaly, State, Verdict
from tests.unit.statemachine.lineage_scenario import HOUR_S, URL, LineageScenario, ms

FILES = [{"ObjectKey": "a.mp4"}]


def push(story: LineageScenario, task_state: int, at: float, *, start: float | None = None, **data):
    created = {} if start is None else {"StartTime": ms(start)}
    return story.volc("TranscodeStateChanged", at, TaskState=task_state, Code=data.pop("Code", 0), **created, **data)


def ended(story: LineageScenario, at: float, *, start: float | None = None, code: int = 0):
    return push(story, 1, at, start=start, Code=code, FinishTime=ms(at))


# Facts that open a run.


@pytest.mark.parametrize(
    ("event", "data", "state"),
    [
        ("TranscodeStarted", {"Code": 0}, "accepted"),
        ("RecordStarted", {"Code": 0}, "running"),
        ("Webcast", {"Status": 1}, "running"),
        ("RelayStreamStateChanged", {"Status": 1}, "accepted"),
        ("RelayStreamStateChanged", {"Status": 2}, "accepted"),
        ("RelayStreamStateChanged", {"Status": 3}, "running"),
    ],
)
def test_after_a_reported_end_a_newer_start_sign_opens_a_run(event, data, state):
    end = {
        "TranscodeStarted": ("TranscodeStopped", {"Code": 0}),
        "RecordStarted": ("RecordStopped", {"Code": 1}),
        "Webcast": ("Webcast", {"Status": 2}),
        "RelayStreamStateChanged": ("RelayStreamStateChanged", {"Status": 4, "Reason": 3}),
    }[event]
    story = LineageScenario()
    story.volc(event, 0, **data)
    story.volc(end[0], 10, **end[1])
    story.volc(event, 20, **data)
    assert [task.view.state for task in story.tasks] == [story.run(1).view.state, State(state)]
    assert story.run(1).view.ended_at == ms(10)


def test_after_a_reported_capture_end_a_record_start_opens_a_run_while_the_first_is_finishing():
    story = LineageScenario()
    story.volc("RecordStarted", 0, Code=0)
    story.volc("RecordStopped", 10, Code=0, RecordFileList=FILES)
    story.volc("RecordStarted", 20, Code=0)
    assert story.ends == ["finishing", "running"]


def test_a_state_change_whose_start_time_is_after_the_reported_end_opens_a_run():
    story = LineageScenario()
    story.volc("TranscodeStarted", 0, Code=0)
    story.volc("TranscodeStopped", 100, Code=0)
    push(story, 3, 210, start=200)
    assert story.ends == ["stopped/unstated", "running"]


def test_a_repeated_start_of_a_live_task_changes_nothing():
    story = LineageScenario()
    push(story, 3, 0, PushURL=URL)
    story.volc("TranscodeStarted", 5, Code=0, PushURL=URL)
    assert story.ends == ["running"]
    assert story.outputs == {URL: "running"}


def test_a_start_that_is_repeated_while_there_is_no_publisher_is_no_reconnection():
    story = LineageScenario()
    push(story, 3, 0)
    push(story, 1, 10, FinishTime=0)
    story.volc("TranscodeStarted", 20, Code=0)
    assert story.ends == ["interrupted"]
    assert story.task.view.interrupted_since is None
    assert story.task.view.idle_since == ms(10)


def test_a_second_record_start_follows_a_run_whose_end_was_not_reported():
    story = LineageScenario()
    story.volc("RecordStarted", 0, Code=0)
    story.volc("RecordStarted", 50, Code=0)
    assert story.ends == ["stopped/unstated?", "running"]
    assert story.run(1).view.ended_at == ms(50)


def test_the_reported_end_of_a_followed_run_replaces_the_inferred_one():
    story = LineageScenario()
    story.volc("RecordStarted", 0, Code=0)
    story.volc("RecordStarted", 50, Code=0)
    story.volc("RecordStopped", 40, received=60, Code=1)
    assert story.ends == ["failed/vendor_error", "running"]


# StartTime and its tolerance.


@pytest.mark.parametrize(("start", "runs"), [(5, 1), (6, 2)])
def test_a_start_time_within_five_seconds_of_the_start_is_the_same_start(start, runs):
    story = LineageScenario()
    story.volc("TranscodeStarted", 0, Code=0)
    push(story, 3, 60, start=start)
    assert len(story.tasks) == runs


@pytest.mark.parametrize(("start", "runs"), [(5, 1), (6, 2)])
def test_two_start_times_within_five_seconds_are_one(start, runs):
    story = LineageScenario()
    push(story, 3, 60, start=0)
    push(story, 3, 70, start=start)
    assert len(story.tasks) == runs


def test_a_run_that_one_with_a_newer_start_time_follows_ended_there():
    story = LineageScenario()
    push(story, 3, 10, start=0)
    push(story, 3, 110, start=100)
    assert story.ends == ["stopped/unstated?", "running"]
    assert story.run(1).view.ended_at == ms(100)


def test_a_sign_of_an_older_start_time_goes_to_the_older_run_and_revives_nothing():
    story = LineageScenario()
    push(story, 3, 10, start=0)
    push(story, 3, 110, start=100)
    push(story, 3, 120, start=0)
    assert story.ends == ["stopped/unstated?", "running"]


def test_a_refused_start_that_an_older_start_time_shows_to_have_lived_ends_where_the_next_run_begins():
    story = LineageScenario()
    story.volc("TranscodeStarted", 10, Code=1)
    push(story, 3, 25, start=20)
    push(story, 3, 30, start=10)
    assert story.ends == ["stopped/unstated?", "running"]


def test_an_end_with_a_start_time_ends_the_run_of_that_start():
    story = LineageScenario()
    push(story, 3, 10, start=0)
    push(story, 3, 110, start=100)
    ended(story, 120, start=0, code=3)
    assert story.ends == ["failed/vendor_error", "running"]


def test_a_late_start_time_that_lies_before_all_runs_opens_the_first_run_there():
    story = LineageScenario()
    push(story, 3, 110, start=100)
    first = story.task.id
    push(story, 3, 20, start=0, received=120)
    assert story.ends == ["stopped/unstated?", "running"]
    assert story.run(2).id == first


@pytest.mark.parametrize("end_first", [True, False])
def test_an_end_between_a_start_time_and_its_start_sign_is_of_the_run_before(end_first):
    story = LineageScenario()
    push(story, 3, 10, start=0)
    end = lambda: story.volc("TranscodeStopped", 99.5, received=103, Code=0)  # noqa: E731
    if end_first:
        end()
    story.volc("TranscodeStarted", 99.6, received=103, Code=0)
    push(story, 3, 103, start=99)
    if not end_first:
        end()
    assert story.ends == ["stopped/unstated", "running"]


def test_a_start_time_that_no_clock_can_show_is_ignored():
    story = LineageScenario()
    story.volc("TranscodeStarted", 0, Code=0)
    push(story, 3, 10, StartTime=0)
    assert story.ends == ["running"]


# Rejected starts.


def test_a_refused_start_alone_is_a_failed_run():
    story = LineageScenario()
    story.volc("TranscodeStarted", 0, Code=1, ErrorMessage="no such stream")
    assert story.ends == ["failed/start_refused"]
    assert (story.task.view.vendor_code, story.task.view.vendor_message) == ("1", "no such stream")


@pytest.mark.parametrize("started_at", [0, 20])
def test_a_refused_start_on_a_run_that_shows_life_is_noted(started_at):
    story = LineageScenario()
    for event, at in sorted([("refused", 10), ("media", started_at)], key=lambda item: item[1]):
        _ = story.volc("TranscodeStarted", at, Code=1) if event == "refused" else push(story, 3, at)
    assert story.ends == ["running"]


def test_a_refused_start_after_a_reported_end_is_a_run_of_its_own():
    story = LineageScenario()
    story.volc("RecordStarted", 0, Code=0)
    story.volc("RecordStopped", 10, Code=1)
    story.volc("RecordStarted", 20, Code=1)
    assert story.ends == ["failed/vendor_error", "failed/start_refused"]


def test_a_start_after_a_refused_one_is_the_next_run():
    story = LineageScenario()
    story.volc("RecordStarted", 0, Code=1)
    story.volc("RecordStarted", 20, Code=0)
    assert story.ends == ["failed/start_refused", "running"]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_recording_whose_refusal_another_start_contradicts_runs_in_any_order(order):
    story = LineageScenario()
    for status in order:
        story.tencent(301, 10 + status, received=20, Status=status)
    assert story.ends == ["running"]


# Inferred ends and what revokes them.


def idle_push() -> LineageScenario:
    story = LineageScenario()
    story.volc("TranscodeStarted", 0, Code=0)
    push(story, 1, 1, FinishTime=0)
    story.pass_due(25 * HOUR_S)
    assert story.ends == ["idle_timeout/max_idle_time?"]
    return story


def test_after_an_inferred_end_a_push_start_revokes_it():
    story = idle_push()
    story.volc("TranscodeStarted", 26 * HOUR_S, Code=0)
    assert story.ends == ["accepted"]


def test_after_an_inferred_end_a_newer_start_time_opens_a_run():
    story = idle_push()
    push(story, 3, 26 * HOUR_S, start=25 * HOUR_S)
    assert story.ends == ["idle_timeout/max_idle_time?", "running"]


@pytest.mark.parametrize(("event", "data"), [("RecordStarted", {"Code": 0}), ("Webcast", {"Status": 1})])
def test_after_an_inferred_end_a_record_or_page_start_opens_a_run(event, data):
    story = LineageScenario()
    story.volc(event, 0, **data)
    story.mark(State.LOST, at=100)
    story.volc(event, 200, **data)
    assert story.ends == ["lost/unknown_to_vendor?", "running"]


@pytest.mark.parametrize("status", [1, 2, 3])
def test_after_an_inferred_end_any_relay_sign_revokes_it(status):
    story = LineageScenario()
    story.volc("RelayStreamStateChanged", 0, Status=1)
    story.pass_due(700)
    story.volc("RelayStreamStateChanged", 800, Status=status)
    assert len(story.tasks) == 1
    assert story.task.view.state in (State.ACCEPTED, State.RUNNING)


def test_an_inferred_end_is_revoked_only_by_signs_newer_than_what_was_known():
    story = LineageScenario()
    push(story, 3, 50)
    push(story, 1, 100, FinishTime=0)
    story.mark(State.LOST, at=200)
    push(story, 3, 90, received=300)
    assert story.ends == ["lost/unknown_to_vendor?"]
    push(story, 3, 110, received=310)
    assert story.ends == ["running"]


def test_an_inferred_end_of_a_run_with_a_successor_yields_only_to_an_end():
    story = idle_push()
    push(story, 3, 26 * HOUR_S, start=25 * HOUR_S)
    push(story, 3, 27 * HOUR_S, start=0)
    assert story.ends[0] == "idle_timeout/max_idle_time?"
    ended(story, 28 * HOUR_S, start=0, code=2)
    assert story.ends == ["failed/bad_source", "running"]


def test_a_finish_that_passes_for_one_run_does_not_touch_the_next():
    story = LineageScenario()
    story.volc("RecordStarted", 0, Code=0)
    story.volc("RecordStopped", 100, Code=0, RecordFileList=FILES)
    story.volc("RecordStarted", 200, Code=0)
    story.volc("RecordUploadProcessing", 300, Progress=10)
    story.pass_due(100 + 24 * HOUR_S)
    assert story.ends == ["completed/files_delivered?", "running"]


# Zombies.


@pytest.mark.parametrize("end_first", [True, False])
def test_a_sign_of_life_after_a_reported_end_is_a_zombie_in_either_order(end_first):
    story = LineageScenario()
    events = [lambda: ended(story, 10), lambda: push(story, 3, 20)]
    for event in events if end_first else reversed(events):
        event()
    assert story.ends == ["stopped/unstated"]
    assert story.task.anomalies == (Anomaly.ZOMBIE,)


def test_the_verdict_of_a_zombies_sign_is_anomaly():
    story = LineageScenario()
    ended(story, 10)
    assert push(story, 3, 20).verdict is Verdict.ANOMALY


def test_a_sign_as_old_as_the_reported_end_is_no_zombie():
    story = LineageScenario()
    ended(story, 10)
    push(story, 3, 10)
    assert story.task.anomalies == ()


def test_a_cleared_zombie_is_raised_again_by_newer_signs_only():
    story = LineageScenario()
    ended(story, 10)
    push(story, 3, 20)
    story.mark(at=30, clear=(Anomaly.ZOMBIE,))
    story.repeat_callback(2)
    assert story.task.anomalies == ()
    push(story, 3, 40)
    assert story.task.anomalies == (Anomaly.ZOMBIE,)


def test_a_record_interrupted_after_its_capture_ended_is_a_zombie():
    story = LineageScenario()
    story.tencent(801, 0, Status=1)
    story.tencent(802, 10, Status=1)
    story.tencent(803, 20, Status=3)
    assert story.ends == ["finishing"]
    assert story.task.anomalies == (Anomaly.ZOMBIE,)


# Equal times.


def test_at_equal_times_a_start_comes_before_an_end():
    story = LineageScenario()
    story.volc("TranscodeStopped", 5, Code=0)
    story.volc("TranscodeStarted", 5, Code=0)
    assert story.ends == ["stopped/unstated"]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_run_that_has_its_one_off_start_ends_before_an_equal_time_start(order):
    story = LineageScenario()
    story.volc("Webcast", 0, Status=1)
    later = [{"Status": 2}, {"Status": 1}]
    for index in order:
        story.volc("Webcast", 10, **later[index])
    assert story.ends == ["completed/source_finished", "running"]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_a_run_that_has_its_one_off_start_takes_an_equal_time_capture_end_and_upload(order):
    story = LineageScenario()
    story.volc("RecordStarted", 0, Code=0)
    later = [
        ("RecordStopped", {"Code": 0, "RecordFileList": FILES}),
        ("RecordUploadDone", {"Code": 0}),
        ("RecordStarted", {"Code": 0}),
    ]
    for index in order:
        story.volc(later[index][0], 10, **later[index][1])
    assert story.ends == ["completed/files_delivered", "running"]


def test_media_comes_before_an_end_of_equal_time():
    story = LineageScenario()
    ended(story, 10)
    push(story, 3, 10)
    assert story.task.view.running_at == ms(10)


# Assignment of uploads to runs.


def recorded_twice() -> LineageScenario:
    story = LineageScenario()
    story.volc("RecordStarted", 0, Code=0)
    story.volc("RecordStopped", 10, Code=0, RecordFileList=[{"ObjectKey": "one"}])
    story.volc("RecordStarted", 20, Code=0)
    return story


def test_an_upload_belongs_to_the_run_whose_capture_ended_no_later():
    story = recorded_twice()
    story.volc("RecordUploadDone", 30, Code=0)
    assert story.ends == ["completed/files_delivered", "running"]


def test_of_two_open_uploads_the_newest_capture_gets_it():
    story = recorded_twice()
    story.volc("RecordStopped", 40, Code=0, RecordFileList=[{"ObjectKey": "two"}])
    story.volc("RecordUploadDone", 50, Code=0)
    assert story.ends == ["finishing", "completed/files_delivered"]


def test_a_second_upload_done_closes_the_run_before():
    story = recorded_twice()
    story.volc("RecordStopped", 40, Code=0, RecordFileList=[{"ObjectKey": "two"}])
    story.volc("RecordUploadDone", 50, Code=0)
    story.volc("RecordUploadDone", 60, Code=0)
    assert story.ends == ["completed/files_delivered"] * 2


def test_an_upload_done_before_the_capture_ended_counts_once_it_has():
    story = LineageScenario()
    story.volc("RecordStarted", 0, Code=0)
    story.volc("RecordUploadDone", 9, Code=0)
    assert story.ends == ["running"]
    story.volc("RecordStopped", 10, Code=0, RecordFileList=FILES)
    assert story.ends == ["completed/files_delivered"]
    assert story.task.view.ended_at == ms(10)
    assert story.files == {"a.mp4": "delivered"}


def test_an_upload_before_the_first_start_is_of_an_earlier_run():
    story = LineageScenario()
    story.volc("RecordStarted", 100, Code=0)
    story.volc("RecordUploadDone", 50, received=110, Code=0)
    assert story.ends == ["finishing", "running"]


def test_an_upload_run_stays_finishing_while_a_newer_run_lives():
    story = LineageScenario()
    story.volc("RecordUploadBackuped", 50, Code=0)
    story.volc("RecordStarted", 100, Code=0)
    assert story.ends == ["finishing", "running"]
    story.pass_due(50 + 24 * HOUR_S)
    assert story.ends == ["completed/files_unknown?", "running"]


def test_a_late_record_stop_explains_the_upload_before_the_first_start():
    story = LineageScenario()
    story.volc("RecordStarted", 100, Code=0)
    story.volc("RecordUploadDone", 50, received=110, Code=0)
    story.volc("RecordStopped", 40, received=120, Code=0, RecordFileList=FILES)
    assert story.ends == ["completed/files_delivered", "running"]


# Keys with a single run.


def test_a_key_whose_vendor_assigns_ids_has_one_run():
    story = LineageScenario()
    story.tencent(701, 0, Status=0)
    story.tencent(702, 10, Status=0)
    story.tencent(701, 20, Status=0)
    assert story.ends == ["completed/unstated"]
    assert story.task.anomalies == (Anomaly.ZOMBIE,)
