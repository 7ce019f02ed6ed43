"""Tencent's calls: how they are built and signed. The vendor's own SDK is the oracle for signatures."""

import json
from types import SimpleNamespace
from typing import Any

import pytest
from tencentcloud.common import abstract_client
from tencentcloud.common.credential import Credential
from tencentcloud.common.http.request import RequestInternal
from tencentcloud.common.profile.client_profile import ClientProfile
from tencentcloud.common.profile.http_profile import HttpProfile
from tencentcloud.trtc.v20190722.trtc_client import TrtcClient

from adapters.vendors.calls import Account, Call, Identity, IdleTime, Operation, SecretPath, TaskRef, from_doc, to_doc
from adapters.vendors.tencent import Tencent
from statemachine.states import Kind

NOW = 1_700_000_000_999
VERSION = "2019-07-22"
ACCOUNT = Account(access_key_id="AKID", secret_access_key="KEY")
IDS = {"SdkAppId": 1400000001, "TaskId": "-m9l+."}
tencent = Tencent()


def ref(kind: Kind, **changes: Any) -> TaskRef:
    fields = {"app_id": "1400000001", "room_id": "7", "vendor_task_id": "-m9l+."} | changes
    return TaskRef(kind=kind, **fields)


def made(call: Call | None) -> tuple[str, dict[str, Any]]:
    assert call is not None
    assert from_doc(json.loads(json.dumps(to_doc(call)))) == call
    assert (call.version, call.method, call.app_id) == (VERSION, "POST", "1400000001")
    return call.action, dict(call.params)


# --- building calls ---


@pytest.mark.parametrize(
    ("action", "kind", "robot"),
    [
        ("StartPublishCdnStream", Kind.PUSH, "agent"),
        ("StartStreamIngest", Kind.INGEST, "user"),
        ("CreateCloudRecording", Kind.RECORD, "user"),
        ("StartWebRecord", Kind.PAGE, None),
    ],
)
def test_a_start_call_names_its_app_room_and_robot_but_not_its_task(action: str, kind: Kind, robot: str | None):
    params = {"SdkAppId": 14, "RoomId": "7", "UserId": "user", "AgentParams": {"UserId": "agent"}}
    family = tencent.family_of(kind)
    identity = Identity(kind=kind, family=family, app_id="14", room_id="7", vendor_task_id=None, robot=robot, app_field="SdkAppId")
    assert tencent.identity(action, params) == identity
    assert tencent.start_actions[action] is kind
    assert len(tencent.start_actions) == 4


def test_a_start_goes_out_as_given():
    call = tencent.start("StartStreamIngest", None, {"SdkAppId": 1400000001}, record_id="r1")
    assert made(call) == ("StartStreamIngest", {"SdkAppId": 1400000001})
    assert (call.operation, call.vendor_task_id) == (Operation.START, None)


def test_a_pages_start_gets_our_id_unless_it_has_one():
    params = {"SdkAppId": 1400000001}
    ours = tencent.start("StartWebRecord", VERSION, params, record_id="r1")
    theirs = tencent.start("StartWebRecord", VERSION, params | {"RecordId": "mine"}, record_id="r1")
    assert (made(ours)[1]["RecordId"], made(theirs)[1]["RecordId"], len(params)) == ("r1", "mine", 1)


@pytest.mark.parametrize(
    ("kind", "update", "stop", "query"),
    [
        (Kind.PUSH, "UpdatePublishCdnStream", "StopPublishCdnStream", None),
        (Kind.INGEST, "UpdateStreamIngest", "StopStreamIngest", "DescribeStreamIngest"),
        (Kind.RECORD, "ModifyCloudRecording", "DeleteCloudRecording", "DescribeCloudRecording"),
        (Kind.PAGE, None, "StopWebRecord", "DescribeWebRecord"),
    ],
)
def test_each_kind_has_its_calls(kind: Kind, update: str | None, stop: str, query: str | None):
    updating = tencent.update(ref(kind), {"A": 1, "TaskId": "another"})
    assert (updating and made(updating)) == (update and (update, IDS | {"A": 1}))
    assert made(tencent.stop(ref(kind))) == (stop, {"TaskId": "-m9l+."} if kind is Kind.PAGE else IDS)
    assert [made(call) for call in tencent.inspect(ref(kind))] == ([(query, IDS)] if query else [])
    assert tencent.can_inspect(kind) is (query is not None)


def test_without_an_id_only_a_page_can_be_asked_for_by_our_own():
    unknown = [ref(kind, vendor_task_id=None) for kind in Kind]
    page = ref(Kind.PAGE, vendor_task_id=None, params={"RecordId": "r1"})
    assert [(tencent.update(task, {}), tencent.stop(task), tencent.inspect(task)) for task in unknown] == [(None, None, [])] * 4
    assert [made(call) for call in tencent.inspect(page)] == [
        ("DescribeWebRecord", {"SdkAppId": 1400000001, "RecordId": "r1"}),
    ]


def test_a_page_is_asked_for_by_the_id_that_went_out_with_its_start():
    ours = ref(Kind.PAGE, vendor_task_id=None, record_id="r1", params={"RecordUrl": "u"})
    theirs = ref(Kind.PAGE, vendor_task_id=None, record_id="r1", params={"RecordId": "mine"})
    asked = [made(call)[1]["RecordId"] for page in (ours, theirs) for call in tencent.inspect(page)]
    assert asked == ["r1", "mine"]
    assert [made(call)[1] for call in tencent.inspect(ref(Kind.PAGE, record_id="r1"))] == [IDS]
    assert tencent.inspect(ref(Kind.RECORD, vendor_task_id=None, record_id="r1")) == []


def test_every_call_that_we_build_passes_its_own_check():
    tasks = [ref(kind) for kind in Kind]
    calls = [call for task in tasks for call in (tencent.stop(task), *tencent.inspect(task)) if call]
    assert [tencent.check(call.action, call.version, call.params) for call in calls] == [[]] * 7


# --- limits and secrets ---


def test_each_api_may_be_called_20_times_a_second():
    actions = ["StartPublishCdnStream", "StopStreamIngest", "DescribeCloudRecording", "StartWebRecord"]
    assert {tencent.quota(action) for action in actions} == {20}


def test_idle_times_have_a_default_and_a_maximum():
    assert tencent.idle_time(Kind.PUSH) == tencent.idle_time(Kind.RECORD) == IdleTime(default_s=30, longest_s=86_400)
    assert tencent.idle_time(Kind.INGEST) is tencent.idle_time(Kind.PAGE) is None


@pytest.mark.parametrize(
    ("action", "hidden", "in_urls"),
    [
        (
            "StartPublishCdnStream",
            "AgentParams.UserSig FeedBackRoomParams[].UserSig RecordParams.McuStorageParams.CloudStorage.AccessKey"
            " RecordParams.McuStorageParams.CloudStorage.SecretKey",
            "PublishCdnParams[].PublishCdnUrl",
        ),
        ("StartStreamIngest", "UserSig PrivateMapKey", "StreamUrl SourceUrl[]"),
        (
            "CreateCloudRecording",
            "UserSig StorageParams.CloudStorage.AccessKey StorageParams.CloudStorage.SecretKey PrivateMapKey",
            "",
        ),
    ],
)
def test_secrets_and_stream_keys_are_told_by_their_paths(action: str, hidden: str, in_urls: str):
    found = tencent.secret_paths(action)
    assert {path for path in found if not path.in_url} == {SecretPath(path=path) for path in hidden.split()}
    assert {path for path in found if path.in_url} == {SecretPath(path=path, in_url=True) for path in in_urls.split()}


# --- signing ---


def oracle(call: Call, body: bytes, endpoint: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Returns the headers that the vendor's SDK makes for this call in the same second."""
    monkeypatch.setattr(abstract_client, "time", SimpleNamespace(time=lambda: NOW / 1000))
    monkeypatch.setattr(abstract_client, "json", SimpleNamespace(dumps=lambda params: body.decode()))
    profile = ClientProfile(httpProfile=HttpProfile(endpoint=endpoint), language="en-US")
    client = TrtcClient(Credential("AKID", "KEY"), "ap-singapore", profile)
    request = RequestInternal(endpoint, "POST", "/")
    client._build_req_with_tc3_signature(call.action, dict(call.params), request)
    return dict(request.header)


@pytest.mark.parametrize("host", ["trtc.intl.tencentcloudapi.com", "127.0.0.1:8099"])
@pytest.mark.parametrize("kind", list(Kind))
def test_the_vendors_sdk_gives_the_same_headers(kind: Kind, host: str, monkeypatch: pytest.MonkeyPatch):
    account = Account(access_key_id="AKID", secret_access_key="KEY", endpoint=f"http://{host}")
    call = tencent.stop(ref(kind, vendor_task_id="ü\ud800 '\""))
    assert call is not None
    request = tencent.sign(call, account, NOW)

    theirs = oracle(call, request.body, host, monkeypatch)

    assert dict(request.headers) == {name: value for name, value in theirs.items() if name in request.headers}
    assert (request.method, request.url) == ("POST", f"http://{host}/")


def test_params_go_out_as_json():
    request = tencent.sign(tencent.start("StartStreamIngest", None, {"StreamUrl": "ü"}), ACCOUNT, NOW)
    assert json.loads(request.body) == {"StreamUrl": "ü"}
    assert request.headers["X-TC-Timestamp"] == "1700000000"


@pytest.mark.parametrize(
    ("endpoint", "region", "host", "signed_for"),
    [
        ("", "", "trtc.intl.tencentcloudapi.com", "ap-singapore"),
        ("https://trtc.tencentcloudapi.com", "", "trtc.tencentcloudapi.com", "ap-guangzhou"),
        ("https://trtc.tencentcloudapi.com", "ap-shanghai", "trtc.tencentcloudapi.com", "ap-shanghai"),
    ],
)
def test_an_endpoint_without_a_region_has_its_usual_one(endpoint: str, region: str, host: str, signed_for: str):
    account = Account(access_key_id="AKID", secret_access_key="KEY", endpoint=endpoint, region=region)
    headers = tencent.sign(tencent.start("StartStreamIngest", None, {}), account, NOW).headers
    assert (headers["Host"], headers["X-TC-Region"]) == (host, signed_for)
