"""The sweep: what is due passes, once, however late."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.ledger import deadlines, inbox
from adapters.ledger.schema import inbox as inbox_table
from tests.support.in_process_app import InProcessApp
from tests.support.sample_apps import volcengine
from tests.support.times import HOUR

EVENT_TIME = "2026-01-21T10:00:00+08:00"
T0 = 1_768_960_800_000
RELAY = {"RoomId": "r", "TaskId": "t", "UserId": "u", "StreamUrl": "rtmp://a/b", "StartTimeStamp": 0, "Msg": ""}


@pytest.fixture
def house(tmp_path: Path) -> Iterator[InProcessApp]:
    with InProcessApp(tmp_path, T0 + 1_000).open() as opened:
        yield opened


def relay(status: int, event_time: str = EVENT_TIME, **more: object) -> tuple[str, bytes, dict[str, str]]:
    return volcengine("RelayStreamStateChanged", RELAY | {"Status": status} | more, event_time, f"e{status}{event_time}")


def state(house: InProcessApp) -> tuple[str, str | None, bool]:
    (task,) = house.tasks()
    return task["state"], task["reason"], task["inferred"]


def test_nothing_passes_before_its_time(house: InProcessApp):
    house.post_and_apply(*relay(3))
    house.now = T0 + 72 * HOUR + 299_999
    house.sweep.run_once()
    assert state(house) == ("running", None, False)


def test_an_ingest_expires_after_72_hours_and_five_minutes(house: InProcessApp):
    house.post_and_apply(*relay(3))
    house.now = T0 + 72 * HOUR + 300_000
    house.sweep.run_once()
    assert state(house) == ("expired", "max_lifetime", True)
    assert house.tasks()[0]["ended_at"] == "2026-01-24T02:00:00.000Z"
    assert house.tasks()[0]["deadlines"] == []


def test_the_vendors_late_word_corrects_what_was_inferred(house: InProcessApp):
    house.post_and_apply(*relay(3))
    house.now = T0 + 80 * HOUR
    house.sweep.run_once()
    house.post_and_apply(*relay(4, "2026-01-23T10:00:00+08:00", Reason=3))
    assert state(house) == ("completed", "source_finished", False)
    timeline = house.get(f"/v1/tasks/{house.tasks()[0]['id']}/timeline")["items"]
    moves = [(e["from"], e["to"], e.get("corrects", False)) for e in timeline if e["kind"] == "move"]
    assert moves == [(None, "running", False), ("running", "expired", False), ("expired", "completed", True)]


def test_a_standby_ingest_idles_out_after_the_longest_time_it_may_have(house: InProcessApp):
    house.post_and_apply(*relay(1))
    house.now = T0 + 60_000
    house.sweep.run_once()
    assert (state(house), house.tasks()[0]["anomalies"]) == (("accepted", None, False), ["unheard"])
    house.now = T0 + 630_000
    house.sweep.run_once()
    assert state(house) == ("idle_timeout", "max_idle_time", True)


def test_a_deadline_that_passed_does_not_pass_again(house: InProcessApp):
    house.post_and_apply(*relay(3))
    house.now = T0 + 25 * HOUR
    for _ in range(3):
        house.sweep.run_once()
    timeline = house.get(f"/v1/tasks/{house.tasks()[0]['id']}/timeline")["items"]
    assert [e["deadline"] for e in timeline if e["kind"] == "deadline_passed"] == ["silence"]
    assert house.get("/v1/stats")["overdue_deadlines"] == 0


def test_a_deadline_row_left_behind_is_mended(house: InProcessApp):
    house.post_and_apply(*relay(4, Reason=3))
    task = house.tasks()[0]["id"]
    with house.ledger.write() as connection:
        deadlines.rearm(connection, {task: {"expiry": (T0, 0)}})
    house.sweep.run_once()
    with house.ledger.read() as connection:
        assert deadlines.due(connection, house.now, 10) == []
    assert state(house) == ("completed", "source_finished", False)


def test_a_live_task_is_silent_for_a_day_before_it_is_marked_and_for_thirty_before_it_is_lost(house: InProcessApp):
    house.post_and_apply(
        *volcengine("TranscodeStateChanged", {"RoomId": "r", "TaskId": "p", "TaskState": 3, "Code": 0}, EVENT_TIME)
    )
    house.now = T0 + 1_000 + 24 * HOUR
    house.sweep.run_once()
    assert (state(house), house.tasks()[0]["anomalies"]) == (("running", None, False), ["unheard"])
    house.now = T0 + 1_000 + 30 * 24 * HOUR
    house.sweep.run_once()
    assert state(house) == ("lost", "silent", True)


def test_while_another_thread_applies_each_due_deadline_waits_once(house: InProcessApp):
    """A deadline that is due stays due until somebody has applied its row."""
    house.post_and_apply(*relay(3))
    house.now = T0 + 80 * HOUR
    with house.applier._applying:
        for _ in range(5):
            house.now += 1
            house.sweep.run_once()
    with house.ledger.read() as connection:
        assert [row.payload["kind"] for row in inbox.unapplied(connection, 100)] == ["silence", "expiry"]
    house.sweep.run_once()
    assert state(house) == ("expired", "max_lifetime", True)


def test_applied_deadlines_leave_nothing_in_the_inbox(house: InProcessApp):
    house.post_and_apply(*relay(3))
    house.now = T0 + 80 * HOUR
    house.sweep.run_once()
    with house.ledger.read() as connection:
        kinds = list(connection.scalars(inbox_table.select().with_only_columns(inbox_table.c.kind)))
    assert kinds == ["callback"]


def test_many_due_deadlines_pass_in_one_sweep(house: InProcessApp):
    for number in range(1_200):
        body = RELAY | {"TaskId": f"t{number}", "Status": 3}
        assert house.post(*volcengine("RelayStreamStateChanged", body, EVENT_TIME, f"e{number}")) == 200
    house.applier.apply_waiting()
    house.now = T0 + 80 * HOUR
    house.sweep.run_once()
    assert house.get("/v1/stats")["tasks"] == [{"vendor": "volcengine", "kind": "ingest", "state": "expired", "count": 1_200}]


def test_after_a_stop_the_rest_waits(house: InProcessApp):
    house.post(*relay(3))
    house.applier.stop()
    assert house.applier.apply_waiting() == 0
    with house.ledger.read() as connection:
        assert inbox.any_waiting(connection)


def test_what_a_callback_arms_behind_a_passed_deadline_in_one_batch_stays_armed(house: InProcessApp):
    """Both rows are saved together: the rows of the deadlines must be those of the end of the batch."""
    house.post_and_apply(*relay(2))
    house.now = T0 + 25 * HOUR
    with house.applier._applying:
        house.sweep.run_once()
        assert house.post(*relay(1, "2026-01-22T10:30:00+08:00")) == 200
    house.applier.apply_waiting()
    (task,) = house.tasks()
    with house.ledger.read() as connection:
        armed = {(each.kind, each.due_at) for each in deadlines.due(connection, 10**15, 100)}
    assert {kind for kind, _ in armed} == {deadline["kind"] for deadline in task["deadlines"]} >= {"idle"}
