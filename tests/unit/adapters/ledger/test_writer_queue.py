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
    line, may_go_on = WriterQueue(0.01), threading.Event()
    holder = threading.Thread(target=lambda: (line.acquire(first=False), may_go_on.wait(LATE_S), line.release()))
    holder.start()
    until(lambda: line._owner is holder)
    for first in (True, False):
        with pytest.raises(TimeoutError):
            line.acquire(first=first)
    may_go_on.set()
    holder.join(LATE_S)
    line.acquire(first=False)
    line.release()


def test_a_turn_that_a_thread_could_not_release_is_free_once_it_is_gone_or_writes_anew() -> None:
    """An exception from outside may come between the lock and the block that releases it."""
    line = WriterQueue(0.01)
    lost = threading.Thread(target=lambda: line.acquire(first=True))
    lost.start()
    lost.join(LATE_S)
    line.acquire(first=False)
    line.acquire(first=False)
    line.release()
    assert line._owner is None


def test_an_urgent_thread_that_is_interrupted_while_it_waits_does_not_keep_the_others_out(monkeypatch: pytest.MonkeyPatch) -> None:
    line = WriterQueue(0.01)

    def interrupted(*_: object) -> bool:
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr(line._moved, "wait_for", interrupted)
        with pytest.raises(SystemExit):
            line.acquire(first=True)
    line.acquire(first=False)
    line.release()
