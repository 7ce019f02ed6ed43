"""The inbox applied: all of a row or nothing, once, and no row holds up another."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.ledger import LedgerUnavailableError, callbacks, inbox, lineages, timeline
from adapters.ledger.schema import inbox as inbox_table
from statemachine.states import Verdict
from tests.support.in_process_app import InProcessApp
from tests.support.sample_apps import tencent, volcengine
from workers.apply import inbox_decoder

T0 = 1_768_960_000_000


@pytest.fixture
def house(tmp_path: Path) -> Iterator[InProcessApp]:
    with InProcessApp(tmp_path, T0 + 5_000).open() as opened:
        yield opened


def recording(task: str = "t1", event_type: int = 301, at: int = T0, **payload: object) -> tuple[str, bytes, dict[str, str]]:
    info = {"EventMsTs": at, "TaskId": task, "RoomId": "r", "UserId": "u", "Payload": {"Status": 0, **payload}}
    return tencent({"EventGroupId": 3, "EventType": event_type, "CallbackTs": at, "EventInfo": info})


def test_rows_of_many_tasks_are_applied_in_one_go(house: InProcessApp):
    for number in range(450):
        assert house.post(*recording(f"t{number % 150}", 301 + number // 150, T0 + number)) == 200
    assert house.applier.apply_waiting() == 450
    assert house.get("/v1/stats")["tasks"] == [{"vendor": "tencent", "kind": "record", "state": "finishing", "count": 150}]


def test_a_row_that_cannot_be_applied_is_set_aside_and_holds_up_nobody(house: InProcessApp):
    house.post(*recording("before"))
    with house.ledger.write() as connection:
        inbox.post(connection, "nonsense", ("1",), {}, house.now)
    house.post(*recording("after"))
    house.applier.apply_waiting()
    assert {t["vendor_task_id"] for t in house.tasks()} == {"before", "after"}
    with house.ledger.read() as connection:
        assert not inbox.any_waiting(connection)
        aside = connection.execute(inbox_table.select().where(inbox_table.c.error.is_not(None))).mappings().one()
    assert (aside["kind"], aside["error"]) == ("nonsense", "KeyError('nonsense')")


def test_a_lineage_saved_by_somebody_else_meanwhile_is_decided_anew(house: InProcessApp, monkeypatch: pytest.MonkeyPatch):
    house.post_and_apply(*recording())
    house.post(*recording(event_type=302, at=T0 + 1))
    other, load = [True], lineages.load

    def load_and_lose(connection, keys):
        loaded = load(connection, keys)
        if other.pop() if other else False:
            stored = next(iter(loaded.values()))
            save = lineages.LineageSave(stored=stored, lineage=stored.lineage, changed=())
            with house.ledger.write() as mine:
                lineages.save_if_version(mine, [save])
        return loaded

    monkeypatch.setattr(lineages, "load", load_and_lose)
    house.applier.apply_waiting()
    assert [t["state"] for t in house.tasks()] == ["finishing"]


def test_nothing_is_saved_when_the_last_step_of_a_batch_fails(house: InProcessApp, monkeypatch: pytest.MonkeyPatch):
    house.post(*recording())

    def full(*_: object) -> None:
        raise LedgerUnavailableError("database or disk is full")

    monkeypatch.setattr(inbox, "settle", full)
    with pytest.raises(LedgerUnavailableError):
        house.applier.apply_waiting()
    monkeypatch.undo()
    assert house.tasks() == []
    house.applier.apply_waiting()
    assert [t["state"] for t in house.tasks()] == ["running"]


def test_what_comes_while_a_thread_applies_is_not_missed(house: InProcessApp):
    for number in range(300):
        house.post(*recording(f"t{number}"))
    threads = [threading.Thread(target=house.applier.apply_waiting) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with house.ledger.read() as connection:
        assert not inbox.any_waiting(connection)
        lines = [
            entry
            for task in house.get("/v1/tasks?limit=500")["items"]
            for _, line in timeline.page(connection, task["id"], after=0, limit=10)
            for entry in line.entries
        ]
    assert sum(entry["kind"] == "callback" for entry in lines) == 300


def cannot_read(*_: object, received_at: int, **__: object) -> inbox_decoder.Reading:
    """As a dialect of another version reads it."""
    return inbox_decoder.Reading(event_at=received_at, verdict=Verdict.UNKNOWN, reason="unreadable")


def test_a_replay_reads_a_callback_as_the_program_reads_it_now(house: InProcessApp, monkeypatch: pytest.MonkeyPatch):
    with monkeypatch.context() as older:
        older.setattr(type(inbox_decoder.DIALECTS["tencent"]), "read", cannot_read)
        house.post_and_apply(*recording())
    (callback,) = house.get("/v1/callbacks")["items"]
    assert (callback["verdict"], house.tasks()) == ("unknown", [])

    answer = house.client.post("/v1/callbacks/replay", json={"filter": {"verdict": "unknown"}})
    assert (answer.status_code, answer.json()["queued"]) == (202, 1)
    house.applier.apply_waiting()
    assert [t["state"] for t in house.tasks()] == ["running"]
    assert house.get(f"/v1/callbacks/{callback['id']}")["verdict"] == "applied"


def test_a_callback_that_turns_out_to_concern_no_task_withdraws_its_facts(house: InProcessApp, monkeypatch: pytest.MonkeyPatch):
    house.post_and_apply(*recording())
    house.post_and_apply(*recording(event_type=302, at=T0 + 1))
    monkeypatch.setattr(type(inbox_decoder.DIALECTS["tencent"]), "read", cannot_read)
    newest = house.get("/v1/callbacks")["items"][0]
    assert house.client.post(f"/v1/callbacks/{newest['id']}/replay").status_code == 202
    house.applier.apply_waiting()
    assert [t["state"] for t in house.tasks()] == ["running"]
    with house.ledger.read() as connection:
        found = callbacks.find(connection, int(newest["id"]))
    assert found is not None
    assert (found.verdict, found.task_id) == ("unknown", None)


def flapping(task: str, number: int) -> tuple[str, bytes, dict[str, str]]:
    """A push whose source comes and goes."""
    said = {"RoomId": "r", "TaskId": task, "Timestamp": T0 + number, "TaskState": 2 + number % 2, "Code": 0}
    return volcengine("TranscodeStateChanged", said, "2026-01-21T01:46:40Z", f"e{number}")


def test_a_replay_of_thousands_of_one_task_does_not_hold_up_another_task(house: InProcessApp, monkeypatch: pytest.MonkeyPatch):
    for number in range(50):
        assert house.post(*flapping("flapping", number)) == 200
    house.applier.apply_waiting()
    with house.ledger.write() as connection:
        ids = [int(each["id"]) for each in house.get("/v1/callbacks?limit=100")["items"]]
        assert sum(inbox.post_replays(connection, ids, house.now + again) for again in range(100)) == 5_000
    assert house.post(*recording("other")) == 200
    batches: list[int] = []
    apply = inbox.mark_applied

    def counted(connection, settled, done):
        batches.append(len(settled) + len(done))
        if settled:  # the callback of the other task; replays are rows that are done
            house.applier.stop()
        return apply(connection, settled, done)

    monkeypatch.setattr(inbox, "apply", counted)
    house.applier.apply_waiting()
    assert {task["vendor_task_id"] for task in house.tasks()} == {"flapping", "other"}
    assert len(batches) <= 2, batches


def test_callbacks_of_thousands_of_one_task_are_applied_in_their_order_with_another_task_between(house: InProcessApp):
    """The backlog is that of a stopped worker."""
    for number in range(120):
        assert house.post(*flapping("flapping", number)) == 200
    house.post(*recording("other"))
    assert house.applier.apply_waiting() == 121
    (task,) = [task for task in house.tasks() if task["vendor_task_id"] == "flapping"]
    with house.ledger.read() as connection:
        lines = [line for _, line in timeline.page(connection, task["id"], after=0, limit=500)]
    told = [entry["event_at"] for line in lines for entry in line.entries if entry["kind"] == "callback"]
    assert told == [T0 + number for number in range(120)]
