"""Files of recordings: how they decide the end, and what is known of them."""

import pytest

from statemachine.states import Deadline, Kind, State
from tests.unit.statemachine.lineage_scenario import DAY_S, HOUR_S, MINUTE_S, LineageScenario, ms

FILES = [{"ObjectKey": "a.mp4"}]


def recording() -> LineageScenario:
    story = LineageScenario()
    story.volc("RecordStarted", 0, Code=0)
    return story


def cloud(leave_code: int | None = 0) -> LineageScenario:
    story = LineageScenario()
    story.tencent(301, 0, RoomId="r", Status=0)
    if leave_code is not None:
        story.tencent(302, 10, RoomId="r", LeaveCode=leave_code)
    return story


# Volcengine's recordings.


def test_a_record_stop_with_files_awaits_the_upload():
    story = recording()
    story.volc("RecordStopped", 10, Code=0, RecordFileList=FILES)
    assert story.ends == ["finishing"]
    assert story.files == {"a.mp4": "known"}


@pytest.mark.parametrize("listed", [{}, {"RecordFileList": []}, {"RecordFileList": None}])
def test_a_record_stop_without_files_is_the_end(listed):
    story = recording()
    story.volc("RecordStopped", 10, Code=0, **listed)
    assert story.ends == ["completed/no_files"]


def test_an_upload_that_is_done_completes_a_recording():
    story = recording()
    story.volc("RecordStopped", 10, Code=0, RecordFileList=FILES)
    story.volc("RecordUploadDone", 20, Code=0)
    assert story.ends == ["completed/files_delivered"]
    assert story.files == {"a.mp4": "delivered"}


@pytest.mark.parametrize(
    ("event", "data"),
    [("RecordUploadDone", {"Code": 1}), ("RecordSyncUploadFailed", {"Code": 1}), ("RecordUploadStarted", {"Code": 0})],
)
def test_an_upload_that_fails_or_goes_on_decides_nothing(event, data):
    story = recording()
    story.volc("RecordStopped", 10, Code=0, RecordFileList=FILES)
    story.volc(event, 20, **data)
    assert story.ends == ["finishing"]
    assert story.due[Deadline.FINISH] == 10 + 24 * HOUR_S


def test_files_in_backup_storage_stay_awaited():
    story = recording()
    story.volc("RecordStopped", 10, Code=0, RecordFileList=FILES)
    story.volc("RecordUploadBackuped", 20, Code=1)
    assert story.ends == ["finishing"]
    assert story.files == {"a.mp4": "backed_up"}


def test_the_newest_word_about_all_files_counts():
    story = recording()
    story.volc("RecordStopped", 10, Code=0, RecordFileList=FILES)
    story.volc("RecordUploadDone", 30, Code=0)
    story.volc("RecordUploadBackuped", 20, received=40, Code=1)
    assert story.files == {"a.mp4": "delivered"}


def test_signs_of_users_streams_are_timeline_only():
    story = LineageScenario()
    story.volc("RecordAudioStreamStateChanged", 0, State=1)
    assert story.ends == ["accepted"]


@pytest.mark.parametrize("event", ["RecordUploadDone", "RecordUploadBackuped", "RecordSyncUploadFailed"])
def test_an_upload_of_which_nothing_else_is_known_is_finishing(event):
    story = LineageScenario()
    story.volc(event, 0, Code=0)
    assert story.ends == ["finishing"]


@pytest.mark.parametrize("event", ["RecordUploadStarted", "RecordUploadProcessing", "RecordSyncUploadStarted"])
def test_the_beginning_and_progress_of_an_upload_are_timeline_only(event):
    story = LineageScenario()
    story.volc(event, 0, Code=0, Progress=5)
    assert story.ends == ["accepted"]


def test_uploads_never_move_a_recording_that_lives():
    story = recording()
    story.volc("RecordSyncUploadStarted", 5, RecordFileList=FILES)
    assert story.ends == ["running"]


# Tencent's recordings.


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
@pytest.mark.parametrize("status", [0, 2])
def test_an_upload_stop_with_the_captures_end_completes(status, order):
    story = cloud(None)
    events = [(302, 10, {"LeaveCode": 0}), (305, 11, {"Status": status})]
    for index in order:
        event, at, payload = events[index]
        story.tencent(event, at, received=20, **payload)
    assert story.ends == ["completed/no_files"]


def test_an_upload_stop_before_the_captures_end_counts_from_it():
    story = cloud(None)
    story.tencent(305, 9, Status=0)
    assert story.ends == ["running"]
    story.tencent(302, 10, LeaveCode=0)
    assert story.task.view.ended_at == ms(10)


def test_an_upload_stop_with_files_left_behind_stays_finishing():
    story = cloud()
    story.tencent(305, 11, Status=1)
    assert story.ends == ["finishing"]
    story.tencent(305, 99, Status=2)
    assert story.ends == ["completed/no_files"]


@pytest.mark.parametrize(("event", "payload"), [(304, {"FileList": "a.m3u8"}), (307, {"FileName": "a.aac"})])
def test_a_file_that_is_being_recorded_means_running_where_nothing_else_is_known(event, payload):
    story = LineageScenario()
    story.tencent(event, 0, **payload)
    assert story.ends == ["running"]


@pytest.mark.parametrize(
    ("event", "payload"), [(303, {"Status": 0}), (306, {"Status": 0}), (308, {"Code": "1"}), (309, {"Url": "u"})]
)
def test_remarks_alone_make_an_accepted_task(event, payload):
    story = LineageScenario()
    assert story.tencent(event, 0, **payload).verdict == "applied"
    assert story.ends == ["accepted"]


def test_mp4_files_not_older_than_the_captures_end_complete():
    story = cloud()
    story.tencent(310, 10, Status=0, FileList=["a.mp4"])
    assert story.ends == ["completed/files_delivered"]
    assert story.files == {"a.mp4": "delivered"}


@pytest.mark.parametrize("leave", [False, True])
def test_mp4_files_older_than_the_captures_end_move_nothing(leave):
    story = cloud(0 if leave else None)
    story.tencent(310, 9, received=20, Status=0, FileList=["a.mp4"])
    assert story.ends == ["finishing" if leave else "running"]


@pytest.mark.parametrize(("status", "state"), [(1, "delayed"), (2, "failed")])
def test_mp4_files_that_are_late_or_failed_stay_awaited(status, state):
    story = cloud()
    story.tencent(310, 11, Status=status, FileList=["a.mp4"])
    assert story.ends == ["finishing"]
    assert story.files == {"a.mp4": state}


@pytest.mark.parametrize(
    ("status", "state"), [({"Status": 0}, "delivered"), ({"Status": 1}, "delayed"), ({"Status": 2}, "failed"), ({}, "delivered")]
)
def test_a_file_in_the_media_library_moves_nothing(status, state):
    story = cloud()
    story.tencent(311, 11, **status, TencentVod={"FileId": "f1"})
    assert story.ends == ["finishing"]
    assert story.files == {"f1": state}


@pytest.mark.parametrize("capture_known", [True, False])
def test_a_delivery_that_is_over_completes_whatever_else_is_known(capture_known):
    story = cloud(3 if capture_known else None)
    story.tencent(312, 20, Status=0)
    assert story.ends == ["completed/no_files"]
    story.tencent(311, 19, received=21, TencentVod={"FileId": "f1"})
    assert story.ends == ["completed/files_delivered"]


def test_a_delivery_that_failed_is_a_failure():
    story = cloud()
    story.tencent(312, 20, Status=1)
    assert story.ends == ["failed/vendor_error"]


def test_delivered_files_alone_are_no_delivery_when_all_failed():
    story = cloud()
    story.tencent(311, 11, Status=2, TencentVod={"FileId": "f1"})
    story.tencent(312, 20, Status=0)
    assert story.ends == ["completed/no_files"]


def test_to_be_named_once_more_does_not_undo_a_files_delivery():
    story = cloud()
    story.tencent(310, 11, Status=0, FileList=["a.mp4"])
    story.tencent(304, 12, FileList="a.mp4")
    assert story.files == {"a.mp4": "delivered"}


def test_files_may_be_added_to_a_final_task():
    story = cloud()
    story.tencent(310, 11, Status=0, FileList=["a.mp4"])
    story.tencent(310, 12, Status=0, FileList=["b.mp4"])
    assert story.ends == ["completed/files_delivered"]
    assert list(story.files) == ["a.mp4", "b.mp4"]


# Without files, the end of the capture decides.


@pytest.mark.parametrize(
    ("leave_code", "end"),
    [
        (99, "idle_timeout/max_idle_time?"),
        (0, "stopped/stop_requested?"),
        (1, "stopped/removed_from_room?"),
        (2, "stopped/room_dismissed?"),
        (101, "stopped/evicted?"),
        (3, "failed/vendor_error?"),
        (4, "failed/vendor_error?"),
        (100, "failed/vendor_error?"),
        (55, "completed/files_unknown?"),
    ],
)
def test_without_a_file_the_leave_code_speaks_after_a_day(leave_code, end):
    story = cloud(leave_code)
    story.pass_due(10 + DAY_S - 1)
    assert story.ends == ["finishing"]
    story.pass_due(10 + DAY_S)
    assert story.ends == [end]
    assert story.task.view.vendor_code is None


@pytest.mark.parametrize(
    ("event", "status", "end"),
    [(802, 1, "completed/files_unknown?"), (804, 1, "expired/max_lifetime?"), (804, 2, "failed/bad_source?")],
)
def test_without_a_file_the_pages_end_speaks_after_a_day(event, status, end):
    story = LineageScenario()
    story.tencent(801, 0, Status=1)
    story.tencent(event, 10, Status=status)
    assert story.ends == ["finishing"]
    story.pass_due(10 + DAY_S)
    assert story.ends == [end]


def test_with_a_file_the_capture_is_completed_whatever_ended_it():
    story = cloud(99)
    story.tencent(311, 20, Status=0, TencentVod={"FileId": "f1"})
    story.pass_due(10 + DAY_S)
    assert story.ends == ["completed/files_delivered?"]


def test_a_delivery_told_after_the_inference_corrects_it():
    story = cloud(3)
    story.pass_due(2 * DAY_S)
    story.tencent(312, 2 * DAY_S, Status=0)
    assert story.ends == ["completed/no_files"]


def test_a_captures_end_that_was_not_known_takes_the_inference_back():
    story = LineageScenario()
    story.volc("RecordUploadBackuped", 0, Code=0)
    story.pass_due(DAY_S)
    assert story.ends == ["completed/files_unknown?"]
    story.volc("RecordStopped", DAY_S, Code=0, RecordFileList=FILES)
    assert story.ends == ["finishing"]
    story.pass_due(2 * DAY_S)
    assert story.ends == ["completed/files_delivered?"]


# Pages and recordings.


def test_a_group_three_task_is_a_page_until_something_says_otherwise():
    story = LineageScenario()
    story.tencent(310, 0, Status=0, FileList=["a.mp4"])
    assert story.task.kind is Kind.PAGE
    story.tencent(302, 1, LeaveCode=0)
    assert story.task.kind is Kind.RECORD


def test_a_room_makes_it_a_recording():
    story = LineageScenario()
    story.tencent(312, 0, RoomId=7, Status=0)
    assert story.task.kind is Kind.RECORD


def test_any_page_event_makes_it_a_page():
    story = LineageScenario()
    story.tencent(310, 0, RoomId=7, Status=0, FileList=["a.mp4"])
    story.tencent(802, 1, Status=1)
    assert story.task.kind is Kind.PAGE


def test_a_start_time_behind_the_task_id_makes_it_a_page_and_is_no_part_of_the_id():
    story = LineageScenario()
    story.tencent(802, 0, Status=1)
    story.tencent(310, MINUTE_S, task="t_StartTimeMs_1700000000000", Status=0, FileList=["a.mp4"])
    assert story.ends == ["completed/files_delivered"]
    assert story.task.kind is Kind.PAGE


def test_a_suffixed_id_alone_makes_a_page():
    story = LineageScenario()
    story.tencent(310, 0, task="t_StartTimeMs_1700000000000", RoomId=7, Status=0, FileList=["a.mp4"])
    assert story.task.kind is Kind.PAGE
    assert story.task.key.vendor_task_id == "t"


def test_a_mark_that_a_captures_end_took_back_does_not_keep_the_recording_finishing():
    story = LineageScenario()
    story.volc("RecordStarted", 0, Code=0)
    story.mark(State.LOST, at=DAY_S)
    story.volc("RecordStopped", 0, received=DAY_S, Code=0, RecordFileList=FILES)
    assert story.ends == ["finishing"]
    story.pass_due(DAY_S)
    assert story.ends == ["completed/files_delivered?"]
