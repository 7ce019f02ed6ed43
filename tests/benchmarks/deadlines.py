"""A million armed deadlines must not make the due ones dearer, and those must pass in time: measures both, on SQLite.

    .venv/bin/python tests/benchmarks/deadlines.py [--armed N] [--few N] [--rounds N] [--burst N] [--rate N] [--seconds N]

Cost: a burst of deadlines is due at once, and one sweep finds and passes them all; in turn on a ledger with few armed ones and on
one with many. Lateness: on the latter so many fall due each second while the sweep's own thread runs, as it does in production;
late is the time from when a deadline was due to the commit of what its passing changed. Passes if no ratio of costs is above 1.5
and 99 of 100 deadlines are less than 2 s late. They are deadlines of tasks that cannot be asked, and of tasks that can: those want
a call.
"""

import argparse
import json
import os
import random
import sys
import tempfile
import time
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from sqlalchemy import func, select

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from adapters import clock, logs  # noqa: E402
from adapters.ledger import Connection, Ledger, stats  # noqa: E402
from adapters.ledger.schema import timeline  # noqa: E402
from adapters.ledger.shards import Shards  # noqa: E402
from adapters.vendors.accounts import Accounts  # noqa: E402
from tests.benchmarks.arming import NOW, Sort, Templates, Wanted, fill, scattered, settings, templates_in  # noqa: E402
from workers.apply.applier import Applier  # noqa: E402
from workers.sweep import Sweep  # noqa: E402

_RATIO = 1.5
_LATE_MS = 2_000
_SERIES = (Sort.MARKED, Sort.ASKED)
#: From when on deadlines are due by and by; before that, bursts are, one each second. All is over before any is due a second time.
_PACED_AT = NOW + 60_000
#: A run that is so late is broken off, s.
_GIVE_UP_S = 60


class Clock:
    """Stands where it is set, or goes on from there as the real one does."""

    def __init__(self) -> None:
        self._at = NOW
        self._since: int | None = None

    def __call__(self) -> int:
        return self._at if self._since is None else self._at + clock.now_ms() - self._since

    def stand(self, at: int) -> None:
        self._at, self._since = at, None

    def go(self, at: int) -> None:
        self._at, self._since = at, clock.now_ms()


class WatchedLedger(Ledger):
    """Notes of each commit when it was done, and up to where the timeline went then."""

    def __init__(self, url: str, now: Callable[[], int]) -> None:
        super().__init__(url)
        self._now = now
        self.commits: list[tuple[int, int]] = []

    @contextmanager
    def write(self) -> Iterator[Connection]:
        with super().write() as connection:
            yield connection
            last = connection.scalar(select(func.max(timeline.c.id))) or 0
        self.commits.append((last, self._now()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much is measured. rate: deadlines that fall due each second, for so many seconds."""

    rounds: int
    burst: int
    rate: int
    seconds: int

    def bursts(self, number: int) -> Iterator[Wanted]:
        """Of a round, the first being 0: a burst of each series."""
        for place, sort in enumerate(_SERIES):
            yield from (Wanted(sort=sort, due_at=self.burst_at(number, place)) for _ in range(self.burst))

    def burst_at(self, number: int, place: int) -> int:
        return NOW + (number * len(_SERIES) + place) * 1_000

    def paced(self) -> Iterator[Wanted]:
        for place, sort in enumerate(_SERIES):
            for index in range(self.rate * self.seconds):
                yield Wanted(sort=sort, due_at=self.paced_at(place) + index * 1000 // self.rate)

    def paced_at(self, place: int) -> int:
        return _PACED_AT + place * (self.seconds + 15) * 1000


class House:
    """A ledger, filled, and the hands that let time pass there."""

    def __init__(self, folder: Path, templates: Templates, armed: int, due: list[Wanted], seed: int) -> None:
        folder.mkdir()
        url = f"sqlite:///{folder}/tally.db"
        rng = random.Random(seed)
        rng.shuffle(due)
        self.clock = Clock()
        self.ledger = WatchedLedger(url, self.clock)
        fill(self.ledger, templates, scattered(due, armed, rng), rng)
        self.applier = Applier(self.ledger, self.clock, Accounts(settings(url)), Shards(self.ledger))

    def _sweep(self) -> Sweep:
        return Sweep(self.ledger, self.applier, self.clock, Shards(self.ledger))

    def _passed(self) -> int:
        with self.ledger.read() as connection:
            return sum(stats.deadlines_passed(connection).values())

    def burst(self, due_at: int, number: int) -> float:
        """Lets that many pass at once; s each."""
        self.clock.stand(due_at)
        before, begin = self._passed(), time.perf_counter()
        self._sweep().run_once()
        took = time.perf_counter() - begin
        assert self._passed() - before == number, (self._passed() - before, number)
        return took / number

    def pace(self, begin_at: int, number: int) -> list[int]:
        """Lets them pass as time goes by, beginning a second before the first; how late each was, ms."""
        with self.ledger.read() as connection:
            last = connection.scalar(select(func.max(timeline.c.id))) or 0
        self.ledger.commits.clear()
        before, give_up = self._passed(), time.monotonic() + _GIVE_UP_S
        self.clock.go(begin_at - 1_000)
        sweep = self._sweep()
        sweep.start()
        while self._passed() - before < number and time.monotonic() < give_up:
            time.sleep(0.25)
        sweep.stop()
        late = list(self._late(last))
        assert len(late) == number, (len(late), number)
        return late

    def _late(self, after: int) -> Iterator[int]:
        with self.ledger.read() as connection:
            lines = connection.execute(select(timeline.c.id, timeline.c.entries).where(timeline.c.id > after)).all()
        upto = [last for last, _ in self.ledger.commits]
        for line_id, entries in lines:
            _, at = self.ledger.commits[bisect_left(upto, line_id)]
            yield from (at - entry["due_at"] for entry in json.loads(entries) if entry["kind"] == "deadline_passed")


@dataclass(slots=True)
class Costs:
    """s for each deadline, round by round: with few armed, and with many."""

    few: list[float] = field(default_factory=list)
    many: list[float] = field(default_factory=list)

    @property
    def ratio(self) -> float:
        """The median of those of the rounds: whatever else the machine does slows down both of a round."""
        return median(many / few for few, many in zip(self.few, self.many, strict=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    costs: Mapping[Sort, Costs]
    late: Mapping[Sort, Sequence[int]]

    @property
    def passes(self) -> bool:
        ratios = all(costs.ratio <= _RATIO for costs in self.costs.values())
        return ratios and all(_percentile(late, 0.99) < _LATE_MS for late in self.late.values())


def measure(folder: Path, many: House, templates: Templates, few: int, plan: Plan, seed: int) -> Measured:
    """The first round warms up and does not count. Whoever goes first changes from round to round."""
    costs = {sort: Costs() for sort in _SERIES}
    for number in range(plan.rounds + 1):
        small = House(folder / f"few-{number}", templates, few, list(plan.bursts(number)), seed)
        for place, sort in enumerate(_SERIES):
            houses = [(small, costs[sort].few), (many, costs[sort].many)]
            for house, times in houses if number % 2 else reversed(houses):
                times.append(house.burst(plan.burst_at(number, place), plan.burst))
        small.ledger.close()
    for each in costs.values():
        del each.few[0], each.many[0]
    late = {sort: many.pace(plan.paced_at(place), plan.rate * plan.seconds) for place, sort in enumerate(_SERIES)}
    return Measured(costs=costs, late=late)


def show(measured: Measured, few: int, many: int, plan: Plan) -> None:
    heads = "".join(f"{f'{armed} armed':>15}" for armed in (few, many))
    print(f"{'cost of a due deadline':34}{'ratio':>7}{heads}  (ms, medians of {plan.rounds} bursts of {plan.burst})")
    for sort, costs in measured.costs.items():
        each = "".join(f"{median(times) * 1000:15.3f}" for times in (costs.few, costs.many))
        print(f"{sort:34}{costs.ratio:7.2f}{each}  {'pass' if costs.ratio <= _RATIO else 'FAIL'}")
    print(f"\n{f'lateness at {plan.rate} due a second':34}{'p99':>7}{'p50':>15}{'max':>15}  (ms, {many} armed, {plan.seconds} s)")
    for sort, late in measured.late.items():
        p99 = _percentile(late, 0.99)
        print(f"{sort:34}{p99:7}{_percentile(late, 0.5):15}{max(late):15}  {'pass' if p99 < _LATE_MS else 'FAIL'}")


def _percentile(values: Sequence[int], part: float) -> int:
    return sorted(values)[int(len(values) * part)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--armed", type=int, default=1_000_000)
    parser.add_argument("--few", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--burst", type=int, default=2_000)
    parser.add_argument("--rate", type=int, default=400)
    parser.add_argument("--seconds", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    plan = Plan(rounds=options.rounds, burst=options.burst, rate=options.rate, seconds=options.seconds)
    with tempfile.TemporaryDirectory(prefix="tally-bench-") as name, open(os.devnull, "w") as nowhere:
        logs.configure(stream=nowhere)  # written, as in production, but not read
        folder, begin = Path(name), time.perf_counter()
        templates = templates_in(folder / "templates")
        due = [wanted for number in range(plan.rounds + 1) for wanted in plan.bursts(number)] + list(plan.paced())
        many = House(folder / "many", templates, options.armed, due, options.seed)
        os.sync()
        took = time.perf_counter() - begin
        print(f"seed {options.seed}: {options.armed} tasks that wait, {len(due)} whose time comes; filled in {took:.0f} s")
        measured = measure(folder, many, templates, options.few, plan, options.seed)
        many.ledger.close()
    show(measured, options.few, options.armed, plan)
    return 0 if measured.passes else 1


if __name__ == "__main__":
    sys.exit(main())
