"""Streams tell of each event once, whatever their clients and the ledger do."""

import asyncio
from contextlib import ExitStack
from pathlib import Path

import pytest

from adapters.settings import Role
from callbacks.desk.events.sse import StreamOwner, Streams
from callbacks.desk.http.problems import TooManyStreams
from tests.unit.callbacks.desk.desk_harness import STREAM, DeskHarness, made
from tests.unit.callbacks.desk.events.stream_client import LATE_S, listening, run, until


def test_a_stream_begins_with_where_it_is(world: DeskHarness) -> None:
    (place,) = world.tell(world.task())

    async def scenario() -> None:
        async with listening(world) as listener:
            assert await listener.block() == f"retry: 2000\nid: {place}"
            headers = await listener.headers()
        assert headers["content-type"].startswith("text/event-stream")
        assert (headers["cache-control"], headers["x-accel-buffering"]) == ("no-store", "no")
        assert "content-length" not in headers

    run(scenario)


def test_without_a_position_only_what_is_to_come_is_told(world: DeskHarness) -> None:
    world.tell(world.task("before"))
    later = world.task("later")

    async def scenario() -> None:
        async with listening(world) as listener:
            await listener.block()
            (place,) = world.tell(later)
            ((position, event),) = await listener.events(1)
        assert (position, event["subject"], event["type"]) == (place, later.id, "tally.task.running")

    run(scenario)


def test_a_position_of_the_query_says_where_it_begins_and_the_last_event_heard_counts_for_more(world: DeskHarness) -> None:
    places = world.tell(*(world.task(f"t{number}") for number in range(5)))

    async def scenario() -> None:
        async with listening(world, 0) as listener:
            assert await listener.block() == "retry: 2000\nid: 0"
            assert await listener.heard(5) == places
        async with listening(world, 0, last=str(places[2])) as listener:
            assert await listener.block() == f"retry: 2000\nid: {places[2]}"
            assert await listener.heard(2) == places[3:]

    run(scenario)


def test_who_comes_back_again_and_again_misses_nothing(world: DeskHarness) -> None:
    task = world.task()

    async def scenario() -> None:
        last, heard, told = "0", [], []
        for number in range(1, 8):
            told += world.tell(*[task] * number)
            async with listening(world, last=last) as listener:
                heard += await listener.heard(number - 1)
                told += world.tell(task)
                heard += await listener.heard(2)
            last = str(heard[-1])
        assert heard == told

    run(scenario)


def test_nothing_is_missed_between_a_page_and_the_stream_that_goes_on(world: DeskHarness) -> None:
    task = world.task()
    told = world.tell(task, task)
    page = world.get("/v1/events").json()

    async def scenario() -> None:
        told.extend(world.tell(task))
        async with listening(world, page["next_after"]) as listener:
            told.extend(world.tell(task))
            assert await listener.heard(2) == told[2:]

    run(scenario)


def test_many_clients_hear_each_event_once_and_in_order(world: DeskHarness) -> None:
    task = world.task()

    async def scenario() -> None:
        async with asyncio.TaskGroup() as group, asyncio.timeout(20):
            begun = world.tell(*[task] * 130)
            from_the_beginning = [group.create_task(_hears(world, 0, 250)) for _ in range(20)]
            from_now = [group.create_task(_hears(world, begun[-1], 120)) for _ in range(20)]
            told = [*begun, *(place for _ in range(12) for place in world.tell(*[task] * 10))]
        assert [client.result() for client in from_the_beginning] == [told] * 20
        assert [client.result() for client in from_now] == [told[130:]] * 20

    run(scenario)


async def _hears(world: DeskHarness, after: int, number: int) -> list[int]:
    async with listening(world, after) as listener:
        return await listener.heard(number)


@pytest.mark.parametrize(("role", "shown"), [(Role.VIEWER, False), (Role.OPERATOR, True)])
def test_stream_keys_are_for_operators(world: DeskHarness, role: Role, *, shown: bool) -> None:
    task = world.task(params={"Url": STREAM}, message=f"no answer from {STREAM}")

    async def scenario() -> None:
        # One who sees them listens too: what is kept for one is not told to the other.
        async with listening(world, role=Role.ADMIN) as other, listening(world, role=role) as listener:
            await other.block()
            await listener.block()
            world.tell(task)
            assert "txSecret" in await other.block()
            assert ("txSecret" in await listener.block()) == shown

    run(scenario)


def test_while_nothing_happens_a_comment_says_that_the_stream_lives(tmp_path: Path) -> None:
    world = made(tmp_path, stream_limits={"heartbeat_s": 0.01})
    task = world.task()

    async def scenario() -> None:
        async with listening(world) as listener:
            await listener.block()
            assert [await listener.block() for _ in range(3)] == [":", ":", ":"]
            assert await listener.heard(0) == []
            (place,) = world.tell(task)
            assert await listener.heard(1) == [place]
            assert await listener.block() == ":"

    run(scenario)
    world.ledger.close()


def test_a_stream_outlives_a_ledger_that_is_away(tmp_path: Path) -> None:
    world = made(tmp_path, stream_limits={"heartbeat_s": 0.01})
    task = world.task()

    async def scenario() -> None:
        first = world.tell(task)
        async with listening(world, 0) as listener:
            heard = await listener.heard(1)
            world.ledger.is_away = True
            async with listening(world, heard[0]) as other:
                assert await other.status() == 200
                assert [await each.block() for each in (other, listener, other, listener)][2:] == [":", ":"]
                world.ledger.is_away = False
                second = world.tell(task)
                assert await listener.heard(1) == await other.heard(1) == second
        assert heard == first

    run(scenario)
    world.ledger.close()


def test_nobody_takes_all_places_and_operators_always_get_one(world: DeskHarness) -> None:
    """One viewer had all 200, and an operator was refused."""
    streams = Streams(world.streams.tail, most=8)

    async def scenario() -> None:
        def take(name: str, *, keys: bool) -> bool:
            pump = asyncio.create_task(asyncio.sleep(0))
            try:
                stack.enter_context(streams.reserve(pump, StreamOwner(name=name, keys=keys)))
            except TooManyStreams:
                return False
            return True

        with ExitStack() as stack:
            assert [take("grafana", keys=False) for _ in range(5)] == [True] * 4 + [False]
            assert [take("board", keys=False) for _ in range(3)] == [True] * 2 + [False]
            assert [take("ops", keys=True) for _ in range(3)] == [True] * 2 + [False]
        assert streams.open == 0

    run(scenario)


def test_no_more_clients_are_taken_than_there_are_places(tmp_path: Path) -> None:
    world = made(tmp_path, stream_limits={"most": 4})

    async def scenario() -> None:
        async with listening(world) as one, listening(world) as other:
            assert [await one.status(), await other.status()] == [200, 200]
            async with listening(world) as third:
                assert await third.status() == 503
                headers = await third.headers()
                assert (headers["content-type"], headers["retry-after"]) == ("application/problem+json", "5")
            assert world.streams.open == 2
        async with listening(world) as next_one:
            assert await next_one.status() == 200

    run(scenario)
    assert "tally_event_streams 0.0" in world.get("/metrics").text
    world.ledger.close()


def test_a_client_that_went_away_costs_nothing_more(world: DeskHarness) -> None:
    async def scenario() -> None:
        async with listening(world) as listener:
            await listener.block()
            assert world.streams.open == 1
            assert len(asyncio.all_tasks()) > 2
        assert (world.streams.open, listener.has_ended) == (0, False)

    run(scenario)


def test_a_client_that_takes_nothing_is_cut_off_and_holds_up_nobody(tmp_path: Path) -> None:
    world = made(tmp_path, stream_limits={"patience_s": 0.05})
    task = world.task()

    async def scenario() -> None:
        async with listening(world) as slow, listening(world) as quick:
            await slow.block()
            slow.takes.clear()
            places = world.tell(*[task] * 3)
            assert await quick.heard(3) == places
            await until(lambda: slow.was_cut)
            await until(lambda: world.streams.open == 1)
            later = world.tell(task)
            assert await quick.heard(1) == later
        async with listening(world, last=str(places[0])) as again:
            assert await again.heard(3) == [*places[1:], *later]

    run(scenario)
    world.ledger.close()


def test_told_to_end_all_streams_end_and_no_more_are_taken(tmp_path: Path) -> None:
    world = made(tmp_path, stream_limits={"grace_s": 0.05})
    task = world.task()

    async def scenario() -> None:
        async with listening(world) as reading, listening(world) as hanging:
            await reading.block()
            await hanging.block()
            hanging.takes.clear()
            world.tell(task)
            await asyncio.wait_for(hanging.offered.wait(), LATE_S)
            world.streams.close_all()
            await until(lambda: reading.has_ended and world.streams.open == 0)
            async with listening(world, 0) as late:
                assert await late.status() == 503
            await until(lambda: hanging.was_cut)

    run(scenario)
    world.ledger.close()


def test_a_head_is_answered_without_a_stream(world: DeskHarness) -> None:
    async def scenario() -> None:
        async with listening(world, method="HEAD") as listener:
            assert (await listener.headers())["content-type"].startswith("text/event-stream")
            await until(lambda: listener.has_ended)

    run(scenario)
