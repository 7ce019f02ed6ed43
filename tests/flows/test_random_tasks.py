"""A fleet of tasks against vendors that throttle, drop connections and lose callbacks: what we say is what is so.

The whole proof, with 10,000 tasks, is run by `make soak`.
"""

from pathlib import Path

from simulator import Faults
from tests.support.random_tasks import Audit, RandomTasks, audit
from tests.support.times import HOUR
from tests.support.virtual_time import VirtualTimeApp

SEED = 20231114
#: Tasks begin so far apart on average, ms.
APART_MS = 400
#: 5% of the calls ambiguous, 10% throttled, 20% of the callbacks lost, doubled or late.
FAULTS = Faults(ambiguous=0.025, vanish=0.025, throttle=0.1, lose=0.07, double=0.07, delay=0.06)


def run_random_tasks(
    folder: Path, seed: int, tasks: int, faults: Faults, *, losses: bool, grain_ms: int = 500
) -> tuple[Audit, VirtualTimeApp]:
    """Lets the fleet live to its end; the audit of it, printed with its seed."""
    with VirtualTimeApp(folder, seed, faults, grain_ms=grain_ms).open() as clock:
        fleet = RandomTasks(clock, seed, tasks, tasks * APART_MS)
        unwatched: list[object] = []

        def watch() -> None:
            if clock.steps % 100 == 0:
                unwatched.extend(clock.without_deadline())

        clock.watch = watch
        clock.settle(120 * HOUR)
        found = audit(fleet, losses=losses)
        found.wrong += [f"without a deadline: {task}" for task in unwatched]
        print(f"seed {seed}, {tasks} tasks, {clock.steps} steps\n{found.lines()}\n{clock.world.counters.faults}")
        return found, clock


def test_every_task_ends_as_it_ended_at_the_vendor(tmp_path: Path) -> None:
    found, _ = run_random_tasks(tmp_path, SEED, 60, FAULTS, losses=True)
    assert found.wrong == []
    assert found.counted["right"] >= 50


def test_with_all_callbacks_lost_queries_tell_how_tasks_ended(tmp_path: Path) -> None:
    found, _ = run_random_tasks(tmp_path, SEED, 40, Faults(lose=1.0), losses=True)
    assert found.wrong == []


def test_with_none_lost_nothing_is_inferred_but_what_no_vendor_tells(tmp_path: Path) -> None:
    found, _ = run_random_tasks(tmp_path, SEED, 60, Faults(), losses=False)
    assert found.wrong == []
    assert found.counted["right"] >= 55


def test_the_same_seed_tells_the_same_story(tmp_path: Path) -> None:
    stories = []
    for name in ("once", "again"):
        (tmp_path / name).mkdir()
        found, clock = run_random_tasks(tmp_path / name, SEED, 12, FAULTS, losses=True)
        stories.append((found.counted, clock.world.counters.as_json(), clock.world.truth()))
    assert stories[0] == stories[1]
