"""The applier applies each inbox row whole or not at all, once, and no row delays another."""

import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Connection

from adapters.ledger import Ledger, LedgerUnavailableError, callbacks, inbox, lineages, timeline
from adapters.ledger.schema import inbox as inbox_table
from adapters.vendors.accounts import Accounts
from statemachine.states import Verdict
from statemachine.tasks import TaskKey
from tests.support.in_process_app import InProcessApp
from tests.support.sample_apps import TENCENT_APP, tencent, volcengine
from workers.apply.applier import Applier

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


class HookedLedger(Ledger):
    """Calls hooks around each write transaction: before it begins, before it commits, and after the commit."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.before_write: Callable[[], object] = lambda: None
        self.before_commit: Callable[[], object] = lambda: None
        self.after_write: Callable[[], object] = lambda: None

    @contextmanager
    def write(self) -> Iterator[Connection]:
        self.before_write()
        with super().write() as connection:
            yield connection
            self.before_commit()
        self.after_write()


@pytest.fixture
def hooked(house: InProcessApp) -> Iterator[HookedLedger]:
    """The ledger of the applier; all other parts use another one on the same file."""
    with closing(HookedLedger(house.ledger.url)) as ledger:
        house.applier = Applier(ledger, house.clock, Accounts(house.settings), house.shards)
        yield ledger


def test_a_lineage_saved_by_somebody_else_meanwhile_is_decided_anew(house: InProcessApp, hooked: HookedLedger):
    house.post_and_apply(*recording())
    house.post(*recording(event_type=302, at=T0 + 1))
    key = TaskKey(vendor="tencent", app_id=TENCENT_APP, room_id="", vendor_task_id="t1", family="recording")

    def save_meanwhile() -> None:
        hooked.before_write = lambda: None
        with house.ledger.write() as connection:
            stored = lineages.load(connection, [key])[key]
            assert stored.lineage.tasks
            lineages.save_if_version(connection, [lineages.LineageSave(stored=stored, lineage=stored.lineage, changed=())])

    hooked.before_write = save_meanwhile
    house.applier.apply_waiting()
    assert hooked.before_write is not save_meanwhile
    assert [t["state"] for t in house.tasks()] == ["finishing"]


def test_nothing_is_saved_when_the_last_step_of_a_batch_fails(house: InProcessApp, hooked: HookedLedger):
    house.post(*recording())

    def full() -> None:
        raise LedgerUnavailableError("database or disk is full")

    hooked.before_commit = full
    with pytest.raises(LedgerUnavailableError):
        house.applier.apply_waiting()
    hooked.before_commit = lambda: None
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


def test_a_replay_reads_a_callback_as_the_program_reads_it_now(house: InProcessApp):
    house.post(*recording())
    with house.ledger.write() as connection:  # as an older version, which could not read it
        (row,) = inbox.unapplied(connection, 9)
        unknown = inbox.AppliedRow(id=row.id, applied_at=house.now, verdict=Verdict.UNKNOWN.value, reason="unreadable")
        inbox.mark_applied(connection, [unknown], [])
    (callback,) = house.get("/v1/callbacks")["items"]
    assert (callback["verdict"], house.tasks()) == ("unknown", [])

    answer = house.client.post("/v1/callbacks/replay", json={"filter": {"verdict": "unknown"}})
    assert (answer.status_code, answer.json()["queued"]) == (202, 1)
    house.applier.apply_waiting()
    assert [t["state"] for t in house.tasks()] == ["running"]
    assert house.get(f"/v1/callbacks/{callback['id']}")["verdict"] == "applied"


def test_a_callback_that_turns_out_to_concern_no_task_withdraws_its_facts(house: InProcessApp):
    house.post_and_apply(*recording())
    house.post_and_apply(*recording(event_type=302, at=T0 + 1))
    newest = house.get("/v1/callbacks")["items"][0]
    with house.ledger.write() as connection:  # an older version read something in it that this one does not
        connection.execute(inbox_table.update().where(inbox_table.c.id == int(newest["id"])).values(body=b"{}"))
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


def test_a_replay_of_thousands_of_one_task_does_not_hold_up_another_task(house: InProcessApp, hooked: HookedLedger):
    for number in range(50):
        assert house.post(*flapping("flapping", number)) == 200
    house.applier.apply_waiting()
    with house.ledger.write() as connection:
        ids = [int(each["id"]) for each in house.get("/v1/callbacks?limit=100")["items"]]
        assert sum(inbox.post_replays(connection, ids, house.now + again) for again in range(100)) == 5_000
    assert house.post(*recording("other")) == 200
    batches = 0

    def stop_after_the_other_task() -> None:
        nonlocal batches
        batches += 1
        if len(house.tasks()) == 2:
            house.applier.stop()

    hooked.after_write = stop_after_the_other_task
    house.applier.apply_waiting()
    assert {task["vendor_task_id"] for task in house.tasks()} == {"flapping", "other"}
    assert 1 <= batches <= 2


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
