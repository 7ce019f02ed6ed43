"""A callback of a task that has many must cost what one of a task with few does: measures the CPU time, on SQLite.

    .venv/bin/python tests/benchmarks/long_tasks.py [--callbacks N ...] [--rounds N]

Each series is one task of thousands of callbacks: they alternate, differ in their texts, or begin run after run. What is measured
is the worker's whole work on a callback (read, decide, save), each in a transaction of its own, after so many callbacks before.
Then thousands of callbacks of one task are replayed, and it is counted for how many batches another task's callback waits. Passes
if no series costs more than twice what it cost after the first hundred callbacks (median of the rounds), and the other task waits
for one batch at most.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from adapters import logs  # noqa: E402
from adapters.ledger import Ledger, fair_order, inbox  # noqa: E402
from adapters.ledger.inbox import Arrival  # noqa: E402
from adapters.ledger.migrate import upgrade  # noqa: E402
from adapters.ledger.shards import Shards  # noqa: E402
from adapters.settings import AppSettings, DatabaseSettings, Secret, Settings  # noqa: E402
from adapters.vendors.accounts import Accounts  # noqa: E402
from workers.apply.applier import Applier  # noqa: E402

NOW = 1_768_960_000_000
_SIZES = (100, 1_000, 5_000)
_RATIO = 2.0
#: Callbacks that are measured at each size, in each round.
_MEASURED = 50
_APP = "app"

#: The how manieth callback -> its event and data.
Says = Callable[[int], tuple[str, Mapping[str, Any]]]

_SERIES: Mapping[str, Says] = {
    "comes and goes": lambda n: ("TranscodeStateChanged", {"TaskState": 2 + n % 2, "Code": 0}),
    "in new words": lambda n: ("TranscodeStateChanged", {"TaskState": 2 + n % 2, "Code": 0, "ErrorMessage": f"attempt {n}"}),
    "relay comes and goes": lambda n: ("RelayStreamStateChanged", {"Status": 1 + n % 2}),
    "run after run": lambda n: ("RelayStreamStateChanged", {"Status": 4, "Reason": 3} if n % 2 else {"Status": 1}),
}


@dataclass(slots=True)
class Bench:
    """A ledger and the worker that applies what it is sent."""

    folder: Path
    ledger: Ledger = field(init=False)
    applier: Applier = field(init=False)
    _sent: int = 0

    def __post_init__(self) -> None:
        url = f"sqlite:///{self.folder / 'long.db'}"
        self.ledger = Ledger(url)
        upgrade(self.ledger)
        app = AppSettings(vendor="volcengine", app_id=_APP, callback_secrets=(Secret("a secret of the benchmark"),))
        accounts = Accounts(Settings(apps=(app,), database=DatabaseSettings(url=url)))
        self.applier = Applier(self.ledger, lambda: NOW + 10_000_000, accounts, Shards(self.ledger))

    def record(self, task: str, says: Says, first: int, number: int) -> None:
        """Records the callbacks first, first + 1 ... of a task."""
        arrivals = [self._arrival(task, *says(each), at=NOW + each * 1_000) for each in range(first, first + number)]
        with self.ledger.write() as connection:
            inbox.record(connection, arrivals)

    def _arrival(self, task: str, event: str, data: Mapping[str, Any], at: int) -> Arrival:
        self._sent += 1
        told = json.dumps({"RoomId": "r", "TaskId": task, "Timestamp": at, **data})
        body = json.dumps({"EventType": event, "EventTime": "2026-01-21T01:46:40Z", "EventId": str(self._sent), "EventData": told})
        return Arrival(
            vendor="volcengine",
            app_id=_APP,
            event_type=event,
            dedupe_key=f"{self._sent:064x}",
            vendor_task_id=task,
            received_at=at,
            headers={},
            body=body.encode(),
        )

    def cost_ms(self, task: str, says: Says, first: int) -> float:
        """Returns the CPU time of one more callback, each applied by itself: the mean, since facts are dropped every 32nd time."""
        spent = 0.0
        for number in range(first, first + _MEASURED):
            self.record(task, says, number, 1)
            before = time.process_time()
            self.applier.apply_waiting()
            spent += time.process_time() - before
        return spent / _MEASURED * 1_000


def measure_costs(bench: Bench, sizes: Sequence[int], rounds: int) -> dict[str, dict[int, float]]:
    """series -> callbacks before -> ms of CPU time per callback, the median of the rounds."""
    costs: dict[str, dict[int, float]] = {}
    for name, says in _SERIES.items():
        found: dict[int, list[float]] = {size: [] for size in sizes}
        for turn in range(rounds):
            done = 0
            for size in sizes:
                bench.record(f"{name} {turn}", says, done, max(0, size - done))
                bench.applier.apply_waiting()
                found[size].append(bench.cost_ms(f"{name} {turn}", says, max(done, size)))
                done = max(done, size) + _MEASURED
        costs[name] = {size: median(values) for size, values in found.items()}
    return costs


def batches_before_another(bench: Bench, number: int) -> int:
    """How many batches are taken before the callback of another task, behind a replay of `number` callbacks."""
    says = _SERIES["comes and goes"]
    bench.record("replayed", says, 0, number)
    with bench.ledger.read() as connection:
        ids = [row.id for row in inbox.unapplied(connection, number)]
    bench.applier.apply_waiting()
    with bench.ledger.write() as connection:
        inbox.post_replays(connection, ids, NOW)
    bench.record("another", says, 0, 1)
    with bench.ledger.write() as connection:
        for batch in range(number):
            rows, _ = fair_order.next_rows(connection, 400, NOW + 10_000_000)
            if any(row.kind == inbox.CALLBACK for row in rows):
                return batch
            inbox.mark_applied(connection, [], [row.id for row in rows if row.kind == inbox.REPLAY])
    return number


def main() -> int:
    """Returns 0 if it passes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--callbacks", type=int, nargs="+", default=list(_SIZES), help="after how many callbacks it is measured")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tally-bench-") as folder, open(os.devnull, "w") as nowhere:
        logs.configure(stream=nowhere)
        bench = Bench(Path(folder))
        costs = measure_costs(bench, sorted(options.callbacks), options.rounds)
        waited = batches_before_another(bench, max(options.callbacks))
    sizes = sorted(options.callbacks)
    print(f"{'CPU ms per callback after':28}" + "".join(f"{size:>10,}" for size in sizes) + f"{'ratio':>8}")
    ratios = {name: by_size[sizes[-1]] / by_size[sizes[0]] for name, by_size in costs.items()}
    for name, by_size in costs.items():
        print(f"{name:28}" + "".join(f"{by_size[size]:>10.2f}" for size in sizes) + f"{ratios[name]:>8.2f}")
    print(f"batches that another task's callback waits behind a replay of {sizes[-1]:,}: {waited}")
    passes = max(ratios.values()) <= _RATIO and waited <= 1
    print("passes" if passes else f"FAILS: a ratio above {_RATIO}, or more than one batch")
    return 0 if passes else 1


if __name__ == "__main__":
    sys.exit(main())
