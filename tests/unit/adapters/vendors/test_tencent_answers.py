"""Answers of Tencent are read as documented. The rows are written from the vendor's error lists, not from the dialect's."""

import json
from typing import Any

import pytest

from adapters.http_messages import WireError
from adapters.vendors.calls import Call, CallAnswer, CallOutcome, Inspection, Sign, TaskRef
from adapters.vendors.tencent import Tencent
from statemachine.facts import File
from statemachine.states import Kind

NOW = 1_700_000_000_000
tencent = Tencent()


def ref(kind: Kind) -> TaskRef:
    return TaskRef(kind=kind, app_id="14", room_id="7", vendor_task_id="t1")


def needed(call: Call | None) -> Call:
    assert call is not None
    return call


START = tencent.start("StartStreamIngest", None, {"SdkAppId": 14})
UPDATE = needed(tencent.update(ref(Kind.INGEST), {}))
STOP = needed(tencent.stop(ref(Kind.PUSH)))
ASK = tencent.inspect(ref(Kind.RECORD))[0]
CALLS = (START, UPDATE, STOP, ASK)


def read(call: Call, status: int | None, body: Any, error: WireError | None = None) -> CallAnswer:
    raw = body if isinstance(body, bytes | None) else json.dumps(body).encode()
    return tencent.read_answer(call, status, {}, raw, error, received_at=NOW)


def failure(code: str, message: str = "words") -> dict[str, Any]:
    return {"Response": {"Error": {"Code": code, "Message": message}, "RequestId": "q1"}}


def success(**response: Any) -> dict[str, Any]:
    return {"Response": response | {"RequestId": "q1"}}


# code -> the outcome of a start, and of any other call.
PERMANENT, RETRY, UNSURE, THROTTLED = "refused refused", "retry retry", "ambiguous retry", "throttled throttled"
GONE = "refused already_gone"
CODES = [
    # Common codes.
    (PERMANENT, "ActionOffline AuthFailure.InvalidAuthorization AuthFailure.InvalidSecretId AuthFailure.MFAFailure"),
    (PERMANENT, "AuthFailure.SecretIdNotFound AuthFailure.SignatureFailure AuthFailure.TokenFailure"),
    (PERMANENT, "AuthFailure.UnauthorizedOperation DryRunOperation FailedOperation InvalidAction InvalidParameter"),
    (PERMANENT, "InvalidParameterValue InvalidRequest IpInBlacklist IpNotInWhitelist LimitExceeded MissingParameter"),
    (PERMANENT, "NoSuchProduct NoSuchVersion RequestSizeLimitExceeded ResourceInUse ResourceInsufficient"),
    (PERMANENT, "ResourceUnavailable ResponseSizeLimitExceeded UnauthorizedOperation UnknownParameter"),
    (PERMANENT, "UnsupportedOperation UnsupportedProtocol UnsupportedRegion SomethingNew"),
    (RETRY, "AuthFailure.SignatureExpire ServiceUnavailable"),
    (UNSURE, "InternalError"),
    (THROTTLED, "RequestLimitExceeded RequestLimitExceeded.GlobalRegionUinLimitExceeded"),
    (THROTTLED, "RequestLimitExceeded.IPLimitExceeded RequestLimitExceeded.UinLimitExceeded"),
    (GONE, "ResourceNotFound"),
    # Codes of single APIs.
    (PERMANENT, "AuthFailure AuthFailure.UnRealNameAuthenticated AuthFailure.UnsupportedOperation"),
    (PERMANENT, "InvalidParameter.SdkAppId FailedOperation.CRUnsupportMethod FailedOperation.NotAllowed"),
    (PERMANENT, "FailedOperation.NotRtmpFunction FailedOperation.NotAbility FailedOperation.SdkAppIdNotUnderAppId"),
    (PERMANENT, "InvalidParameter.BodyParamsError InvalidParameter.RoomId InvalidParameter.StrRoomId"),
    (PERMANENT, "InvalidParameter.StreamUrl InvalidParameter.TaskId InvalidParameter.UserSig InvalidParameter.OutOfRange"),
    (PERMANENT, "MissingParameter.RoomId MissingParameter.SdkAppId MissingParameter.TaskId"),
    (UNSURE, "InternalError.HttpParseFailed InternalError.InternalError InternalError.DBError InternalError.CRInternalError"),
    (RETRY, "ResourceInsufficient.RequestRejection FailedOperation.QueryTaskInfoFailed FailedOperation.RestrictedConcurrency"),
    (THROTTLED, "FailedOperation.RestrictedFrequency OperationDenied.FreqOverLimit"),
    ("already_there refused", "FailedOperation.TaskExist"),
    (GONE, "FailedOperation.TaskFinished FailedOperation.TaskNotExist"),
]


@pytest.mark.parametrize(("means", "code"), [(means, code) for means, codes in CODES for code in codes.split()])
def test_an_error_code_means_what_the_vendors_lists_say(means: str, code: str):
    of_start, of_others = means.split()
    answers = [read(call, 200, failure(code)) for call in CALLS]
    assert [answer.outcome for answer in answers] == [of_start, of_others, of_others, of_others]
    assert {(answer.code, answer.message, answer.request_id) for answer in answers} == {(code, "words", "q1")}
    assert answers[3].inspection == (Inspection(sign=Sign.GONE) if of_others == "already_gone" else None)


@pytest.mark.parametrize("message", ["task not exist", "Task does not exist.", "no such task", "The task (t1) was not found"])
def test_some_ends_are_told_only_by_the_text(message: str):
    answer = read(ASK, 200, failure("FailedOperation", message))
    assert (answer.outcome, answer.inspection) == (CallOutcome.ALREADY_GONE, Inspection(sign=Sign.GONE))
    assert read(STOP, 200, failure("InvalidParameter.TaskId", message)).outcome is CallOutcome.ALREADY_GONE
    assert read(START, 200, failure("FailedOperation", message)).outcome is CallOutcome.REFUSED
    assert read(STOP, 200, failure("AuthFailure", message)).outcome is CallOutcome.REFUSED


@pytest.mark.parametrize(
    ("status", "body", "means", "code"),
    [
        (500, b"", UNSURE, "http_500"),
        (502, b"<html>", UNSURE, "http_502"),
        (429, b"", THROTTLED, "http_429"),
        (403, b"<html>", PERMANENT, "http_403"),
        (200, b"<html>", UNSURE, "unreadable"),
        (200, {}, UNSURE, "unreadable"),
        (200, {"Response": None}, UNSURE, "unreadable"),
        (200, None, UNSURE, "unreadable"),
        (503, {"Response": {"TaskId": "t1"}}, UNSURE, "http_503"),
        (503, failure("ServiceUnavailable"), UNSURE, "ServiceUnavailable"),
        (200, {"Response": {"Error": []}}, PERMANENT, "unreadable"),
    ],
)
def test_an_answer_without_the_vendors_words_is_sorted_by_its_status(status: int, body: Any, means: str, code: str):
    of_start, of_others = means.split()
    assert [read(call, status, body).outcome for call in CALLS] == [of_start, of_others, of_others, of_others]
    assert read(START, status, body).code == code


def test_what_was_never_sent_is_tried_again_and_what_was_cut_off_leaves_only_a_start_in_doubt():
    assert [read(call, None, None, WireError.NOT_SENT).outcome for call in CALLS] == [CallOutcome.RETRY] * 4
    cut_off = [read(call, None, None, WireError.CUT_OFF).outcome for call in CALLS]
    assert cut_off == [CallOutcome.AMBIGUOUS, *[CallOutcome.RETRY] * 3]


# --- success ---


def test_a_start_tells_the_id_of_its_task():
    answer = read(START, 200, success(TaskId="-m9l+."))
    assert answer == CallAnswer(outcome=CallOutcome.ACCEPTED, request_id="q1", vendor_task_id="-m9l+.")


@pytest.mark.parametrize("response", [{}, {"TaskId": ""}, {"TaskId": None}, {"TaskId": []}])
def test_a_start_without_an_id_leaves_it_in_doubt(response: dict[str, Any]):
    assert read(START, 200, success(**response)).outcome is CallOutcome.AMBIGUOUS


def test_stops_and_updates_need_no_id():
    assert read(STOP, 200, success()) == CallAnswer(outcome=CallOutcome.ACCEPTED, request_id="q1")
    assert read(UPDATE, 200, success(Status="InProgress")).outcome is CallOutcome.ACCEPTED
    assert read(UPDATE, 200, success(Status="NotExist")).outcome is CallOutcome.ALREADY_GONE


# --- queries ---


def asked(kind: Kind, **response: Any) -> CallAnswer:
    return read(tencent.inspect(ref(kind))[0], 200, success(**response))


@pytest.mark.parametrize(
    ("kind", "status", "sign"),
    [
        (Kind.INGEST, "InProgress", Sign.RUNNING),
        (Kind.RECORD, "InProgress", Sign.RUNNING),
        (Kind.RECORD, "Idle", Sign.NO_MEDIA),
        (Kind.RECORD, "Exited", Sign.CAPTURE_ENDED),
        (Kind.PAGE, 1, Sign.RUNNING),
        (Kind.PAGE, "1", Sign.RUNNING),
    ],
)
def test_a_query_says_how_a_task_does(kind: Kind, status: Any, sign: Sign):
    answer = asked(kind, Status=status, TaskId="t1")
    inspection = Inspection(sign=sign)
    assert answer == CallAnswer(outcome=CallOutcome.ACCEPTED, request_id="q1", vendor_task_id="t1", inspection=inspection)


def test_an_ingest_that_does_not_exist_is_gone():
    answer = asked(Kind.INGEST, Status="NotExist")
    assert (answer.outcome, answer.inspection) == (CallOutcome.ALREADY_GONE, Inspection(sign=Sign.GONE))


@pytest.mark.parametrize(("kind", "status"), [(Kind.INGEST, "?"), (Kind.RECORD, None), (Kind.PAGE, 2), (Kind.PAGE, {})])
def test_a_status_that_no_page_lists_settles_nothing(kind: Kind, status: Any):
    answer = asked(kind, Status=status)
    assert (answer.outcome, answer.code, answer.inspection) == (CallOutcome.RETRY, "unreadable", None)


def test_a_recording_tells_its_files_whose_begin_may_be_in_either_unit():
    files = [
        {"UserId": "u", "FileName": "a.m3u8", "TrackType": "audio_video", "BeginTimeStamp": NOW - 5},
        {"UserId": "", "FileName": "b.m3u8", "TrackType": None, "BeginTimeStamp": NOW // 1000},
        {"UserId": "nameless"},
    ]
    answer = asked(Kind.RECORD, Status="InProgress", StorageFileList=files)
    assert answer.inspection == Inspection(
        sign=Sign.RUNNING,
        files=(
            File(name="a.m3u8", user_id="u", track="audio_video", started_at=NOW - 5),
            File(name="b.m3u8", started_at=NOW),
        ),
    )


def test_a_page_asked_for_by_our_id_tells_the_vendors():
    page = TaskRef(kind=Kind.PAGE, app_id="14", room_id="", vendor_task_id=None, params={"RecordId": "r1"})
    answer = read(tencent.inspect(page)[0], 200, success(Status=1, TaskId="minted"))
    assert (answer.vendor_task_id, answer.inspection) == ("minted", Inspection(sign=Sign.RUNNING))
