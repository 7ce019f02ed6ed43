"""One start waits per key, and a robot is in a room once."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier
from typing import Any

import pytest
from sqlalchemy import select, update

from adapters.ledger import Ledger, inbox, starts
from adapters.ledger.inbox import START, AppliedRow
from adapters.ledger.schema import inbox as inbox_table
from adapters.ledger.starts import Clash, StartRequest
from statemachine.states import LIVE, Kind, Origin, Reason, State
from statemachine.tasks import Task
from tests.support.ledger_rows import DONE, key, save, settle, statements, task, waiting_ids
from tests.support.times import T0


def start(number: int = 1, **more: Any) -> StartRequest:
    values = {
        "task_id": f"{number:026d}",
        "vendor": "volcengine",
        "app_id": "app",
        "kind": Kind.PUSH,
        "action": "Start",
        "params": {"Token": "sesame"},
        "room_id": "room",
        "vendor_task_id": f"t{number}",
        "family": "push",
        "by": "ops",
    }
    return StartRequest(**{**values, **more})


def minted(number: int = 1, **more: Any) -> StartRequest:
    return start(number, vendor_task_id=None, **more)


class Clashed(Exception):
    pass


def post(ledger: Ledger, wish: StartRequest) -> tuple[Clash, str] | None:
    """Rolls back as the desk does."""
    clash = None
    try:
        with ledger.write() as connection:
            clash = starts.post(connection, wish, T0)
            if clash is not None:
                raise Clashed
    except Clashed:
        pass
    return clash


def waiting(ledger: Ledger) -> list[str]:
    with ledger.read() as connection:
        rows = connection.exec_driver_sql("SELECT task_id FROM inbox WHERE kind = 'start' AND applied_at IS NULL ORDER BY id")
        return list(rows.scalars())


def test_a_waiting_start_has_everything_that_a_worker_needs(ledger: Ledger) -> None:
    assert post(ledger, start()) is None
    with ledger.read() as connection:
        (row,) = inbox.unapplied(connection, 9)
    assert (row.kind, row.vendor, row.app_id, row.received_at) == (START, "volcengine", "app", T0)
    assert row.payload == {
        "task_id": start().task_id,
        "vendor": "volcengine",
        "app_id": "app",
        "kind": "push",
        "action": "Start",
        "version": None,
        "params": {"Token": "sesame"},
        "policy": {},
        "room_id": "room",
        "robot": None,
        "scheduled_at": None,
        "vendor_task_id": "t1",
        "family": "push",
        "by": "ops",
        "renews": None,
        "restarts": None,
        "restart_count": 0,
    }


def test_one_start_waits_per_key(ledger: Ledger) -> None:
    assert post(ledger, start()) is None
    assert post(ledger, start(2, vendor_task_id="t1")) == (Clash.ALREADY_LIVE, start().task_id)
    assert post(ledger, start(3, vendor_task_id="t1", room_id="other")) is None
    assert post(ledger, start(4, vendor_task_id="t1", family="record", kind=Kind.RECORD)) is None
    assert waiting(ledger) == [start(n).task_id for n in (1, 3, 4)]


def test_starts_whose_id_the_vendor_assigns_do_not_clash(ledger: Ledger) -> None:
    assert post(ledger, minted(1)) is None
    assert post(ledger, minted(2)) is None
    assert len(waiting(ledger)) == 2


@pytest.mark.parametrize("state", State)
def test_a_live_task_clashes_unless_it_is_finishing(ledger: Ledger, state: State) -> None:
    there = task(state=state)
    save(ledger, there)
    expected = (Clash.ALREADY_LIVE, there.id) if state in LIVE and state is not State.FINISHING else None
    assert post(ledger, start()) == expected
    assert waiting(ledger) == ([] if expected else [start().task_id])


def test_a_merged_task_clashes_with_no_start(ledger: Ledger) -> None:
    save(ledger, _with_robot(task(merged_into="0" * 26)))
    assert post(ledger, start(robot="bot")) is None


def _with_robot(one: Task, robot: str = "bot", room: str | None = None) -> Task:
    return replace(one, view=replace(one.view, robot=robot, room_id=room))


@pytest.mark.parametrize(
    ("state", "reason", "in_use"),
    [
        (State.REQUESTED, None, True),
        (State.RUNNING, None, True),
        (State.STOPPING, None, True),
        (State.FINISHING, None, False),
        (State.FAILED, Reason.START_UNKNOWN, True),
        (State.FAILED, Reason.START_REFUSED, False),
        (State.STOPPED, Reason.STOP_REQUESTED, False),
    ],
)
def test_a_robot_is_in_a_room_once(ledger: Ledger, state: State, reason: Reason | None, *, in_use: bool) -> None:
    there = _with_robot(task(key("other"), state=state, reason=reason))
    save(ledger, there)
    assert post(ledger, start(robot="bot")) == ((Clash.ROBOT_IN_USE, there.id) if in_use else None)


@pytest.mark.parametrize(
    "more", [{"robot": "other"}, {"robot": None}, {"room_id": "other"}, {"app_id": "b"}, {"vendor": "tencent"}]
)
def test_other_robots_and_rooms_do_not_clash(ledger: Ledger, more: dict[str, Any]) -> None:
    save(ledger, _with_robot(task(key("other"))))
    assert post(ledger, start(2, robot="bot")) is not None
    assert post(ledger, start(**{"robot": "bot", **more})) is None


def test_the_room_that_a_vendor_reported_counts(ledger: Ledger) -> None:
    there = _with_robot(task(key(room_id="", vendor="tencent")), room="red")
    save(ledger, there)
    assert post(ledger, minted(vendor="tencent", robot="bot", room_id="red")) == (Clash.ROBOT_IN_USE, there.id)


def test_a_robot_of_a_start_that_waits_is_in_use(ledger: Ledger) -> None:
    robot = "bot \"%_' ü"
    assert post(ledger, start(1, robot=robot)) is None
    assert post(ledger, start(2, robot=robot)) == (Clash.ROBOT_IN_USE, start(1).task_id)
    assert post(ledger, start(3, robot=robot, room_id="other")) is None
    assert post(ledger, start(4, robot="room")) is None
    assert post(ledger, minted(5, robot=robot)) == (Clash.ROBOT_IN_USE, start(1).task_id)


def test_a_start_that_was_set_aside_does_not_block_its_key_for_ever(ledger: Ledger) -> None:
    post(ledger, start(1, robot="bot"))
    settle(ledger, AppliedRow(id=waiting_ids(ledger)[0], applied_at=T0, error="ValueError()"))
    assert post(ledger, start(2, vendor_task_id="t1", robot="bot")) is None
    assert waiting(ledger) == [start(2).task_id]


def test_the_task_of_a_waiting_start_is_as_it_will_be(ledger: Ledger) -> None:
    wish = start(policy={"reach": "stop"}, robot="bot", version="2023-11-01")
    post(ledger, wish)
    with ledger.read() as connection:
        found = starts.find_requested(connection, wish.task_id)
        assert starts.find_requested(connection, start(2).task_id) is None
        assert found == starts.requested_task(connection, wish, T0)
    assert found is not None
    assert (found.id, found.key, found.run, found.origin) == (wish.task_id, key(), 1, Origin.MANAGED)
    assert (found.view.state, found.view.robot, found.view.room_id) == (State.REQUESTED, "bot", "room")
    assert (found.kind, found.action, found.api_version, found.params) == (Kind.PUSH, "Start", "2023-11-01", wish.params)
    assert (found.policy, found.attempts, found.version, found.created_at) == ({"reach": "stop"}, 0, 1, T0)


def test_a_start_that_was_applied_waits_no_longer(ledger: Ledger) -> None:
    post(ledger, start())
    settle(ledger, AppliedRow(id=waiting_ids(ledger)[0], applied_at=T0, task_id=start().task_id))
    with ledger.read() as connection:
        assert starts.find_requested(connection, start().task_id) is None


def test_members_that_this_version_does_not_know_do_no_harm(ledger: Ledger) -> None:
    post(ledger, start())
    with ledger.write() as connection:
        payload = json.loads(connection.scalars(select(inbox_table.c.payload)).one())
        connection.execute(update(inbox_table).values(payload=json.dumps(payload | {"more": 1})))
        assert starts.find_requested(connection, start().task_id) is not None


def test_a_used_id_gets_its_next_run(ledger: Ledger) -> None:
    save(ledger, task(**DONE), replace(task(anchor="k2", **DONE), run=2))
    with ledger.read() as connection:
        assert starts.requested_task(connection, start(), T0).run == 3
        assert starts.requested_task(connection, start(2), T0).run == 1
        assert starts.requested_task(connection, minted(), T0).run == 1


def test_of_two_concurrent_starts_one_waits(ledger: Ledger) -> None:
    ready = Barrier(2)

    def at_once(number: int) -> tuple[Clash, str] | None:
        ready.wait()
        return post(ledger, start(number, vendor_task_id="t"))

    with ThreadPoolExecutor(2) as pool:
        clashes = list(pool.map(at_once, (1, 2)))
    assert sum(clash is None for clash in clashes) == 1
    assert [clash[1] for clash in clashes if clash] == waiting(ledger)


def test_clashes_are_found_by_indexes(sqlite_ledger: Ledger) -> None:
    wish = start(robot="bot")
    with sqlite_ledger.write() as connection, statements(connection) as said:
        starts.post(connection, wish, T0)
        starts.find_requested(connection, wish.task_id)
    with sqlite_ledger.read() as connection:
        for statement in said:
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", ("1",) * statement.count("?")).all()
            assert all("SCAN" not in row[3] or "inbox_unapplied" in row[3] for row in plan), (statement, plan)


def test_no_secret_is_in_a_repr() -> None:
    assert "sesame" not in repr(start(policy={"renew": {"params": {"Token": "sesame"}}}))
