"""Any bytes give an envelope or CallbackRejected; any signed JSON object gives a reading. Never another exception."""

import base64
import hashlib
import hmac
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.vendors import DIALECTS, CallbackRejected, Dialect, Envelope, Reading, Rejection
from adapters.vendors.tencent.events import TASK_EVENTS as TENCENT_EVENTS
from adapters.vendors.volcengine.events import NO_TASK, TASK_EVENTS
from statemachine.facts import fact_from_doc, fact_to_doc
from statemachine.states import Kind
from tests.support.hypothesis_effort import effort

NOW = 1_700_000_000_000
anything_text = st.text(st.characters())  # lone surrogates and NUL included
small = st.integers(-2, 12) | st.sampled_from([99, 100, 101, 9999, NOW, NOW - 5, 10**40]) | st.integers()
scalars = st.none() | st.booleans() | small | small.map(str) | st.floats(allow_nan=False, allow_infinity=False) | anything_text
NAMES = """
AppId RoomId TaskId UserId Code Status Reason TaskState StartTime FinishTime Timestamp PushURL ErrorMessage Msg
StartTimeStamp RecordFileList ObjectKey Vid StreamList EventMsTs EventTsMs EventTs Payload Url ErrorCode ErrorMsg
LeaveCode FileList FileMessage FileName TencentVod CacheFile FileId BeginTimeStamp Errmsg EventMessage
"""
names = st.sampled_from(NAMES.split())
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner), max_leaves=15)
objects = st.dictionaries(names | anything_text, values, max_size=12)
with_ids = st.builds(lambda data, ids: data | ids, objects, st.just({"TaskId": "t", "RoomId": "r"}) | st.just({}))


def secrets_of(app_id: str) -> list[str] | None:
    return ["s1", "s2"] if app_id in ("app", "14") else None


def answer(dialect: Dialect, headers: dict[str, str], body: bytes) -> Envelope | CallbackRejected:
    try:
        return dialect.verify(headers, body, secrets_of)
    except CallbackRejected as refused:
        return refused


def checked(reading: Reading) -> None:
    assert isinstance(reading.event_at, int)
    assert (reading.key is None) is (reading.fact is None) is (reading.verdict is not None)
    if reading.fact is not None and reading.key is not None:
        stored = json.dumps(fact_to_doc(reading.fact), ensure_ascii=False).encode()
        assert b"\\u0000" not in stored
        assert fact_from_doc(json.loads(stored)) == reading.fact
        assert reading.key.vendor_task_id


@pytest.mark.parametrize("dialect", DIALECTS.values(), ids=DIALECTS)
@given(
    headers=st.dictionaries(st.sampled_from(["sign", "sdkappid", "content-type"]), anything_text | st.just("14")),
    body=st.binary() | values.map(lambda value: json.dumps(value).encode()),
)
def test_any_bytes_and_headers_give_an_envelope_or_a_rejection(dialect, headers, body):
    given_back = answer(dialect, headers, body)

    assert isinstance(given_back, Envelope) or given_back.status in (400, 401, 403)
    assert "\x00" not in (getattr(given_back, "app_id", "") or "")
    checked(dialect.read("app", body, received_at=NOW, source="s", dedupe_key="d"))


@given(
    event_type=st.sampled_from([*TASK_EVENTS, *NO_TASK]) | anything_text,
    data=with_ids,
    time=st.just("2023-11-14T22:13:20Z") | st.datetimes().map(lambda t: t.isoformat() + "+08:00") | anything_text,
    event_id=anything_text,
)
@effort(250)
def test_any_signed_volcengine_event_is_refused_or_read(event_type, data, time, event_id):
    fields = {"EventType": event_type, "EventData": json.dumps(data), "EventTime": time, "EventId": event_id, "AppId": "app"}
    joined = b"".join(sorted(value.encode("utf-8", "surrogatepass") for value in [*fields.values(), "s2"]))
    body = json.dumps(fields | {"Signature": hashlib.sha256(joined).hexdigest()}).encode()
    dialect = DIALECTS["volcengine"]

    given_back = answer(dialect, {}, body)

    assert isinstance(given_back, Envelope) or given_back.reason is Rejection.MALFORMED
    checked(dialect.read("app", body, received_at=NOW, source="s", dedupe_key="d"))


@given(
    callback=st.fixed_dictionaries(
        {},
        optional={
            "EventGroupId": st.sampled_from([3, 4, 7, 8]) | values,
            "EventType": st.sampled_from([*TENCENT_EVENTS]) | values,
            "EventInfo": with_ids | values,
        },
    ),
    more=objects,
)
@effort(250)
def test_any_signed_tencent_object_is_accepted_and_read(callback: dict[str, Any], more: dict[str, Any]):
    body = json.dumps(more | callback).encode()
    sign = base64.b64encode(hmac.new(b"s2", body, hashlib.sha256).digest()).decode()
    dialect = DIALECTS["tencent"]

    envelope = dialect.verify({"sdkappid": "14", "sign": sign}, body, secrets_of)

    assert len(envelope.dedupe_key) == 64
    checked(dialect.read("14", body, received_at=NOW, source="s", dedupe_key=envelope.dedupe_key))


@pytest.mark.parametrize("dialect", DIALECTS.values(), ids=DIALECTS)
@given(kind=st.sampled_from(Kind), params=st.dictionaries(st.sampled_from(["Control", "AgentParams"]) | names, values))
def test_any_parameters_give_rules(dialect, kind, params):
    assert dialect.rules(kind, params).askable is False
