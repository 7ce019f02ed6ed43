"""Callbacks have the vendors' real shapes with their inconsistencies; each verifies and is read as an event of a task."""

import json
from collections import Counter, defaultdict
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from adapters.vendors.tencent.events import TASK_EVENTS as TENCENT_EVENTS
from adapters.vendors.volcengine.events import TASK_EVENTS as VOLCENGINE_EVENTS
from simulator import STEADY, CallbackDelivery, Cause, Plan, World
from tests.support.start_calls import STARTS, VOLCENGINE, Customer, read
from tests.support.times import HOUR, MINUTE, SECOND, T0
from tests.unit.simulator.test_smoke import run_tasks


@pytest.fixture(scope="module")
def callbacks() -> list[CallbackDelivery]:
    return run_tasks(11, 600).heard


def parsed(callback: CallbackDelivery) -> dict[str, Any]:
    return json.loads(callback.body)


def of(callbacks: list[CallbackDelivery], vendor: str, *events: str) -> list[dict[str, Any]]:
    return [parsed(one) for one in callbacks if one.vendor == vendor and (not events or one.event_type in events)]


def test_every_callback_verifies_and_is_an_event_of_a_task(callbacks: list[CallbackDelivery]):
    for callback in callbacks:
        read(callback)


def test_most_documented_task_events_are_told(callbacks: list[CallbackDelivery]):
    told = {one.event_type for one in callbacks}
    never = {"RecordSyncUploadStarted", "RecordSyncUploadFailed", "TranscodeUpdated", "308", "309", "311", "312", "804"}
    assert (set(VOLCENGINE_EVENTS) | {str(event) for event in TENCENT_EVENTS}) - told == never


def test_both_spellings_of_the_nonce_go_out(callbacks: list[CallbackDelivery]):
    spelled = Counter("".join(name for name in ("Nonce", "Noce") if name in body) for body in of(callbacks, "volcengine"))
    assert set(spelled) == {"Nonce", "Noce", "NonceNoce"}


def test_a_single_push_tells_no_url_and_a_mixed_one_always(callbacks: list[CallbackDelivery]):
    data = [json.loads(body["EventData"]) for body in of(callbacks, "volcengine", "TranscodeStarted")]
    assert {"PushURL" in one for one in data} == {True, False}


def test_a_relays_events_have_no_app_and_no_time_of_their_own(callbacks: list[CallbackDelivery]):
    data = [json.loads(body["EventData"]) for body in of(callbacks, "volcengine", "RelayStreamStateChanged")]
    assert not any({"AppId", "Timestamp"} & set(one) for one in data)
    assert {one.get("Reason", "absent") for one in data if one["Status"] != 4} == {0, "absent"}


def test_times_come_as_text_and_under_two_names(callbacks: list[CallbackDelivery]):
    seconds = {type(body["EventInfo"]["EventTs"]) for body in of(callbacks, "tencent", "301", "302")}
    names = {name for body in of(callbacks, "tencent", "401") for name in body["EventInfo"] if "Ts" in name}
    rooms = {type(body["EventInfo"]["RoomId"]) for body in of(callbacks, "tencent", "401")}
    assert (seconds, names, rooms) == ({int, str}, {"EventMsTs", "EventTsMs"}, {int, str})


def test_an_upload_is_told_under_two_names(callbacks: list[CallbackDelivery]):
    payloads = [body["EventInfo"]["Payload"] for body in of(callbacks, "tencent", "305")]
    assert {name for payload in payloads for name in payload} == {"Status", "LeaveCode"}
    assert {status for payload in payloads for status in payload.values()} >= {0, 1, 2}


def test_ingests_have_a_status_without_payload_room_or_user(callbacks: list[CallbackDelivery]):
    for body in of(callbacks, "tencent", "701", "702"):
        assert set(body) == {"EventGroupId", "EventType", "CallbackMsTs", "EventInfo"}
        assert set(body["EventInfo"]) == {"EventMsTs", "TaskId", "Status"}


def test_connecting_and_recovering_are_told_every_five_seconds_up_to_a_minute():
    plan = Plan(end_probabilities={Cause.CRASHED: 1.0}, interruptions=0, longest_s=60)
    longest = 0
    for seed in range(8):
        customer = Customer(World(seed, None, T0, plan=plan))
        customer.start("tencent", "StartPublishCdnStream")
        customer.wait(HOUR)
        told = defaultdict(list)
        for callback in customer.heard:
            _, fact = read(callback)
            assert fact.output is not None
            told[fact.output.url, fact.output.state.value].append(fact.at)
        recovering = next((times for (_, state), times in told.items() if state == "recovering"), [])
        assert {later - earlier for earlier, later in pairwise(recovering)} <= {5 * SECOND}
        longest = max(longest, len(recovering))
    assert longest == 12


def test_a_page_in_a_bucket_tells_its_mp4_under_an_id_with_a_suffix(callbacks: list[CallbackDelivery]):
    files = [body["EventInfo"] for body in of(callbacks, "tencent", "310") if "RoomId" not in body["EventInfo"]]
    assert files
    assert all("_StartTimeMs_" in info["TaskId"] for info in files)


def test_a_media_library_is_told_file_by_file():
    customer = Customer(World(1, None, T0, plan=STEADY))
    storage = {"CloudVod": {"TencentVod": {}}}
    record = {"RecordMode": 2, "MaxMediaFileDuration": 10}
    customer.start("tencent", "CreateCloudRecording", StorageParams=storage, RecordParams=record)
    customer.start("tencent", "StartWebRecord", 2, StorageParams=storage, MaxDurationLimit=1800)
    customer.wait(25 * MINUTE)
    customer.stop()
    customer.wait(HOUR)
    told = Counter(one.event_type for one in customer.heard)
    assert told == {"301": 1, "302": 1, "311": 4, "312": 2, "801": 1, "804": 1}
    assert [len(truth.files) for truth in customer.world.truth()] == [3, 1]


def test_every_family_is_heard(callbacks: list[CallbackDelivery]):
    assert {(key.vendor, key.family) for key, _ in map(read, callbacks)} == {
        ("volcengine", "push"),
        ("volcengine", "ingest"),
        ("volcengine", "record"),
        ("volcengine", "page"),
        ("tencent", "relay"),
        ("tencent", "ingest"),
        ("tencent", "recording"),
    }
    assert len(STARTS) == 9


def test_events_that_are_switched_off_are_never_told():
    quiet = replace(VOLCENGINE, silent=frozenset({"RecordUploadStarted", "RecordUploadDone"}))
    customer = Customer(World(1, None, T0, plan=STEADY, apps=[quiet]))
    customer.start("volcengine", "StartRecord")
    customer.wait(MINUTE)
    customer.stop()
    customer.wait(HOUR)
    told = {one.event_type for one in customer.heard}
    assert ("RecordStopped" in told, told & quiet.silent, customer.truth().said) == (True, set(), None)
