"""A reader that follows positions sees each event once, in order, whatever transactions overlap."""

import random
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from adapters.ledger import Ledger, events, positions
from adapters.ledger.events import SystemEvent
from tests.support.times import T0

WRITERS, TRANSACTIONS = 6, 12


class RolledBack(Exception):
    pass


def note(subject: str, version: int, at: int = T0) -> SystemEvent:
    return SystemEvent(subject=subject, version=version, type="a.b", at=at, data={})


def append(ledger: Ledger, *at: int) -> list[int]:
    """Appends events of these times (ms) in one transaction; returns their positions."""
    with ledger.read() as connection:
        before = positions.newest(connection)
    with ledger.write() as connection:
        events.append_system_events(connection, [note("s", number, moment) for number, moment in enumerate(at)])
    with ledger.read() as connection:
        return [event.position for event in events.page(connection, after=before, limit=100)]


class Follower:
    """A reader that continues from the last position; `rounds`: number of its reads, for tests that wait for them."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._looked = threading.Condition()
        self.rounds = 0
        self.seen: list[tuple[int, str, int]] = []

    def look(self, limit: int = 7) -> bool:
        """Reads once; returns whether there was an event."""
        after = self.seen[-1][0] if self.seen else 0
        with self._ledger.read() as connection:
            found = events.page(connection, after=after, limit=limit)
        self.seen += [(event.position, event.content.subject, event.content.version) for event in found]
        with self._looked:
            self.rounds += 1
            self._looked.notify_all()
        return bool(found)

    def wait(self, rounds: int) -> None:
        """Waits until it has read a number of further times."""
        with self._looked:
            wanted = self.rounds + rounds
            self._looked.wait_for(lambda: self.rounds >= wanted, timeout=8)


def write(ledger: Ledger, follower: Follower, name: str, begin: threading.Barrier) -> list[tuple[str, int]]:
    """Runs transactions that stay open before and after they append while a reader follows; returns the committed events."""
    dice = random.Random(name)
    committed: list[tuple[str, int]] = []
    begin.wait()
    for first in range(0, 10 * TRANSACTIONS, 10):
        told = [note(name, first + number, T0 + dice.randrange(-5_000, 5_000)) for number in range(dice.randrange(1, 5))]
        with suppress(RolledBack):
            hold_open(ledger, follower, told, dice)
            committed += [(each.subject, each.version) for each in told]
    return committed


def hold_open(ledger: Ledger, follower: Follower, told: list[SystemEvent], dice: random.Random) -> None:
    with ledger.write() as connection:
        follower.wait(dice.randrange(2))
        events.append_system_events(connection, told)
        follower.wait(dice.randrange(4))
        if dice.random() < 0.2:
            raise RolledBack


def test_a_follower_sees_each_event_once_and_in_order_while_transactions_overlap(ledger: Ledger) -> None:
    follower, begin = Follower(ledger), threading.Barrier(WRITERS)
    with ThreadPoolExecutor(WRITERS) as threads:
        writing = [threads.submit(write, ledger, follower, f"w{number}", begin) for number in range(WRITERS)]
        while not all(each.done() for each in writing):
            follower.look()
    while follower.look():
        pass

    places = [place for place, *_ in follower.seen]
    assert places == sorted(set(places))
    by_writer = {f"w{number}": [(s, v) for _, s, v in follower.seen if s == f"w{number}"] for number in range(WRITERS)}
    assert by_writer == {f"w{number}": each.result() for number, each in enumerate(writing)}


def test_an_event_of_a_transaction_that_is_still_open_comes_before_all_that_are_appended_later(postgresql_ledger: Ledger) -> None:
    """The later transaction waits; without the lock its event would be seen first, and the other one missed."""
    appended, may_commit = threading.Event(), threading.Event()

    def slow() -> None:
        with postgresql_ledger.write() as connection:
            events.append_system_events(connection, [note("slow", 1)])
            appended.set()
            may_commit.wait(8)

    def quick() -> None:
        appended.wait(8)
        with postgresql_ledger.write() as connection:
            events.append_system_events(connection, [note("quick", 1)])

    with ThreadPoolExecutor(2) as threads:
        running = [threads.submit(slow), threads.submit(quick)]
        follower = Follower(postgresql_ledger)
        appended.wait(8)
        for _ in range(20):
            assert not follower.look()
        may_commit.set()
        for each in running:
            each.result()
    follower.look()

    assert [subject for _, subject, _ in follower.seen] == ["slow", "quick"]


def test_an_empty_ledger_has_no_newest_position(ledger: Ledger) -> None:
    with ledger.read() as connection:
        assert positions.newest(connection) == 0


def test_the_newest_position_is_that_of_the_newest_event(ledger: Ledger) -> None:
    places = append(ledger, T0, T0)

    with ledger.read() as connection:
        assert positions.newest(connection) == places[-1]


def test_a_position_contains_the_second_of_its_event(ledger: Ledger) -> None:
    places = append(ledger, T0, T0 + 999) + append(ledger, T0 + 1_000)

    first, next_second = positions.first_position(T0), positions.first_position(T0 + 1_000)
    assert places == [first + 1, first + 2, next_second + 1]
    assert max(places) < 2**53


@pytest.mark.parametrize("earlier", [1, 10_000, 400 * 86_400_000])
def test_no_position_is_allocated_twice_after_the_clock_was_set_back(ledger: Ledger, earlier: int) -> None:
    places = append(ledger, T0, T0) + append(ledger, T0 - earlier) + append(ledger, T0)

    assert places == list(range(places[0], places[0] + 4))


def test_a_transaction_that_was_rolled_back_leaves_nothing(ledger: Ledger) -> None:
    with suppress(RolledBack), ledger.write() as connection:
        events.append_system_events(connection, [note("s", 1)])
        raise RolledBack
    with ledger.read() as connection:
        assert events.page(connection, after=0, limit=1) == []
