"""The real threads of a real house are ended from outside, one by one, and the house goes on."""

import ctypes
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from adapters.clock import monotonic_s
from adapters.downstream import open_sinks
from adapters.http import HttpClient
from adapters.queue import Notifier, open_broker, open_hints
from adapters.supervision import Health
from adapters.vendors.accounts import Accounts
from tests.support.in_process_app import InProcessApp
from tests.support.sample_apps import tencent
from workers.process import WorkerProcess

#: An exception from outside may hit a thread while it reads a source file for a traceback: that file is then closed by nobody.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
T0 = 1_768_960_000_000
#: What does not happen within this never will, s.
LATE_S = 20
#: All threads that work; `Thread-` are those of dramatiq.
THREADS = (
    "recorder-writer",
    "recorder-guard",
    "refusals",
    "ledger",
    "bell",
    "sweep",
    "courier",
    "calls",
    "Thread-",
)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[InProcessApp]:
    """At work with all its threads, under a monitor that looks often."""
    health = Health(every_s=0.02)
    house = InProcessApp(tmp_path, T0 + 5_000, health=health)
    broker, hints = open_broker(""), open_hints("")
    bell = Notifier(broker, hints, lambda error: None, health)
    accounts, sinks = Accounts(house.settings), open_sinks(house.settings)
    hands = WorkerProcess(house.ledger, broker, hints, house.clock, accounts, HttpClient(), bell.notify, sinks, health=health)
    with house.open():
        health.start()
        bell.start()
        hands.start()
        house.on_notify = bell.notify
        yield house
        hands.stop()
        bell.stop()
        health.stop()


def end_from_outside(name: str) -> None:
    """As a bug in a C extension could: an exception where no code expects one. A thread that waits gets it when it wakes."""
    for thread in threading.enumerate():
        if thread.name.startswith(name) and thread.ident is not None:
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(SystemExit))


def recording(number: int) -> tuple[str, bytes, dict[str, str]]:
    info = {"EventMsTs": T0 + number, "TaskId": f"task-{number}", "RoomId": "r", "UserId": "u", "Payload": {"Status": 0}}
    return tencent({"EventGroupId": 3, "EventType": 301, "CallbackTs": T0, "EventInfo": info})


def until(true: Callable[[], bool]) -> None:
    deadline = monotonic_s() + LATE_S
    while not true():
        assert monotonic_s() < deadline
        threading.Event().wait(0.01)


@pytest.fixture(autouse=True)
def _ended_threads_are_expected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threading, "excepthook", lambda _: None)


@pytest.mark.parametrize("name", THREADS)
def test_a_thread_that_is_ended_from_outside_costs_nothing(house: InProcessApp, name: str):
    for number in range(3):
        end_from_outside(name)
        begun = monotonic_s()
        assert house.post(*recording(number)) == 200
        assert monotonic_s() - begun < 5
    until(lambda: len(house.tasks()) == 3)
    until(lambda: house.client.get("/readyz").status_code == 200)
    assert any(thread.name.startswith(name) for thread in threading.enumerate())
