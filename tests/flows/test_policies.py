"""Policies at work, in virtual time, against a simulated vendor."""

from itertools import pairwise
from pathlib import Path
from typing import Any

from simulator import STEADY, Cause, Faults, Plan
from tests.support.start_calls import params
from tests.support.times import DAY, HOUR, MINUTE, SECOND, T0
from tests.support.virtual_time import VirtualTimeApp

RELAY = ("volcengine", "StartRelayStream")
RENEWED_EVERY_MS = 72 * HOUR - 10 * MINUTE


def renewed(clock: VirtualTimeApp, **more: Any) -> str:
    """An ingest that renews itself; its id."""
    second = params(*RELAY, 1, TaskId="t1-b", UserId="robot-b", Token="t-b")
    return clock.start(*RELAY, 1, policy={"renew": {"params": second}, **more})


def test_a_renewed_ingest_runs_ten_days_without_a_gap(tmp_path: Path) -> None:
    faults = Faults(ambiguous=0.05, vanish=0.05, throttle=0.1, lose=0.1, double=0.1, delay=0.1)
    with VirtualTimeApp(tmp_path, 5, faults, STEADY, grain_ms=1000).open() as clock:
        first = renewed(clock)
        clock.run(10 * DAY)
        truths = sorted(clock.world.truth(), key=lambda truth: truth.requested_at)

        assert len(truths) == 4
        assert [truth.vendor_task_id for truth in truths] == ["t1", "t1-b", "t1", "t1-b"]
        for old, new in pairwise(truths):
            assert new.media_at is not None
            assert old.stops, "the old one was to be stopped, not to run out"
            assert new.media_at <= old.stops[0], "the successor runs before the old one is stopped"
            assert old.ended_at is not None
            assert old.ended_at - new.media_at < 15 * MINUTE
        assert truths[-1].alive

        task, chain = clock.task(first), [first]
        while task["renewed_by"] is not None:
            follower = clock.task(task["renewed_by"])
            assert follower["renews"] == task["id"]
            assert (task["state"], task["reason"]) == ("stopped", "stop_requested")
            task = follower
            chain.append(task["id"])
        assert len(chain) == 4
        assert task["state"] == "running"


def test_a_successor_that_fails_is_followed_by_another_and_the_old_one_goes_on(tmp_path: Path) -> None:
    with VirtualTimeApp(tmp_path, 5, plan=STEADY, grain_ms=500).open() as clock:
        first = renewed(clock)
        clock.run(RENEWED_EVERY_MS + 2 * SECOND)
        successor = clock.world.find("volcengine", "t1-b")
        clock.world.end(successor, Cause.BAD_TOKEN)
        clock.run(RENEWED_EVERY_MS + 5 * MINUTE)
        truths = clock.world.truth()
        assert [(t.vendor_task_id, t.alive) for t in truths] == [("t1", False), ("t1-b", False), ("t1-b", True)]
        assert clock.task(clock.task(first)["renewed_by"])["state"] == "running"


def test_what_fails_is_started_again_so_often_and_no_more(tmp_path: Path) -> None:
    plan = Plan(end_probabilities={Cause.CRASHED: 1.0}, longest_s=120)
    with VirtualTimeApp(tmp_path, 6, plan=plan).open() as clock:
        task_id = clock.start(*RELAY, policy={"restart": {"on": ["failed"], "pause_s": 10, "max": 2}})
        clock.settle(2 * HOUR)
        tasks = [clock.task(task_id)]
        while tasks[-1]["restarted_by"]:
            tasks.append(clock.task(tasks[-1]["restarted_by"]))
        assert [(task["run"], task["state"]) for task in tasks] == [(1, "failed"), (2, "failed"), (3, "failed")]
        assert [task["restarts"] for task in tasks] == [None, tasks[0]["id"], tasks[1]["id"]]
        truths = clock.world.truth()
        assert len(truths) == 3
        for ended, begun in pairwise(truths):
            assert ended.ended_at is not None
            assert 9 * SECOND <= begun.requested_at - ended.ended_at < 12 * SECOND, "vendors tell whole seconds"


def test_a_task_that_was_stopped_is_not_started_again(tmp_path: Path) -> None:
    with VirtualTimeApp(tmp_path, 6, plan=STEADY).open() as clock:
        task_id = clock.start(*RELAY, policy={"restart": {"on": ["stopped"]}})
        clock.run(MINUTE)
        assert clock.stop(task_id) == 202
        clock.settle(HOUR)
        clock.run(2 * HOUR)
        assert clock.task(task_id)["restarted_by"] is None
        assert len(clock.world.truth()) == 1


def test_what_does_not_recover_is_stopped_by_policy(tmp_path: Path) -> None:
    """The relay of this vendor reconnects for ever."""
    with VirtualTimeApp(tmp_path, 7, plan=STEADY).open() as clock:
        policy = {"recovery": {"stop": True, "max_s": 600}}
        task_id = clock.start("tencent", "StartPublishCdnStream", policy=policy)
        clock.run(MINUTE)
        clock.world.interrupt(clock.world.tasks.all[0])
        clock.settle(2 * HOUR)
        task = clock.task(task_id)
        assert (task["state"], task["reason"]) == ("stopped", "stop_requested")
        ended_at = clock.world.truth()[0].ended_at
        assert ended_at is not None
        assert 600 * SECOND <= ended_at - T0 - MINUTE < 620 * SECOND


def test_a_task_is_stopped_before_the_vendor_can_be_told_to_no_more(tmp_path: Path) -> None:
    start = ("tencent", "CreateCloudRecording")
    with VirtualTimeApp(tmp_path, 8, plan=STEADY, grain_ms=1000).open() as clock:
        marked = clock.start(*start, 1, ResourceExpiredHour=6)
        stopped = clock.start(*start, 2, policy={"reach": "stop"}, ResourceExpiredHour=6)
        clock.run(6 * HOUR - 30 * MINUTE)
        assert (clock.task(marked)["state"], clock.task(marked)["anomalies"]) == ("running", ["out_of_reach"])
        assert clock.task(stopped)["state"] == "completed"
