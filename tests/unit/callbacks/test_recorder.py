"""Callbacks that come together share a commit; those that the ledger does not take go to the spool, and later to the ledger."""

import asyncio
import functools
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from adapters.clock import monotonic_s
from adapters.ledger import Ledger, LedgerUnavailableError, callbacks
from adapters.ledger.inbox import Arrival
from adapters.metrics import Metrics
from adapters.spool import Spool
from adapters.supervision import Health
from callbacks import pending_callbacks
from callbacks import recorder as recording
from callbacks.pending_callbacks import NotRecordedError
from callbacks.recorder import Recorder, RecorderLimits
from tests.support.ledgers import create_schema
from tests.support.small_disks import small_disk

#: Room in the queue for ten callbacks.
TEN = 10 * (pending_callbacks._OVERHEAD_BYTES + 100)
PLENTY = 64 * 1024 * 1024


#: The test fails if something does not happen within this time, s.
LATE_S = 60


class UnreliableLedger(Ledger):
    """A real ledger that hangs, or is away, when a test sets it so."""

    def __init__(self, folder: Path) -> None:
        super().__init__(f"sqlite:///{folder}/tally.db")
        create_schema(self)
        self.commits = 0
        self.is_away = False
        self.may_go_on = threading.Event()
        self.may_go_on.set()
        self.entered = threading.Event()

    def write(self) -> AbstractContextManager[Any]:
        return self._enter_when_allowed(super().write)

    def write_once(self) -> AbstractContextManager[Any]:
        return self._enter_when_allowed(super().write_once)

    @contextmanager
    def _enter_when_allowed(self, write: Callable[[], AbstractContextManager[Any]]) -> Iterator[Any]:
        self.entered.set()
        assert self.may_go_on.wait(LATE_S)
        if self.is_away:
            raise LedgerUnavailableError("away")
        with write() as connection:
            yield connection
        self.commits += 1

    def keys(self) -> list[str]:
        """Returns the keys of the recorded callbacks, in their order."""
        with self.read() as connection:
            ids = callbacks.ids_after(connection, callbacks.CallbackFilter(), after=0, limit=10_000)
            found = [callbacks.find(connection, each) for each in ids]
        return [each.body.decode() for each in found if each is not None]


@dataclass
class RecorderWorld:
    """A recorder with its ledger and spool. rings: how often the workers were woken."""

    ledger: UnreliableLedger
    spool: Spool
    metrics: Metrics = field(default_factory=Metrics)
    rings: int = 0
    health: Health = field(default_factory=Health)

    def ring(self) -> None:
        self.rings += 1

    @asynccontextmanager
    async def at_work(self, **limits: Any) -> AsyncIterator[Recorder]:
        made = RecorderLimits(**{"ledger_timeout_s": 60, **limits})
        recorder = Recorder(self.ledger, self.spool, self.metrics, on_recorded=self.ring, limits=made, health=self.health)
        recorder.start()
        try:
            yield recorder
        finally:
            self.ledger.may_go_on.set()
            await asyncio.to_thread(recorder.stop)

    @property
    def is_back(self) -> bool:
        """Returns whether the ledger takes callbacks again, and has taken all spooled ones."""
        return not (self.spool.has_rows or self.number("tally_breaker_open"))

    def number(self, name: str) -> float:
        return self.metrics.registry.get_sample_value(name) or 0.0


@pytest.fixture
def world(tmp_path: Path) -> Iterator[RecorderWorld]:
    ledger, spool = UnreliableLedger(tmp_path), spool_in(tmp_path)
    yield RecorderWorld(ledger, spool)
    spool.close()
    ledger.close()


def spool_in(folder: Path, max_bytes: int = PLENTY) -> Spool:
    times = count(1)
    return Spool(folder / "spool", max_bytes, lambda: next(times))


def arrival(number: int) -> Arrival:
    return Arrival(
        vendor="acme",
        app_id="app",
        event_type="started",
        dedupe_key=f"{number:064x}",
        received_at=1_768_960_000_000,
        headers={},
        body=str(number).encode(),
    )


def bodies(first: int, last: int) -> list[str]:
    return [str(number) for number in range(first, last)]


def in_a_loop(test: Callable[..., Any]) -> Callable[..., None]:
    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        asyncio.run(test(*args, **kwargs))

    return run


async def until(true: Callable[[], bool]) -> None:
    """Waits for something that another thread does without any signal."""
    deadline = monotonic_s() + 20
    while not true():
        assert monotonic_s() < deadline
        await asyncio.sleep(0.01)


@in_a_loop
async def test_callbacks_that_come_together_share_a_commit(world: RecorderWorld):
    async with world.at_work() as recorder:
        before = world.ledger.commits
        news = await asyncio.gather(*(recorder.record(arrival(n)) for n in range(100)))
        assert world.ledger.commits - before == 1
        assert news == [True] * 100
        assert world.ledger.keys() == bodies(0, 100)
        assert world.rings == 1


@in_a_loop
async def test_what_comes_while_one_batch_commits_shares_the_next(world: RecorderWorld):
    async with world.at_work() as recorder:
        world.ledger.may_go_on.clear()
        first = recorder.record(arrival(0))
        assert await asyncio.to_thread(world.ledger.entered.wait, LATE_S)
        rest = [recorder.record(arrival(n)) for n in range(1, 50)]
        world.ledger.may_go_on.set()
        await asyncio.gather(first, *rest)
        assert world.ledger.commits == 2


@in_a_loop
async def test_each_is_told_whether_it_was_new(world: RecorderWorld):
    async with world.at_work() as recorder:
        await recorder.record(arrival(1))
        news = await asyncio.gather(*(recorder.record(arrival(n)) for n in (1, 2)))
        assert news == [False, True]


@in_a_loop
async def test_one_bad_row_fails_nobody_and_is_kept_aside(world: RecorderWorld):
    bad = replace(arrival(57), received_at=None)  # type: ignore[arg-type]
    async with world.at_work() as recorder:
        with capture_logs() as logs:
            await asyncio.gather(*(recorder.record(bad if n == 57 else arrival(n)) for n in range(100)))
        assert [entry["event"] for entry in logs] == ["callback.refused_by_ledger", "spool.set_aside"]
        assert world.ledger.keys() == bodies(0, 57) + bodies(58, 100)
        assert world.ledger.commits < 20  # it splits batches in halves, not into single rows
        assert (world.spool.rows(), world.spool.set_aside_files()) == (0, 1)


@in_a_loop
async def test_a_ledger_that_hangs_opens_the_breaker_within_a_second_and_nobody_notices(world: RecorderWorld):
    async with world.at_work(ledger_timeout_s=1.0) as recorder:
        world.ledger.may_go_on.clear()
        began = monotonic_s()
        first = [recorder.record(arrival(n)) for n in range(3)]
        assert await asyncio.to_thread(world.ledger.entered.wait, LATE_S)
        behind = [recorder.record(arrival(n)) for n in range(3, 6)]
        assert await asyncio.gather(*first, *behind) == [True] * 6
        assert 0.9 < monotonic_s() - began < 3
        assert world.number("tally_breaker_open") == 1
        assert world.number("tally_spooled_callbacks_total") == 6
        assert world.spool.rows() == 6

        began = monotonic_s()
        await recorder.record(arrival(6))
        assert monotonic_s() - began < 0.9
        assert world.ledger.keys() == []

        world.ledger.may_go_on.set()
        await until(lambda: world.is_back)
        assert sorted(world.ledger.keys(), key=int) == bodies(0, 7)
        assert world.rings > 0


@in_a_loop
async def test_while_the_ledger_is_away_all_goes_to_the_spool_and_comes_back_in_order(world: RecorderWorld):
    async with world.at_work() as recorder:
        world.ledger.is_away = True
        with capture_logs() as logs:
            for n in range(20):
                assert await recorder.record(arrival(n))
            assert world.ledger.keys() == []
            world.ledger.is_away = False
            await until(lambda: bool(logs) and logs[-1]["event"] == "spool.drained")
        assert world.ledger.keys() == bodies(0, 20)
        assert [entry["event"] for entry in logs] == ["breaker.opened", "breaker.closed", "spool.drained"]
        assert await recorder.record(arrival(20))
        assert world.spool.rows() == 0
        assert world.ledger.keys() == bodies(0, 21)


@in_a_loop
async def test_a_hanging_writer_is_replaced_and_what_it_commits_after_all_is_not_doubled(
    world: RecorderWorld,
):
    held, real = threading.Event(), world.ledger.may_go_on
    async with world.at_work(ledger_timeout_s=0.2, replace_writer_s=0.5) as recorder:
        world.ledger.may_go_on = held  # a writer that enters now hangs until the end, as on a connection that is gone
        assert await recorder.record(arrival(0))
        world.ledger.may_go_on = real
        await until(lambda: world.ledger.keys() == ["0"] and world.is_back)
        assert await recorder.record(arrival(1))
        held.set()
        await until(lambda: world.ledger.commits >= 3 and world.is_back)
        assert world.ledger.keys() == ["0", "1"]


@in_a_loop
async def test_writers_that_hang_do_not_become_many(world: RecorderWorld):

    def writers() -> int:
        return sum(thread.name == "recorder-writer" for thread in threading.enumerate())

    async with world.at_work(ledger_timeout_s=0.0, replace_writer_s=0.0, max_writers=3) as recorder:
        world.ledger.may_go_on.clear()
        await recorder.record(arrival(0))
        await until(lambda: writers() == 3)
        for n in range(10):
            await recorder.record(arrival(n))
            await asyncio.sleep(recording._GUARD_INTERVAL_S)  # until the guard has checked again
        assert writers() == 3


@in_a_loop
async def test_what_comes_while_too_many_wait_for_the_ledger_goes_to_the_spool(world: RecorderWorld):
    async with world.at_work(ledger_timeout_s=60, queue_bytes=TEN) as recorder:
        world.ledger.may_go_on.clear()
        waiting = [recorder.record(arrival(n)) for n in range(10)]
        beyond = recorder.record(arrival(10))
        assert await beyond
        assert world.number("tally_breaker_open") == 0
        assert world.spool.rows() == 1
        world.ledger.may_go_on.set()
        await asyncio.gather(*waiting)
        await until(lambda: not world.spool.has_rows)
        assert sorted(world.ledger.keys(), key=int) == bodies(0, 11)


@in_a_loop
async def test_what_comes_while_too_many_wait_for_both_is_refused_at_once(world: RecorderWorld):
    async with world.at_work(queue_bytes=TEN) as recorder:
        taken = [recorder.record(arrival(n)) for n in range(40)]
        results = await asyncio.gather(*taken, return_exceptions=True)
        assert [isinstance(result, NotRecordedError) for result in results] == [False] * 20 + [True] * 20
        assert await recorder.record(arrival(40))  # there is room again


@in_a_loop
async def test_it_is_refused_only_where_neither_can_take_it(tmp_path: Path):
    world = RecorderWorld(UnreliableLedger(tmp_path), spool_in(tmp_path, max_bytes=0))
    async with world.at_work() as recorder:
        world.ledger.is_away = True
        with pytest.raises(NotRecordedError, match="the spool has 0 bytes"):
            await recorder.record(arrival(0))
        world.ledger.is_away = False
        await until(lambda: world.number("tally_breaker_open") == 0)
        assert await recorder.record(arrival(1))
    world.ledger.close()


@in_a_loop
async def test_a_full_spool_leaves_the_ledger_its_time(tmp_path: Path):
    world = RecorderWorld(UnreliableLedger(tmp_path), spool_in(tmp_path, max_bytes=0))
    async with world.at_work(ledger_timeout_s=0.1) as recorder:
        world.ledger.may_go_on.clear()
        waiting = recorder.record(arrival(0))
        await until(lambda: world.number("tally_breaker_open") == 1)
        await asyncio.sleep(2 * recording._GUARD_INTERVAL_S)  # the spool has refused a write of the guard
        assert not waiting.done()
        world.ledger.may_go_on.set()
        assert await waiting
    world.ledger.close()


@in_a_loop
async def test_in_the_end_it_is_refused_before_the_vendor_gives_up(tmp_path: Path):
    world = RecorderWorld(UnreliableLedger(tmp_path), spool_in(tmp_path, max_bytes=0))
    async with world.at_work(ledger_timeout_s=1.0) as recorder:
        world.ledger.may_go_on.clear()
        began = monotonic_s()
        with pytest.raises(NotRecordedError):
            await recorder.record(arrival(0))
        assert monotonic_s() - began < 4.9
    world.ledger.close()


@in_a_loop
async def test_what_another_process_left_is_drained_while_nothing_comes(world: RecorderWorld, tmp_path: Path):
    gone = spool_in(tmp_path)
    gone.append([arrival(n) for n in range(1_200)])
    gone.close()
    async with world.at_work():
        await until(lambda: len(world.ledger.keys()) == 1_200)
        await until(lambda: list((tmp_path / "spool").iterdir()) == [])
        assert world.ledger.keys() == bodies(0, 1_200)
        assert world.rings > 0


@in_a_loop
async def test_a_row_that_is_refused_when_drained_does_not_hold_up_the_rest(world: RecorderWorld):
    bad = replace(arrival(1), received_at=None)  # type: ignore[arg-type]
    world.spool.append([arrival(0), bad, arrival(2)])
    async with world.at_work():
        await until(lambda: not world.spool.has_rows)
        assert world.ledger.keys() == ["0", "2"]
        assert world.spool.set_aside_files() == 1


@in_a_loop
async def test_when_told_to_end_it_writes_what_waits(world: RecorderWorld):
    async with world.at_work() as recorder:
        waiting = [recorder.record(arrival(n)) for n in range(1_000)]
    assert world.ledger.keys() == bodies(0, 1_000)
    assert await asyncio.gather(*waiting) == [True] * 1_000


@in_a_loop
async def test_when_told_to_end_what_a_hanging_ledger_does_not_take_is_spooled(world: RecorderWorld):
    recorder = Recorder(
        world.ledger, world.spool, world.metrics, on_recorded=world.ring, limits=RecorderLimits(ledger_timeout_s=0.2)
    )
    recorder.start()
    world.ledger.may_go_on.clear()
    waiting = [recorder.record(arrival(n)) for n in range(10)]
    assert await asyncio.to_thread(world.ledger.entered.wait, LATE_S)
    await asyncio.to_thread(recorder.stop)
    assert await asyncio.gather(*waiting) == [True] * 10
    assert world.spool.rows() == 10
    world.ledger.may_go_on.set()
    await until(lambda: not any(thread.name == "recorder-writer" for thread in threading.enumerate()))


@in_a_loop
async def test_a_sender_that_hung_up_disturbs_nobody(world: RecorderWorld):
    async with world.at_work() as recorder:
        gone, there = recorder.record(arrival(0)), recorder.record(arrival(1))
        gone.cancel()
        assert await there
        assert world.ledger.keys() == ["0", "1"]


@in_a_loop
async def test_callbacks_that_share_a_signature_are_one_from_the_spool_too(world: RecorderWorld):
    """Their dedupe keys differ: the signature of the vendor does not say which value belongs to which field."""
    one = replace(arrival(1), signature_key=f"{99:044x}")
    variants = [replace(arrival(number), signature_key=one.signature_key) for number in (2, 3)]
    async with world.at_work() as recorder:
        world.ledger.is_away = True
        await asyncio.gather(*(recorder.record(each) for each in (one, variants[0])))
        assert world.spool.rows() == 2
        world.ledger.is_away = False
        await until(lambda: world.is_back)
        assert await recorder.record(variants[1]) is False
        assert world.ledger.keys() == ["1"]


class HangingSpool(Spool):
    """A real spool on a disk that does not answer."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / "spool", PLENTY, lambda: 1)
        self.may_go_on = threading.Event()

    def append(self, arrivals: Any) -> None:
        assert self.may_go_on.wait(LATE_S)
        super().append(arrivals)


@in_a_loop
async def test_nobody_waits_for_longer_than_the_vendor_though_ledger_and_spool_both_hang(tmp_path: Path):
    spool = HangingSpool(tmp_path)
    world = RecorderWorld(UnreliableLedger(tmp_path), spool)
    async with world.at_work(ledger_timeout_s=0.1, answer_timeout_s=1.0) as recorder:
        world.ledger.may_go_on.clear()
        began = monotonic_s()
        results = await asyncio.gather(*(recorder.record(arrival(n)) for n in range(3)), return_exceptions=True)
        assert [str(result) for result in results] == ["neither the ledger nor the spool took it in time"] * 3
        assert monotonic_s() - began < 2.5
        assert recorder._pending.size_bytes == 0
        spool.may_go_on.set()
        world.ledger.may_go_on.set()
        await until(lambda: world.is_back and len(world.ledger.keys()) == 3)
        assert await recorder.record(arrival(0)) is False  # the ledger had taken it after all
    world.ledger.close()


@in_a_loop
async def test_that_neither_takes_callbacks_is_told_without_any_coming_and_is_over_by_itself(tmp_path: Path):
    world = RecorderWorld(UnreliableLedger(tmp_path), spool_in(tmp_path, max_bytes=4_000))
    health = world.health
    async with world.at_work() as recorder:
        world.ledger.is_away = True
        assert await recorder.record(arrival(0))  # opens the breaker; then there is no room for a probe
        await until(lambda: [fault.detail for fault in health.faults()] == ["neither the ledger nor the spool takes callbacks"])
        world.ledger.is_away = False
        await until(lambda: not health.faults() and world.is_back)
    world.ledger.close()


@in_a_loop
async def test_the_breaker_stays_open_while_what_was_refused_finds_no_room(tmp_path: Path):
    """A row of a few bytes would fit: into the space that the failed transaction has left behind."""
    with small_disk(tmp_path / "disk", 4 * 1024) as disk:
        world = RecorderWorld(UnreliableLedger(disk.folder), spool_in(tmp_path, max_bytes=0))
        large = replace(arrival(0), body=bytes(500_000))
        async with world.at_work() as recorder:
            await recorder.record(arrival(1))
            disk.fill()
            with pytest.raises(NotRecordedError):
                await recorder.record(large)
            await until(lambda: world.number("tally_breaker_open") == 1)
            for _ in range(6):
                await asyncio.sleep(recording._PROBE_INTERVAL_S / 2)
                assert world.number("tally_breaker_open") == 1
            disk.free()
            await until(lambda: world.number("tally_breaker_open") == 0)
            assert await recorder.record(large)
        world.ledger.close()
