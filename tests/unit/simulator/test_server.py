"""The vendors' own SDKs call a running simulator unchanged, and it sends callbacks to a running receiver."""

import json
import os
from collections.abc import Iterator
from http.client import HTTPConnection
from typing import Any
from unittest.mock import patch

import pytest
import volcenginesdkcore
from tencentcloud.common.credential import Credential
from tencentcloud.common.exception.tencent_cloud_sdk_exception import TencentCloudSDKException
from tencentcloud.common.profile.client_profile import ClientProfile
from tencentcloud.common.profile.http_profile import HttpProfile
from tencentcloud.trtc.v20190722 import models
from tencentcloud.trtc.v20190722.trtc_client import TrtcClient
from volcenginesdkcore.rest import ApiException

from adapters.vendors import DIALECTS
from simulator import STEADY, Faults
from simulator.vendors.registry import DEMO_STEPS
from tests.support.running_simulator import READY_S, Simulator, ear, simulator
from tests.support.start_calls import TENCENT, VOLCENGINE, params


@pytest.fixture(scope="module", autouse=True)
def no_proxy() -> Iterator[None]:
    """Both SDKs would use proxies of the environment."""
    with patch.dict(os.environ, {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}):
        yield


@pytest.fixture(scope="module")
def running() -> Iterator[Simulator]:
    with simulator(plan=STEADY) as found:
        yield found


def volcengine(port: int) -> volcenginesdkcore.UniversalApi:
    configuration = volcenginesdkcore.Configuration()
    configuration.host = f"http://127.0.0.1:{port}"
    configuration.ak, configuration.sk = VOLCENGINE.access_key_id, VOLCENGINE.secret_access_key
    configuration.region = "cn-north-1"
    configuration.auto_retry = False
    return volcenginesdkcore.UniversalApi(volcenginesdkcore.ApiClient(configuration))


def call(api: volcenginesdkcore.UniversalApi, method: str, action: str, body: dict[str, Any]) -> Any:
    content_type = "application/json" if method == "POST" else None
    info = volcenginesdkcore.UniversalInfo(method, "rtc", "2023-11-01", action, content_type)
    return api.do_call(info, body)


def tencent(port: int, secret: str = TENCENT.secret_access_key) -> TrtcClient:
    http = HttpProfile(protocol="http", endpoint=f"127.0.0.1:{port}", reqTimeout=5)
    profile = ClientProfile(httpProfile=http, language="en-US")
    return TrtcClient(Credential(TENCENT.access_key_id, secret), "ap-singapore", profile)


def filled(model: Any, values: dict[str, Any]) -> Any:
    model.from_json_string(json.dumps(values))
    return model


def get(port: int, path: str) -> tuple[int, bytes]:
    connection = HTTPConnection("127.0.0.1", port, timeout=READY_S)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


VOLCENGINE_CALLS = [
    ("StartPushSingleStreamToCDN", "GetPushSingleStreamToCDNTask", "StopPushStreamToCDN"),
    ("StartPushMixedStreamToCDN", "GetPushMixedStreamToCDNTask", "StopPushStreamToCDN"),
    ("StartRecord", "GetRecordTask", "StopRecord"),
    ("StartRelayStream", "ListRelayStream", "StopRelayStream"),
    ("StartWebcast", "GetWebCastTask", "StopWebcast"),
]


@pytest.mark.parametrize(("start", "query", "stop"), VOLCENGINE_CALLS)
def test_volcengines_sdk_starts_queries_and_stops(running: Simulator, start: str, query: str, stop: str):
    api = volcengine(running.port)
    robot = {"UserId": "robot@" + start} if start in ("StartRelayStream", "StartWebcast") else {}
    body = params("volcengine", start, RoomId=f"room@{start}-1", **robot)
    ids = {name: body[name] for name in ("AppId", "RoomId", "TaskId")}
    about = {"AppId": ids["AppId"], "RoomId": ids["RoomId"], "Limit": 10} if query == "ListRelayStream" else ids

    assert call(api, "POST", start, body) == "ok"
    assert call(api, "POST", start, body).startswith("The task has been started")
    assert "TaskId" in json.dumps(call(api, "GET", query, about))
    assert call(api, "POST", stop, ids) == "ok"


def test_volcengines_sdk_sees_the_vendors_error(running: Simulator):
    with pytest.raises(ApiException) as caught:
        call(volcengine(running.port), "POST", "StopRecord", {"AppId": VOLCENGINE.app_id, "RoomId": "no", "TaskId": "no"})
    assert (caught.value.status, "ErrorActiveTaskNotFound" in caught.value.body) == (400, True)


TENCENT_CALLS = [
    ("StartPublishCdnStream", None, "StopPublishCdnStream"),
    ("StartStreamIngest", "DescribeStreamIngest", "StopStreamIngest"),
    ("CreateCloudRecording", "DescribeCloudRecording", "DeleteCloudRecording"),
    ("StartWebRecord", "DescribeWebRecord", "StopWebRecord"),
]


def test_a_blank_goes_over_the_wire_as_a_plus_and_breaks_no_signature(running: Simulator):
    with pytest.raises(ApiException) as caught:
        call(volcengine(running.port), "GET", "GetRecordTask", {"AppId": VOLCENGINE.app_id, "RoomId": "a b/ü", "TaskId": "t"})
    assert "InvalidParameter" in caught.value.body


@pytest.mark.parametrize(("start", "query", "stop"), TENCENT_CALLS)
def test_tencents_sdk_starts_queries_and_stops(running: Simulator, start: str, query: str | None, stop: str):
    client = tencent(running.port)
    started = getattr(client, start)(filled(getattr(models, f"{start}Request")(), params("tencent", start)))
    assert started.TaskId.endswith("..")
    about = {"TaskId": started.TaskId} | ({} if start == "StartWebRecord" else {"SdkAppId": int(TENCENT.app_id)})
    if query is not None:
        found = getattr(client, query)(filled(getattr(models, f"{query}Request")(), about))
        assert found.Status in ("InProgress", "Idle", 1)
    assert getattr(client, stop)(filled(getattr(models, f"{stop}Request")(), about)).RequestId


@pytest.mark.parametrize(
    ("secret", "task_id", "code"),
    [("wrong", "t", "AuthFailure.SignatureFailure"), (TENCENT.secret_access_key, "t", "InvalidParameter.TaskId")],
)
def test_tencents_sdk_sees_the_vendors_error(running: Simulator, secret: str, task_id: str, code: str):
    request = filled(models.StopStreamIngestRequest(), {"SdkAppId": int(TENCENT.app_id), "TaskId": task_id})
    with pytest.raises(TencentCloudSDKException) as caught:
        tencent(running.port, secret).StopStreamIngest(request)
    assert caught.value.code == code


def test_the_page_and_the_truth_can_be_read(running: Simulator):
    status, page = get(running.port, "/")
    assert (status, b"simulated vendor" in page) == (200, True)
    status, truth = get(running.port, "/truth")
    assert (status, set(json.loads(truth))) == (200, {"tasks", "counters"})


def test_a_dropped_connection_is_cut_without_a_byte_and_the_task_runs():
    with simulator(faults=Faults(ambiguous=1), plan=STEADY) as found:
        with pytest.raises(TencentCloudSDKException) as caught:
            tencent(found.port).StartStreamIngest(filled(models.StartStreamIngestRequest(), params("tencent", "StartStreamIngest")))
        assert caught.value.code == "ClientNetworkError"
        assert [truth.alive for truth in found.world.truth()] == [True]


def test_callbacks_go_out_signed_in_fast_time():
    with ear() as hearer, simulator(hearer.url, speed=200, steps=DEMO_STEPS):
        heard = [hearer.heard.get(timeout=READY_S) for _ in range(20)]
        assert {path for path, _, _ in heard} == {"/callbacks/volcengine", "/callbacks/tencent"}
    secrets = {app.app_id: (app.callback_secret,) for app in (VOLCENGINE, TENCENT)}
    for path, headers, body in heard:
        DIALECTS[path.rpartition("/")[2]].verify(headers, body, secrets.get)


def test_a_callback_that_is_not_answered_200_is_tried_again():
    with ear(deaf=True) as hearer, simulator(hearer.url, speed=10, plan=STEADY, steps=DEMO_STEPS[:1]) as found:
        bodies = [hearer.heard.get(timeout=READY_S)[2] for _ in range(6)]
        assert len(set(bodies)) < len(bodies)
    assert found.world.counters.callbacks["volcengine retried"] >= 1
