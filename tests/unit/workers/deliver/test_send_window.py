"""Who takes what comes gets more at once; who does not, or hangs, gets little and holds few threads."""

from typing import Any, cast

import pytest

from workers.deliver.messages import OutboundMessage
from workers.deliver.send_window import LEAST, MOST, SendWindow, SendWindows


def parcels(number: int) -> list[OutboundMessage]:
    """To be told apart is all that a window wants of them."""
    return [cast(Any, index) for index in range(number)]


def grown() -> SendWindow:
    """To whom as much as can be is sent at once, and nothing is on its way."""
    window = SendWindow()
    for _ in range(MOST):
        window.on_claimed()
        window.on_sent(ok=True)
    return window


def test_at_first_eight_may_be_on_their_way() -> None:
    window = SendWindow()
    rooms = [window.capacity]
    for _ in range(9):
        window.on_claimed()
        rooms.append(window.capacity)
    assert rooms == [8, 7, 6, 5, 4, 3, 2, 1, 0, 0]


def test_each_that_is_taken_makes_room_for_one_more_until_there_is_a_stock_too() -> None:
    window, rooms = SendWindow(), []
    for _ in range(MOST):
        window.on_claimed()
        window.on_sent(ok=True)
        rooms.append(window.capacity)
    assert rooms == [*range(9, MOST), *[12 * MOST] * 9]


@pytest.mark.parametrize(("failures", "room"), [(1, 16), (2, 8), (3, LEAST), (9, LEAST)])
def test_each_failure_halves_the_room_down_to_the_least(failures: int, room: int) -> None:
    window = grown()
    for _ in range(failures):
        window.on_claimed()
        window.on_sent(ok=False)
    assert window.capacity == room


def test_there_are_threads_for_what_waits_up_to_the_limit() -> None:
    window = SendWindow()
    assert [window.enqueue(parcels(number)) for number in (0, 3, 4, 4)] == [0, 3, 5, 0]


def test_a_thread_goes_on_with_what_waits_and_ends_when_nothing_does() -> None:
    window = SendWindow()
    assert window.enqueue(parcels(2)) == 2
    assert [window.next_message() for _ in range(4)] == [0, 1, None, None]
    assert window.enqueue(parcels(1)) == 1


def test_threads_that_are_too_many_end_and_leave_what_waits_to_the_others() -> None:
    window = grown()
    assert window.enqueue(parcels(100)) == MOST
    for _ in range(3):
        window.on_claimed()
        window.on_sent(ok=False)
    ended = [window.next_message() for _ in range(MOST)]
    assert ended == [None] * (MOST - LEAST) + parcels(LEAST)


def test_what_gets_no_thread_any_more_is_handed_back() -> None:
    window = SendWindow()
    window.enqueue(parcels(3))
    window.next_message()
    assert (window.drain(), window.drain(), window.next_message()) == ([1, 2], [], None)


def test_a_window_is_idle_while_nothing_is_out() -> None:
    window, idle = SendWindow(), []
    for step in (window.on_claimed, window.on_claimed, lambda: window.on_sent(ok=True), lambda: window.on_sent(ok=False)):
        step()
        idle.append(window.is_idle)
    assert (SendWindow().is_idle, idle) == (True, [False, False, False, True])


def test_windows_are_forgotten_with_their_subscriptions_once_nothing_is_on_its_way() -> None:
    windows = SendWindows()
    kept, busy, gone = (windows.window_of(name) for name in ("kept", "busy", "gone"))
    busy.on_claimed()
    windows.keep_only(["kept"])
    assert (windows.window_of("kept") is kept, windows.window_of("busy") is busy, windows.window_of("gone") is gone) == (True, True, False)


def test_what_gets_no_thread_is_handed_back_of_all() -> None:
    windows = SendWindows()
    windows.window_of("a").enqueue(parcels(1))
    windows.window_of("b").enqueue(parcels(2))
    assert windows.drain() == [0, 0, 1]
