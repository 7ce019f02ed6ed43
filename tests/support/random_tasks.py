"""Many tasks of every kind that are started and stopped at random, and the audit that compares our records with the vendors'."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from simulator import Truth
from simulator.seeded_random import SeededRandom
from tests.support.start_calls import STARTS
from tests.support.times import HOUR, SECOND
from tests.support.virtual_time import VirtualTimeApp

#: Ends of tasks that never existed at the vendor.
NEVER_WAS = {
    ("failed", "start_refused"),
    ("failed", "start_gave_up"),
    ("failed", "start_unknown"),
    ("stopped", "stop_requested"),
}


@dataclass(slots=True)
class TaskPlan:
    """One task to start, and the time to stop it."""

    number: int
    vendor: str
    action: str
    task_id: str = ""
    stop_at: int | None = None
    stopped: bool = False


class RandomTasks:
    """Starts a number of tasks over a period. The course of each follows from the seed."""

    def __init__(self, clock: VirtualTimeApp, seed: int, tasks: int, over_ms: int, *, never_stopped: float = 0.05) -> None:
        self.clock = clock
        self.orders: list[TaskPlan] = []
        actions = list(STARTS)
        for number in range(1, tasks + 1):
            dice = SeededRandom(seed, "order", number)
            vendor, action = dice.one_of(actions)
            order = TaskPlan(number, vendor, action)
            begin = dice.integer_between(0, over_ms)
            lives_long = (vendor, action) == ("volcengine", "StartRelayStream") and dice.happens(never_stopped)
            if not lives_long:
                order.stop_at = begin + self._stop_after(dice)
                clock.at(order.stop_at, lambda order=order: self._stop(order))
            clock.at(begin, lambda order=order: self._start(order))
            self.orders.append(order)

    @staticmethod
    def _stop_after(dice: SeededRandom) -> int:
        """Returns the time until the stop; 5 % are stopped within 20 s."""
        if dice.happens(0.05):
            return dice.integer_between(1, 20 * SECOND)
        return dice.integer_between(20 * SECOND, 3 * HOUR)

    def _start(self, order: TaskPlan) -> None:
        order.task_id = self.clock.start(order.vendor, order.action, order.number)

    def _stop(self, order: TaskPlan) -> None:
        status = self.clock.stop(order.task_id)
        assert status in (202, 409), status
        order.stopped = status == 202


@dataclass(slots=True)
class Audit:
    """The result of an audit. wrong: errors, must be empty. counted: how often each case occurred."""

    counted: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def lines(self) -> str:
        return "\n".join(f"{count:>8}  {what}" for what, count in sorted(self.counted.items()))


def audit(fleet: RandomTasks, *, losses: bool) -> Audit:
    """Compares all tasks with the vendors' records.

    losses: callbacks were lost, so the end of some tasks cannot be known; otherwise only ends that no vendor reports are inferred.
    """
    found = Audit()
    world = fleet.clock.world
    for name, count in world.counters.quota_breaches.items():
        found.wrong.append(f"quota of {name} breached {count} times")
    truths = _by_order(fleet)
    for order in fleet.orders:
        task = fleet.clock.task(order.task_id)
        for problem in _problems(order, task, truths[order.number], found.counted, losses):
            found.wrong.append(f"{order.action} {order.number} {order.task_id}: {problem}")
    found.counted["vendor tasks"] = sum(len(each) for each in truths.values())
    for each in truths[0]:
        found.wrong.append(f"belongs to no plan: {each}")
    return found


def _by_order(fleet: RandomTasks) -> dict[int, list[Truth]]:
    """Returns the vendor's tasks of each plan, by its number; 0: of no plan."""
    rooms = {f"r{order.number}": order.number for order in fleet.orders} | {str(o.number): o.number for o in fleet.orders}
    tasks = {fleet.clock.task(order.task_id)["vendor_task_id"]: order.number for order in fleet.orders}
    by_record_id = {order.task_id: order.number for order in fleet.orders}
    made: dict[int, list[Truth]] = defaultdict(list)
    for sim, truth in zip(fleet.clock.world.tasks.all, fleet.clock.world.truth(), strict=True):
        record_id = str(sim.order.params.get("RecordId", "")).partition("-")[0]
        made[rooms.get(truth.room_id) or by_record_id.get(record_id) or tasks.get(truth.vendor_task_id, 0)].append(truth)
    return made


def _problems(order: TaskPlan, task: dict[str, Any], truths: list[Truth], counted: Counter[str], losses: bool) -> Iterator[str]:
    said = (task["state"], task["reason"])
    if task["ended_at"] is None:
        yield f"is still {said}"
        return
    counted["inferred" if task["inferred"] else "told"] += 1
    unknowable = task["reason"] == "start_unknown" and order.vendor == "tencent"
    yield from _cost_problems(order, truths, unknowable)
    if not truths:
        counted[f"never was: {said[1]}"] += 1
        if said not in NEVER_WAS:
            yield f"is {said}, and never was"
        return
    truth = truths[-1]
    words = [(truth.state, truth.reason), truth.said, truth.answered if losses else None]
    right = {(word[0].value, word[1].value) for word in words if word is not None and word[0] is not None}
    if not losses and task["inferred"] and truth.said is not None and (truth.vendor, truth.kind) != ("tencent", "push"):
        yield f"is {said}, inferred, and the vendor had told it: {truth.said}"
    if said in right:
        counted["right"] += 1
    elif unknowable:
        counted["exempt: start that could not be adopted"] += 1
    elif losses and task["inferred"] and truth.answered is None:
        counted[f"exempt: how it ended was told by a lost callback only ({truth.vendor} {truth.kind})"] += 1
    else:
        yield f"is {said} (inferred: {task['inferred']}), and was {right}, answered {truth.answered}"


def _cost_problems(order: TaskPlan, truths: list[Truth], unknowable: bool) -> Iterator[str]:
    """Yields tasks that are paid twice or for nothing, and tasks that were stopped although they should run."""
    for truth in truths:
        if truth.alive and not unknowable:
            yield f"the vendor still runs {truth.vendor_task_id}"
        if truth.healthy_stops and not order.stopped:
            yield "a healthy stream was stopped, and no user had requested it"
    spans = sorted((t.requested_at, t.ended_at or 2**62) for t in truths)
    if any(later[0] < earlier[1] for earlier, later in pairwise(spans)):
        yield f"two at a time: {truths}"
