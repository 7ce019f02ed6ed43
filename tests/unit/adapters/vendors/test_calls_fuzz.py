"""Any answer gives a CallAnswer; any parameters give problems, an identity and a call. Never an exception."""

import json
from dataclasses import asdict
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.http_messages import WireError
from adapters.vendors import DIALECTS, Dialect
from adapters.vendors.calls import Account, Call, CallAnswer, CallOutcome, Operation, TaskRef, from_doc, to_doc
from statemachine.states import Kind
from tests.support.hypothesis_effort import effort

NOW = 1_700_000_000_000
ACCOUNT = Account(access_key_id="AK", secret_access_key="SK")
ACTIONS = {
    "volcengine": "StartPushSingleStreamToCDN StartPushMixedStreamToCDN UpdatePushMixedStreamToCDN StartRecord UpdateRecord"
    " StartRelayStream UpdateRelayStream ListRelayStream StartWebcast GetPushSingleStreamToCDNTask",
    "tencent": "StartPublishCdnStream UpdatePublishCdnStream StartStreamIngest UpdateStreamIngest CreateCloudRecording"
    " ModifyCloudRecording StartWebRecord DescribeWebRecord StopWebRecord",
}
NAMES = """
AppId RoomId TaskId UserId Control StreamUrl StreamMode MediaType VideoWidth MaxIdleTime TargetStreams ExcludeStreams StreamList
StreamType Layout LayoutMode StorageConfig Type TosConfig Encode SdkAppId RoomIdType AgentParams PublishCdnParams
FeedBackRoomParams PublishCdnUrl RepeatNum MaxDuration StorageParams CloudStorage CloudVod RecordId RecordParams SourceUrl
SingleSubscribeParams WithTranscoding Tempo SourceURL Token Vod
ResponseMetadata Error Code Message RequestId Result RecordTask PushMixedStreamToCDNTask WebCastTask Task Status StopReason
PushStreamState PushURL StartTime EndTime CreateTime RecordFileList ObjectKey Total Response StorageFileList FileName
BeginTimeStamp
"""
anything_text = st.text(st.characters())  # lone surrogates and NUL included
words = st.sampled_from(["ok", "InternalError", "FailedOperation", "task not exist", "InProgress", "Exited", "rtmp://[", "t1"])
numbers = st.integers(-2, 12) | st.sampled_from([NOW, NOW // 1000, 10**40]) | st.integers()
scalars = st.none() | st.booleans() | numbers | numbers.map(str) | st.floats(allow_nan=False) | words | anything_text
names = st.sampled_from(NAMES.split())
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner), max_leaves=15)
objects = st.dictionaries(names | anything_text, values, max_size=12)
vendors = pytest.mark.parametrize("dialect", DIALECTS.values(), ids=DIALECTS)


def every_call(dialect: Dialect) -> list[Call]:
    made: list[Call | None] = [dialect.start(action, None, {"TaskId": "t1"}) for action in dialect.start_actions]
    for kind in Kind:
        task = TaskRef(kind=kind, app_id="14", room_id="r", vendor_task_id="t1")
        made += [dialect.update(task, {}), dialect.stop(task), *dialect.inspect(task)]
    return [call for call in made if call is not None]


def sensible(call: Call, answer: CallAnswer) -> None:
    assert isinstance(answer.outcome, CallOutcome)
    assert b"\\u0000" not in json.dumps(asdict(answer), ensure_ascii=False).encode()
    asks, starts = call.operation is Operation.INSPECT, call.operation is Operation.START
    assert asks or (answer.inspection is None and answer.next_call is None)
    assert starts or answer.outcome not in (CallOutcome.AMBIGUOUS, CallOutcome.ALREADY_THERE)
    assert not starts or answer.outcome is not CallOutcome.ALREADY_GONE
    if asks and answer.outcome in (CallOutcome.ACCEPTED, CallOutcome.ALREADY_GONE):
        assert (answer.inspection is None) is not (answer.next_call is None)
    if answer.inspection is not None:
        assert all(time is None or time <= NOW + 600_000 for time in (answer.inspection.started_at, answer.inspection.ended_at))


bodies = st.none() | st.binary() | values.map(json.dumps).map(str.encode)
metadata = st.fixed_dictionaries({}, optional={"RequestId": scalars, "Error": values})
shaped = st.fixed_dictionaries(
    {}, optional={"ResponseMetadata": metadata | values, "Result": objects | values, "Response": objects | values}
)
deep = st.just(b'{"Response":' + b"[" * 100_000)


@vendors
@given(
    status=st.none() | st.sampled_from([200, 200, 200, 204, 302, 400, 403, 404, 429, 500, 503]) | st.integers(100, 599),
    body=bodies | shaped.map(json.dumps).map(str.encode) | deep,
    headers=st.dictionaries(st.sampled_from(["Retry-After", "retry-after", "Content-Type"]), anything_text | numbers.map(str)),
    error=st.sampled_from([None, None, None, *WireError]),
)
@effort(150)
def test_any_answer_is_read(
    dialect: Dialect, status: int | None, body: bytes | None, headers: dict[str, str], error: WireError | None
):
    for call in every_call(dialect):
        sensible(call, dialect.read_answer(call, status, headers, body, error, received_at=NOW))


@vendors
@given(params=objects | values, version=st.none() | anything_text, unknown=anything_text)
@effort(150)
def test_any_parameters_are_checked(dialect: Dialect, params: Any, version: str | None, unknown: str):
    for action in [*ACTIONS[dialect.name].split(), unknown]:
        for problem in [*dialect.check(action, None, params), *dialect.check(action, version, params)]:
            assert problem.field.encode() is not None
            assert problem.message.encode() is not None


@vendors
@given(params=objects, record_id=st.none() | st.just("r1"))
@effort(100)
def test_any_parameters_make_an_identity_and_a_call_that_can_be_stored_and_signed(
    dialect: Dialect, params: dict[str, Any], record_id: str | None
):
    for action, kind in dialect.start_actions.items():
        assert dialect.identity(action, params).kind is kind
        call = dialect.start(action, None, params, record_id=record_id)
        assert from_doc(to_doc(call)) == call
        assert urlsplit(dialect.sign(call, ACCOUNT, NOW).url).hostname


@vendors
@given(task_id=anything_text, room_id=anything_text, app_id=anything_text, kind=st.sampled_from(Kind), params=objects)
@effort(100)
def test_any_ids_make_calls_that_can_be_signed(
    dialect: Dialect, task_id: str, room_id: str, app_id: str, kind: Kind, params: dict[str, Any]
):
    task = TaskRef(kind=kind, app_id=app_id, room_id=room_id, vendor_task_id=task_id, params=params)
    calls = [dialect.update(task, params), dialect.stop(task), *dialect.inspect(task)]
    for call in calls:
        if call is not None:
            dialect.sign(call, ACCOUNT, NOW).url.encode("ascii")
