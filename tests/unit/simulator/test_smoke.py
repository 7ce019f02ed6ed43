"""The state machine finds, from the simulator's callbacks, the true history of each task."""

import random

import pytest

from simulator import Faults, World
from statemachine.states import FINAL
from tests.support.start_calls import STARTS, Customer, follow, key_of
from tests.support.times import HOUR, MINUTE, SECOND, T0

ACTIONS = sorted(STARTS)


def run_tasks(seed: int, count: int, faults: Faults | None = None) -> Customer:
    """Runs `count` tasks of all families, each in its own room; stops those that are still alive after a while."""
    customer = Customer(World(seed, faults, T0))
    chance = random.Random(seed)
    for number in range(count):
        vendor, action = ACTIONS[number % len(ACTIONS)]
        customer.start(vendor, action, number + 1)
        customer.wait(chance.randrange(5 * SECOND))
    customer.wait(3 * HOUR)
    for number, truth in enumerate(customer.world.truth()):
        while truth.alive and not customer.world.tasks.all[number].stops:
            customer.stop(number)
            customer.wait(200)
    customer.wait(30 * MINUTE)
    assert not any(truth.alive for truth in customer.world.truth())
    return customer


@pytest.mark.parametrize("faults", [None, Faults(double=0.2, delay=0.2)], ids=["none", "doubled and late"])
@pytest.mark.parametrize("seed", range(3))
def test_200_tasks_of_all_families_end_as_their_callbacks_tell_in_any_order(seed: int, faults: Faults | None):
    customer = run_tasks(seed, 200, faults)
    lineages = follow(customer.world, customer.heard, seed)

    wrong = {}
    for task, truth in zip(customer.world.tasks.all, customer.world.truth(), strict=True):
        lineage = lineages.get(key_of(task.order))
        view = lineage.tasks[0].view if lineage else None
        said = (view.state, view.reason) if view and view.state in FINAL else None
        files = sorted(file.name or file.file_id or "" for file in view.files) if view else []
        if said != truth.said or files != sorted(truth.files):
            wrong[task.number] = (truth, said, files)
    assert wrong == {}


@pytest.mark.parametrize("action", [action for vendor, action in ACTIONS if vendor == "volcengine"])
def test_an_id_that_is_used_again_and_again_gives_runs_that_end_as_they_did(action: str):
    customer = Customer(World(5, None, T0))
    chance = random.Random(5)
    for _ in range(60):
        customer.start("volcengine", action)
        customer.wait(chance.randrange(10 * SECOND, 10 * MINUTE))  # a page stopped before it shows tells only an end
        customer.stop(len(customer.world.tasks.all) - 1)
        customer.wait(chance.randrange(2 * SECOND, 10 * SECOND))
    customer.wait(10 * MINUTE)
    (lineage,) = follow(customer.world, customer.heard, 5).values()

    runs = [(task.view.state, task.view.reason) for task in lineage.tasks]
    told = [truth.said for truth in customer.world.truth()]
    assert len(told) > 40
    assert runs == told[lineage.sealed.runs :]
