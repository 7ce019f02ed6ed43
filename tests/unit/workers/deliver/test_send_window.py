"""A subscriber that accepts events gets more at once; one that fails or hangs gets few, and occupies few threads."""

from typing import Any, cast

import pytest

from workers.deliver.messages import OutboundMessage
from workers.deliver.send_window import MAX_CONCURRENCY, MIN_CONCURRENCY, SendWindow, SendWindows


def messages(number: int) -> list[OutboundMessage]:
    """Returns numbers in their place: a window only passes them on."""
    return [cast(Any, index) for index in range(number)]


def grown() -> SendWindow:
    """Returns a window at its limit, with nothing in flight."""
    window = SendWindow()
    for _ in range(MAX_CONCURRENCY):
        window.on_claimed()
        window.on_sent(ok=True)
    return window


def test_at_first_eight_may_be_in_flight() -> None:
    window = SendWindow()
    capacities = [window.capacity]
    for _ in range(9):
        window.on_claimed()
        capacities.append(window.capacity)
    assert capacities == [8, 7, 6, 5, 4, 3, 2, 1, 0, 0]


def test_each_success_adds_one_to_the_limit_until_there_is_a_backlog_too() -> None:
    window, capacities = SendWindow(), []
    for _ in range(MAX_CONCURRENCY):
        window.on_claimed()
        window.on_sent(ok=True)
        capacities.append(window.capacity)
    assert capacities == [*range(9, MAX_CONCURRENCY), *[12 * MAX_CONCURRENCY] * 9]


@pytest.mark.parametrize(("failures", "capacity"), [(1, 16), (2, 8), (3, MIN_CONCURRENCY), (9, MIN_CONCURRENCY)])
def test_each_failure_halves_the_capacity_down_to_the_minimum(failures: int, capacity: int) -> None:
    window = grown()
    for _ in range(failures):
        window.on_claimed()
        window.on_sent(ok=False)
    assert window.capacity == capacity


def test_threads_are_started_for_waiting_messages_up_to_the_limit() -> None:
    window = SendWindow()
    assert [window.enqueue(messages(number)) for number in (0, 3, 4, 4)] == [0, 3, 5, 0]


def test_a_thread_goes_on_with_waiting_messages_and_ends_without_any() -> None:
    window = SendWindow()
    assert window.enqueue(messages(2)) == 2
    assert [window.next_message() for _ in range(4)] == [0, 1, None, None]
    assert window.enqueue(messages(1)) == 1


def test_surplus_threads_end_and_leave_the_messages_to_the_others() -> None:
    window = grown()
    assert window.enqueue(messages(100)) == MAX_CONCURRENCY
    for _ in range(3):
        window.on_claimed()
        window.on_sent(ok=False)
    ended = [window.next_message() for _ in range(MAX_CONCURRENCY)]
    assert ended == [None] * (MAX_CONCURRENCY - MIN_CONCURRENCY) + messages(MIN_CONCURRENCY)


def test_draining_returns_the_messages_that_no_thread_has() -> None:
    window = SendWindow()
    window.enqueue(messages(3))
    window.next_message()
    assert (window.drain(), window.drain(), window.next_message()) == ([1, 2], [], None)


def test_a_window_is_idle_while_nothing_is_in_flight() -> None:
    window, idle = SendWindow(), []
    for step in (window.on_claimed, window.on_claimed, lambda: window.on_sent(ok=True), lambda: window.on_sent(ok=False)):
        step()
        idle.append(window.is_idle)
    assert (SendWindow().is_idle, idle) == (True, [False, False, False, True])


def test_windows_are_removed_with_their_subscriptions_once_nothing_is_in_flight() -> None:
    windows = SendWindows()
    kept, busy, gone = (windows.window_of(name) for name in ("kept", "busy", "gone"))
    busy.on_claimed()
    windows.keep_only(["kept"])
    remembered = [windows.window_of(name) is window for name, window in (("kept", kept), ("busy", busy), ("gone", gone))]
    assert remembered == [True, True, False]


def test_draining_covers_all_windows() -> None:
    windows = SendWindows()
    windows.window_of("a").enqueue(messages(1))
    windows.window_of("b").enqueue(messages(2))
    assert windows.drain() == [0, 0, 1]
