"""Starts whose answers come late or never: what they made is theirs, nothing is started twice, and nobody else's is taken."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from simulator import Cause, Truth
from tests.support.sample_apps import tencent
from tests.support.scenario import ANSWER_LOST, REQUEST_LOST, CallScript, Scenario, answered_with, late, tencent_error
from tests.support.start_calls import TENCENT, Customer
from tests.support.times import HOUR, MINUTE, SECOND, T0

RELAY = ("tencent", "StartPublishCdnStream")
INGEST = ("tencent", "StartStreamIngest")
RECORD = ("tencent", "CreateCloudRecording")
PAGE = ("tencent", "StartWebRecord")
#: Starts of which the vendor mints the ids.
MINTED = (RELAY, INGEST, RECORD, PAGE)
NAMES = [action for _, action in MINTED]
minted = pytest.mark.parametrize("start", MINTED, ids=NAMES)

GIVEN_UP_MS = 600 * SECOND


def elsewhere(story: Scenario, vendor: str, action: str, number: int = 1, **more: Any) -> str:
    """Somebody else starts it at the vendor; its TaskId."""
    customer = Customer(story.world)
    customer.now = story.now
    answer = customer.start(vendor, action, number, **more)
    assert answer.vendor_task_id is not None, answer
    return answer.vendor_task_id


def observed(story: Scenario) -> list[str]:
    """TaskIds of tasks that we only heard of."""
    return [task["vendor_task_id"] for task in story.tasks("observed")]


def verdicts(story: Scenario) -> set[tuple[str | None, str | None]]:
    """(verdict, task) of all callbacks."""
    return {(item["verdict"], item["task_id"]) for item in story.house.get("/v1/callbacks?limit=500")["items"]}


# A callback outruns the answer.


@minted
def test_a_callback_that_outruns_the_answer_waits_and_is_the_managed_tasks(tmp_path: Path, start: tuple[str, str]) -> None:
    with Scenario(tmp_path).open() as story:
        story.wire.script_calls(start[1], late(9 * SECOND))
        task_id = story.start(*start)
        story.run(8 * SECOND)
        assert [task["id"] for task in story.tasks()] == [task_id]
        assert story.status_of(task_id) == ("requested", None, False)
        assert verdicts(story) == {(None, None)}, "they wait"
        story.run(10 * SECOND)
        assert {task for _, task in verdicts(story)} == {task_id}
        assert [task["id"] for task in story.tasks()] == [task_id]
        task = story.task(task_id)
        assert (task["state"], task["vendor_task_id"]) == ("running", story.world.truth()[0].vendor_task_id)
        assert story.rows("SELECT 1 FROM tasks WHERE origin = 'observed'") == [], "not even for a moment"


@minted
def test_after_15_s_it_is_observed_and_merged_once_the_late_answer_comes(tmp_path: Path, start: tuple[str, str]) -> None:
    with Scenario(tmp_path).open() as story:
        story.wire.script_calls(start[1], late(25 * SECOND))
        task_id = story.start(*start)
        story.run(15 * SECOND)
        assert observed(story) == []
        story.run(24 * SECOND)
        (twin,) = story.tasks("observed")
        assert twin["vendor_task_id"] == story.world.truth()[0].vendor_task_id
        assert story.status_of(task_id)[0] == "requested"
        story.run(26 * SECOND)
        assert [task["id"] for task in story.tasks()] == [task_id]
        assert story.task(task_id)["state"] == "running"
        moved = story.house.client.get(f"/v1/tasks/{twin['id']}", follow_redirects=False)
        assert (moved.status_code, moved.headers["Location"]) == (308, f"/v1/tasks/{task_id}")
        assert story.post_action(twin["id"], "stop").json()["id"] == task_id, "a stop of the twin stops the one task"
        story.settle(HOUR)
        assert [truth.alive for truth in story.world.truth()] == [False]
        assert len(story.wire.calls_of(start[1])) == 1


def test_an_unknown_callback_waits_for_no_start_of_another_kind(tmp_path: Path) -> None:
    with Scenario(tmp_path).open() as story:
        story.wire.script_calls(RECORD[1], late(9 * SECOND))
        story.start(*RECORD)
        theirs = elsewhere(story, *RELAY, 2)
        story.run(4 * SECOND)
        assert observed(story) == [theirs]


def test_somebody_elses_task_waits_at_most_15_s_too_and_is_theirs(tmp_path: Path) -> None:
    with Scenario(tmp_path).open() as story:
        story.wire.script_calls(RELAY[1], late(40 * SECOND))
        task_id = story.start(*RELAY)
        theirs = elsewhere(story, *RELAY, 2)
        story.run(16 * SECOND)
        assert observed(story) == []
        story.run(45 * SECOND)
        assert observed(story) == [theirs]
        assert story.task(task_id)["vendor_task_id"] not in (None, theirs)


def test_an_answer_to_another_start_ends_the_wait(tmp_path: Path) -> None:
    """It may have been the one; where none is on the wire any more, nothing is waited for."""
    with Scenario(tmp_path).open() as story:
        story.wire.script_calls(RELAY[1], late(9 * SECOND))
        story.start(*RELAY, 1)
        theirs = elsewhere(story, *RELAY, 2)
        story.run(9_300)
        assert theirs in observed(story)


# Relays: adopted by their robot, and never started twice.


def test_a_relay_whose_answer_was_dropped_is_adopted_by_its_robot(tmp_path: Path) -> None:
    with Scenario(tmp_path).open() as story:
        story.wire.script_calls(RELAY[1], ANSWER_LOST)
        task_id = story.start(*RELAY)
        story.run(10 * SECOND)
        (truth,) = story.world.truth()
        task = story.task(task_id)
        assert (task["state"], task["vendor_task_id"], task["attempts"]) == ("running", truth.vendor_task_id, 1)
        assert [entry["vendor_task_id"] for entry in story.entries(task_id, "adopted")] == [truth.vendor_task_id]
        assert [task["id"] for task in story.tasks()] == [task_id]
        story.run(GIVEN_UP_MS + MINUTE)
        assert story.task(task_id)["state"] == "running"
        assert len(story.wire.calls_of(RELAY[1])) == 1


def test_callbacks_that_came_before_the_answer_was_dropped_show_whose_they_are(tmp_path: Path) -> None:
    with Scenario(tmp_path).open() as story:
        story.wire.script_calls(RELAY[1], CallScript(answered=False, took_ms=9 * SECOND))
        task_id = story.start(*RELAY)
        story.run(8 * SECOND)
        assert verdicts(story) == {(None, None)}
        story.run(10 * SECOND)
        assert story.status_of(task_id) == ("running", None, False)
        assert [task["id"] for task in story.tasks()] == [task_id]


def test_a_relay_of_a_caller_that_died_is_adopted_once_its_lease_is_over(tmp_path: Path) -> None:
    """Its callbacks waited 15 s, and so were observed before anybody knew that no answer would come."""
    with Scenario(tmp_path).open() as story:
        story.crash_calls(lambda effect: "after")
        task_id = story.start(*RELAY)
        story.run(29 * SECOND)
        (twin,) = story.tasks("observed")
        story.run(31 * SECOND)
        assert story.calls(task_id, "start") == ["ambiguous"]
        assert [task["id"] for task in story.tasks()] == [task_id], "it is known whose it is: nothing is to be waited for"
        assert story.task(task_id)["state"] == "running"
        assert story.house.client.get(f"/v1/tasks/{twin['id']}", follow_redirects=False).status_code == 308
        assert len(story.world.truth()) == 1


def test_a_relay_that_is_found_late_is_stopped_when_it_is_asked_for(tmp_path: Path) -> None:
    with Scenario(tmp_path).open() as story:
        story.crash_calls(lambda effect: "after" if effect.operation == "start" else None)
        task_id = story.start(*RELAY)
        story.run(MINUTE)
        assert story.stop(task_id) == 202
        story.run(2 * MINUTE)
        assert story.status_of(task_id)[:2] == ("stopped", "stop_requested")
        assert not story.world.truth()[0].alive


def test_a_stop_of_the_twin_goes_on_once_it_is_known_whose_it_is(tmp_path: Path) -> None:
    with Scenario(tmp_path).open() as story:
        story.crash_calls(lambda effect: "after" if effect.operation == "start" else None)
        task_id = story.start(*RELAY)
        story.run(20 * SECOND)
        (twin,) = story.tasks("observed")
        story.wire.script_calls("StopPublishCdnStream", *[REQUEST_LOST] * 5)
        assert story.stop(twin["id"]) == 202
        story.run(25 * SECOND)
        assert story.status_of(twin["id"])[0] == "stopping"
        story.settle(5 * MINUTE)
        assert story.status_of(task_id) == ("stopped", "stop_requested", False)
        assert not story.world.truth()[0].alive


def test_a_twin_that_was_stopped_meanwhile_is_what_became_of_the_start(tmp_path: Path) -> None:
    with Scenario(tmp_path).open() as story:
        story.wire.script_calls(INGEST[1], ANSWER_LOST)
        task_id = story.start(*INGEST)
        story.run(20 * SECOND)
        (twin,) = story.tasks("observed")
        assert story.stop(twin["id"]) == 202
        story.settle(5 * MINUTE)
        assert story.status_of(task_id) == ("stopped", "stop_requested", False)
        assert [each["id"] for each in story.tasks()] == [task_id]


def test_a_callback_that_adopts_stands_in_the_timeline_once(tmp_path: Path) -> None:
    with Scenario(tmp_path).open() as story:
        story.wire.script_calls(RELAY[1], ANSWER_LOST)
        task_id = story.start(*RELAY)
        story.run(10 * SECOND)
        told = [entry["callback_id"] for entry in story.entries(task_id, "callback")]
        assert sorted(set(told)) == sorted(told)


def test_a_relay_of_which_nothing_is_ever_heard_is_unknown_after_its_time_and_a_later_callback_adopts_it(tmp_path: Path) -> None:
    with Scenario(tmp_path).open() as story:
        story.wire.script_calls(RELAY[1], ANSWER_LOST)
        story.lose_callbacks()
        task_id = story.start(*RELAY)
        story.run(GIVEN_UP_MS - SECOND)
        assert story.status_of(task_id) == ("requested", None, False)
        story.run(GIVEN_UP_MS + 2 * SECOND)
        assert story.status_of(task_id) == ("failed", "start_unknown", True)
        story.run(GIVEN_UP_MS + 10 * MINUTE)
        story.receive_callbacks()
        story.world.interrupt(story.world.tasks.all[0])
        story.run(GIVEN_UP_MS + 11 * MINUTE)
        task = story.task(task_id)
        assert (task["state"], task["inferred"]) == ("interrupted", False)
        assert task["vendor_task_id"] == story.world.truth()[0].vendor_task_id
        assert [move["corrects"] for move in story.entries(task_id, "move") if move["from"] == "failed"] == [True]
        assert [task["id"] for task in story.tasks()] == [task_id]
        assert len(story.wire.calls_of(RELAY[1])) == 1
        assert story.stop(task_id) == 202
        story.settle(HOUR)
        assert not story.world.truth()[0].alive


def test_a_policy_says_how_long_a_relay_waits_to_be_adopted(tmp_path: Path) -> None:
    with Scenario(tmp_path).open() as story:
        story.wire.script_calls(RELAY[1], REQUEST_LOST)
        task_id = story.start(*RELAY, policy={"start": {"max_elapsed_s": 60}})
        story.run(59 * SECOND)
        assert story.status_of(task_id)[0] == "requested"
        story.run(62 * SECOND)
        assert story.status_of(task_id) == ("failed", "start_unknown", True)


def test_the_same_robot_in_another_room_is_somebody_elses(tmp_path: Path) -> None:
    with Scenario(tmp_path).open() as story:
        story.wire.script_calls(RELAY[1], REQUEST_LOST)
        task_id = story.start(*RELAY, 1)
        theirs = elsewhere(story, *RELAY, 2)
        story.run(GIVEN_UP_MS + 2 * SECOND)
        assert story.status_of(task_id) == ("failed", "start_unknown", True)
        assert observed(story) == [theirs]


def test_the_same_robot_in_another_app_is_somebody_elses(tmp_path: Path) -> None:
    with Scenario(tmp_path).open() as story:
        secrets = story.house.settings.apps[0].callback_secrets
        other = story.with_app("tencent", "1400000077", account="tencent", callback_secrets=secrets)
        story.restart(other)
        story.wire.script_calls(RELAY[1], REQUEST_LOST)
        task_id = story.start(*RELAY, 1)
        story.run(SECOND)
        info = {"RoomId": "1", "RoomType": 0, "EventMsTs": story.now, "UserId": "robot", "TaskId": "theirs"}
        body = {"EventGroupId": 4, "EventType": 401, "CallbackTs": story.now}
        body["EventInfo"] = info | {"Payload": {"Url": "rtmp://push.example.com/live/s1", "Status": 2}}
        story.house.post_and_apply(*tencent(body, secrets[0].reveal(), "1400000077"))
        story.run(GIVEN_UP_MS + 2 * SECOND)
        assert story.status_of(task_id) == ("failed", "start_unknown", True)
        assert observed(story) == ["theirs"]


def test_what_the_robot_did_before_the_start_is_not_adopted(tmp_path: Path) -> None:
    """An old relay of the same robot, whose callbacks come late."""
    with Scenario(tmp_path).open() as story:
        theirs = elsewhere(story, *RELAY, 1)
        story.lose_callbacks()
        story.run(MINUTE)
        story.wire.script_calls(RELAY[1], REQUEST_LOST)
        task_id = story.start(*RELAY, 1)
        story.run(MINUTE + SECOND)
        info = {"RoomId": "1", "RoomType": 0, "EventMsTs": T0 + 4 * SECOND, "UserId": "robot", "TaskId": theirs}
        body = {"EventGroupId": 4, "EventType": 401, "CallbackTs": story.now}
        body["EventInfo"] = info | {"Payload": {"Url": "rtmp://push.example.com/live/s1", "Status": 2}}
        story.house.post_and_apply(*tencent(body, _secret(), TENCENT.app_id))
        story.run(2 * MINUTE)
        assert story.status_of(task_id)[0] == "requested"
        assert observed(story) == [theirs]


def _secret() -> str:
    return TENCENT.callback_secret


# Recordings: adopted or repeated, and never two alive.


def doubles(story: Scenario) -> list[tuple[Truth, Truth]]:
    """Tasks of the vendor that lived at the same time."""
    spans = sorted(story.world.truth(), key=lambda truth: truth.requested_at)
    return [(one, other) for one, other in pairwise(spans) if one.ended_at is None or other.requested_at < one.ended_at]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "fates",
    [(ANSWER_LOST,), (REQUEST_LOST,), (ANSWER_LOST, REQUEST_LOST), (REQUEST_LOST, ANSWER_LOST)],
    ids=["done", "not", "done-not", "not-done"],
)
def test_a_recording_is_adopted_or_repeated_and_what_runs_is_ours(tmp_path: Path, seed: int, fates: tuple[CallScript, ...]) -> None:
    with Scenario(tmp_path, seed=seed).open() as story:
        story.wire.script_calls(RECORD[1], *fates)
        task_id = story.start(*RECORD)
        story.run(2 * MINUTE)
        assert doubles(story) == []
        alive = [truth.vendor_task_id for truth in story.world.truth() if truth.alive]
        task = story.task(task_id)
        assert (task["state"], [task["vendor_task_id"]]) == ("running", alive)
        assert story.stop(task_id) == 202
        story.settle(30 * HOUR)
        assert not any(truth.alive for truth in story.world.truth())


@pytest.mark.parametrize("seed", range(2))
def test_of_two_recordings_whose_answers_were_dropped_the_one_that_runs_is_ours(tmp_path: Path, seed: int) -> None:
    """The second replaced the first: the callback that says so is the first's, and names the same robot."""
    with Scenario(tmp_path, seed=seed).open() as story:
        story.wire.script_calls(RECORD[1], ANSWER_LOST, ANSWER_LOST)
        task_id = story.start(*RECORD)
        story.run(2 * MINUTE)
        assert doubles(story) == []
        alive = [truth.vendor_task_id for truth in story.world.truth() if truth.alive]
        task = story.task(task_id)
        assert (task["state"], [task["vendor_task_id"]]) == ("running", alive)


def test_what_a_recording_threw_out_is_not_taken_for_it(tmp_path: Path) -> None:
    """Somebody else's recording with this robot, of which we hear its end first: that our start made room for itself."""
    with Scenario(tmp_path).open() as story:
        story.lose_callbacks()
        theirs = elsewhere(story, *RECORD)
        story.run(MINUTE)
        story.receive_callbacks()
        story.wire.script_calls(RECORD[1], ANSWER_LOST)
        task_id = story.start(*RECORD)
        story.run(3 * MINUTE)
        (ours,) = [truth.vendor_task_id for truth in story.world.truth() if truth.alive]
        task = story.task(task_id)
        assert (task["state"], task["vendor_task_id"]) == ("running", ours)
        assert observed(story) == [theirs]


# Ingests: nothing in their callbacks says whose they are.


def test_an_ingest_whose_answer_was_dropped_is_adopted_where_one_start_meets_one_unknown_id(tmp_path: Path) -> None:
    with Scenario(tmp_path).open() as story:
        story.wire.script_calls(INGEST[1], ANSWER_LOST)
        task_id = story.start(*INGEST)
        story.run(55 * SECOND)
        assert story.status_of(task_id)[0] == "requested"
        (twin,) = story.tasks("observed")
        story.run(62 * SECOND)
        assert [task["id"] for task in story.tasks()] == [task_id]
        assert story.task(task_id)["state"] == "running"
        assert story.house.client.get(f"/v1/tasks/{twin['id']}", follow_redirects=False).status_code == 308
        assert len(story.wire.calls_of(INGEST[1])) == 1


def test_of_two_ingests_in_one_minute_whose_answers_were_dropped_neither_is_adopted(tmp_path: Path) -> None:
    with Scenario(tmp_path).open() as story:
        story.wire.script_calls(INGEST[1], ANSWER_LOST, ANSWER_LOST)
        first = story.start(*INGEST, 1)
        story.run(30 * SECOND)
        second = story.start(*INGEST, 2)
        story.run(GIVEN_UP_MS - SECOND)
        assert {story.status_of(each)[0] for each in (first, second)} == {"requested"}
        story.run(GIVEN_UP_MS + MINUTE)
        for each in (first, second):
            assert story.status_of(each) == ("failed", "start_unknown", True)
            assert story.task(each)["vendor_task_id"] is None
        assert sorted(observed(story)) == sorted(truth.vendor_task_id for truth in story.world.truth())
        assert len(story.wire.calls_of(INGEST[1])) == 2


def test_two_ingests_whose_answers_were_dropped_far_apart_are_both_adopted(tmp_path: Path) -> None:
    with Scenario(tmp_path).open() as story:
        story.wire.script_calls(INGEST[1], ANSWER_LOST, ANSWER_LOST)
        first = story.start(*INGEST, 1)
        story.run(90 * SECOND)
        second = story.start(*INGEST, 2)
        story.run(3 * MINUTE)
        assert [story.task(each)["room_id"] for each in (first, second)] == ["1", "2"]
        made = {truth.room_id: truth.vendor_task_id for truth in story.world.truth()}
        assert [story.task(each)["vendor_task_id"] for each in (first, second)] == [made["1"], made["2"]]
        assert observed(story) == []


def test_an_ingest_that_meets_two_unknown_ids_adopts_neither(tmp_path: Path) -> None:
    with Scenario(tmp_path).open() as story:
        story.wire.script_calls(INGEST[1], ANSWER_LOST)
        task_id = story.start(*INGEST, 1)
        story.run(20 * SECOND)
        elsewhere(story, *INGEST, 2)
        story.run(GIVEN_UP_MS + 2 * SECOND)
        assert story.status_of(task_id) == ("failed", "start_unknown", True)
        assert len(observed(story)) == 2


def test_an_ingest_that_begins_more_than_a_minute_later_is_somebody_elses(tmp_path: Path) -> None:
    with Scenario(tmp_path).open() as story:
        story.wire.script_calls(INGEST[1], REQUEST_LOST)
        task_id = story.start(*INGEST, 1)
        story.run(61 * SECOND)
        theirs = elsewhere(story, *INGEST, 2)
        story.run(GIVEN_UP_MS + 2 * SECOND)
        assert story.status_of(task_id) == ("failed", "start_unknown", True)
        assert observed(story) == [theirs]


def test_an_ingest_whose_other_start_was_answered_meanwhile_is_alone(tmp_path: Path) -> None:
    with Scenario(tmp_path).open() as story:
        story.wire.script_calls(INGEST[1], ANSWER_LOST)
        first = story.start(*INGEST, 1)
        story.run(SECOND)
        second = story.start(*INGEST, 2)
        story.run(62 * SECOND)
        made = {truth.room_id: truth.vendor_task_id for truth in story.world.truth()}
        assert [story.task(each)["vendor_task_id"] for each in (first, second)] == [made["1"], made["2"]]
        assert observed(story) == []


# Pages: their RecordId says whose they are.


def record_ids(story: Scenario, action: str = PAGE[1]) -> list[str]:
    return [sent.params["RecordId"] for sent in story.wire.calls_of(action)]


def test_a_page_whose_answer_was_dropped_is_repeated_under_its_record_id_and_asked_for_by_it(tmp_path: Path) -> None:
    with Scenario(tmp_path).open() as story:
        story.wire.script_calls(PAGE[1], ANSWER_LOST)
        task_id = story.start(*PAGE)
        story.run(10 * SECOND)
        first, second = record_ids(story)
        assert first == second
        assert first.startswith(task_id)
        assert record_ids(story, "DescribeWebRecord") == [first]
        assert story.calls(task_id, "start") == ["ambiguous", "already_there"]
        (truth,) = story.world.truth()
        assert truth.starts == 2
        task = story.task(task_id)
        assert (task["vendor_task_id"], task["attempts"], task["state"]) == (truth.vendor_task_id, 2, "running")
        assert [entry["vendor_task_id"] for entry in story.entries(task_id, "named")] == [truth.vendor_task_id]
        assert [task["id"] for task in story.tasks()] == [task_id]


def test_a_page_that_never_came_to_the_vendor_is_repeated_under_the_same_record_id(tmp_path: Path) -> None:
    with Scenario(tmp_path).open() as story:
        story.wire.script_calls(PAGE[1], REQUEST_LOST, REQUEST_LOST)
        task_id = story.start(*PAGE)
        story.run(15 * SECOND)
        assert len(record_ids(story)) == 3
        assert len(set(record_ids(story))) == 1
        assert story.status_of(task_id) == ("running", None, False)


def test_after_a_sure_failure_a_page_gets_a_new_record_id(tmp_path: Path) -> None:
    with Scenario(tmp_path).open() as story:
        refused = answered_with(tencent_error("ServiceUnavailable"))
        story.wire.script_calls(PAGE[1], refused, refused, ANSWER_LOST)
        task_id = story.start(*PAGE)
        story.run(20 * SECOND)
        first, second, third, fourth = record_ids(story)
        assert len({first, second, third}) == 3
        assert fourth == third, "this one may have happened"
        assert story.task(task_id)["vendor_task_id"] == story.world.truth()[0].vendor_task_id


def test_a_page_in_doubt_keeps_its_record_id_over_a_sure_failure(tmp_path: Path) -> None:
    with Scenario(tmp_path).open() as story:
        story.wire.script_calls(PAGE[1], ANSWER_LOST, answered_with(tencent_error("RequestLimitExceeded")))
        task_id = story.start(*PAGE)
        story.run(20 * SECOND)
        assert len(record_ids(story)) == 3
        assert len(set(record_ids(story))) == 1
        assert len(story.world.truth()) == 1
        assert story.status_of(task_id) == ("running", None, False)


def test_the_users_own_record_id_is_respected(tmp_path: Path) -> None:
    with Scenario(tmp_path).open() as story:
        story.wire.script_calls(PAGE[1], answered_with(tencent_error("ServiceUnavailable")), ANSWER_LOST)
        task_id = story.start(*PAGE, RecordId="mine")
        story.run(20 * SECOND)
        assert record_ids(story) == ["mine"] * 3
        assert record_ids(story, "DescribeWebRecord") == ["mine"]
        assert story.task(task_id)["vendor_task_id"] == story.world.truth()[0].vendor_task_id


def test_a_page_whose_answers_are_all_dropped_is_found_by_its_record_id_before_it_is_given_up(tmp_path: Path) -> None:
    with Scenario(tmp_path).open() as story:
        story.lose_callbacks()
        story.wire.script_calls(PAGE[1], ANSWER_LOST, rest=REQUEST_LOST)
        task_id = story.start(*PAGE)
        story.run(GIVEN_UP_MS + MINUTE)
        assert story.task(task_id)["vendor_task_id"] == story.world.truth()[0].vendor_task_id
        assert story.task(task_id)["state"] in ("accepted", "running")
        assert story.task(task_id)["attempts"] == 8


def test_a_page_that_never_was_is_unknown_in_the_end(tmp_path: Path) -> None:
    with Scenario(tmp_path).open() as story:
        story.wire.script_calls(PAGE[1], rest=REQUEST_LOST)
        task_id = story.start(*PAGE)
        story.settle(20 * MINUTE)
        assert story.status_of(task_id) == ("failed", "start_unknown", True)
        assert story.world.truth() == ()


# The real answer, however late.


@minted
def test_an_answer_that_comes_after_its_lease_names_the_task(tmp_path: Path, start: tuple[str, str]) -> None:
    with Scenario(tmp_path).open() as story:
        story.lose_callbacks()
        story.wire.script_calls(start[1], late(45 * SECOND))
        task_id = story.start(*start)
        story.run(3 * MINUTE)
        task = story.task(task_id)
        alive = [truth.vendor_task_id for truth in story.world.truth() if truth.alive]
        assert alive == [task["vendor_task_id"]]
        assert task["state"] in ("accepted", "running")


def test_an_answer_that_comes_after_the_task_was_given_up_names_it_all_the_same(tmp_path: Path) -> None:
    with Scenario(tmp_path).open() as story:
        story.lose_callbacks()
        story.wire.script_calls(RELAY[1], late(GIVEN_UP_MS + 2 * MINUTE))
        task_id = story.start(*RELAY)
        story.run(GIVEN_UP_MS + MINUTE)
        assert story.status_of(task_id) == ("failed", "start_unknown", True)
        story.run(GIVEN_UP_MS + 3 * MINUTE)
        assert story.task(task_id)["vendor_task_id"] == story.world.truth()[0].vendor_task_id


def test_a_second_id_for_one_intent_is_a_task_of_its_own_that_is_stopped(tmp_path: Path) -> None:
    """A recording is repeated by a caller that thinks the first attempt lost; then the answer of the first comes after all."""
    with Scenario(tmp_path).open() as story:
        story.lose_callbacks()
        story.wire.script_calls(RECORD[1], late(45 * SECOND))
        task_id = story.start(*RECORD)
        story.run(5 * MINUTE)
        first, second = story.world.truth()
        assert (first.alive, first.cause, second.alive) == (False, Cause.EVICTED, True)
        assert story.task(task_id)["vendor_task_id"] == second.vendor_task_id
        (surplus,) = [task for task in story.tasks() if task["id"] != task_id]
        assert surplus["vendor_task_id"] == first.vendor_task_id
        assert second.stops == ()
