"""Who takes what comes gets more at once; who does not, or hangs, gets little and holds few threads."""

from typing import Any, cast

import pytest

from workers.deliver.messages import Parcel
from workers.deliver.send_window import LEAST, MOST, Window, Windows


def parcels(number: int) -> list[Parcel]:
    """To be told apart is all that a window wants of them."""
    return [cast(Any, index) for index in range(number)]


def grown() -> Window:
    """To whom as much as can be is sent at once, and nothing is on its way."""
    window = Window()
    for _ in range(MOST):
        window.out()
        window.back(ok=True)
    return window


def test_at_first_eight_may_be_on_their_way() -> None:
    window = Window()
    rooms = [window.room]
    for _ in range(9):
        window.out()
        rooms.append(window.room)
    assert rooms == [8, 7, 6, 5, 4, 3, 2, 1, 0, 0]


def test_each_that_is_taken_makes_room_for_one_more_until_there_is_a_stock_too() -> None:
    window, rooms = Window(), []
    for _ in range(MOST):
        window.out()
        window.back(ok=True)
        rooms.append(window.room)
    assert rooms == [*range(9, MOST), *[12 * MOST] * 9]


@pytest.mark.parametrize(("failures", "room"), [(1, 16), (2, 8), (3, LEAST), (9, LEAST)])
def test_each_failure_halves_the_room_down_to_the_least(failures: int, room: int) -> None:
    window = grown()
    for _ in range(failures):
        window.out()
        window.back(ok=False)
    assert window.room == room


def test_there_are_threads_for_what_waits_up_to_the_limit() -> None:
    window = Window()
    assert [window.put(parcels(number)) for number in (0, 3, 4, 4)] == [0, 3, 5, 0]


def test_a_thread_goes_on_with_what_waits_and_ends_when_nothing_does() -> None:
    window = Window()
    assert window.put(parcels(2)) == 2
    assert [window.next_one() for _ in range(4)] == [0, 1, None, None]
    assert window.put(parcels(1)) == 1


def test_threads_that_are_too_many_end_and_leave_what_waits_to_the_others() -> None:
    window = grown()
    assert window.put(parcels(100)) == MOST
    for _ in range(3):
        window.out()
        window.back(ok=False)
    ended = [window.next_one() for _ in range(MOST)]
    assert ended == [None] * (MOST - LEAST) + parcels(LEAST)


def test_what_gets_no_thread_any_more_is_handed_back() -> None:
    window = Window()
    window.put(parcels(3))
    window.next_one()
    assert (window.unsent(), window.unsent(), window.next_one()) == ([1, 2], [], None)


def test_a_window_is_idle_while_nothing_is_out() -> None:
    window, idle = Window(), []
    for step in (window.out, window.out, lambda: window.back(ok=True), lambda: window.back(ok=False)):
        step()
        idle.append(window.idle)
    assert (Window().idle, idle) == (True, [False, False, False, True])


def test_windows_are_forgotten_with_their_subscriptions_once_nothing_is_on_its_way() -> None:
    windows = Windows()
    kept, busy, gone = (windows.of(name) for name in ("kept", "busy", "gone"))
    busy.out()
    windows.keep(["kept"])
    assert (windows.of("kept") is kept, windows.of("busy") is busy, windows.of("gone") is gone) == (True, True, False)


def test_what_gets_no_thread_is_handed_back_of_all() -> None:
    windows = Windows()
    windows.of("a").put(parcels(1))
    windows.of("b").put(parcels(2))
    assert windows.unsent() == [0, 0, 1]
