"""Calls from the desk to the vendor and back, in virtual time: leases, stops, updates, quotas, accounts, clashes."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from adapters.ledger.effects import ClaimedCall
from simulator import Cause, Faults, Plan
from simulator.seeded_random import SeededRandom
from tests.support.random_tasks import RandomTasks, audit
from tests.support.sample_apps import volcengine
from tests.support.scenario import (
    ANSWER_LOST,
    NORMAL,
    REQUEST_LOST,
    Callers,
    CallScript,
    Scenario,
    answered_with,
    late,
    tencent_done,
    tencent_error,
    volcengine_error,
)
from tests.support.start_calls import STARTS, VOLCENGINE, Customer, params
from tests.support.times import HOUR, MINUTE, SECOND, T0

STOPS = {
    "StartPushSingleStreamToCDN": "StopPushStreamToCDN",
    "StartPushMixedStreamToCDN": "StopPushStreamToCDN",
    "StartRelayStream": "StopRelayStream",
    "StartRecord": "StopRecord",
    "StartWebcast": "StopWebcast",
    "StartPublishCdnStream": "StopPublishCdnStream",
    "StartStreamIngest": "StopStreamIngest",
    "CreateCloudRecording": "DeleteCloudRecording",
    "StartWebRecord": "StopWebRecord",
}
PUSH, MIXED = ("volcengine", "StartPushSingleStreamToCDN"), ("volcengine", "StartPushMixedStreamToCDN")
VOLC_RELAY, VOLC_RECORD = ("volcengine", "StartRelayStream"), ("volcengine", "StartRecord")
RELAY, INGEST = ("tencent", "StartPublishCdnStream"), ("tencent", "StartStreamIngest")
RECORD, PAGE = ("tencent", "CreateCloudRecording"), ("tencent", "StartWebRecord")
#: The only one that no query knows.
ASKABLE = [start for start in STARTS if start != RELAY]
CHOSEN = [start for start in STARTS if start[0] == "volcengine"]
every_start = pytest.mark.parametrize("start", STARTS, ids=[action for _, action in STARTS])


def dies_of(*operations: str, how: str = "after", times: int = 1) -> Callable[[ClaimedCall], str | None]:
    """The process dies of the first so many calls of these operations."""
    left = Counter(dict.fromkeys(operations, times))

    def dies(effect: ClaimedCall) -> str | None:
        left[effect.operation] -= 1
        return how if left[effect.operation] >= 0 else None

    return dies


def alive(story: Scenario) -> list[str]:
    return [truth.vendor_task_id for truth in story.world.truth() if truth.alive]


# Callers that die.


@pytest.mark.parametrize("start", CHOSEN, ids=[action for _, action in CHOSEN])
@pytest.mark.parametrize("how", ["before", "after"])
def test_a_start_of_a_caller_that_died_is_repeated_once_its_lease_is_over(tmp_path: Path, start: tuple[str, str], how: str) -> None:
    with Scenario(tmp_path).open() as story:
        story.lose_callbacks()
        story.crash_calls(dies_of("start", how=how))
        task_id = story.start(*start)
        story.run(29 * SECOND)
        assert story.calls(task_id, "start") == []
        assert story.status_of(task_id) == ("requested", None, False)
        story.run(45 * SECOND)
        task = story.task(task_id)
        assert (task["state"], task["attempts"]) == ("accepted", 2)
        assert story.calls(task_id, "start") == ["ambiguous", "already_there" if how == "after" else "accepted"]
        (truth,) = story.world.truth()
        assert truth.starts == (2 if how == "after" else 1)
        assert story.rows("SELECT 1 FROM effects") == []


@pytest.mark.parametrize("start", ASKABLE, ids=[action for _, action in ASKABLE])
def test_whatever_a_caller_dies_of_is_done_in_the_end(tmp_path: Path, start: tuple[str, str]) -> None:
    """Of its start (where that can be repeated), of each stop's first attempt, and of the first question."""
    with Scenario(tmp_path).open() as story:
        caller = story.crash_calls(dies_of("start", "stop", "inspect"))
        task_id = story.start(*start)
        story.run(3 * MINUTE)
        assert [story.task(task_id)["vendor_task_id"]] == alive(story)
        assert story.stop(task_id) == 202
        story.settle(30 * HOUR)
        assert caller.deaths >= 2
        assert alive(story) == []
        assert story.rows("SELECT 1 FROM effects") == []


def test_a_repeated_start_that_an_older_version_calls_an_error_is_accepted(tmp_path: Path) -> None:
    with Scenario(tmp_path).open() as story:
        story.wire.script_calls(VOLC_RELAY[1], ANSWER_LOST)
        body = {"vendor": "volcengine", "action": VOLC_RELAY[1], "version": "2020-12-01", "params": params(*VOLC_RELAY)}
        task_id = story.house.client.post("/v1/tasks", json=body).json()["id"]
        story.run(10 * SECOND)
        assert story.calls(task_id, "start") == ["ambiguous", "already_there"]
        assert story.status_of(task_id) == ("running", None, False)


def test_the_real_answer_counts_after_its_lease_was_over(tmp_path: Path) -> None:
    with Scenario(tmp_path).open() as story:
        story.lose_callbacks()
        story.wire.script_calls(RELAY[1], late(40 * SECOND))
        task_id = story.start(*RELAY)
        story.run(31 * SECOND)
        assert story.calls(task_id, "start") == ["ambiguous"]
        assert story.status_of(task_id)[0] == "requested"
        story.run(41 * SECOND)
        assert story.calls(task_id, "start") == ["ambiguous", "accepted"]
        task = story.task(task_id)
        assert (task["state"], [task["vendor_task_id"]], task["attempts"]) == ("accepted", alive(story), 1)


def test_a_late_refusal_of_a_start_that_is_repeated_meanwhile_changes_nothing(tmp_path: Path) -> None:
    with Scenario(tmp_path).open() as story:
        refused = CallScript(done=False, instead=volcengine_error("InvalidParameter"), took_ms=40 * SECOND)
        story.wire.script_calls(VOLC_RELAY[1], refused)
        task_id = story.start(*VOLC_RELAY)
        story.run(MINUTE)
        assert sorted(story.calls(task_id, "start")) == ["accepted", "ambiguous", "refused"]
        assert story.status_of(task_id) == ("running", None, False)


def test_a_late_refusal_of_a_relays_only_attempt_takes_the_doubt_away(tmp_path: Path) -> None:
    """Then it is known that nothing runs, and it can be tried again."""
    with Scenario(tmp_path).open() as story:
        throttled = CallScript(done=False, instead=tencent_error("RequestLimitExceeded"), took_ms=40 * SECOND)
        story.wire.script_calls(RELAY[1], throttled)
        task_id = story.start(*RELAY)
        story.run(50 * SECOND)
        assert story.status_of(task_id) == ("running", None, False)
        assert story.task(task_id)["attempts"] == 2
        assert len(story.world.truth()) == 1


# Stops before there is anything to stop.


@every_start
def test_a_stop_before_any_worker_saw_the_start_ends_it_and_nothing_is_ever_sent(tmp_path: Path, start: tuple[str, str]) -> None:
    with Scenario(tmp_path).open() as story:
        task_id = story.start(*start)
        assert story.stop(task_id) == 202
        story.settle(HOUR)
        assert story.status_of(task_id) == ("stopped", "stop_requested", False)
        assert story.task(task_id)["attempts"] in (0, 1)
        assert (story.world.counters.calls, story.wire.sent) == (Counter(), [])


@every_start
def test_a_stop_before_the_start_was_taken_ends_it_at_once_and_nothing_is_ever_sent(tmp_path: Path, start: tuple[str, str]) -> None:
    with Scenario(tmp_path).open() as story:
        task_id = story.start(*start)
        story.apply()
        assert len(story.rows("SELECT 1 FROM effects")) == 1
        assert story.stop(task_id) == 202
        story.apply()
        assert story.status_of(task_id) == ("stopped", "stop_requested", False)
        story.settle(HOUR)
        assert story.wire.sent == []


def test_a_stop_while_a_start_waits_for_its_quota_ends_it_and_takes_none(tmp_path: Path) -> None:
    with Scenario(tmp_path).open() as story:
        ids = [story.start(*PAGE, number) for number in range(30)]
        story.run(SECOND)
        waiting = [task_id for (task_id,) in story.rows("SELECT task_id FROM effects WHERE lease_until IS NULL")]
        assert waiting
        for task_id in waiting:
            assert story.stop(task_id) == 202
        story.run(20 * SECOND)
        assert {story.status_of(task_id) for task_id in waiting} == {("stopped", "stop_requested", False)}
        assert len(story.wire.calls_of(PAGE[1])) == len(ids) - len(waiting)


def test_a_stop_while_a_start_waits_for_its_next_attempt_ends_it_and_no_other_is_made(tmp_path: Path) -> None:
    with Scenario(tmp_path).open() as story:
        story.wire.script_calls(VOLC_RELAY[1], answered_with(volcengine_error("FlowLimitExceeded", 429, **{"Retry-After": "60"})))
        task_id = story.start(*VOLC_RELAY)
        story.run(5 * SECOND)
        assert story.stop(task_id) == 202
        story.settle(HOUR)
        assert story.status_of(task_id) == ("stopped", "stop_requested", False)
        assert story.wire.actions() == [VOLC_RELAY[1]]


# Stops while the start is on the wire, or in doubt.


@every_start
def test_a_stop_while_the_start_is_on_the_wire_is_called_once_it_is_answered(tmp_path: Path, start: tuple[str, str]) -> None:
    with Scenario(tmp_path).open() as story:
        story.wire.script_calls(start[1], late(7 * SECOND))
        task_id = story.start(*start)
        story.run(2 * SECOND)
        assert story.stop(task_id) == 202
        story.run(6 * SECOND)
        assert story.wire.actions() == [start[1]], "starts and stops do not overlap"
        assert story.status_of(task_id) == ("stopping", None, False)
        story.settle(30 * HOUR)
        (truth,) = story.world.truth()
        assert not truth.alive
        assert len(truth.stops) == 1
        assert story.status_of(task_id)[:2] in ((truth.state, truth.reason), truth.said)
        assert len(story.wire.calls_of(start[1])) == 1


@every_start
def test_a_stop_while_the_start_is_on_the_wire_and_then_refused_ends_it_without_a_call(
    tmp_path: Path, start: tuple[str, str]
) -> None:
    with Scenario(tmp_path).open() as story:
        no = tencent_error("UnsupportedOperation") if start[0] == "tencent" else volcengine_error("AccessDenied", 403)
        story.wire.script_calls(start[1], CallScript(done=False, instead=no, took_ms=7 * SECOND))
        task_id = story.start(*start)
        story.run(2 * SECOND)
        assert story.stop(task_id) == 202
        story.settle(HOUR)
        assert story.status_of(task_id)[:2] == ("stopped", "stop_requested")
        assert story.wire.actions() == [start[1]]


@every_start
def test_a_stop_of_a_start_that_happened_and_was_not_answered_stops_it(tmp_path: Path, start: tuple[str, str]) -> None:
    with Scenario(tmp_path).open() as story:
        story.wire.script_calls(start[1], ANSWER_LOST)
        task_id = story.start(*start)
        story.until(lambda: story.calls(task_id, "start") == ["ambiguous"])
        attempts = story.task(task_id)["attempts"]
        assert story.stop(task_id) == 202
        story.settle(30 * HOUR)
        task = story.task(task_id)
        assert alive(story) == []
        assert len(story.world.truth()) == 1
        assert task["attempts"] == attempts, "no further start was tried"
        assert task["state"] in ("stopped", "completed")
        assert [each["id"] for each in story.tasks()] == [task_id]


@every_start
def test_a_stop_of_a_start_that_may_have_happened_and_did_not_ends_it(tmp_path: Path, start: tuple[str, str]) -> None:
    with Scenario(tmp_path).open() as story:
        story.wire.script_calls(start[1], REQUEST_LOST)
        task_id = story.start(*start)
        story.until(lambda: story.calls(task_id, "start") == ["ambiguous"])
        assert story.stop(task_id) == 202
        story.settle(20 * MINUTE)
        state, reason, inferred = story.status_of(task_id)
        assert (state, reason) in (("stopped", "stop_requested"), ("failed", "start_unknown"))
        assert inferred
        assert story.world.truth() == ()


@every_start
def test_a_stop_while_the_start_of_a_dead_caller_is_waited_for_stops_it(tmp_path: Path, start: tuple[str, str]) -> None:
    with Scenario(tmp_path).open() as story:
        story.crash_calls(dies_of("start"))
        task_id = story.start(*start)
        story.run(10 * SECOND)
        assert story.stop(task_id) == 202
        story.settle(30 * HOUR)
        assert alive(story) == []
        assert len(story.world.truth()) == 1
        assert story.task(task_id)["state"] in ("stopped", "completed")


# Stops of what runs.


def test_a_stop_at_a_vendor_that_answers_nothing_is_told_and_stops_it_in_the_end(tmp_path: Path) -> None:
    with Scenario(tmp_path).open() as story:
        story.wire.script_calls("StopPublishCdnStream", rest=REQUEST_LOST)
        task_id = story.start(*RELAY)
        story.run(MINUTE)
        assert story.stop(task_id) == 202
        story.run(10 * MINUTE)
        assert story.task(task_id)["anomalies"] == []
        story.run(12 * MINUTE + 30 * SECOND)
        assert story.task(task_id)["anomalies"] == ["stop_unconfirmed"]
        assert story.status_of(task_id)[0] == "stopping"
        tried = len(story.wire.calls_of("StopPublishCdnStream"))
        assert 11 <= tried <= 60, "full jitter, a minute at most"
        story.run(13 * MINUTE)
        story.wire.script_calls("StopPublishCdnStream")
        story.run(15 * MINUTE)
        assert story.status_of(task_id) == ("stopped", "stop_requested", False)
        assert alive(story) == []
        story.settle(20 * MINUTE)


@pytest.mark.parametrize("start", ASKABLE, ids=[action for _, action in ASKABLE])
def test_a_stop_whose_callbacks_are_all_lost_is_confirmed_by_an_inspection(tmp_path: Path, start: tuple[str, str]) -> None:
    with Scenario(tmp_path).open() as story:
        task_id = story.start(*start)
        story.run(30 * SECOND)
        story.lose_callbacks()
        assert story.stop(task_id) == 202
        story.run(3 * MINUTE)
        assert story.passed(task_id).count("stop_confirm") == 1
        assert story.calls(task_id, "inspect")
        assert story.status_of(task_id)[0] in ("stopped", "finishing", "completed")
        assert story.task(task_id)["anomalies"] == []
        story.run(10 * MINUTE)
        (truth,) = story.world.truth()
        assert len(truth.stops) == 1


def test_a_relay_whose_stop_is_not_told_is_gone_when_it_is_stopped_again(tmp_path: Path) -> None:
    with Scenario(tmp_path).open() as story:
        story.lose_callbacks()
        task_id = story.start(*RELAY)
        story.run(MINUTE)
        assert story.stop(task_id) == 202
        story.run(MINUTE + 30 * SECOND)
        assert story.status_of(task_id)[0] == "stopping"
        story.settle(10 * MINUTE)
        assert story.status_of(task_id) == ("stopped", "stop_requested", True)
        assert story.calls(task_id, "stop") == ["accepted", "already_gone"]


def test_three_accepted_stops_end_a_relay_of_which_nothing_is_heard(tmp_path: Path) -> None:
    """This vendor accepts stops of what has ended."""
    with Scenario(tmp_path).open() as story:
        accepted = answered_with(tencent_done(TaskId="whatever"))
        story.wire.script_calls("StopPublishCdnStream", NORMAL, rest=accepted)
        story.lose_callbacks()
        task_id = story.start(*RELAY)
        story.run(MINUTE)
        assert story.stop(task_id) == 202
        story.run(3 * MINUTE + 30 * SECOND)
        assert story.calls(task_id, "stop") == ["accepted"] * 3
        assert story.status_of(task_id)[0] == "stopping"
        story.settle(5 * MINUTE)
        assert story.status_of(task_id) == ("stopped", "stop_requested", True)
        assert len(story.wire.calls_of("StopPublishCdnStream")) == 3


# Stops after the end.


def forged_end(story: Scenario) -> None:
    """The vendor tells the end of its push too early."""
    story.run(-(-(story.now - T0) // SECOND) * SECOND)
    data = {"AppId": VOLCENGINE.app_id, "RoomId": "r1", "TaskId": "t1", "Timestamp": story.now, "Code": 0, "ErrorMessage": ""}
    secret = VOLCENGINE.callback_secret
    at = story.house.get("/v1/tasks")["items"][0]["updated_at"]
    story.house.post_and_apply(*volcengine("TranscodeStopped", data, at, "forged", app=VOLCENGINE.app_id, key=secret))


def test_a_told_end_cannot_be_stopped(tmp_path: Path) -> None:
    with Scenario(tmp_path).open() as story:
        task_id = story.start(*PUSH)
        story.run(MINUTE)
        story.world.end(story.world.tasks.all[0], Cause.CRASHED)
        story.run(2 * MINUTE)
        assert story.status_of(task_id) == ("failed", "vendor_error", False)
        answer = story.post_action(task_id, "stop")
        assert (answer.status_code, answer.json()["type"].rpartition(":")[2]) == (409, "already_ended")
        assert "StopPushStreamToCDN" not in story.wire.actions()


def test_a_zombie_can_be_stopped(tmp_path: Path) -> None:
    with Scenario(tmp_path).open() as story:
        task_id = story.start(*PUSH)
        story.run(MINUTE)
        forged_end(story)
        assert story.status_of(task_id)[0] == "stopped"
        assert story.stop(task_id) == 409
        story.run(2 * MINUTE)
        story.world.interrupt(story.world.tasks.all[0])
        story.run(3 * MINUTE)
        assert (story.task(task_id)["state"], story.task(task_id)["anomalies"]) == ("stopped", ["zombie"])
        assert story.stop(task_id) == 202
        story.settle(10 * MINUTE)
        assert story.calls(task_id, "stop") == ["accepted"]
        story.run(20 * MINUTE)
        assert alive(story) == []
        assert story.task(task_id)["state"] == "stopped"


def test_a_zombie_is_stopped_by_policy(tmp_path: Path) -> None:
    with Scenario(tmp_path).open() as story:
        story.start(*PUSH, policy={"stop_zombies": True})
        story.run(MINUTE)
        forged_end(story)
        story.run(2 * MINUTE)
        story.world.interrupt(story.world.tasks.all[0])
        story.run(4 * MINUTE)
        assert alive(story) == []


def test_an_inferred_end_can_be_stopped(tmp_path: Path) -> None:
    with Scenario(tmp_path).open() as story:
        task_id = story.start(*RELAY)
        story.run(MINUTE)
        assert story.post_action(task_id, "mark", {"state": "lost", "note": "gone, I think"}).status_code == 202
        story.run(MINUTE + SECOND)
        assert story.status_of(task_id) == ("lost", "unknown_to_vendor", True)
        assert story.stop(task_id) == 202
        story.run(2 * MINUTE)
        assert alive(story) == []
        assert story.status_of(task_id)[:2] == ("stopped", "stop_requested")


# Updates and retries.

UPDATES: list[tuple[tuple[str, str], dict[str, Any]]] = [
    (MIXED, {"Layout": {"LayoutMode": 2}}),
    (VOLC_RECORD, {"Layout": {"LayoutMode": 2}}),
    (VOLC_RELAY, {"Control": {"StreamUrl": "rtmp://source.example.com/b", "VideoWidth": 320, "VideoHeight": 180}}),
    (RELAY, {"SequenceNumber": 1, "WithTranscoding": 0, "PublishCdnParams": [{"PublishCdnUrl": "rtmp://push.example.com/live/z"}]}),
    (INGEST, {"Volume": 50}),
    (RECORD, {"SubscribeStreamUserIds": {"SubscribeAudioUserIds": ["a"]}}),
]


def volume(story: Scenario) -> Any:
    return story.world.tasks.all[0].params.get("Volume")


@pytest.mark.parametrize(("start", "change"), UPDATES, ids=[start[1] for start, _ in UPDATES])
def test_an_update_reaches_the_vendor_and_leaves_our_parameters_alone(
    tmp_path: Path, start: tuple[str, str], change: dict[str, Any]
) -> None:
    with Scenario(tmp_path).open() as story:
        task_id = story.start(*start)
        story.run(20 * SECOND)
        before = story.task(task_id)["params"]
        assert story.post_action(task_id, "update", {"params": change}).status_code == 202
        story.run(30 * SECOND)
        assert story.calls(task_id, "update") == ["accepted"]
        given = story.world.tasks.all[0].params
        assert {name: given[name] for name in change} == change
        assert story.task(task_id)["params"] == before
        assert story.task(task_id)["state"] == "running"
        assert [entry["params"] for entry in story.entries(task_id, "update_asked")] == [sorted(change)]


def test_what_is_updated_while_an_update_is_on_the_wire_follows_it_and_only_the_newest(tmp_path: Path) -> None:
    with Scenario(tmp_path).open() as story:
        task_id = story.start(*INGEST)
        story.run(20 * SECOND)
        story.wire.script_calls("UpdateStreamIngest", late(5 * SECOND))
        for volume_, at in ((10, 21), (20, 22), (30, 23)):
            story.post_action(task_id, "update", {"params": {"Volume": volume_}})
            story.run(at * SECOND)
        assert volume(story) == 10
        story.run(30 * SECOND)
        assert volume(story) == 30
        assert [sent.params["Volume"] for sent in story.wire.calls_of("UpdateStreamIngest")] == [10, 30]
        assert story.calls(task_id, "update") == ["accepted", "accepted"]


def test_what_is_updated_while_an_update_waits_for_its_next_attempt_takes_its_place(tmp_path: Path) -> None:
    with Scenario(tmp_path).open() as story:
        task_id = story.start(*INGEST)
        story.run(20 * SECOND)
        story.wire.script_calls("UpdateStreamIngest", *[answered_with(tencent_error("InternalError.DBError"))] * 5)
        story.post_action(task_id, "update", {"params": {"Volume": 10}})
        story.run(22 * SECOND)
        story.post_action(task_id, "update", {"params": {"Volume": 20}})
        story.run(2 * MINUTE)
        volumes = [sent.params["Volume"] for sent in story.wire.calls_of("UpdateStreamIngest")]
        assert volumes == sorted(volumes)
        assert volume(story) == 20


def test_an_update_before_the_start_is_answered_waits_for_it(tmp_path: Path) -> None:
    with Scenario(tmp_path).open() as story:
        story.wire.script_calls(VOLC_RELAY[1], late(5 * SECOND))
        task_id = story.start(*VOLC_RELAY)
        story.run(SECOND)
        change = dict(UPDATES[2][1])
        assert story.post_action(task_id, "update", {"params": change}).status_code == 202
        story.run(4 * SECOND)
        assert story.wire.actions() == [VOLC_RELAY[1]]
        story.run(10 * SECOND)
        assert story.wire.actions() == [VOLC_RELAY[1], "UpdateRelayStream"]


@pytest.mark.parametrize(("start", "change"), UPDATES, ids=[start[1] for start, _ in UPDATES])
def test_a_refused_update_leaves_the_task_alone(tmp_path: Path, start: tuple[str, str], change: dict[str, Any]) -> None:
    with Scenario(tmp_path).open() as story:
        task_id = story.start(*start)
        story.run(20 * SECOND)
        names = {start[1]: name for start, name in zip([each for each, _ in UPDATES], UPDATE_NAMES, strict=True)}
        no = tencent_error("InvalidParameter") if start[0] == "tencent" else volcengine_error("InvalidParameter")
        story.wire.script_calls(names[start[1]], answered_with(no))
        before = story.task(task_id)
        assert story.post_action(task_id, "update", {"params": change}).status_code == 202
        story.run(40 * SECOND)
        assert story.calls(task_id, "update") == ["refused"]
        after = story.task(task_id)
        same = ("state", "reason", "params", "anomalies", "vendor_code")
        assert {name: after[name] for name in same} == {name: before[name] for name in same}
        assert story.rows("SELECT 1 FROM effects") == []


UPDATE_NAMES = [
    "UpdatePushMixedStreamToCDN",
    "UpdateRecord",
    "UpdateRelayStream",
    "UpdatePublishCdnStream",
    "UpdateStreamIngest",
    "ModifyCloudRecording",
]


def test_an_update_of_what_the_vendor_cannot_update_is_refused_by_the_desk(tmp_path: Path) -> None:
    with Scenario(tmp_path).open() as story:
        task_id = story.start(*PUSH)
        story.run(20 * SECOND)
        assert story.post_action(task_id, "update", {"params": {}}).status_code == 409


def waits(story: Scenario, task_id: str, kind: str) -> bool:
    """Whether a call waits for its next attempt, for some seconds yet."""
    due = {each["kind"]: _ms(each["due_at"]) for each in story.task(task_id)["deadlines"]}
    return due.get(kind, 0) > story.now - T0 + 5 * SECOND


def test_retry_makes_a_start_that_waits_go_out_at_once(tmp_path: Path) -> None:
    with Scenario(tmp_path).open() as story:
        story.wire.script_calls(
            VOLC_RELAY[1], answered_with(volcengine_error("ServiceUnavailableTemp", 503, **{"Retry-After": "300"}))
        )
        task_id = story.start(*VOLC_RELAY)
        story.until(lambda: waits(story, task_id, "start_retry"))
        assert story.post_action(task_id, "retry").status_code == 202
        story.run(10 * SECOND)
        assert story.status_of(task_id) == ("running", None, False)
        assert len(story.wire.calls_of(VOLC_RELAY[1])) == 2


def test_retry_makes_a_stop_that_waits_go_out_at_once(tmp_path: Path) -> None:
    with Scenario(tmp_path).open() as story:
        task_id = story.start(*INGEST)
        story.run(20 * SECOND)
        story.wire.script_calls("StopStreamIngest", rest=REQUEST_LOST)
        assert story.stop(task_id) == 202
        story.until(lambda: waits(story, task_id, "call_retry"), 5 * MINUTE)
        before = len(story.wire.calls_of("StopStreamIngest"))
        story.wire.script_calls("StopStreamIngest")
        assert story.post_action(task_id, "retry").status_code == 202
        story.run(story.now - T0 + 4 * SECOND)
        assert len(story.wire.calls_of("StopStreamIngest")) == before + 1
        assert story.status_of(task_id)[:2] == ("stopped", "stop_requested")


def test_there_is_nothing_to_retry_while_no_call_waits(tmp_path: Path) -> None:
    with Scenario(tmp_path).open() as story:
        task_id = story.start(*INGEST)
        story.run(20 * SECOND)
        assert story.post_action(task_id, "retry").status_code == 409


# Quotas.


def per_second(story: Scenario, action: str) -> int:
    """The most calls of this action in any second."""
    times = [sent.at for sent in story.wire.calls_of(action)]
    return max(sum(1 for at in times if begin <= at < begin + SECOND) for begin in times)


def test_200_starts_at_once_keep_the_quota_and_are_all_accepted(tmp_path: Path) -> None:
    with Scenario(tmp_path).open() as story:
        story.lose_callbacks()
        ids = [story.start(*PAGE, number) for number in range(200)]
        story.run(14 * SECOND)
        assert story.world.counters.quota_breaches == Counter()
        assert per_second(story, PAGE[1]) <= 20
        states = Counter(task["state"] for task in story.tasks())
        assert states == {"accepted": 200}
        assert {task["attempts"] for task in story.tasks()} == {1}
        assert len(ids) == len(story.world.truth())


def test_two_callers_keep_the_quota_together(tmp_path: Path) -> None:
    with Scenario(tmp_path, grain_ms=50).open() as story:
        story.lose_callbacks()
        story.caller = Callers(story.new_caller(), story.new_caller(), story.new_caller())
        for number in range(50):
            story.start(*PAGE, number)
        story.run(5 * SECOND)
        assert story.world.counters.quota_breaches == Counter()
        assert per_second(story, PAGE[1]) <= 20
        assert len(story.wire.calls_of(PAGE[1])) == 50, "each is made once"
        assert Counter(task["state"] for task in story.tasks()) == {"accepted": 50}


def test_a_vendor_that_says_too_many_is_called_more_slowly_and_then_faster_again(tmp_path: Path) -> None:
    with Scenario(tmp_path).open() as story:
        story.lose_callbacks()
        for number in range(90):
            story.start(*PAGE, number)
        story.wire.script_calls(PAGE[1], *[answered_with(tencent_error("RequestLimitExceeded"))] * 30)
        story.run(16 * SECOND)
        by_second = Counter(sent.at // SECOND for sent in story.wire.calls_of(PAGE[1]))
        assert min(by_second[second] for second in (1, 2, 3)) <= 11, by_second
        assert max(by_second[second] for second in range(5, 12)) >= 14, by_second
        assert Counter(task["state"] for task in story.tasks()) == {"accepted": 90}
        assert story.world.counters.quota_breaches == Counter()


def test_waiting_for_a_quota_is_no_attempt(tmp_path: Path) -> None:
    with Scenario(tmp_path).open() as story:
        story.lose_callbacks()
        ids = [story.start(*PAGE, number, policy={"start": {"max_attempts": 1}}) for number in range(40)]
        story.run(5 * SECOND)
        assert {(story.status_of(each)[0], story.task(each)["attempts"]) for each in ids} == {("accepted", 1)}


def test_one_apis_quota_does_not_hold_up_another_ones(tmp_path: Path) -> None:
    with Scenario(tmp_path, grain_ms=50).open() as story:
        story.lose_callbacks()
        for number in range(60):
            story.start(*PAGE, number)
        other = story.start(*INGEST)
        story.run(SECOND)
        assert story.status_of(other)[0] == "accepted"


# A start planned for later.

PLANNED_S = 2 * 3600


def planned(story: Scenario, after_s: int = PLANNED_S) -> str:
    control = {**params(*VOLC_RELAY)["Control"], "StartTimeStamp": T0 // 1000 + after_s}
    return story.start(*VOLC_RELAY, Control=control)


def test_before_a_planned_start_nothing_is_idle_or_unconfirmed_and_its_life_counts_from_there(tmp_path: Path) -> None:
    with Scenario(tmp_path, grain_ms=1000).open() as story:
        task_id = planned(story)
        story.run((PLANNED_S - 1) * SECOND)
        assert set(story.passed(task_id)) <= {"silence"}
        task = story.task(task_id)
        assert (task["state"], task["anomalies"]) == ("accepted", [])
        due = {each["kind"]: _ms(each["due_at"]) for each in task["deadlines"]}
        assert due["expiry"] == (PLANNED_S + 72 * 3600 + 300) * SECOND
        assert due["start_confirm"] == (PLANNED_S + 60) * SECOND
        assert due.get("idle", 10**12) >= PLANNED_S * SECOND
        story.run((PLANNED_S + 120) * SECOND)
        assert story.status_of(task_id) == ("running", None, False)
        assert not {"idle", "start_confirm"} & set(story.passed(task_id))
        due = {each["kind"]: _ms(each["due_at"]) for each in story.task(task_id)["deadlines"]}
        assert due["expiry"] == (PLANNED_S + 72 * 3600 + 300) * SECOND


def test_a_planned_start_of_which_nothing_is_heard_is_confirmed_a_minute_after_it_was_planned(tmp_path: Path) -> None:
    with Scenario(tmp_path, grain_ms=1000).open() as story:
        story.lose_callbacks()
        task_id = planned(story, 600)
        story.run((600 + 59) * SECOND)
        assert story.passed(task_id) == []
        story.run((600 + 63) * SECOND)
        assert story.passed(task_id) == ["start_confirm"]
        assert story.status_of(task_id)[0] == "running"


def test_a_planned_start_can_be_stopped_before_it_begins(tmp_path: Path) -> None:
    with Scenario(tmp_path).open() as story:
        task_id = planned(story)
        story.run(MINUTE)
        assert story.stop(task_id) == 202
        story.settle(10 * MINUTE)
        assert story.status_of(task_id)[:2] == ("stopped", "stop_requested")
        assert alive(story) == []


def _ms(told_at: str) -> int:
    """Since the beginning."""
    return round(datetime.fromisoformat(told_at).timestamp() * 1000) - T0


# Accounts.


def without_account(story: Scenario, vendor: str) -> Any:
    settings = story.house.settings
    apps = tuple(replace(app, account=None) if app.vendor == vendor else app for app in settings.apps)
    return replace(settings, apps=apps)


def elsewhere(story: Scenario, vendor: str, action: str, number: int = 1, **more: Any) -> None:
    customer = Customer(story.world)
    customer.now = story.now
    customer.start(vendor, action, number, **more)


@every_start
def test_without_an_account_nothing_can_be_started(tmp_path: Path, start: tuple[str, str]) -> None:
    with Scenario(tmp_path).open() as story:
        story.restart(without_account(story, start[0]))
        body = {"vendor": start[0], "action": start[1], "params": params(*start)}
        answer = story.house.client.post("/v1/tasks", json=body)
        assert answer.status_code == 422
        assert [error["field"] for error in answer.json()["errors"]] == ["AppId" if start[0] == "volcengine" else "SdkAppId"]
        assert story.rows("SELECT 1 FROM inbox") == []


def test_without_an_account_observed_tasks_are_concluded_without_calls(tmp_path: Path) -> None:
    """An ingest of which nothing more is heard is expired after its 72 hours, one that waits for media idle after its time."""
    with Scenario(tmp_path, grain_ms=1000).open() as story:
        story.restart(without_account(story, "volcengine"))
        elsewhere(story, *VOLC_RELAY, 1)
        elsewhere(story, *VOLC_RELAY, 2)
        story.run(500)
        story.lose_callbacks(to=lambda callback: b'"Status\\":3' in callback.body and b"t2" in callback.body)
        story.run(10 * SECOND)
        story.lose_callbacks()
        first, second = (task["id"] for task in sorted(story.tasks(), key=lambda task: task["vendor_task_id"]))
        assert [story.status_of(each)[0] for each in (first, second)] == ["running", "accepted"]
        assert story.post_action(first, "stop").status_code == 409
        story.run(74 * HOUR)
        assert story.status_of(first) == ("expired", "max_lifetime", True)
        assert story.status_of(second)[2]
        assert story.wire.sent == []
        assert sum(story.world.counters.calls.values()) == 2, "those of somebody else"
        assert story.rows("SELECT 1 FROM effects") == []


def test_a_start_whose_account_is_taken_away_gives_up_and_nothing_hangs(tmp_path: Path) -> None:
    with Scenario(tmp_path).open() as story:
        story.wire.script_calls(VOLC_RELAY[1], answered_with(volcengine_error("FlowLimitExceeded", 429, **{"Retry-After": "60"})))
        task_id = story.start(*VOLC_RELAY)
        story.run(10 * SECOND)
        story.restart(without_account(story, "volcengine"))
        story.settle(20 * MINUTE)
        assert story.status_of(task_id) == ("failed", "start_gave_up", False)
        assert len(story.wire.sent) == 1
        assert story.rows("SELECT 1 FROM effects") == []


@every_start
def test_a_start_in_doubt_whose_account_is_taken_away_gives_up_and_nothing_hangs(tmp_path: Path, start: tuple[str, str]) -> None:
    with Scenario(tmp_path).open() as story:
        story.wire.script_calls(start[1], REQUEST_LOST)
        task_id = story.start(*start)
        story.until(lambda: story.calls(task_id, "start") == ["ambiguous"])
        story.restart(without_account(story, start[0]))
        story.settle(40 * MINUTE)
        assert story.status_of(task_id) == ("failed", "start_unknown", True)
        assert story.rows("SELECT 1 FROM effects") == []


@every_start
def test_a_task_whose_account_is_taken_away_while_it_runs_still_has_a_deadline(tmp_path: Path, start: tuple[str, str]) -> None:
    with Scenario(tmp_path, grain_ms=1000).open() as story:
        task_id = story.start(*start)
        story.run(30 * SECOND)
        story.restart(without_account(story, start[0]))
        story.run(2 * HOUR)
        assert story.without_deadline() == []
        assert story.status_of(task_id)[0] == "running"
        assert story.rows("SELECT 1 FROM effects") == []
        assert story.post_action(task_id, "stop").status_code == 409


@every_start
def test_a_task_whose_account_is_taken_away_while_it_is_stopped_still_has_a_deadline(
    tmp_path: Path, start: tuple[str, str]
) -> None:
    with Scenario(tmp_path, grain_ms=1000).open() as story:
        task_id = story.start(*start)
        story.run(30 * SECOND)
        story.wire.script_calls(STOPS[start[1]], rest=REQUEST_LOST)
        assert story.stop(task_id) == 202
        story.run(MINUTE)
        story.restart(without_account(story, start[0]))
        story.run(2 * HOUR)
        assert story.without_deadline() == []
        assert story.rows("SELECT 1 FROM effects") == []


def test_an_account_that_comes_back_goes_on_with_a_start_that_waits(tmp_path: Path) -> None:
    with Scenario(tmp_path).open() as story:
        with_account = story.house.settings
        story.wire.script_calls(INGEST[1], answered_with(tencent_error("RequestLimitExceeded")))
        task_id = story.start(*INGEST)
        story.run(300)
        story.restart(without_account(story, "tencent"))
        story.run(20 * SECOND)
        assert story.status_of(task_id)[0] == "requested"
        story.restart(with_account)
        story.run(3 * MINUTE)
        assert story.status_of(task_id) == ("running", None, False)
        assert len(story.world.truth()) == 1


@pytest.mark.parametrize("start", [VOLC_RELAY, RELAY, RECORD], ids=lambda start: start[1])
def test_an_account_that_comes_back_goes_on_with_a_stop_that_waits(tmp_path: Path, start: tuple[str, str]) -> None:
    with Scenario(tmp_path, grain_ms=1000).open() as story:
        with_account = story.house.settings
        task_id = story.start(*start)
        story.run(30 * SECOND)
        story.wire.script_calls(STOPS[start[1]], rest=REQUEST_LOST)
        assert story.stop(task_id) == 202
        story.run(MINUTE)
        story.restart(without_account(story, start[0]))
        story.run(5 * MINUTE)
        story.wire.script_calls(STOPS[start[1]])
        story.restart(with_account)
        story.run(HOUR)
        assert alive(story) == []
        assert story.task(task_id)["state"] in ("stopped", "finishing", "completed")


@pytest.mark.parametrize("start", ASKABLE, ids=[action for _, action in ASKABLE])
def test_an_account_that_is_added_later_asks_about_what_was_only_observed(tmp_path: Path, start: tuple[str, str]) -> None:
    with Scenario(tmp_path, grain_ms=1000).open() as story:
        with_account = story.house.settings
        story.restart(without_account(story, start[0]))
        elsewhere(story, *start)
        story.run(20 * SECOND)
        (task,) = story.tasks()
        story.restart(with_account)
        assert story.stop(task["id"]) == 202
        story.settle(HOUR)
        story.run(2 * HOUR)
        assert alive(story) == []
        assert story.task(task["id"])["state"] in ("stopped", "finishing", "completed")


# What clashes.


def clash(story: Scenario, start: tuple[str, str], number: int = 1, **more: Any) -> tuple[int, str | None, str | None]:
    """(status, type, task of Location) of one more start."""
    body = {"vendor": start[0], "action": start[1], "params": params(*start, number, **more)}
    answer = story.house.client.post("/v1/tasks", json=body)
    kind = answer.json().get("type", "").rpartition(":")[2] or None
    return answer.status_code, kind, answer.headers.get("Location", "").rpartition("/")[2] or None


@pytest.mark.parametrize("start", CHOSEN, ids=[action for _, action in CHOSEN])
def test_a_key_is_busy_from_the_request_to_the_end(tmp_path: Path, start: tuple[str, str]) -> None:
    with Scenario(tmp_path).open() as story:
        task_id = story.start(*start)
        busy = (409, "already_live", task_id)
        assert clash(story, start) == busy, "no worker has seen it"
        story.apply()
        assert clash(story, start) == busy, "requested"
        story.run(20 * SECOND)
        assert story.status_of(task_id)[0] == "running"
        assert clash(story, start) == busy
        story.wire.script_calls(STOPS[start[1]], late(3 * SECOND))
        assert story.stop(task_id) == 202
        story.run(22 * SECOND)
        if story.status_of(task_id)[0] == "stopping":
            assert clash(story, start) == busy
        story.settle(30 * HOUR)
        status, _, other = clash(story, start)
        assert (status, other != task_id) == (202, True)


def test_while_files_are_on_their_way_the_key_is_free(tmp_path: Path) -> None:
    with Scenario(tmp_path).open() as story:
        task_id = story.start(*VOLC_RECORD)
        story.run(20 * SECOND)
        story.lose_callbacks(to=lambda callback: b"RecordUpload" in callback.body)
        assert story.stop(task_id) == 202
        story.run(30 * SECOND)
        assert story.status_of(task_id)[0] == "finishing"
        assert clash(story, VOLC_RECORD)[0] == 202
        story.run(60 * SECOND)
        (newer,) = [task for task in story.tasks() if task["id"] != task_id]
        assert (newer["run"], newer["state"]) == (2, "running")


ROBOTS = [RELAY, INGEST, RECORD]


@pytest.mark.parametrize("start", ROBOTS, ids=[action for _, action in ROBOTS])
def test_a_robot_is_busy_from_the_request_to_the_end(tmp_path: Path, start: tuple[str, str]) -> None:
    with Scenario(tmp_path).open() as story:
        task_id = story.start(*start)
        busy = (409, "robot_in_use", task_id)
        assert clash(story, start) == busy, "no worker has seen it"
        story.apply()
        assert clash(story, start) == busy, "requested"
        story.run(20 * SECOND)
        assert story.status_of(task_id)[0] == "running"
        assert clash(story, start) == busy
        assert story.stop(task_id) == 202
        story.settle(30 * HOUR)
        assert clash(story, start)[0] == 202


def test_a_robot_is_free_while_the_files_of_its_recording_are_on_their_way(tmp_path: Path) -> None:
    with Scenario(tmp_path).open() as story:
        task_id = story.start(*RECORD)
        story.run(20 * SECOND)
        story.lose_callbacks(to=lambda callback: b'"EventType":31' in callback.body or b'"EventType":305' in callback.body)
        assert story.stop(task_id) == 202
        story.run(30 * SECOND)
        assert story.status_of(task_id)[0] == "finishing"
        assert clash(story, RECORD)[0] == 202
        story.receive_callbacks()
        story.run(40 * SECOND)
        assert story.status_of(task_id)[0] == "finishing", "the second task's callbacks are not its own"


@pytest.mark.parametrize("how", ["adopted", "marked"])
def test_a_robot_of_which_nobody_knows_whether_it_is_there_blocks_until_somebody_knows(tmp_path: Path, how: str) -> None:
    with Scenario(tmp_path).open() as story:
        story.wire.script_calls(RELAY[1], ANSWER_LOST)
        story.lose_callbacks()
        task_id = story.start(*RELAY)
        story.run(11 * MINUTE)
        assert story.status_of(task_id) == ("failed", "start_unknown", True)
        assert clash(story, RELAY) == (409, "robot_in_use", task_id)
        if how == "marked":
            assert story.post_action(task_id, "mark", {"state": "failed", "note": "not there"}).status_code == 202
        else:
            story.receive_callbacks()
            story.world.interrupt(story.world.tasks.all[0])
            story.run(12 * MINUTE)
            assert clash(story, RELAY) == (409, "robot_in_use", task_id), "it is there"
            assert story.stop(task_id) == 202
        story.run(13 * MINUTE)
        assert story.task(task_id)["reason"] != "start_unknown"
        assert clash(story, RELAY)[0] == 202


# By chance.


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_whatever_callers_die_of_every_task_ends_as_it_ended_at_the_vendor(tmp_path: Path, seed: int) -> None:
    """Of 5% of its calls a caller dies, before or after it sent them; and the vendor is slow."""
    plan = Plan(longest_s=600, interruptions=1)
    with Scenario(tmp_path, seed=seed, faults=Faults(slow=0.2), plan=plan, grain_ms=1000).open() as story:

        def dies(effect: ClaimedCall) -> str | None:
            dice = SeededRandom(seed, "death", effect.id)
            return dice.one_of(["before", "after"]) if dice.happens(0.05) else None

        story.crash_calls(dies)
        fleet = RandomTasks(story, seed, 12, MINUTE, never_stopped=0.0)
        story.settle(30 * HOUR)
        found = audit(fleet, losses=True)
        print(f"seed {seed}: {found.lines()}")
        assert found.wrong == []
        assert story.without_deadline() == []
