"""Answers of Volcengine are read as documented. The rows are written from the vendor's error tables, not from the dialect's."""

import json
from typing import Any

import pytest

from adapters.http_messages import WireError
from adapters.vendors.calls import Call, CallAnswer, CallOutcome, Inspection, Operation, Sign, TaskRef
from adapters.vendors.volcengine import Volcengine
from statemachine.facts import Ending, File, FilesDelivered, Output
from statemachine.states import Kind, OutputState, Reason, State

NOW = 1_700_000_000_000
START_MS, END_MS = 1_699_999_000_000, 1_699_999_900_000
volcengine = Volcengine()
IDS = {"AppId": "app", "RoomId": "r", "TaskId": "t1"}


def ref(kind: Kind, **more: Any) -> TaskRef:
    return TaskRef(kind=kind, app_id="app", room_id="r", vendor_task_id="t1", **more)


def needed(call: Call | None) -> Call:
    assert call is not None
    return call


START = volcengine.start("StartRelayStream", None, IDS)
STOP = needed(volcengine.stop(ref(Kind.PUSH)))
UPDATE = needed(volcengine.update(ref(Kind.RECORD), {}))
ASK = volcengine.inspect(ref(Kind.RECORD))[0]
CALLS = (START, UPDATE, STOP, ASK)


def read(call: Call, status: int | None, body: Any, error: WireError | None = None, **headers: str) -> CallAnswer:
    raw = body if isinstance(body, bytes | None) else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return volcengine.read_answer(call, status, named, raw, error, received_at=NOW)


def failure(code: str, message: str = "words") -> dict[str, Any]:
    return {"ResponseMetadata": {"RequestId": "q1", "Error": {"Code": code, "Message": message}}, "Result": {}}


def success(result: Any) -> dict[str, Any]:
    return {"ResponseMetadata": {"RequestId": "q1", "Action": "A"}, "Result": result}


# --- errors ---

# code -> the outcome of a start, and of any other call.
PERMANENT, RETRY, UNSURE, THROTTLED = "refused refused", "retry retry", "ambiguous retry", "throttled throttled"
GATEWAY = [
    (500, UNSURE, "UndefinedError InternalError"),
    (400, PERMANENT, "MissingParameter MissingRequestInfo"),
    (401, PERMANENT, "MissingAuthenticationToken MissingSignature InvalidAccessKey InvalidClientTokenId SignatureDoesNotMatch"),
    (403, RETRY, "InvalidTimestamp"),
    (400, RETRY, "InvalidTimestamp"),
    (404, PERMANENT, "ServiceNotFound InvalidActionOrVersion"),
    (403, PERMANENT, "LackPolicy AccessDenied"),
    # A 5xx after sending makes a start ambiguous, with any code.
    (502, UNSURE, "FailToConnect InternalServiceError"),
    (504, UNSURE, "InternalServiceTimeout"),
    (429, THROTTLED, "FlowLimitExceeded AccountFlowLimitExceeded"),
    (200, THROTTLED, "FlowLimitExceeded AccountFlowLimitExceeded"),
    (503, UNSURE, "ServiceUnavailableTemp"),
    (405, PERMANENT, "MethodNotAllowed"),
]
RTC = [
    (THROTTLED, "FlowLimitExceeded.QPSOverLimit InternalError.ReachRateLimit FlowLimitExceeded.TaskNumberOverLimit"),
    (UNSURE, "InternalError.RPC InternalError.RPCTimeout InternalError.NotFound InternalError.Marshal InternalError.SendToEdge"),
    (UNSURE, "InternalError.Redis InternalError.Executor InternalError.Parallel InternalError.LockContention"),
    (UNSURE, "InternalError.TaskNotReady InternalError.DB InternalError.DBCheckTaskExistFailed InternalError.DBCreateTaskFailed"),
    (UNSURE, "InternalError.DBReadTaskFailed InternalError.DBUpdateTaskFailed InternalError.UnknownInternalError"),
    (UNSURE, "InternalError.Unknown InternalError.ServerError InternalError.TaskControlError"),
    (UNSURE, "InternalError.NotifyConnectionRefused InternalError.GenerateTokenFailed"),
    (UNSURE, "InternalError.GetAutoTriggerPolicyFailed InternalError.GetRecordPolicyFailed"),
    ("already_there refused", "InvalidParameter.TaskAlreadyExists InternalError.TaskRepeat"),
    ("refused already_gone", "InvalidParameter.ErrorActiveTaskNotFound"),
    (PERMANENT, "InvalidParameter InvalidParameter.StartTimeAfterEndTime InvalidParameter.OutofTimeRange"),
    (PERMANENT, "InvalidParameter.InvalidRtmpAddress InvalidParameter.IllegalRoomID InvalidParameter.BodyIsEmpty"),
    (PERMANENT, "InvalidParameter.Unmarshal InvalidParameter.EmptyAccountId InvalidParameter.NotExistAppId"),
    (PERMANENT, "InvalidParameter.IllegalAppId InvalidParameter.IllegalTo InvalidParameter.IllegalFrom"),
    (PERMANENT, "InvalidParameter.SizeOverLimit InvalidParameter.UserCountOverLimit InvalidParameter.AccountIdMismatch"),
    (PERMANENT, "InternalError.Unmarshal InternalError.InvalidMeta InternalError.UserNotFound InternalError.RoomNotFound"),
    (PERMANENT, "AccessDenied.RecordNotEnabled AccessDenied.NoPermissionForApp AccessDenied.ServiceNotEnabled"),
    (PERMANENT, "ErrorParameter.MaxRecordSecond ErrorParameter.AppId"),
    (PERMANENT, "MissingParameter.NoAppId MissingParameter.NoAccount MissingParameter.NoAction MissingParameter.NoVersion"),
    (PERMANENT, "MissingParameter.NoRoomId MissingParameter.NoUserId MissingParameter.NoToken MissingParameter.Forbidden"),
    (PERMANENT, "Unauthorized UnknownVersion UnknownAction PartialSuccess SomethingNew"),
    (PERMANENT, "UpdateError.UpdateSingleStreamRecordNotSupported UpdateError.CurrentLayoutNotSupported"),
    (PERMANENT, "UpdateError.UpdatePushSingleStreamNotSupported"),
]
ROWS = [(status, means, code) for status, means, codes in GATEWAY for code in codes.split()]
# 70426 gives no HTTP status.
ROWS += [(status, means, code) for means, codes in RTC for code in codes.split() for status in (200, 400)]


@pytest.mark.parametrize(("status", "means", "code"), ROWS)
def test_an_error_code_means_what_the_vendors_table_advises(status: int, means: str, code: str):
    of_start, of_others = means.split()
    answers = [read(call, status, failure(code)) for call in CALLS]
    assert [answer.outcome for answer in answers] == [of_start, of_others, of_others, of_others]
    assert {(answer.code, answer.message, answer.request_id) for answer in answers} == {(code, "words", "q1")}


def test_a_query_for_a_task_that_is_not_active_says_that_it_is_gone():
    answer = read(ASK, 200, failure("InvalidParameter.ErrorActiveTaskNotFound"))
    assert answer.inspection == Inspection(sign=Sign.GONE)
    assert read(STOP, 200, failure("InvalidParameter.ErrorActiveTaskNotFound")).inspection is None


@pytest.mark.parametrize(
    ("status", "body", "means", "code"),
    [
        (500, b"", UNSURE, "http_500"),
        (502, b"<html>Bad gateway</html>", UNSURE, "http_502"),
        (503, {}, UNSURE, "http_503"),
        (408, b"", UNSURE, "http_408"),
        (429, b"slow down", THROTTLED, "http_429"),
        (404, b"nothing here", PERMANENT, "http_404"),
        (302, b"", PERMANENT, "http_302"),
        (200, b"<html>Please log in</html>", UNSURE, "unreadable"),
        (200, [], UNSURE, "unreadable"),
        (200, {"code": 0}, UNSURE, "unreadable"),
        (200, b"\xff\xfe", UNSURE, "unreadable"),
        (200, None, UNSURE, "unreadable"),
        (500, success("ok"), UNSURE, "http_500"),
        (500, failure("SomethingNew"), UNSURE, "SomethingNew"),
        (400, {"ResponseMetadata": {"Error": "?"}}, PERMANENT, "unreadable"),
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
    assert read(START, 200, None, WireError.CUT_OFF) == CallAnswer(outcome=CallOutcome.AMBIGUOUS, code="cut_off")


@pytest.mark.parametrize(("hint", "seconds"), [("7", 7.0), ("0", 0.0), ("86400", None), ("soon", None), ("²", None), ("-1", None)])
def test_a_hint_when_to_come_back_is_told(hint: str, seconds: float | None):
    assert read(STOP, 429, failure("FlowLimitExceeded"), Retry_After=hint).retry_after_s == seconds


# --- success ---


@pytest.mark.parametrize("result", ["ok", "", None, {}, "anything"])
def test_success_is_a_200_without_an_error_whatever_the_result(result: Any):
    assert read(START, 200, success(result)) == CallAnswer(outcome=CallOutcome.ACCEPTED, request_id="q1")
    assert read(STOP, 200, {"Result": result}).outcome is CallOutcome.ACCEPTED


def test_a_repeated_start_of_a_running_task_succeeds():
    words = "The task has been started. Please do not call the startup task interface repeatedly"
    assert read(START, 200, success(words)) == CallAnswer(outcome=CallOutcome.ALREADY_THERE, message=words, request_id="q1")
    assert read(STOP, 200, success(words)).outcome is CallOutcome.ACCEPTED


# --- queries ---


def asked(kind: Kind, result: Any, *, action: str | None = None, number: int = 0) -> CallAnswer:
    call = volcengine.inspect(ref(kind, action=action))[number]
    return read(call, 200, success(result))


def push(**task: Any) -> Inspection | None:
    times = {"StartTime": START_MS, "EndTime": 0}
    answer = asked(Kind.PUSH, {"PushMixedStreamToCDNTask": times | task})
    assert answer.outcome is CallOutcome.ACCEPTED
    return answer.inspection


def told(sign: Sign, ending: Ending | None = None, **more: Any) -> Inspection:
    return Inspection(sign=sign, ending=ending, started_at=START_MS, **more)


@pytest.mark.parametrize(
    ("state", "sign"),
    [
        (0, Sign.ALIVE),
        (1, Sign.NO_MEDIA),
        (2, Sign.CONNECTING),
        (3, Sign.CONNECTING),
        ("4", Sign.CONNECTING),
        (5, Sign.RUNNING),
        ("5", Sign.RUNNING),
        (None, Sign.ALIVE),
    ],
)
def test_a_push_that_runs_says_how_its_output_does(state: Any, sign: Sign):
    assert push(Status=2, PushStreamState=state) == told(sign)


def test_a_push_that_runs_tells_its_url():
    output = Output(url="rtmp://a/b", state=OutputState.RUNNING)
    assert push(Status=2, PushStreamState=5, PushURL="rtmp://a/b") == told(Sign.RUNNING, output=output)


ENDINGS = [
    ("StopByAPI", Ending(state=State.STOPPED, reason=Reason.STOP_REQUESTED, rank=2)),
    ("IdleTimeOut", Ending(state=State.IDLE_TIMEOUT, reason=Reason.MAX_IDLE_TIME, rank=2)),
    ("UserDisconnect", Ending(state=State.STOPPED, reason=Reason.REMOVED_FROM_ROOM, rank=2)),
    ("StartTaskFailed", Ending(state=State.FAILED, reason=Reason.START_REFUSED, rank=2)),
    ("UnknownStopReason", Ending(state=State.STOPPED, reason=Reason.UNSTATED, stop_wins=True)),
    ("", Ending(state=State.STOPPED, reason=Reason.UNSTATED, stop_wins=True)),
]


@pytest.mark.parametrize(("reason", "ending"), ENDINGS)
def test_a_push_that_ended_says_why(reason: str, ending: Ending):
    assert push(Status=3, PushStreamState="6", EndTime=END_MS, StopReason=reason) == told(Sign.ENDED, ending, ended_at=END_MS)


def test_a_push_may_not_have_started_or_have_failed():
    assert push(Status=1) == told(Sign.ACCEPTED)
    assert push(Status=4) == told(Sign.ENDED, Ending(state=State.FAILED, reason=Reason.VENDOR_ERROR, rank=2))
    refused = Ending(state=State.FAILED, reason=Reason.START_REFUSED, rank=2)
    assert push(Status=4, StopReason="StartTaskFailed") == told(Sign.ENDED, refused)


def test_a_single_push_answers_under_its_own_name():
    answer = asked(Kind.PUSH, {"PushSingleStreamToCDNTask": {"Status": 2, "PushStreamState": 5}}, number=1)
    assert answer.inspection == Inspection(sign=Sign.RUNNING)


@pytest.mark.parametrize("result", [None, {}, "", {"RecordTask": None}, {"RecordTask": {}}])
def test_no_task_in_the_answer_means_that_it_is_gone(result: Any):
    assert asked(Kind.RECORD, result) == CallAnswer(
        outcome=CallOutcome.ALREADY_GONE, request_id="q1", inspection=Inspection(sign=Sign.GONE)
    )


@pytest.mark.parametrize("result", [{"RecordTask": {"Status": 0}}, {"RecordTask": {"Status": "?"}}, {"Another": {"Status": 2}}])
def test_an_answer_that_settles_nothing_is_asked_for_again(result: Any):
    answer = asked(Kind.RECORD, result)
    assert (answer.outcome, answer.code, answer.inspection) == (CallOutcome.RETRY, "unreadable", None)


def record(**task: Any) -> Inspection | None:
    return asked(Kind.RECORD, {"RecordTask": {"StartTime": START_MS} | task}).inspection


def test_a_recording_that_ended_says_why_and_which_files_it_left():
    files = [{"ObjectKey": "a.mp4", "Duration": 5000, "Size": 9, "StartTime": START_MS}]
    stopped = Ending(state=State.STOPPED, reason=Reason.STOP_REQUESTED, rank=2)
    file = File(name="a.mp4", duration_ms=5000, size_bytes=9, started_at=START_MS)

    assert record(Status=2) == told(Sign.RUNNING)
    assert record(Status=3, StopReason="StopByAPI", RecordFileList=files) == told(Sign.CAPTURE_ENDED, stopped, files=(file,))
    empty = record(Status=3, StopReason="StopByAPI", RecordFileList=[], EndTime=END_MS)
    assert empty == told(Sign.CAPTURE_ENDED, stopped, delivery=FilesDelivered.OVER, ended_at=END_MS)
    assert record(Status=4) == told(Sign.ENDED, Ending(state=State.FAILED, reason=Reason.VENDOR_ERROR, rank=2))
    refused = Ending(state=State.FAILED, reason=Reason.START_REFUSED, rank=2)
    assert record(Status=3, StopReason="StartTaskFailed") == told(Sign.ENDED, refused)


@pytest.mark.parametrize("name", ["WebCastTask", "WebcastTask"])
def test_a_page_answers_under_either_spelling(name: str):
    assert asked(Kind.PAGE, {name: {"Status": 2}}).inspection == Inspection(sign=Sign.RUNNING)
    over = asked(Kind.PAGE, {name: {"Status": 3, "StopReason": "ExceedMaxRunningTime"}}).inspection
    assert over == Inspection(sign=Sign.ENDED, ending=Ending(state=State.EXPIRED, reason=Reason.MAX_LIFETIME, rank=2))


def listed(*tasks: dict[str, Any], total: int | None = None) -> dict[str, Any]:
    return {"Task": list(tasks), "Offset": 0, "Limit": 100, "Total": len(tasks) if total is None else total}


def relay(status: int, *, task_id: str = "t1", created_s: int = START_MS // 1000) -> dict[str, Any]:
    return {"TaskId": task_id, "Status": status, "CreateTime": created_s}


@pytest.mark.parametrize(("status", "sign"), [(1, Sign.ACCEPTED), (2, Sign.RUNNING), (3, Sign.ENDED)])
def test_a_relay_in_the_list_says_its_status_and_no_reason(status: int, sign: Sign):
    assert asked(Kind.INGEST, listed(relay(status))).inspection == told(sign)


def test_of_several_relays_with_one_id_the_newest_counts():
    older = relay(3, created_s=START_MS // 1000 - 9)
    assert asked(Kind.INGEST, listed(older, relay(2), relay(1, task_id="t2"), older)).inspection == told(Sign.RUNNING)


def test_a_relay_on_no_page_of_the_list_is_gone():
    assert asked(Kind.INGEST, listed()).inspection == Inspection(sign=Sign.GONE)
    assert asked(Kind.INGEST, None).inspection == Inspection(sign=Sign.GONE)
    assert asked(Kind.INGEST, listed(relay(2, task_id="t2"))).inspection == Inspection(sign=Sign.GONE)
    assert asked(Kind.INGEST, {"Task": "?"}).outcome is CallOutcome.RETRY
    assert asked(Kind.INGEST, listed(relay(7))).outcome is CallOutcome.RETRY


def test_before_a_relay_counts_as_gone_every_page_is_asked():
    others = [relay(2, task_id=f"x{number}") for number in range(100)]
    (first,) = volcengine.inspect(ref(Kind.INGEST))

    answer = read(first, 200, success(listed(*others, total=130)))
    assert (answer.outcome, answer.inspection) == (CallOutcome.ACCEPTED, None)
    second = needed(answer.next_call)
    assert second.params == {**first.params, "Offset": 100}
    assert volcengine.check(second.action, second.version, second.params) == []

    assert read(second, 200, success(listed(relay(2), total=130))).inspection == told(Sign.RUNNING)
    assert read(second, 200, success(listed(*others[:30], total=130))).outcome is CallOutcome.ALREADY_GONE
    assert read(second, 200, success(listed(total=130))).outcome is CallOutcome.ALREADY_GONE


def test_a_list_ends_at_the_last_offset_that_the_vendor_takes():
    (first,) = volcengine.inspect(ref(Kind.INGEST))
    late = Call(
        operation=Operation.INSPECT,
        action=first.action,
        version=first.version,
        method="GET",
        app_id="app",
        params={**first.params, "Offset": 9950},
        vendor_task_id="t1",
    )
    others = [relay(2, task_id=f"x{number}") for number in range(100)]
    answer = read(late, 200, success(listed(*others, total=20_000)))
    assert (answer.outcome, answer.code) == (CallOutcome.REFUSED, "too_many_tasks")
