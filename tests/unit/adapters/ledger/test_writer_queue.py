"""One writes at a time, and who is waited for goes first."""

import threading
from collections.abc import Callable

import pytest

from adapters.ledger.writer_queue import Line

LATE_S = 20


def waiting(line: Line, order: list[str], name: str, *, first: bool) -> threading.Thread:
    """A thread that stands in line, takes its turn once and says so."""

    def wait() -> None:
        line.take(first=first)
        order.append(name)
        line.leave()

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def until(holds: Callable[[], bool]) -> None:
    """Nobody says that a thread has begun to wait."""
    for _ in range(LATE_S * 1_000):
        if holds():
            return
        threading.Event().wait(0.001)
    raise AssertionError("it did not happen")


def test_who_goes_first_passes_those_who_wait() -> None:
    line, order = Line(LATE_S), []
    line.take(first=False)
    threads = [waiting(line, order, name, first=name == "door") for name in ("worker", "courier", "door")]
    until(lambda: len(line._moved._waiters) == 3)  # type: ignore[attr-defined]  # a condition tells it nowhere else
    line.leave()
    for thread in threads:
        thread.join(LATE_S)
    assert order[0] == "door"
    assert sorted(order) == ["courier", "door", "worker"]


def test_nobody_waits_for_ever_and_who_gave_up_holds_up_nobody() -> None:
    line = Line(0.01)
    line.take(first=False)
    for first in (True, False):
        with pytest.raises(TimeoutError):
            line.take(first=first)
    line.leave()
    line.take(first=False)
    line.leave()
