"""The real threads of a real house are ended from outside, one by one, and the house goes on."""

import ctypes
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.clock import monotonic_s
from adapters.supervision import Health
from tests.house import House, tencent

T0 = 1_768_960_000_000
#: What does not happen within this never will, s.
LATE_S = 20


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """With a monitor that looks often."""
    health = Health(every_s=0.02)
    health.start()
    with House(tmp_path, T0 + 5_000, health=health).open() as house:
        yield house
    health.stop()


def end_from_outside(name: str) -> None:
    """As a bug in a C extension could: an exception where no code expects one. A thread that waits gets it when it wakes."""
    for thread in threading.enumerate():
        if thread.name == name and thread.ident is not None:
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(SystemExit))


def recording(number: int) -> tuple[str, bytes, dict[str, str]]:
    info = {"EventMsTs": T0 + number, "TaskId": "my-task", "RoomId": "r", "UserId": "u", "Payload": {"Status": 0}}
    return tencent({"EventGroupId": 3, "EventType": 301, "CallbackTs": T0, "EventInfo": info})


@pytest.mark.parametrize("name", ["recorder-writer", "recorder-guard", "refusals", "ledger"])
def test_a_thread_that_is_ended_from_outside_costs_no_callback(house: House, name: str):
    for number in range(5):
        end_from_outside(name)
        begun = monotonic_s()
        assert house.post(*recording(number)) == 200
        assert monotonic_s() - begun < 5
    deadline = monotonic_s() + LATE_S
    while house.client.get("/readyz").status_code != 200:
        assert monotonic_s() < deadline
    assert house.get("/v1/stats")["callbacks"]["received"] == 5
