"""`kill -9` while starts and stops are on the wire: nothing is paid twice, nothing is forgotten.

Run by `make soak`: it waits for real leases to end. tests/flows/test_calls.py has callers that die in virtual time.
"""

import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.support.server_processes import Process, free_port, up
from tests.support.start_calls import STARTS, params

ROOT = Path(__file__).parents[2]
KILLS = 8
TASKS = 54
#: Two leases end, and what they were of is tried again, within this, s.
PATIENCE_S = 120
#: A start of which nobody knows whether it happened is given up soon.
POLICY = {"start": {"max_elapsed_s": 60}}
ENDED = {"stopped", "completed", "failed", "lost"}


@contextmanager
def vendor(folder: Path) -> Iterator[tuple[int, Path]]:
    """The simulator, whose calls take a moment so that many are under way; its port, and our configuration."""
    port, calls = free_port(), free_port()
    config = folder / "tally.toml"
    text = (ROOT / "deploy" / "demo.toml").read_text(encoding="utf-8")
    text = text.replace("var/demo.db", f"{folder}/tally.db").replace("127.0.0.1:8090", f"127.0.0.1:{calls}")
    config.write_text(f"[server]\nport = {port}\nopen_desk = true\n{text}")
    flags = ["--slow", "0.5", "--slow-s", "0.3", "--ambiguous", "0.03", "--vanish", "0.03", "--throttle", "0.05"]
    back = ["--callback-url", f"http://127.0.0.1:{port}/callbacks/{{vendor}}"]
    command = [sys.executable, "-m", "tally", "simulate", "--steady", "--port", str(calls), *flags, *back]
    simulator = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        assert simulator.stdout is not None
        assert "simulated vendor" in simulator.stdout.readline()
        yield calls, config
    finally:
        simulator.kill()
        simulator.communicate()


def start_all(service: Process, begin: int, end: int, ids: dict[int, str]) -> None:
    actions = list(STARTS)
    for number in range(begin, end):
        name, action = actions[number % len(actions)]
        body = {"vendor": name, "action": action, "params": params(name, action, number + 1), "policy": POLICY}
        answer = httpx2.post(f"{service.url}/v1/tasks", json=body, headers={"Idempotency-Key": f"start {number}"})
        assert answer.status_code == 202, answer.text
        ids[number] = answer.json()["id"]


def stop_all(service: Process, ids: dict[int, str]) -> None:
    for task_id in ids.values():
        assert httpx2.post(f"{service.url}/v1/tasks/{task_id}/stop").status_code in (202, 409)


def tasks_of(service: Process, ids: dict[int, str]) -> dict[str, Any]:
    return {task_id: httpx2.get(f"{service.url}/v1/tasks/{task_id}").json() for task_id in ids.values()}


def until(service: Process, ids: dict[int, str], states: set[str]) -> None:
    """Polls: other processes work, and only their answers show it."""
    begin = time.monotonic()
    while time.monotonic() - begin < PATIENCE_S:
        found = Counter(task["state"] for task in tasks_of(service, ids).values())
        if not found.keys() - states:
            return
        time.sleep(0.5)
    raise AssertionError(f"after {PATIENCE_S} s tasks are {found}")


@pytest.mark.soak
def test_killed_while_calls_are_on_the_wire_nothing_runs_twice_and_nothing_is_forgotten(tmp_path: Path) -> None:
    chance = random.Random(20231114)
    ids: dict[int, str] = {}
    share = TASKS // KILLS + 1
    with vendor(tmp_path) as (calls, config):
        for kill in range(KILLS):
            service = up(config)
            start_all(service, kill * share, min(TASKS, (kill + 1) * share), ids)
            time.sleep(chance.uniform(0, 0.5))  # the moment of death is what is drawn: there is nothing to wait for
            service.kill()
        service = up(config)
        until(service, ids, {"running", *ENDED})
        stop_all(service, ids)
        time.sleep(chance.uniform(0, 0.5))
        service.kill()
        service = up(config)
        until(service, ids, ENDED)
        told = httpx2.get(f"http://127.0.0.1:{calls}/truth").json()
        tasks = tasks_of(service, ids)
        assert service.stop() == 0
    assert len(ids) == TASKS
    unknown = [task for task in tasks.values() if task["reason"] == "start_unknown"]
    orphans = [truth for truth in told["tasks"] if truth["ended_at"] is None]
    # Nothing in its callbacks says whose it is, so what nobody answered for cannot be told from others that began just then.
    assert {(truth["vendor"], truth["kind"]) for truth in orphans} <= {("tencent", "ingest")}, orphans
    assert len(orphans) <= len([task for task in unknown if task["kind"] == "ingest"])
    assert told["counters"]["quota_breaches"] == {}
    for one, other in overlapping(told["tasks"]):
        raise AssertionError(f"two at a time: {one} {other}")
    assert {task["kind"] for task in unknown} <= {"ingest", "push"}, unknown
    assert len(unknown) <= TASKS // 9


def overlapping(truths: list[dict[str, Any]]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Vendor tasks of one room and kind that lived at the same time: each intent had a room of its own."""
    by_room: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for truth in truths:
        if truth["room_id"]:
            by_room.setdefault((truth["vendor"], truth["kind"], truth["room_id"]), []).append(truth)
    for each in by_room.values():
        each.sort(key=lambda truth: truth["requested_at"])
        yield from ((one, other) for one, other in pairwise(each) if other["requested_at"] < (one["ended_at"] or 2**62))
