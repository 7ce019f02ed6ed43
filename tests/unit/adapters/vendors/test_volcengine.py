"""Volcengine's callbacks: verification, keys, times, and the fact of each event; the rules of its tasks."""

import hashlib
import json
from pathlib import Path
from typing import Any, cast

import pytest

from adapters.vendors import CallbackRejected, Envelope, Reading, Rejection
from adapters.vendors.volcengine import Volcengine
from adapters.vendors.volcengine.events import NO_TASK, TASK_EVENTS
from statemachine.facts import Ending, Fact, FactKind, File, FilesDelivered, Output, fact_from_doc, fact_to_doc
from statemachine.rules import Rules
from statemachine.states import FileState, Kind, OutputState, Reason, State, Verdict
from statemachine.tasks import TaskKey

SAMPLES = json.loads((Path(__file__).parents[3] / "samples" / "volcengine.json").read_text())
SIGNED = [sample for sample in SAMPLES if "secret" in sample]
NOW = 1_700_000_000_000
EVENT_TIME, EVENT_MS = "2023-11-14T22:13:20.5Z", 1_700_000_000_500
URL = "rtmp://push.example.com/live/s1"
volcengine = Volcengine()


def signed(*, secret: str = "1234", **fields: Any) -> bytes:
    values = [fields.get(name, "") for name in ("EventType", "EventData", "EventTime", "EventId", "AppId", "Version")]
    values += [fields.get("Nonce", fields.get("Noce", "")), secret]
    joined = b"".join(sorted(value.encode("utf-8", "surrogatepass") for value in values))
    return json.dumps({"Signature": hashlib.sha256(joined).hexdigest()} | fields).encode()


def envelope(**changes: Any) -> dict[str, Any]:
    fields = {"EventType": "RoomCreate", "EventData": "{}", "EventTime": EVENT_TIME, "EventId": "e1", "AppId": "app"}
    return fields | {"Version": "2020-12-01", "Nonce": "aaBc"} | changes


def verify(body: bytes, *secrets: str) -> Envelope:
    return volcengine.verify({}, body, {"app": secrets or ("1234",)}.get)


def rejection(body: bytes) -> CallbackRejected:
    with pytest.raises(CallbackRejected) as caught:
        verify(body)
    return caught.value


def read(event_type: str, *, received_at: int = NOW, **data: Any) -> Reading:
    data = {"RoomId": "r", "TaskId": "t"} | data
    body = json.dumps(envelope(EventType=event_type, EventData=json.dumps(data))).encode()
    return volcengine.read("app", body, received_at=received_at, source="in-1", dedupe_key="d1")


def fact(event_type: str, **data: Any) -> Fact:
    reading = read(event_type, **data)
    assert reading.fact is not None, reading
    assert fact_from_doc(json.loads(json.dumps(fact_to_doc(reading.fact)))) == reading.fact
    return reading.fact


def outcome(event_type: str, **data: Any) -> Ending | None:
    return fact(event_type, **data).outcome


# --- verify


@pytest.mark.parametrize("sample", SIGNED, ids=lambda sample: sample["name"])
def test_every_signed_sample_verifies(sample):
    body = json.dumps(sample["body"], ensure_ascii=False).encode()

    opened = volcengine.verify({}, body, {sample["body"]["AppId"]: [sample["secret"]]}.get)

    assert (opened.app_id, opened.event_type) == (sample["body"]["AppId"], sample["body"]["EventType"])


def test_a_placeholder_signature_is_refused():
    (sample,) = [sample for sample in SAMPLES if "secret" not in sample]

    with pytest.raises(CallbackRejected, match="64 lower-case hex digits"):
        volcengine.verify({}, json.dumps(sample["body"]).encode(), {"Your_AppId": ["1234"]}.get)


def test_any_live_secret_verifies():
    assert verify(signed(**envelope(), secret="old"), "new", "old").app_id == "app"


def test_the_older_spelling_noce_is_accepted():
    fields = envelope(Noce="7733")
    del fields["Nonce"]

    assert verify(signed(**fields)).event_type == "RoomCreate"


def test_nonce_and_noce_are_each_tried_where_they_differ():
    fields = json.loads(signed(**envelope(Nonce="aaBc")))

    assert verify(json.dumps(fields | {"Noce": "else"}).encode())
    assert verify(json.dumps(fields | {"Nonce": "else", "Noce": "aaBc"}).encode())


def test_missing_optional_fields_are_signed_as_empty_text():
    fields = envelope()
    for name in ("EventId", "Version", "Nonce"):
        del fields[name]

    assert verify(signed(**fields)).app_id == "app"


def test_a_changed_byte_is_a_bad_signature():
    body = signed(**envelope()).replace(b"RoomCreate", b"RoomDestro")

    assert rejection(body).reason is Rejection.BAD_SIGNATURE


def test_an_unknown_app_is_told_before_the_signature_is_looked_at():
    refused = rejection(json.dumps(envelope(AppId="other", Signature="no")).encode())

    assert (refused.reason, refused.status, refused.app_id) == (Rejection.UNKNOWN_APP, 403, "other")


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff\xfe\x00", b"{}", b'{"AppId": NaN}', b'{"a":' * 99_999])
def test_what_is_no_envelope_is_malformed(body):
    assert rejection(body).reason is Rejection.MALFORMED


def test_event_data_as_an_object_is_malformed_because_it_cannot_be_verified():
    refused = rejection(json.dumps(envelope(EventData={"RoomId": "r"}, Signature="0" * 64)).encode())

    assert refused.reason is Rejection.MALFORMED
    assert "EventData" in refused.detail


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("EventType", "Room Create"),
        ("EventType", "x" * 129),
        ("EventTime", "2023-11-14"),
        ("EventTime", "2023-11-14T22:13:20"),
        ("EventTime", "2023-02-31T22:13:20Z"),
        ("EventTime", "0000-01-01T00:00:00Z"),
        ("EventTime", "2023-11-14T22:13:20.0000000001Z"),
        ("EventData", "[]"),
        ("EventData", "no json"),
    ],
)
def test_signed_fields_of_a_wrong_shape_are_malformed_and_named(field, value):
    refused = rejection(signed(**envelope(**{field: value})))

    assert (refused.reason, refused.app_id) == (Rejection.MALFORMED, "app")
    assert field in refused.detail


@pytest.mark.parametrize(
    "text",
    ["1970-07-01T00:00:00.000000000Z", "2023-03-21T15:32:04+08:00", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"],
)
def test_both_shapes_of_event_time_are_accepted_at_the_ends_of_the_calendar_too(text):
    assert verify(signed(**envelope(EventTime=text))).app_id == "app"


def test_the_dedupe_key_is_that_of_event_id_type_and_data():
    first = verify(signed(**envelope())).dedupe_key

    assert verify(signed(**envelope(Nonce="else", EventTime="2024-01-01T00:00:00Z"))).dedupe_key == first
    others = [
        {"EventId": "e2"},
        {"EventType": "RoomDestroy"},
        {"EventData": '{"a":1}'},
        {"EventId": "e1R", "EventType": "oomCreate"},
    ]
    keys = {verify(signed(**envelope(**other))).dedupe_key for other in others}
    assert len(keys | {first}) == 5


# --- read: times, keys, and events without a task


def test_timestamp_counts_before_event_time():
    assert read("RoomCreate", Timestamp=NOW - 7).event_at == NOW - 7
    assert read("RoomCreate", Timestamp=str(NOW - 7)).event_at == NOW - 7
    assert read("RoomCreate").event_at == EVENT_MS
    assert read("RoomCreate", Timestamp=0).event_at == EVENT_MS


@pytest.mark.parametrize("stamp", [1_700_000_000, NOW + 600_001, 10**17])
def test_a_time_that_cannot_be_true_gives_way_to_that_of_receipt(stamp):
    assert read("RecordStarted", Code=0, Timestamp=stamp).event_at == NOW


def test_ten_minutes_ahead_are_believed():
    assert read("RoomCreate", Timestamp=NOW + 600_000).event_at == NOW + 600_000


def test_a_task_is_known_by_app_room_id_and_kind():
    reading = read("RecordStarted", Code=0, RoomId=17, TaskId=5)

    assert reading.key == TaskKey(vendor="volcengine", app_id="app", room_id="17", vendor_task_id="5", family="record")
    assert reading.fact == Fact(
        kind=FactKind.START,
        at=EVENT_MS,
        received_at=NOW,
        key="d1",
        source="in-1",
        opens=True,
        one_off=True,
        media=True,
        room_id="17",
    )


@pytest.mark.parametrize("task_id", [None, "", [], 1.5, True])
def test_a_task_event_without_task_id_is_ignored(task_id):
    reading = read("RelayStreamStateChanged", TaskId=task_id, Status=3)

    assert (reading.verdict, reading.reason, reading.key) == (Verdict.IGNORED, "no_task_id", None)


def test_only_a_webcast_may_come_without_a_room():
    assert read("Webcast", RoomId=None, Status=1).key.room_id == ""
    assert read("RecordStarted", RoomId=None, Code=0).reason == "unreadable"


@pytest.mark.parametrize(("event_type", "reason"), NO_TASK.items())
def test_events_of_no_task_are_ignored(event_type, reason):
    reading = read(event_type)

    assert (reading.verdict, reading.reason) == (Verdict.IGNORED, reason)


def test_an_unlisted_event_type_is_unknown():
    reading = read("RecordFinished")

    assert (reading.verdict, reading.reason, reading.event_at) == (Verdict.UNKNOWN, "unknown_event_type", EVENT_MS)


@pytest.mark.parametrize("event_type", sorted(set(TASK_EVENTS) - {"RecordUploadStarted", "RecordUploadProcessing"}))
def test_a_task_event_without_its_fields_is_unreadable_or_needs_none(event_type):
    reading = read(event_type)

    assert reading.reason == "unreadable" or reading.fact.kind in (FactKind.UPLOAD, FactKind.NOTE)


@pytest.mark.parametrize(
    ("event_type", "data"),
    [
        ("TranscodeStateChanged", {"TaskState": 7}),
        ("TranscodeStateChanged", {"TaskState": 1, "FinishTime": "soon"}),
        ("TranscodeStateChanged", {"TaskState": 1, "FinishTime": 5}),
        ("TranscodeStarted", {"Code": 2}),
        ("RelayStreamStateChanged", {"Status": 5}),
        ("RecordStopped", {"Code": None}),
        ("RecordStopped", {"Code": 0, "RecordFileList": "a.mp4"}),
        ("RecordStarted", {"Code": True}),
        ("Webcast", {"Status": 10**30}),
        ("RecordStarted", {"Code": 0, "TaskId": "t" * 513}),
    ],
)
def test_values_outside_the_tables_are_unreadable(event_type, data):
    reading = read(event_type, **data)

    assert (reading.verdict, reading.reason) == (Verdict.UNKNOWN, "unreadable")


def test_ids_leave_without_characters_that_no_database_takes():
    assert read("RecordStarted", Code=0, TaskId="a\x00b\ud800").key.vendor_task_id == "a\ufffdb\ufffd"


# --- push


def test_transcode_started_opens_a_run_without_media():
    started = fact("TranscodeStarted", Code=0, PushURL=URL)

    assert (started.kind, started.opens, started.media, started.one_off) == (FactKind.START, True, False, False)
    assert started.output == Output(url=URL, state=OutputState.CONNECTING)


def test_a_refused_transcode_start_keeps_the_vendors_words():
    refused = fact("TranscodeStarted", Code="1", ErrorMessage="bad layout")

    assert refused.outcome == Ending(state=State.FAILED, reason=Reason.START_REFUSED, rank=1)
    assert (refused.kind, refused.code, refused.message) == (FactKind.REFUSED, "1", "bad layout")


@pytest.mark.parametrize(
    ("data", "kind", "output"),
    [
        ({"TaskState": 3}, FactKind.MEDIA, OutputState.RUNNING),
        ({"TaskState": 2, "Code": 4}, FactKind.INTERRUPTED, OutputState.RECOVERING),
        ({"TaskState": 1, "FinishTime": 0, "Code": 0}, FactKind.NO_MEDIA, OutputState.CONNECTING),
    ],
)
def test_a_push_state_tells_when_the_run_started_but_opens_none(data, kind, output):
    told = fact("TranscodeStateChanged", StartTime=NOW - 9, **data)

    assert (told.kind, told.output, told.started_at) == (kind, Output(url=None, state=output), NOW - 9)
    assert not told.opens
    assert told.idle is (kind is FactKind.NO_MEDIA)


@pytest.mark.parametrize(
    ("code", "expected", "output"),
    [
        (0, Ending(state=State.STOPPED, reason=Reason.UNSTATED, rank=4, stop_wins=True), OutputState.ENDED),
        (2, Ending(state=State.FAILED, reason=Reason.BAD_SOURCE, rank=1), OutputState.FAILED),
        (9999, Ending(state=State.FAILED, reason=Reason.VENDOR_ERROR, rank=1), OutputState.FAILED),
    ],
)
def test_a_finish_time_ends_the_push_by_its_code(code, expected, output):
    end = fact("TranscodeStateChanged", TaskState=1, FinishTime=NOW - 1, StartTime=NOW - 9, Code=code, PushURL=URL)

    assert (end.kind, end.outcome, end.output) == (FactKind.END, expected, Output(url=URL, state=output))
    assert (end.started_at, end.ended_at, end.at) == (NOW - 9, NOW - 1, EVENT_MS)


def test_start_times_that_cannot_be_true_are_dropped():
    assert fact("TranscodeStateChanged", TaskState=3, StartTime=0).started_at is None
    assert fact("TranscodeStateChanged", TaskState=3, StartTime=NOW + 600_001).started_at is None


def test_a_switched_url_is_noted_without_the_message_that_holds_stream_keys():
    note = fact("TranscodeStateChanged", TaskState=4, PushURL=URL, ErrorMessage="rtmp://a?key=1 -> rtmp://b?key=2")

    assert (note.kind, note.message, note.output) == (FactKind.NOTE, None, Output(url=URL, state=OutputState.RUNNING))
    assert fact("TranscodeStateChanged", TaskState=4).output is None


def test_transcode_stopped_ends_the_push():
    end = fact("TranscodeStopped", Code=0)

    assert end.outcome == Ending(state=State.STOPPED, reason=Reason.UNSTATED, rank=3, stop_wins=True)
    assert (end.kind, end.output) == (FactKind.END, Output(url=None, state=OutputState.ENDED))


def test_a_failed_stop_ends_nothing():
    failed = fact("TranscodeStopped", Code=1, ErrorMessage="busy")

    assert (failed.kind, failed.outcome, failed.output, failed.message) == (FactKind.STOP_FAILED, None, None, "busy")


def test_updates_are_noted():
    done, failed = fact("TranscodeUpdated", Code=0, PushURL=URL), fact("TranscodeUpdated", Code=1, ErrorMessage="no")

    assert (done.kind, done.output) == (FactKind.NOTE, Output(url=URL, state=OutputState.RUNNING))
    assert (failed.kind, failed.output, failed.code, failed.message) == (FactKind.NOTE, None, "1", "no")


# --- ingest


@pytest.mark.parametrize(
    ("status", "kind", "idle"),
    [(1, FactKind.START, True), (2, FactKind.CONNECTING, False), (3, FactKind.MEDIA, False)],
)
def test_relay_states_before_the_end_are_start_signs(status, kind, idle):
    told = fact("RelayStreamStateChanged", Status=status, UserId="bot", StartTimeStamp=NOW // 1000 + 3600, Reason=4)

    assert (told.kind, told.opens, told.idle, told.outcome) == (kind, True, idle, None)
    assert (told.robot, told.scheduled_at, told.code) == ("bot", NOW + 3_600_000, None)


def test_a_planned_start_of_zero_or_in_two_years_is_none():
    assert fact("RelayStreamStateChanged", Status=1, StartTimeStamp=0).scheduled_at is None
    assert fact("RelayStreamStateChanged", Status=1, StartTimeStamp=NOW // 1000 + 2 * 366 * 86_400).scheduled_at is None


@pytest.mark.parametrize(
    ("reason", "state", "word"),
    [
        (1, State.IDLE_TIMEOUT, Reason.MAX_IDLE_TIME),
        (2, State.STOPPED, Reason.STOP_REQUESTED),
        (3, State.COMPLETED, Reason.SOURCE_FINISHED),
        (4, State.FAILED, Reason.VENDOR_ERROR),
        (5, State.FAILED, Reason.BAD_SOURCE),
        (6, State.FAILED, Reason.UNSUPPORTED_CODEC),
        (7, State.FAILED, Reason.TOKEN_ERROR),
        (8, State.FAILED, Reason.NO_PERMISSION),
        (9, State.STOPPED, Reason.REMOVED_FROM_ROOM),
    ],
)
def test_a_listed_reason_says_how_the_relay_ended(reason, state, word):
    end = fact("RelayStreamStateChanged", Status=4, Reason=reason, Msg="m")

    assert (end.outcome, end.code, end.message) == (Ending(state=state, reason=word, rank=1), str(reason), "m")


@pytest.mark.parametrize("reason", [None, 0, 10, "later"])
def test_an_unlisted_reason_leaves_the_relays_end_to_its_allowed_life(reason):
    end = outcome("RelayStreamStateChanged", Status=4, Reason=reason)

    assert end == Ending(state=State.STOPPED, reason=Reason.UNSTATED, rank=4, life_wins=True)


# --- record


def test_a_stopped_record_names_its_files_by_what_the_payload_holds():
    entry = {"Duration": 57_472, "Size": "5018305", "StartTime": NOW - 60_000}
    one = entry | {"Vid": "v02b", "StreamList": [{"UserId": "u", "StreamType": 0}]}
    two = entry | {"Vid": "", "ObjectKey": "dir/a.mp4", "StreamList": [{"UserId": "u"}, {"UserId": "w"}]}
    end = fact("RecordStopped", Code=0, RecordFileList=[one, two, {"Size": 1}, "?"])

    told = {"duration_ms": 57_472, "size_bytes": 5_018_305, "started_at": NOW - 60_000, "state": FileState.KNOWN}
    assert end.files == (File(file_id="v02b", user_id="u", **told), File(name="dir/a.mp4", **told))
    assert end.outcome == Ending(state=State.COMPLETED, reason=Reason.FILES_UNKNOWN)
    assert (end.kind, end.delivery) == (FactKind.CAPTURE_END, None)


@pytest.mark.parametrize("files", [[], None])
def test_a_record_that_stopped_without_files_is_over(files):
    end = fact("RecordStopped", Code=0, RecordFileList=files)

    assert end.outcome == Ending(state=State.COMPLETED, reason=Reason.NO_FILES)
    assert (end.kind, end.delivery, end.files) == (FactKind.CAPTURE_END, FilesDelivered.OVER, ())


def test_failed_records_end():
    assert fact("RecordStarted", Code=1).kind is FactKind.REFUSED
    assert outcome("RecordStopped", Code=1) == Ending(state=State.FAILED, reason=Reason.VENDOR_ERROR)


@pytest.mark.parametrize(
    ("event_type", "data", "delivery", "file_state"),
    [
        ("RecordUploadDone", {"Code": 0}, FilesDelivered.WITH_CAPTURE, FileState.DELIVERED),
        ("RecordUploadDone", {"Code": 1}, None, None),
        ("RecordUploadBackuped", {"Code": 1}, None, FileState.BACKED_UP),
        ("RecordUploadStarted", {"Code": 0}, None, None),
        ("RecordUploadProcessing", {"Progress": 5000}, None, None),
        ("RecordSyncUploadFailed", {"Code": 1}, None, None),
    ],
)
def test_upload_events_say_what_became_of_the_files(event_type, data, delivery, file_state):
    told = fact(event_type, **data)

    assert (told.kind, told.delivery, told.file_state) == (FactKind.UPLOAD, delivery, file_state)


def test_a_started_sync_upload_names_its_files():
    told = fact("RecordSyncUploadStarted", RecordFileList=[{"ObjectKey": "a.m3u8"}])

    assert (told.kind, told.files) == (FactKind.UPLOAD, (File(name="a.m3u8"),))


# --- page


@pytest.mark.parametrize(
    ("status", "kind", "expected"),
    [
        (1, FactKind.START, None),
        (2, FactKind.END, Ending(state=State.COMPLETED, reason=Reason.SOURCE_FINISHED)),
        (3, FactKind.END, Ending(state=State.FAILED, reason=Reason.VENDOR_ERROR)),
        (4, FactKind.NOTE, None),
        (5, FactKind.INTERRUPTED, None),
    ],
)
def test_a_webcast_tells_its_course(status, kind, expected):
    told = fact("Webcast", Status=status, Reason="PageCrash")

    assert (told.kind, told.outcome, told.code) == (kind, expected, "PageCrash")
    assert told.one_off is told.opens is told.media is (status == 1)


# --- rules


def test_rules_follow_the_parameters_of_the_start_call():
    idle = {"Control": {"MaxIdleTime": 60, "MaxRecordTime": 3600}}

    assert volcengine.rules(Kind.PUSH, idle) == Rules(single_output=True, idle_s=60, reach_s=259_200, repeatable=True)
    ingest = Rules(life_s=259_200, life_margin_s=300, idle_s=30, repeatable=True)
    assert volcengine.rules(Kind.INGEST, {"MaxIdleTime": "30"}) == ingest
    recording = Rules(life_s=3600, idle_s=60, finish_unheard_s=600, reach_s=259_200, repeatable=True)
    assert volcengine.rules(Kind.RECORD, idle) == recording


def test_rules_take_the_longest_idle_time_where_none_is_told():
    assert volcengine.rules(Kind.PUSH, {}).idle_s == 86_400
    assert volcengine.rules(Kind.INGEST, {}).idle_s == 600
    unlimited = volcengine.rules(Kind.RECORD, {"Control": {"MaxRecordTime": 0}})
    assert (unlimited.idle_s, unlimited.life_s) == (86_400, None)
    assert volcengine.rules(Kind.PAGE, {"Control": "?"}) == Rules(finish_unheard_s=600, reach_s=259_200, repeatable=True)


def test_each_kind_is_a_family_of_its_own():
    assert {volcengine.family_of(kind) for kind in Kind} == {"push", "ingest", "record", "page"}


def test_a_kind_that_the_vendor_lacks_has_no_family():
    assert volcengine.family_of(cast(Kind, "a later kind")) is None
