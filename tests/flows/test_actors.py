"""dramatiq's threads are replaced when they are gone, so that hints go on waking whoever applies."""

import ctypes
import threading
from pathlib import Path

import pytest

from adapters.clock import monotonic_s
from adapters.queue import Notifier, open_broker, open_hints
from adapters.supervision import Health
from tests.support.in_process_app import InProcessApp
from tests.support.sample_apps import tencent
from workers.actors import HintWorker, declare_actors

#: An exception from outside may hit a thread while it reads a source file for a traceback: that file is then closed by nobody.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
T0 = 1_768_960_000_000
LATE_S = 20


def recording(number: int) -> tuple[str, bytes, dict[str, str]]:
    info = {"EventMsTs": T0 + number, "TaskId": f"task-{number}", "RoomId": "r", "UserId": "u", "Payload": {"Status": 0}}
    return tencent({"EventGroupId": 3, "EventType": 301, "CallbackTs": T0, "EventInfo": info})


@pytest.fixture(autouse=True)
def _ended_threads_are_expected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threading, "excepthook", lambda _: None)


@pytest.mark.parametrize("kind", ["WorkerThread", "ConsumerThread"])
def test_hints_go_on_when_a_thread_of_dramatiqs_is_gone(tmp_path: Path, kind: str):
    house, health = InProcessApp(tmp_path, T0 + 5_000), Health()
    broker, hints = open_broker(""), open_hints("")
    declare_actors(broker, house.applier, hints)
    bell = Notifier(broker, hints, lambda error: None, health)
    worker = HintWorker(broker, hints, health)
    with house.open():
        bell.start()
        worker.start()
        threads = [thread for thread in threading.enumerate() if type(thread).__name__ == kind]
        for thread in threads:
            assert thread.ident is not None
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(SystemExit))
        for thread in threads:
            thread.join(LATE_S)
            assert not thread.is_alive()
        worker.revive()
        assert [fault.part for fault in health.faults()] == ["hints"]
        worker.revive()
        assert health.faults() == []
        assert house.post(*recording(1)) == 200
        bell.notify()
        deadline = monotonic_s() + LATE_S
        while not house.tasks():
            assert monotonic_s() < deadline
        worker.stop()
        bell.stop()
