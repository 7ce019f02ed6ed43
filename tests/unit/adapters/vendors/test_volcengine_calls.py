"""Volcengine's calls: how they are built and signed. The vendor's own SDK is the oracle for signatures."""

import json
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from volcenginesdkcore import signv4

from adapters.http_messages import HttpRequest
from adapters.vendors.calls import Account, Call, Identity, IdleTime, Operation, SecretPath, TaskRef, from_doc, to_doc
from adapters.vendors.volcengine import Volcengine
from statemachine.states import Kind

NOW = 1_700_000_000_999
DATE = "20231114T221320Z"
IDS = {"AppId": "app", "RoomId": "room 1/ü@", "TaskId": "t1"}
ACCOUNT = Account(access_key_id="AK", secret_access_key="SK")
volcengine = Volcengine()


def ref(kind: Kind, **changes: Any) -> TaskRef:
    fields = {"app_id": "app", "room_id": "room 1/ü@", "vendor_task_id": "t1"} | changes
    return TaskRef(kind=kind, **fields)


def made(call: Call | None) -> tuple[str, str, str, dict[str, Any]]:
    assert call is not None
    assert from_doc(json.loads(json.dumps(to_doc(call)))) == call
    return call.action, call.version, call.method, dict(call.params)


# --- building calls ---

STARTS = {
    "StartPushSingleStreamToCDN": Kind.PUSH,
    "StartPushMixedStreamToCDN": Kind.PUSH,
    "StartRecord": Kind.RECORD,
    "StartRelayStream": Kind.INGEST,
    "StartWebcast": Kind.PAGE,
}


def test_five_actions_start_tasks():
    assert dict(volcengine.start_actions) == STARTS


@pytest.mark.parametrize("action", STARTS)
def test_a_start_call_says_which_task_it_starts(action: str):
    robot = "bot" if STARTS[action] in (Kind.INGEST, Kind.PAGE) else None
    ids = {"app_id": "app", "room_id": "room 1/ü@", "vendor_task_id": "t1"}
    identity = Identity(kind=STARTS[action], family=STARTS[action].value, **ids, robot=robot, app_field="AppId")
    assert volcengine.identity(action, IDS | {"UserId": "bot"}) == identity


@pytest.mark.parametrize(
    ("stamp", "planned"), [(1_700_000_000, 1_700_000_000_000), (0, None), (None, None), (10**17, None), ("x", None)]
)
def test_a_relay_may_be_planned(stamp: Any, planned: int | None):
    assert volcengine.identity("StartRelayStream", IDS | {"Control": {"StartTimeStamp": stamp}}).scheduled_at == planned


def test_a_start_goes_out_as_given_in_the_newest_version_or_the_one_asked_for():
    call = volcengine.start("StartRecord", None, IDS, record_id="not taken here")
    assert made(call) == ("StartRecord", "2023-11-01", "POST", IDS)
    assert (call.operation, call.app_id, call.vendor_task_id) == (Operation.START, "app", "t1")
    assert volcengine.start("StartRecord", "2022-06-01", IDS).version == "2022-06-01"


@pytest.mark.parametrize(
    ("kind", "action"),
    [
        (Kind.PUSH, "StopPushStreamToCDN"),
        (Kind.RECORD, "StopRecord"),
        (Kind.INGEST, "StopRelayStream"),
        (Kind.PAGE, "StopWebcast"),
    ],
)
def test_a_stop_names_the_task_in_the_version_of_its_start(kind: Kind, action: str):
    assert made(volcengine.stop(ref(kind))) == (action, "2023-11-01", "POST", IDS)
    assert made(volcengine.stop(ref(kind, version="2020-12-01"))) == (action, "2020-12-01", "POST", IDS)


def test_an_update_keeps_the_tasks_own_ids():
    single = ref(Kind.PUSH, action="StartPushSingleStreamToCDN")
    update = volcengine.update(ref(Kind.INGEST), {"Control": {}, "TaskId": "another"})
    assert made(update) == ("UpdateRelayStream", "2023-11-01", "POST", IDS | {"Control": {}})
    assert made(volcengine.update(ref(Kind.PUSH), {}))[0] == "UpdatePushMixedStreamToCDN"
    assert made(volcengine.update(ref(Kind.RECORD), {}))[0] == "UpdateRecord"
    assert volcengine.update(single, {}) is volcengine.update(ref(Kind.PAGE), {}) is None


@pytest.mark.parametrize(
    ("task", "actions"),
    [
        (ref(Kind.PUSH), ["GetPushMixedStreamToCDNTask", "GetPushSingleStreamToCDNTask"]),
        (ref(Kind.PUSH, action="StartPushMixedStreamToCDN"), ["GetPushMixedStreamToCDNTask"]),
        (ref(Kind.PUSH, action="StartPushSingleStreamToCDN"), ["GetPushSingleStreamToCDNTask"]),
        (ref(Kind.RECORD), ["GetRecordTask"]),
        (ref(Kind.PAGE), ["GetWebCastTask"]),
    ],
)
def test_an_inspection_asks_by_id_a_push_of_unknown_form_first_as_mixed(task: TaskRef, actions: list[str]):
    calls = volcengine.inspect(task)
    assert [made(call) for call in calls] == [(action, "2023-11-01", "GET", IDS) for action in actions]
    assert volcengine.can_inspect(task.kind)


def test_relays_are_listed_newest_first_a_hundred_at_a_time():
    (call,) = volcengine.inspect(ref(Kind.INGEST))
    params = {"AppId": "app", "RoomId": "room 1/ü@", "Offset": 0, "Limit": 100, "Order": 0}
    assert made(call) == ("ListRelayStream", "2023-11-01", "GET", params)
    assert call.vendor_task_id == "t1"


def test_without_an_id_there_is_nothing_to_call():
    unknown = ref(Kind.PUSH, vendor_task_id=None)
    assert (volcengine.update(unknown, {}), volcengine.stop(unknown), volcengine.inspect(unknown)) == (None, None, [])


def test_every_call_that_we_build_passes_its_own_check():
    tasks = [ref(kind, room_id="r") for kind in Kind]
    calls = [call for task in tasks for call in (volcengine.stop(task), *volcengine.inspect(task)) if call]
    assert [volcengine.check(call.action, call.version, call.params) for call in calls] == [[]] * 9


# --- limits and secrets ---


@pytest.mark.parametrize(
    ("quota", "actions"),
    [
        (150, "StartPushSingleStreamToCDN StartPushMixedStreamToCDN UpdatePushMixedStreamToCDN StopPushStreamToCDN"),
        (150, "StartRelayStream UpdateRelayStream StopRelayStream ListRelayStream"),
        (60, "GetPushSingleStreamToCDNTask GetPushMixedStreamToCDNTask StartRecord UpdateRecord StopRecord GetRecordTask"),
    ],
)
def test_quotas_are_per_api(quota: int, actions: str):
    assert {volcengine.quota(action) for action in actions.split()} == {quota}


def test_idle_times_have_a_default_and_a_maximum():
    assert volcengine.idle_time(Kind.PUSH) == IdleTime(default_s=180, longest_s=86_400)
    assert volcengine.idle_time(Kind.RECORD) == IdleTime(default_s=180, longest_s=86_400)
    assert volcengine.idle_time(Kind.INGEST) == IdleTime(default_s=300, longest_s=600)
    assert volcengine.idle_time(Kind.PAGE) is None


def test_secrets_and_stream_keys_are_told_by_their_paths():
    assert volcengine.secret_paths("StartRelayStream") == (
        SecretPath(path="Token"),
        SecretPath(path="Control.StreamUrl", in_url=True),
    )
    assert volcengine.secret_paths("StartPushMixedStreamToCDN") == (SecretPath(path="PushURL", in_url=True),)
    storage = [f"StorageConfig.CustomConfig.{name}" for name in ("AccessKey", "SecretKey", "SecurityToken")]
    assert [secret.path for secret in volcengine.secret_paths("StartRecord")] == storage
    assert volcengine.secret_paths("Nothing") == ()


# --- signing ---


class _Fixed:
    @staticmethod
    def utcnow() -> datetime:
        return datetime.fromtimestamp(NOW // 1000, UTC)


def oracle(request: HttpRequest, region: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Returns the Authorization that the vendor's SDK makes for this request in the same second."""
    monkeypatch.setattr(signv4, "datetime", SimpleNamespace(datetime=_Fixed))
    parts = urlsplit(request.url)
    headers = {name: value for name, value in request.headers.items() if name in ("Host", "Content-Type")}
    query, body = dict(parse_qsl(parts.query)), request.body.decode()
    signv4.SignerV4.sign(parts.path, request.method, headers, body, None, query, "AK", "SK", region, "rtc")
    assert (headers["X-Date"], headers["X-Content-Sha256"]) == (DATE, request.headers["X-Content-Sha256"])
    return headers["Authorization"]


def calls() -> list[Call]:
    start = volcengine.start("StartRelayStream", None, IDS | {"Control": {"StreamUrl": "rtmp://ü"}, "Token": "\ud800"})
    return [start, *volcengine.inspect(ref(Kind.PUSH)), *volcengine.inspect(ref(Kind.INGEST))]


@pytest.mark.parametrize("endpoint", ["", "http://127.0.0.1:8099", "https://rtc.example.com:443/proxy", "http://[::1]/"])
@pytest.mark.parametrize("call", calls(), ids=lambda call: call.action)
def test_the_vendors_sdk_gives_the_same_signature(call: Call, endpoint: str, monkeypatch: pytest.MonkeyPatch):
    account = Account(access_key_id="AK", secret_access_key="SK", endpoint=endpoint, region="us-east-1")
    request = volcengine.sign(call, account, NOW)
    assert request.headers["X-Date"] == DATE
    if "[" not in endpoint:  # the SDK takes the first colon of an IPv6 address for its port
        assert request.headers["Authorization"] == oracle(request, "us-east-1", monkeypatch)


def test_a_post_carries_its_params_as_json_and_a_get_as_a_query_with_blanks_as_percent_20():
    post = volcengine.sign(volcengine.start("StartRecord", None, IDS), ACCOUNT, NOW)
    get = volcengine.sign(volcengine.inspect(ref(Kind.RECORD))[0], ACCOUNT, NOW)

    assert (post.url, json.loads(post.body)) == ("https://rtc.volcengineapi.com/?Action=StartRecord&Version=2023-11-01", IDS)
    assert post.headers["Content-Type"] == "application/json"
    assert get.url == (
        "https://rtc.volcengineapi.com/?Action=GetRecordTask&AppId=app&RoomId=room%201%2F%C3%BC%40&TaskId=t1&Version=2023-11-01"
    )
    assert (get.body, "Content-Type" in get.headers) == (b"", False)


@pytest.mark.parametrize(
    ("endpoint", "host", "region"),
    [
        ("", "rtc.volcengineapi.com", "cn-north-1"),
        ("https://open-ap-singapore-1.volcengineapi.com", "open-ap-singapore-1.volcengineapi.com", "ap-singapore-1"),
        ("https://open.byteplusapi.com/", "open.byteplusapi.com", "ap-singapore-1"),
        ("http://LOCALHOST:8099", "localhost:8099", "cn-north-1"),
    ],
)
def test_an_endpoint_without_a_region_has_its_usual_one(endpoint: str, host: str, region: str):
    account = Account(access_key_id="AK", secret_access_key="SK", endpoint=endpoint)
    headers = volcengine.sign(volcengine.start("StartRecord", None, IDS), account, NOW).headers
    assert headers["Host"] == host
    assert f"Credential=AK/20231114/{region}/rtc/request" in headers["Authorization"]


def test_nothing_secret_shows_in_a_repr():
    call = volcengine.start("StartRelayStream", None, IDS | {"Token": "sesame"})
    request = volcengine.sign(call, ACCOUNT, NOW)
    shown = f"{ACCOUNT!r}{call!r}{request!r}"
    assert "sesame" not in shown
    assert "SK" not in shown
    assert "HMAC" not in shown
