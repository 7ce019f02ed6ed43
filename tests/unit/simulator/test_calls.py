"""Calls are verified, checked, limited and answered as each vendor documents."""

import json
from dataclasses import replace
from typing import Any

import pytest

from adapters.vendors import DIALECTS
from adapters.vendors.calls import Call, CallOutcome, Operation, Sign
from adapters.vendors.volcengine.api import API as VOLCENGINE_API
from simulator import DEMO_APPS, STEADY, App, Cause, World
from statemachine.states import Kind, Reason, State
from tests.support.start_calls import STARTS, TENCENT, VOLCENGINE, Customer, start_call
from tests.support.times import HOUR, MINUTE, SECOND, T0


@pytest.fixture
def customer() -> Customer:
    return Customer(World(1, None, T0, plan=STEADY))


def wrong_secret(app: App) -> App:
    return replace(app, secret_access_key="wrong")


def stranger(app: App) -> App:
    return replace(app, access_key_id="nobody")


VOLCENGINE_START = start_call("volcengine", "StartRecord")
TENCENT_START = start_call("tencent", "StartStreamIngest")


# --- signatures ---


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"app": wrong_secret(VOLCENGINE)}, 401, "SignatureDoesNotMatch"),
        ({"app": stranger(VOLCENGINE)}, 401, "InvalidAccessKey"),
        ({"body": b"{}"}, 401, "SignatureDoesNotMatch"),
        ({"headers": {"Content-Type": "text/plain"}}, 401, "SignatureDoesNotMatch"),
        ({"headers": {"Authorization": "Bearer x"}}, 401, "MissingSignature"),
        ({"signed_at": T0 - 16 * MINUTE}, 403, "InvalidTimestamp"),
        ({"signed_at": T0 + 16 * MINUTE}, 403, "InvalidTimestamp"),
        ({"signed_at": T0 - 14 * MINUTE}, 200, None),
    ],
)
def test_volcengine_refuses_what_is_not_signed_rightly(customer: Customer, changes: dict[str, Any], status: int, code: str | None):
    reply = customer.send("volcengine", VOLCENGINE_START, **changes)
    metadata = json.loads(reply.body)["ResponseMetadata"]
    assert (reply.status, metadata.get("Error", {}).get("Code")) == (status, code)
    assert (metadata["Action"], metadata["Service"]) == ("StartRecord", "rtc")
    assert len(customer.world.truth()) == (code is None)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"app": wrong_secret(TENCENT)}, "AuthFailure.SignatureFailure"),
        ({"app": stranger(TENCENT)}, "AuthFailure.SecretIdNotFound"),
        ({"body": b"{}"}, "AuthFailure.SignatureFailure"),
        ({"headers": {"Authorization": "Bearer x"}}, "AuthFailure.InvalidAuthorization"),
        ({"headers": {"X-TC-Timestamp": "soon"}}, "InvalidParameter"),
        ({"signed_at": T0 - 6 * MINUTE}, "AuthFailure.SignatureExpire"),
        ({"signed_at": T0 - 4 * MINUTE}, None),
    ],
)
def test_tencent_refuses_what_is_not_signed_rightly_with_http_200(customer: Customer, changes: dict[str, Any], code: str | None):
    reply = customer.send("tencent", TENCENT_START, **changes)
    response = json.loads(reply.body)["Response"]
    assert (reply.status, response.get("Error", {}).get("Code")) == (200, code)
    assert (reply.headers, "RequestId" in response) == ({"Content-Type": "application/json"}, True)
    assert len(customer.world.truth()) == (code is None)


# --- parameters ---


@pytest.mark.parametrize(
    ("vendor", "call", "code"),
    [
        ("volcengine", start_call("volcengine", "StartRecord", RoomId="a b"), "InvalidParameter"),
        ("volcengine", start_call("volcengine", "StartRecord", AppId="other"), "InvalidParameter.NotExistAppId"),
        ("volcengine", replace(VOLCENGINE_START, action="StartNothing"), "InvalidActionOrVersion"),
        ("volcengine", replace(VOLCENGINE_START, version="2019-01-01"), "InvalidActionOrVersion"),
        ("volcengine", replace(VOLCENGINE_START, method="GET"), "MethodNotAllowed"),
        ("tencent", replace(TENCENT_START, params={}), "MissingParameter"),
        ("tencent", start_call("tencent", "StartStreamIngest", Nothing=1), "UnknownParameter"),
        ("tencent", start_call("tencent", "StartStreamIngest", RoomIdType=2), "InvalidParameter"),
        ("tencent", start_call("tencent", "StartStreamIngest", SdkAppId=7), "InvalidParameter.SdkAppId"),
        ("tencent", replace(TENCENT_START, action="StartNothing"), "InvalidAction"),
        ("tencent", replace(TENCENT_START, version="2019-01-01"), "NoSuchVersion"),
    ],
)
def test_wrong_parameters_get_the_vendors_own_error(customer: Customer, vendor: str, call: Call, code: str):
    answer = customer.call(vendor, call)
    assert (answer.outcome, answer.code) == (CallOutcome.REFUSED, code)
    assert customer.world.truth() == ()


def test_volcengines_older_versions_tell_errors_with_http_200(customer: Customer):
    bad = {"TaskId": "no"}
    old = customer.send("volcengine", start_call("volcengine", "StartRelayStream", version="2020-12-01", MaxIdleTime=1))
    new = customer.send("volcengine", start_call("volcengine", "StartRelayStream", MaxIdleTime=1, **bad))
    assert (old.status, new.status) == (200, 400)


def test_an_account_has_no_right_on_another_ones_app():
    other = replace(VOLCENGINE, access_key_id="other", app_id="other")
    customer = Customer(World(1, None, T0, apps=[*DEMO_APPS, other]))
    assert customer.call("volcengine", VOLCENGINE_START, app=other).code == "AccessDenied.NoPermissionForApp"


# --- quotas ---


@pytest.mark.parametrize(
    ("vendor", "action", "quota"),
    [("volcengine", "StartRelayStream", 150), ("volcengine", "StartRecord", 60), ("tencent", "StartWebRecord", 20)],
)
def test_each_api_takes_so_many_calls_in_any_second(customer: Customer, vendor: str, action: str, quota: int):
    outcomes = [customer.start(vendor, action, number).outcome for number in range(1, quota + 3)]
    customer.now += 999
    outcomes.append(customer.start(vendor, action, 900).outcome)
    customer.now += 1
    outcomes.append(customer.start(vendor, action, 901).outcome)

    assert outcomes == [CallOutcome.ACCEPTED] * quota + [CallOutcome.THROTTLED] * 3 + [CallOutcome.ACCEPTED]
    assert customer.world.counters.quota_breaches == {f"{vendor} {action}": 3}


def test_quotas_of_two_apis_do_not_touch_each_other(customer: Customer):
    for number in range(1, 21):
        customer.start("tencent", "StartWebRecord", number)
    assert customer.start("tencent", "StartStreamIngest").outcome is CallOutcome.ACCEPTED


# --- starts ---


@pytest.mark.parametrize("action", [action for vendor, action in STARTS if vendor == "volcengine"])
def test_a_repeated_start_of_volcengine_is_no_second_task(customer: Customer, action: str):
    first, second = customer.start("volcengine", action), customer.start("volcengine", action)
    old = customer.start("volcengine", action, version="2022-06-01" if action == "StartRecord" else "2020-12-01")
    assert [answer.outcome for answer in (first, second, old)] == [
        CallOutcome.ACCEPTED,
        CallOutcome.ALREADY_THERE,
        CallOutcome.ALREADY_THERE,
    ]
    assert (second.code, old.code) == (None, "InvalidParameter.TaskAlreadyExists")
    assert [truth.starts for truth in customer.world.truth()] == [3]


def test_the_oldest_record_has_parameters_of_its_own(customer: Customer):
    params = {name: value for name, value in VOLCENGINE_START.params.items() if name != "StorageConfig"}
    call = DIALECTS["volcengine"].start("StartRecord", "2020-12-01", params | {"Vod": {"AccountId": "a", "Space": "s"}})
    assert customer.call("volcengine", call).outcome is CallOutcome.ACCEPTED


def test_an_id_may_be_used_again_after_its_end(customer: Customer):
    customer.start("volcengine", "StartRelayStream")
    customer.wait(MINUTE)
    customer.stop()
    customer.wait(MINUTE)
    customer.start("volcengine", "StartRelayStream")
    customer.wait(MINUTE)
    assert [(truth.run, truth.alive) for truth in customer.world.truth()] == [(1, False), (2, True)]


def test_tencent_mints_an_id_for_each_start(customer: Customer):
    ids = {customer.start("tencent", action, 9).vendor_task_id for vendor, action in STARTS if vendor == "tencent"}
    assert len(ids) == 4
    assert all(task_id is not None and len(task_id) == 80 and task_id.endswith("..") for task_id in ids)


def test_a_record_id_starts_one_page_and_finds_it_again(customer: Customer):
    first = customer.start("tencent", "StartWebRecord", RecordId="mine")
    second = customer.start("tencent", "StartWebRecord", RecordId="mine")
    customer.wait(MINUTE)
    found = customer.call("tencent", _query("DescribeWebRecord", Kind.PAGE, {"SdkAppId": int(TENCENT.app_id), "RecordId": "mine"}))
    assert (second.outcome, second.code) == (CallOutcome.ALREADY_THERE, "FailedOperation.TaskExist")
    assert (found.vendor_task_id, len(customer.world.truth())) == (first.vendor_task_id, 1)


def _query(action: str, kind: Kind, params: dict[str, Any]) -> Call:
    return Call(
        operation=Operation.INSPECT,
        action=action,
        version="2019-07-22",
        method="POST",
        app_id=TENCENT.app_id,
        params=params,
    )


@pytest.mark.parametrize(
    ("vendor", "action", "end"),
    [
        ("tencent", "CreateCloudRecording", (State.COMPLETED, Reason.FILES_DELIVERED)),
        ("tencent", "StartPublishCdnStream", (State.STOPPED, Reason.EVICTED)),
        ("volcengine", "StartRelayStream", (State.STOPPED, Reason.REMOVED_FROM_ROOM)),
    ],
)
def test_a_robot_id_that_is_used_again_throws_out_who_used_it(customer: Customer, vendor: str, action: str, end: tuple):
    customer.start(vendor, action)
    customer.wait(MINUTE)
    more = {"TaskId": "another"} if vendor == "volcengine" else {}
    customer.start(vendor, action, **more)
    customer.wait(MINUTE)
    old, new = customer.world.truth()
    assert (old.cause, (old.state, old.reason), new.alive) == (Cause.EVICTED, end, True)


def test_an_ingest_with_a_robot_that_is_there_exists_already(customer: Customer):
    customer.start("tencent", "StartStreamIngest")
    answer = customer.start("tencent", "StartStreamIngest")
    assert (answer.outcome, answer.code) == (CallOutcome.ALREADY_THERE, "FailedOperation.TaskExist")
    assert [truth.starts for truth in customer.world.truth()] == [2]


# --- stops and updates ---


@pytest.mark.parametrize(("vendor", "action"), STARTS)
def test_a_stop_ends_a_task_and_the_next_one_finds_none(customer: Customer, vendor: str, action: str):
    customer.start(vendor, action)
    customer.wait(MINUTE)
    assert customer.stop().outcome is CallOutcome.ACCEPTED
    assert customer.stop().outcome is CallOutcome.ACCEPTED
    customer.wait(5 * SECOND)
    assert (customer.truth().cause, customer.stop().outcome) == (Cause.STOPPED, CallOutcome.ALREADY_GONE)


def test_a_stop_that_follows_a_start_at_once_works_too(customer: Customer):
    for number, (vendor, action) in enumerate(STARTS, 1):
        customer.start(vendor, action, number)
    for number in range(len(STARTS)):
        assert customer.stop(number).outcome is CallOutcome.ACCEPTED
    customer.wait(MINUTE)
    assert [truth.cause for truth in customer.world.truth()] == [Cause.STOPPED] * len(STARTS)


def test_updates_change_what_runs_and_their_numbers_must_grow(customer: Customer):
    customer.start("tencent", "StartPublishCdnStream")
    customer.wait(MINUTE)
    urls = [{"PublishCdnUrl": "rtmp://push.example.com/live/s1"}, {"PublishCdnUrl": "rtmp://push.example.com/live/new"}]
    change = {"SequenceNumber": 2, "WithTranscoding": 0, "PublishCdnParams": urls}
    update = DIALECTS["tencent"].update(customer.ref(), change)
    first, second = customer.call("tencent", update), customer.call("tencent", update)
    told = [json.loads(one.body)["EventInfo"]["Payload"] for one in customer.wait(MINUTE)]

    assert (first.outcome, second.outcome) == (CallOutcome.ACCEPTED, CallOutcome.REFUSED)
    assert sorted((payload["Url"][-3:], payload["Status"]) for payload in told) == [("/s2", 0), ("/s2", 5), ("new", 1), ("new", 2)]


def test_volcengines_mixed_push_tells_its_update_and_a_single_one_has_none(customer: Customer):
    for number, action in enumerate(["StartPushMixedStreamToCDN", "StartPushSingleStreamToCDN"], 1):
        customer.start("volcengine", action, number)
    customer.wait(MINUTE)
    mixed = DIALECTS["volcengine"].update(customer.ref(0), {"Layout": {"LayoutMode": 2}})
    assert mixed is not None
    assert customer.call("volcengine", mixed).outcome is CallOutcome.ACCEPTED
    single = replace(mixed, params={**mixed.params, "RoomId": "r2", "TaskId": "t2"})
    assert customer.call("volcengine", single).code == "UpdateError.UpdatePushSingleStreamNotSupported"
    assert [one.event_type for one in customer.wait(MINUTE)] == ["TranscodeUpdated"]


# --- queries ---

ASKABLE = [(vendor, action) for vendor, action in STARTS if action != "StartPublishCdnStream"]


@pytest.mark.parametrize(("vendor", "action"), ASKABLE)
def test_a_query_says_that_a_task_runs(customer: Customer, vendor: str, action: str):
    customer.start(vendor, action)
    customer.wait(MINUTE)
    inspection = customer.inspect().inspection
    assert inspection is not None
    assert inspection.sign is Sign.RUNNING


@pytest.mark.parametrize(("vendor", "action"), ASKABLE)
def test_a_query_says_that_a_task_ended_or_knows_it_no_more(customer: Customer, vendor: str, action: str):
    customer.start(vendor, action)
    customer.wait(MINUTE)
    customer.stop()
    customer.wait(MINUTE)
    inspection = customer.inspect().inspection
    assert inspection is not None
    told = inspection.ending and (inspection.ending.state, inspection.ending.reason)
    if vendor == "tencent":
        assert inspection.sign is Sign.GONE
    elif action == "StartRelayStream":
        assert (inspection.sign, told) == (Sign.ENDED, None)
    else:
        assert inspection.sign in (Sign.ENDED, Sign.CAPTURE_ENDED)
        assert told == (State.STOPPED, Reason.STOP_REQUESTED)


def test_get_calls_know_tasks_of_72_hours_only(customer: Customer):
    customer.start("volcengine", "StartRecord")
    customer.wait(72 * HOUR - MINUTE)
    assert customer.inspect().outcome is CallOutcome.ACCEPTED
    customer.wait(2 * MINUTE)
    assert customer.inspect().outcome is CallOutcome.ALREADY_GONE
    assert customer.truth().alive


def test_a_recording_can_be_asked_and_stopped_for_its_expired_hours_only(customer: Customer):
    customer.start("tencent", "CreateCloudRecording", ResourceExpiredHour=6)
    customer.wait(6 * HOUR + MINUTE)
    assert (customer.inspect().outcome, customer.stop().outcome) == (CallOutcome.ALREADY_GONE, CallOutcome.ALREADY_GONE)
    assert customer.truth().alive


def test_relays_are_listed_page_by_page(customer: Customer):
    for number in range(1, 106):
        customer.start("volcengine", "StartRelayStream", number, RoomId="one", UserId=f"robot{number}")
    customer.wait(MINUTE)
    first = customer.inspect()
    assert (first.inspection, first.next_call is not None) == (None, True)
    second = customer.call("volcengine", first.next_call)
    assert second.inspection is not None
    assert second.inspection.sign is Sign.RUNNING


def test_every_documented_query_of_volcengine_is_answered(customer: Customer):
    asked = {action for action, api in VOLCENGINE_API.items() if api.operation is Operation.INSPECT}
    for vendor, action in ASKABLE:
        if vendor == "volcengine":
            customer.start(vendor, action, len(customer.world.truth()) + 1)
    queries = {DIALECTS["volcengine"].inspect(customer.ref(number))[0].action for number in range(len(customer.world.truth()))}
    assert queries == asked
