"""Tencent's callbacks: verification, keys, times, and the fact of each event; the rules of its tasks."""

import base64
import hashlib
import hmac
import json
from pathlib import Path
from typing import Any, cast

import pytest

from adapters.vendors import CallbackRejected, Envelope, Reading, Rejection
from adapters.vendors.tencent import Tencent
from adapters.vendors.tencent.events import NO_TASK, TASK_EVENTS
from statemachine.facts import Ending, Fact, FactKind, File, FilesDelivered, Output, fact_from_doc, fact_to_doc
from statemachine.rules import Rules
from statemachine.states import FileState, Kind, OutputState, Reason, State, Verdict
from statemachine.tasks import TaskKey

SAMPLES = json.loads((Path(__file__).parents[3] / "samples" / "tencent.json").read_text())
NOW = 1_700_000_000_000
SUFFIX = "_StartTimeMs_1700000000000"
tencent = Tencent()


def sign(body: bytes, key: str = "123654") -> str:
    return base64.b64encode(hmac.new(key.encode(), body, hashlib.sha256).digest()).decode()


def verify(body: bytes, *keys: str, **headers: str) -> Envelope:
    return tencent.verify({"sdkappid": "14", "sign": sign(body)} | headers, body, {"14": keys or ("123654",)}.get)


def rejection(body: bytes, **headers: str) -> CallbackRejected:
    with pytest.raises(CallbackRejected) as caught:
        verify(body, **headers)
    return caught.value


def body_of(event_type: Any, payload: Any = None, group: Any = None, **info: Any) -> bytes:
    if payload is not None:
        info["Payload"] = payload
    info = {"EventMsTs": NOW - 7, "TaskId": "t"} | info
    group = event_type // 100 if group is None else group
    return json.dumps({"EventGroupId": group, "EventType": event_type, "CallbackTs": NOW, "EventInfo": info}).encode()


def read_raw(body: bytes) -> Reading:
    return tencent.read("14", body, received_at=NOW, source="in-1", dedupe_key="d1")


def read(event_type: Any, payload: Any = None, group: Any = None, **info: Any) -> Reading:
    return read_raw(body_of(event_type, payload, group, **info))


def fact(event_type: int, payload: Any = None, **info: Any) -> Fact:
    reading = read(event_type, payload, **info)
    assert reading.fact is not None, reading
    assert fact_from_doc(json.loads(json.dumps(fact_to_doc(reading.fact)))) == reading.fact
    return reading.fact


# --- verify


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample["name"])
def test_every_sample_verifies(sample):
    headers = {name.lower(): value for name, value in sample["headers"].items()}

    opened = tencent.verify(headers, sample["raw"].encode(), {headers["sdkappid"]: [sample["sign_key"]]}.get)

    assert (opened.app_id, opened.event_type) == (headers["sdkappid"], str(sample["body"]["EventType"]))


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample["name"])
def test_every_sample_can_be_read(sample):
    reading = tencent.read("14", sample["raw"].encode(), received_at=1_800_000_000_000, source="", dedupe_key="d")

    assert (reading.fact is None) is (sample["body"]["EventGroupId"] in NO_TASK)
    assert reading.verdict in (None, Verdict.IGNORED)


def test_any_live_key_verifies():
    assert verify(b"{}", "new", "123654").app_id == "14"


@pytest.mark.parametrize("app_id", ["", "abc", "14 or so", "-14", "１４"])
def test_an_app_header_that_is_no_number_is_malformed(app_id):
    refused = rejection(b"{}", sdkappid=app_id)

    assert (refused.reason, refused.status) == (Rejection.MALFORMED, 400)
    assert "SdkAppId" in refused.detail


def test_an_unknown_app_is_told_before_the_signature_is_looked_at():
    refused = rejection(b"{}", sdkappid="15", sign="")

    assert (refused.reason, refused.app_id) == (Rejection.UNKNOWN_APP, "15")


@pytest.mark.parametrize("given", ["", "AAAA", "ü\udcff€", "x" * 10_000])
def test_a_missing_or_wrong_sign_is_refused(given):
    assert rejection(b"{}", sign=given).reason is Rejection.BAD_SIGNATURE


@pytest.mark.parametrize("body", [b"", b"[]", b'"x"', b"{", b'{"a":NaN}', b'{"a":-Infinity}', b"\xff", b"[" * 99_999])
def test_signed_bytes_that_are_no_json_object_are_malformed(body):
    assert rejection(body).reason is Rejection.MALFORMED


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b'{"EventInfo":5,"EventType":[]}',
        b'{"EventType":' + b"9" * 5000 + b',"EventInfo":{"a":-' + b"9" * 5000 + b"}}",
        b'{"EventInfo":{"a":1e999,"TaskId":"\\ud800\\u0000"}}',
        b'{"a":1,"a":2}',
        b'{"EventInfo":' + b"[" * 99_999 + b"]" * 99_999 + b"}",
        b'\xef\xbb\xbf {"EventType":true}',
    ],
)
def test_any_signed_json_object_is_accepted_and_can_be_read(body):
    opened = verify(body)

    assert (opened.event_type, len(opened.dedupe_key)) == ("", 64)
    assert read_raw(body).verdict is Verdict.UNKNOWN


@pytest.mark.parametrize("told", [401, "401"])
def test_the_event_type_is_text_of_a_number(told):
    assert verify(body_of(told, group=4)).event_type == "401"


def test_the_dedupe_key_leaves_out_when_the_callback_was_sent():
    body = body_of(301, {"Status": 0})
    later = json.loads(body) | {"CallbackTs": NOW + 5, "CallbackMsTs": 1}
    later["EventInfo"] = dict(reversed(later["EventInfo"].items()))

    assert verify(json.dumps(later, indent=1).encode()).dedupe_key == verify(body).dedupe_key


def test_the_dedupe_key_tells_events_apart():
    bodies = [
        body_of(401, {"Status": 1}),
        body_of(401, {"Status": 1}, EventMsTs=NOW),
        body_of(401, {"Status": 2}),
        body_of(402, {"Status": 1}),
        body_of(401, {"Status": 1}, group=3),
        b'{"EventType":401}',
        b'{"EventType":401,"CallbackTs":1}',
    ]

    assert len({verify(body).dedupe_key for body in bodies}) == len(bodies)


# --- read: times, keys, and events without a task


@pytest.mark.parametrize(
    ("info", "at"),
    [
        ({}, NOW - 7),
        ({"EventMsTs": str(NOW - 8)}, NOW - 8),
        ({"EventMsTs": None, "EventTsMs": NOW - 9}, NOW - 9),
        ({"EventMsTs": None, "EventTs": "1699999999"}, NOW - 1000),
        ({"EventMsTs": None, "EventTs": 1_699_999_999}, NOW - 1000),
        ({"EventMsTs": None}, NOW),
        ({"EventMsTs": NOW + 600_000}, NOW + 600_000),
        ({"EventMsTs": NOW + 600_001}, NOW),
        ({"EventMsTs": 1_420_070_399_999}, NOW),
    ],
)
def test_the_vendors_time_counts_where_it_can_be_believed(info, at):
    reading = read(301, {"Status": 0}, **info)

    assert (reading.event_at, reading.fact.at) == (at, at)


def test_a_recording_is_known_by_its_task_id_alone():
    reading = read(301, {"Status": "0"}, RoomId=17, UserId="bot")

    assert reading.key == TaskKey(vendor="tencent", app_id="14", room_id="", vendor_task_id="t", family="recording")
    assert reading.fact == Fact(
        kind=FactKind.START,
        at=NOW - 7,
        received_at=NOW,
        key="d1",
        source="in-1",
        opens=True,
        one_off=True,
        media=True,
        room_id="17",
        robot="bot",
        kind_hint=Kind.RECORD,
    )


def test_a_pages_files_come_under_its_bare_task_id():
    reading = read(310, {"Status": 0}, TaskId="t" + SUFFIX)

    assert (reading.key.vendor_task_id, reading.key.family, reading.fact.kind_hint) == ("t", "recording", Kind.PAGE)
    assert read(401, {"Status": 2, "Url": "u"}, TaskId="t" + SUFFIX).key.vendor_task_id == "t" + SUFFIX


@pytest.mark.parametrize(
    ("event_type", "payload", "info", "hint"),
    [
        (301, {"Status": 0}, {}, Kind.RECORD),
        (310, {"Status": 0}, {}, None),
        (312, {"Status": 0}, {"RoomId": "r"}, Kind.RECORD),
        (801, {"Status": 1}, {}, Kind.PAGE),
        (401, {"Status": 2, "Url": "u"}, {"RoomId": "r"}, None),
        (701, None, {"Status": 0}, None),
    ],
)
def test_only_recordings_hint_at_their_kind(event_type, payload, info, hint):
    assert fact(event_type, payload, **info).kind_hint is hint


@pytest.mark.parametrize(("group", "reason"), NO_TASK.items())
def test_events_of_other_groups_are_ignored_whatever_their_type(group, reason):
    reading = read(group * 100 + 99, group=group)

    assert (reading.verdict, reading.reason) == (Verdict.IGNORED, reason)


@pytest.mark.parametrize("task_id", [None, "", {}, 1.5, False])
def test_a_task_event_without_task_id_is_ignored(task_id):
    assert read(401, {"Status": 2, "Url": "u"}, TaskId=task_id).reason == "no_task_id"


@pytest.mark.parametrize(("group", "event_type"), [(3, 313), (4, 402), (5, 501), (7, 703), (8, 805), (99, 301)])
def test_undocumented_types_are_unknown(group, event_type):
    reading = read(event_type, group=group)

    assert (reading.verdict, reading.reason) == (Verdict.UNKNOWN, "unknown_event_type")


def test_the_misprinted_group_4_of_other_pages_is_read_by_type():
    assert read(701, group=4, Status=0).key.family == "ingest"
    assert read(901, group=4).reason == "ai_event"


@pytest.mark.parametrize("event_type", sorted(set(TASK_EVENTS) - {302, 303, 306, 308, 309, 802}))
def test_a_task_event_without_its_fields_is_unreadable(event_type):
    reading = read(event_type)

    assert (reading.verdict, reading.reason) == (Verdict.UNKNOWN, "unreadable")


@pytest.mark.parametrize(
    ("event_type", "payload"),
    [
        (401, {"Status": 9, "Url": "u"}),
        (401, {"Status": 2}),
        (301, {"Status": 2}),
        (305, {"Status": 3}),
        (307, {"UserId": "u"}),
        (310, {"Status": 3, "FileList": ["a"]}),
        (311, {"Status": 0}),
        (803, {"Status": 4}),
        (804, {"Status": True}),
    ],
)
def test_values_outside_the_tables_are_unreadable(event_type, payload):
    assert read(event_type, payload).reason == "unreadable"


def test_an_event_info_that_is_no_object_is_unreadable():
    assert read_raw(b'{"EventGroupId":3,"EventType":301,"EventInfo":"?"}').reason == "unreadable"


# --- relay


@pytest.mark.parametrize(
    ("status", "state"),
    [
        (0, OutputState.ENDED),
        (1, OutputState.CONNECTING),
        (2, OutputState.RUNNING),
        (3, OutputState.RECOVERING),
        (4, OutputState.FAILED),
        (5, OutputState.DISCONNECTING),
    ],
)
def test_a_relay_tells_of_one_url(status, state):
    told = fact(401, {"Status": status, "Url": "rtmp://a", "ErrorCode": 0}, UserId="bot")

    assert (told.kind, told.output, told.code) == (FactKind.OUTPUT, Output(url="rtmp://a", state=state), None)
    assert told.robot == "bot"


def test_a_failed_url_keeps_the_vendors_words():
    told = fact(401, {"Status": 4, "Url": "rtmp://a", "ErrorCode": 1, "ErrorMsg": "connect timeout"})

    assert (told.code, told.message) == ("1", "connect timeout")


# --- recording


def test_a_refused_recording_is_refused():
    refused = fact(301, {"Status": 1})

    assert refused.outcome == Ending(state=State.FAILED, reason=Reason.START_REFUSED, rank=1)
    assert (refused.kind, refused.opens) == (FactKind.REFUSED, False)


@pytest.mark.parametrize(
    ("code", "state", "reason"),
    [
        (0, State.STOPPED, Reason.STOP_REQUESTED),
        (1, State.STOPPED, Reason.REMOVED_FROM_ROOM),
        (2, State.STOPPED, Reason.ROOM_DISMISSED),
        (3, State.FAILED, Reason.VENDOR_ERROR),
        (4, State.FAILED, Reason.VENDOR_ERROR),
        (99, State.IDLE_TIMEOUT, Reason.MAX_IDLE_TIME),
        (100, State.FAILED, Reason.VENDOR_ERROR),
        (101, State.STOPPED, Reason.EVICTED),
        (7, State.COMPLETED, Reason.FILES_UNKNOWN),
        (None, State.COMPLETED, Reason.FILES_UNKNOWN),
    ],
)
def test_a_recorder_that_left_ends_the_capture_by_its_leave_code(code, state, reason):
    left = fact(302, {"LeaveCode": code})

    assert (left.kind, left.outcome) == (FactKind.CAPTURE_END, Ending(state=state, reason=reason))
    assert left.code == (None if code is None else str(code))


def test_files_told_while_recording_are_known():
    playlist = fact(304, {"FileList": "a.m3u8"})
    slice_of = fact(307, {"FileName": "a.m3u8", "UserId": "u", "TrackType": "audio", "BeginTimeStamp": str(NOW - 9)})

    assert (playlist.kind, playlist.recording, playlist.files) == (FactKind.FILES, True, (File(name="a.m3u8"),))
    assert slice_of.files == (File(name="a.m3u8", user_id="u", track="audio", started_at=NOW - 9),)
    assert slice_of.recording


@pytest.mark.parametrize("key", ["Status", "LeaveCode"])
@pytest.mark.parametrize(
    ("status", "delivery", "file_state"),
    [
        (0, FilesDelivered.WITH_CAPTURE, FileState.DELIVERED),
        (1, None, FileState.DELAYED),
        (2, FilesDelivered.WITH_CAPTURE, FileState.DELIVERED),
    ],
)
def test_a_stopped_upload_tells_of_all_files(key, status, delivery, file_state):
    told = fact(305, {key: status})

    assert (told.kind, told.delivery, told.file_state) == (FactKind.UPLOAD, delivery, file_state)


@pytest.mark.parametrize(
    ("status", "delivery", "state"),
    [
        (0, FilesDelivered.SINCE_CAPTURE, FileState.DELIVERED),
        (1, None, FileState.DELAYED),
        (2, None, FileState.FAILED),
    ],
)
def test_mp4_files_are_merged_from_both_lists_by_name(status, delivery, state):
    about = {"FileName": "b", "UserId": "u", "TrackType": "video", "MediaId": "aux", "StartTimeStamp": NOW - 9}
    told = fact(310, {"Status": status, "FileList": ["a", "b"], "FileMessage": [about | {"EndTimeStamp": NOW - 1}]})

    second = File(name="b", user_id="u", track="video", media="aux", started_at=NOW - 9, ended_at=NOW - 1, state=state)
    assert told.files == (File(name="a", state=state), second)
    assert (told.kind, told.delivery) == (FactKind.FILES, delivery)


def test_a_vod_file_is_told_with_its_id_and_url():
    vod = {"UserId": "u", "TrackType": "audio_video", "MediaId": "main", "FileId": "77", "VideoUrl": "http://v"}
    told = fact(311, {"Status": 0, "TencentVod": vod | {"CacheFile": "a.mp4", "StartTimeStamp": NOW - 9}})

    told_file = File(
        name="a.mp4",
        file_id="77",
        url="http://v",
        state=FileState.DELIVERED,
        user_id="u",
        track="audio_video",
        media="main",
        started_at=NOW - 9,
    )
    assert (told.kind, told.files, told.delivery) == (FactKind.FILES, (told_file,), None)


@pytest.mark.parametrize(("status", "state"), [(1, FileState.DELAYED), (2, FileState.FAILED)])
def test_a_vod_file_that_does_not_come_says_why(status, state):
    told = fact(311, {"Status": status, "Errmsg": "full", "TencentVod": {"CacheFile": "a.mp4"}})

    assert told.files == (File(name="a.mp4", state=state, message="full"),)


def test_the_older_flat_vod_payload_begins_in_seconds():
    told = fact(311, {"FileId": "77", "VideoUrl": "http://v", "BeginTimeStamp": 1_699_999_999})

    assert told.files == (File(file_id="77", url="http://v", state=FileState.DELIVERED, started_at=NOW - 1000),)


def test_vod_delivery_is_over_or_failed():
    over, failed = fact(312, {"Status": 0}), fact(312, {"Status": 1})

    assert (over.kind, over.delivery) == (FactKind.UPLOAD, FilesDelivered.OVER)
    assert (failed.kind, failed.outcome) == (FactKind.END, Ending(state=State.FAILED, reason=Reason.VENDOR_ERROR))


@pytest.mark.parametrize(
    ("event_type", "payload", "code", "message"),
    [
        (303, {"Status": 1}, "1", None),
        (303, {"Status": 0}, None, None),
        (306, {"Status": 0}, None, None),
        (308, {"Code": "InvalidParameter", "Message": "AccessKey invalid"}, "InvalidParameter", "AccessKey invalid"),
        (309, {"Url": "http://image"}, None, "http://image"),
    ],
)
def test_what_moves_nothing_is_noted_in_the_vendors_words(event_type, payload, code, message):
    note = fact(event_type, payload)

    assert (note.kind, note.code, note.message) == (FactKind.NOTE, code, message)


# --- ingest


@pytest.mark.parametrize(("status", "kind"), [(0, FactKind.START), (1, FactKind.CONNECTING), (2, FactKind.CONNECTING)])
def test_a_failed_ingest_start_is_not_the_end(status, kind):
    told = fact(701, Status=status)

    assert (told.kind, told.outcome) == (kind, None)
    assert told.opens is told.one_off is told.media is (status == 0)


def test_an_ingest_ends_without_saying_why():
    expected = Ending(state=State.COMPLETED, reason=Reason.UNSTATED, stop_wins=True, life_wins=True)

    assert (fact(702, Status=0).kind, fact(702, Status=0).outcome) == (FactKind.END, expected)
    assert read(702, Status=1).reason == "unreadable"


# --- page


@pytest.mark.parametrize(
    ("event_type", "status", "kind", "expected"),
    [
        (801, 1, FactKind.START, None),
        (801, 2, FactKind.END, Ending(state=State.FAILED, reason=Reason.START_REFUSED, rank=1)),
        (801, 3, FactKind.INTERRUPTED, None),
        (801, 4, FactKind.INTERRUPTED, None),
        (801, 5, FactKind.END, Ending(state=State.FAILED, reason=Reason.VENDOR_ERROR)),
        (802, 1, FactKind.CAPTURE_END, Ending(state=State.COMPLETED, reason=Reason.FILES_UNKNOWN)),
        (803, 1, FactKind.NOTE, None),
        (803, 2, FactKind.INTERRUPTED, None),
        (803, 3, FactKind.MEDIA, None),
        (804, 1, FactKind.CAPTURE_END, Ending(state=State.EXPIRED, reason=Reason.MAX_LIFETIME, rank=3)),
        (804, 2, FactKind.CAPTURE_END, Ending(state=State.FAILED, reason=Reason.BAD_SOURCE, rank=3)),
    ],
)
def test_a_page_tells_its_course(event_type, status, kind, expected):
    told = fact(event_type, {"Status": status, "EventMessage": "Chrome exception"})

    assert (told.kind, told.outcome, told.message) == (kind, expected, "Chrome exception")


def test_success_is_no_message():
    assert fact(801, {"Status": 1, "EventMessage": "Success"}).message is None


# --- rules


def test_rules_follow_the_parameters_of_the_start_call():
    push = Rules(single_run=True, idle_s=30, reach_s=2_592_000)
    record = Rules(single_run=True, idle_s=40, reach_s=21_600, repeatable=True, replaces=True)

    assert tencent.rules(Kind.PUSH, {"AgentParams": {"MaxIdleTime": 30}}) == push
    assert tencent.rules(Kind.RECORD, {"RecordParams": {"MaxIdleTime": 40}, "ResourceExpiredHour": 6}) == record
    assert tencent.rules(Kind.PAGE, {"MaxDurationLimit": 1800}) == Rules(single_run=True, life_s=1800, repeatable=True)


def test_rules_take_the_longest_where_nothing_is_told():
    assert tencent.rules(Kind.PUSH, {}).idle_s == 86_400
    assert tencent.rules(Kind.RECORD, {}) == Rules(single_run=True, idle_s=86_400, reach_s=259_200, repeatable=True, replaces=True)
    assert tencent.rules(Kind.PAGE, {"MaxDurationLimit": 10**15}).life_s is None


def test_an_ingests_duration_binds_only_an_endless_stream():
    endless = Rules(single_run=True, life_s=600, life_margin_s=60, meets_s=60)

    assert tencent.rules(Kind.INGEST, {"MaxDuration": 10}) == endless
    assert tencent.rules(Kind.INGEST, {"MaxDuration": 10, "RepeatNum": -1}) == endless
    assert tencent.rules(Kind.INGEST, {"MaxDuration": 10, "RepeatNum": 3}).life_s is None


def test_records_and_pages_are_one_family():
    families = {kind: tencent.family_of(kind) for kind in Kind}

    assert families == {Kind.PUSH: "relay", Kind.INGEST: "ingest", Kind.RECORD: "recording", Kind.PAGE: "recording"}


def test_a_kind_that_the_vendor_lacks_has_no_family():
    assert tencent.family_of(cast(Kind, "a later kind")) is None
