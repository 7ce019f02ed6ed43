"""What is new is read once for all who listen, and nobody who listens misses any of it."""

import asyncio
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from callbacks.desk.events.tail import PAGE, Tail, TailItem
from statemachine.tasks import Task
from tests.unit.callbacks.desk.desk_harness import DeskHarness, made
from tests.unit.callbacks.desk.events.stream_client import LATE_S, run, until


@pytest.fixture
def world(tmp_path: Path) -> Iterator[DeskHarness]:
    world = made(tmp_path)
    yield world
    world.ledger.may_go_on.set()
    world.ledger.close()


@pytest.fixture
def task(world: DeskHarness) -> Task:
    return world.task()


def tail_of(world: DeskHarness, *, kept: int = 1_000) -> Tail:
    return Tail(world.ledger, every_s=0.002, away_s=0.002, kept=kept)


async def heard(tail: Tail, after: int, number: int) -> list[TailItem]:
    """The next items, page after page."""
    found: list[TailItem] = []
    async with asyncio.timeout(LATE_S):
        while len(found) < number:
            found += await tail.next_items(found[-1].position if found else after, keys=True)
    return found


def positions(items: list[TailItem]) -> list[int]:
    return [item.position for item in items]


def test_whoever_is_near_the_end_gets_the_same_items_from_memory(world: DeskHarness, task: Task) -> None:
    async def scenario() -> None:
        tail = tail_of(world)
        with tail.listening(keys=True), tail.listening(keys=True):
            after = await tail.newest_position()
            while tail._window is None or tail._window.since is None:
                await asyncio.sleep(0.001)  # another task reads: only the window shows it
            first = asyncio.create_task(heard(tail, after, 3))
            await _is_awake(tail, world, task)
            told = world.tell(task, task)
            awake, *one = await first
            other = await heard(tail, awake.position, 2)
        assert positions(one) == told
        assert all(a is b for a, b in zip(one, other, strict=True))

    run(scenario)


async def _is_awake(tail: Tail, world: DeskHarness, task: Task) -> None:
    """The ledger has been read once, and what comes from now on is kept."""
    (place,) = world.tell(task)
    assert positions(await heard(tail, place - 1, 1)) == [place]


def test_whoever_is_further_behind_than_memory_reads_the_ledger_and_misses_nothing(world: DeskHarness, task: Task) -> None:
    async def scenario() -> None:
        tail = tail_of(world, kept=3)
        with tail.listening(keys=True):
            told = world.tell(*[task] * (2 * PAGE + 7))
            await heard(tail, told[-2], 1)
            told += world.tell(*[task] * 10)
            assert positions(await heard(tail, 0, len(told))) == told

    run(scenario)


@pytest.mark.parametrize("kept", [1, 5, 1_000])
def test_listeners_who_are_behind_by_any_number_hear_each_event_once(world: DeskHarness, task: Task, kept: int) -> None:
    async def scenario() -> None:
        tail = tail_of(world, kept=kept)
        told = world.tell(*[task] * 8)
        with tail.listening(keys=True):
            listening = [asyncio.create_task(heard(tail, told[at], 67 - at)) for at in range(8)]
            for _ in range(12):
                told += world.tell(*[task] * 5)
                await asyncio.sleep(0)
            assert [positions(await each) for each in listening] == [told[at + 1 :] for at in range(8)]

    run(scenario)


def test_the_ledger_is_looked_at_only_while_somebody_listens(world: DeskHarness) -> None:
    before = world.ledger.reads

    async def scenario() -> None:
        tail = tail_of(world)
        await asyncio.sleep(0)
        assert (world.ledger.reads, len(asyncio.all_tasks())) == (before, 1)
        with tail.listening(keys=True):
            await until(lambda: world.ledger.reads > before + 3)
        await until(lambda: len(asyncio.all_tasks()) == 1)

    run(scenario)


def test_who_listens_again_after_a_while_misses_nothing(world: DeskHarness, task: Task) -> None:
    async def scenario() -> None:
        tail = tail_of(world)
        with tail.listening(keys=True):
            await _is_awake(tail, world, task)
            last = await tail.newest_position()
        told = world.tell(task, task)
        with tail.listening(keys=False):
            assert positions(await heard(tail, last, 2)) == told

    run(scenario)


def test_while_the_ledger_is_away_listeners_wait_and_then_go_on(world: DeskHarness, task: Task) -> None:
    async def scenario() -> None:
        tail = tail_of(world)
        told = world.tell(task)
        with tail.listening(keys=True):
            await _is_awake(tail, world, task)
            world.ledger.is_away = True
            near, far = (asyncio.create_task(heard(tail, after, 2)) for after in (told[0], 0))
            await _fails_again(world)
            told += world.tell(task, task)
            await _fails_again(world)
            assert not far.done()
            world.ledger.is_away = False
            await asyncio.wait({near, far}, timeout=LATE_S)
            assert positions(far.result())[0] == told[0]
            assert positions(near.result())[-1] in told[1:]

    run(scenario)


async def _fails_again(world: DeskHarness) -> None:
    before = world.ledger.reads
    await until(lambda: world.ledger.reads > before + 2)


def test_a_tail_that_begins_while_the_ledger_is_away_begins_once_it_is_back(world: DeskHarness, task: Task) -> None:
    async def scenario() -> None:
        tail = tail_of(world)
        told = world.tell(task)
        world.ledger.is_away = True
        with tail.listening(keys=True):
            waiting = asyncio.create_task(heard(tail, 0, 1))
            await _fails_again(world)
            world.ledger.is_away = False
            assert positions(await waiting) == told

    run(scenario)


def test_a_bug_while_reading_is_logged_and_reading_goes_on(world: DeskHarness, task: Task) -> None:
    async def scenario() -> None:
        tail = tail_of(world)
        world.ledger.bugs = 2
        with tail.listening(keys=True):
            await _is_awake(tail, world, task)

    with capture_logs() as logs:
        run(scenario)
    assert [line["event"] for line in logs] == ["tail.failed", "tail.failed"]


def test_who_goes_does_not_wait_for_a_ledger_that_hangs(world: DeskHarness, task: Task) -> None:
    async def scenario() -> None:
        tail = tail_of(world)
        with tail.listening(keys=True):
            await _is_awake(tail, world, task)
            world.ledger.may_go_on.clear()
            waiting = asyncio.create_task(heard(tail, 0, 1))
            await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.wait({waiting}, timeout=LATE_S)
            assert waiting.cancelled()
        await until(lambda: len(asyncio.all_tasks()) == 1)
        world.ledger.may_go_on.set()

    run(scenario)


def test_no_more_items_are_kept_than_may_be(world: DeskHarness, task: Task) -> None:
    async def scenario() -> None:
        tail = tail_of(world, kept=10)
        with tail.listening(keys=True):
            await _is_awake(tail, world, task)
            seen = []
            for _ in range(30):
                (place,) = world.tell(task)
                seen += [weakref.ref(item) for item in await heard(tail, place - 1, 1)]
            assert [item() is not None for item in seen] == [False] * 20 + [True] * 10
        await until(lambda: [item() for item in seen] == [None] * 30)

    run(scenario)
