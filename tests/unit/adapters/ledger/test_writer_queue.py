"""One thread writes at a time, and urgent ones go first."""

import threading
from collections.abc import Callable

import pytest

from adapters.ledger.writer_queue import WriterQueue

LATE_S = 20


def waiting(line: WriterQueue, order: list[str], name: str, *, first: bool) -> threading.Thread:
    """A thread that waits in the queue, writes once and records it."""

    def wait() -> None:
        line.acquire(first=first)
        order.append(name)
        line.release()

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def until(holds: Callable[[], bool]) -> None:
    """Polls until the condition holds: there is no signal when a thread begins to wait."""
    for _ in range(LATE_S * 1_000):
        if holds():
            return
        threading.Event().wait(0.001)
    raise AssertionError("it did not happen")


def test_an_urgent_thread_goes_before_waiting_ones() -> None:
    line, order = WriterQueue(LATE_S), []
    line.acquire(first=False)
    threads = [waiting(line, order, name, first=name == "door") for name in ("worker", "courier", "door")]
    until(lambda: len(line._moved._waiters) == 3)  # type: ignore[attr-defined]  # a condition tells it nowhere else
    line.release()
    for thread in threads:
        thread.join(LATE_S)
    assert order[0] == "door"
    assert sorted(order) == ["courier", "door", "worker"]


def test_no_thread_waits_for_ever_and_a_timed_out_one_blocks_no_other() -> None:
    line = WriterQueue(0.01)
    line.acquire(first=False)
    for first in (True, False):
        with pytest.raises(TimeoutError):
            line.acquire(first=first)
    line.release()
    line.acquire(first=False)
    line.release()
