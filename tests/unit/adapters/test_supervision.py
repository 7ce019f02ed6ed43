"""A thread that ends is run again, one that hangs is reported, and a process that cannot recover ends."""

import ctypes
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from adapters.clock import monotonic_s, now_ms
from adapters.supervision import CANNOT_RECOVER, LEDGER, Health, Part, SupervisedThread

#: The test fails if something does not happen within this time, s.
LATE_S = 20
#: An exception from outside may hit a thread while it reads a source file for a traceback: that file then stays open.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
ROOT = Path(__file__).parents[3]


def until(true: Callable[[], bool]) -> None:
    deadline = monotonic_s() + LATE_S
    while not true():
        assert monotonic_s() < deadline
        threading.Event().wait(0.005)


def faults(health: Health) -> dict[str, str]:
    return {fault.part: fault.detail for fault in health.faults()}


class Loop:
    """A thread that fails when a test sets it so. rounds: how often it did its work."""

    def __init__(self, health: Health) -> None:
        self.part = health.part("loop")
        self.stopping = threading.Event()
        self.errors: list[BaseException] = []
        self.rounds = 0
        self.thread = SupervisedThread(health, self.part, self._run, self.stopping)

    def _run(self) -> None:
        while not self.stopping.is_set():
            with self.part.at_work():
                if self.errors:
                    raise self.errors.pop()
                self.rounds += 1
            self.stopping.wait(0.005)

    def stop(self) -> None:
        self.stopping.set()
        self.thread.join(LATE_S)
        assert not self.thread.is_alive()


@pytest.mark.parametrize("error", [ValueError("secret"), OSError(28, "no space"), SystemExit(3), KeyboardInterrupt()])
def test_whatever_ends_a_thread_it_is_run_again_and_told(error: BaseException):
    health = Health()
    loop = Loop(health)
    with capture_logs() as logs:
        loop.thread.start()
        loop.errors += [error, error]
        until(lambda: faults(health) == {"loop": f"it failed: {type(error).__name__}"})
        before = loop.rounds
        until(lambda: loop.rounds > before and not loop.errors and not faults(health))
    assert [entry["event"] for entry in logs] == ["thread.failed"] * 2
    assert "secret" not in str(faults(health))
    loop.stop()


def test_a_thread_that_returns_unasked_is_run_again():
    health, stopping, runs = Health(), threading.Event(), []
    part = health.part("loop")
    thread = SupervisedThread(health, part, lambda: runs.append(1), stopping)
    thread.start()
    until(lambda: len(runs) == 3)
    assert faults(health) == {"loop": "it failed: it returned"}
    stopping.set()
    thread.join(LATE_S)


def end_from_outside(thread: threading.Thread) -> None:
    """Raises an exception in a thread where no code expects one, as a bug in a C extension could."""
    assert thread.ident is not None
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(SystemExit))


def named(name: str) -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == name]


def test_a_thread_that_is_gone_altogether_is_started_anew(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    health = Health(every_s=0.01)
    health.start()
    loop = Loop(health)
    loop.thread.start()
    for _ in range(3):  # some of them hit the loop that runs it again, too
        before = loop.rounds
        for thread in named("loop"):
            end_from_outside(thread)
        until(lambda: loop.rounds > before + 1)  # noqa: B023 - called at once
    until(lambda: not faults(health))
    loop.stop()
    health.stop()


def test_a_part_that_makes_no_progress_hangs_and_what_rests_does_not():
    health = Health()
    slow, idle = health.part("slow", patience_s=0.05), health.part("idle", patience_s=0.05)
    begun = now_ms()
    slow.beat()
    with idle.at_work():
        pass
    until(lambda: bool(health.faults()))
    (fault,) = health.faults()
    assert (fault.part, fault.vital, fault.detail.startswith("it has made no progress for")) == ("slow", True, True)
    assert abs(fault.since - begun) < 5_000
    slow.beat()
    assert health.faults() == []


def test_who_hangs_while_the_ledger_is_away_makes_nothing_unready_unless_it_needs_no_ledger():
    health = Health()
    ledger = health.part(LEDGER, vital=False)
    for part in (health.part("writer", patience_s=0.01), health.part("guard", patience_s=0.01, needs_ledger=False)):
        part.beat()
    until(lambda: len(health.faults()) == 2)
    assert [fault.vital for fault in health.faults()] == [True, True]
    ledger.failed("away")
    assert {fault.part: fault.vital for fault in health.faults()} == {"ledger": False, "writer": False, "guard": True}


def test_what_stops_working_and_works_again_is_logged_once():
    health = Health()
    part = health.part("courier")
    with capture_logs() as logs:
        health.check()
        for _ in range(3):
            part.failed("it failed: KeyError")
            health.check()
        part.worked()
        health.check()
        health.check()
    assert [(entry["event"], entry["part"]) for entry in logs] == [("part.failed", "courier"), ("part.recovered", "courier")]


def test_time_in_which_the_process_stood_still_counts_against_nobody():
    clock = Clock()
    health = Health(clock_s=clock)
    part = health.part("courier", patience_s=60)
    part.beat()
    clock.now += 3_600
    assert health.faults() == []
    with capture_logs() as logs:
        health.check()
    assert [(entry["event"], entry["seconds"]) for entry in logs] == [("process.stood_still", 3600.0)]
    for _ in range(56):  # the first 3 s of a gap count
        clock.now += 1
        health.check()
    assert health.faults() == []
    clock.now += 3
    assert [fault.part for fault in health.faults()] == ["courier"]


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def test_a_process_in_which_a_part_hangs_for_good_is_ended_once():
    clock, ended = Clock(), []
    health = Health(give_up_s=600, on_end=lambda: ended.append(1), clock_s=clock)
    part: Part = health.part("courier", patience_s=60)
    part.beat()
    for _ in range(659):
        clock.now += 1
        health.check()
    assert ended == []
    for _ in range(10):
        clock.now += 1
        health.check()
    assert ended == [1]
    assert health.end_reason is not None
    assert health.end_reason.part == "courier"


ENDING = """
import signal, threading
from adapters.logs import configure
from adapters.supervision import Health, end_process, exit_status
configure()
health = Health(every_s=0.05, give_up_s=0.1, on_end=end_process)
told = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: told.set())
health.part("courier", patience_s=0.1).beat()
health.start()
assert told.wait(20)
raise SystemExit(exit_status(health))
"""


def test_a_process_that_cannot_recover_ends_with_a_line_and_a_status_of_its_own():
    ended = subprocess.run([sys.executable, "-c", ENDING], capture_output=True, text=True, cwd=ROOT, check=False)
    assert (ended.returncode, '"event": "process.ends"' in ended.stderr) == (CANNOT_RECOVER, True)
