"""What happens to tasks: by their scripts, and by calls."""

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from simulator.counters import Counters
from simulator.life_script import write
from simulator.plan import Cause, Faults, Plan
from simulator.protocol import Setting, Vendor
from simulator.seeded_random import Dice
from simulator.tasks import Beat, Order, Task, Tasks

#: How long a Stop call takes to work.
_STOP_MS = (300, 1500)
#: What must lie between a task's creation and its end.
_SHORTEST_MS = 1000
_FORGETS_AFTER_MS = (10_000, 600_000)
_PHASES = frozenset({Beat.CREATED, Beat.CONNECTING, Beat.MEDIA, Beat.INTERRUPTED, Beat.QUIET})


class Changes:
    """See protocol.Hands. `now`: ms, set by the world."""

    def __init__(
        self,
        setting: Setting,
        tasks: Tasks,
        plan: Plan,
        faults: Faults,
        vendors: Mapping[str, Vendor],
        counters: Counters,
        tell: Callable[[Task, Beat, int], None],
        schedule: Callable[[Task], None],
    ) -> None:
        self.now = 0
        self.tasks = tasks
        self._setting = setting
        self._plan = plan
        self._faults = faults
        self._vendors = vendors
        self._counters = counters
        self._tell = tell
        self._schedule = schedule

    # By calls.

    def mint(self, *names: object) -> Dice:
        """Chance for a new id: the same for the n-th task of a world."""
        return Dice(self._setting.seed, "id", len(self.tasks.all), *names)

    def start(self, order: Order) -> Task:
        run = len(self.tasks.runs(order.app, order.room_id, order.kind, order.vendor_task_id)) + 1
        # A minted id follows from how many tasks there were before; a chosen one names the task whatever was before.
        dice = Dice(self._setting.seed, "task", order.app.vendor, order.app.app_id, order.room_id, order.vendor_task_id, run)
        script = write(order.nature, self._plan, dice, self.now)
        task = Task(
            number=len(self.tasks.all),
            run=run,
            order=order,
            params=dict(order.params),
            dice=dice,
            requested_at=self.now,
            began_at=script.began_at,
            script=script.moments,
            fate=script.fate,
            late=dice.chance(self._plan.late_files),
        )
        self._perhaps_forgotten(task)
        self.tasks.add(task)
        self._schedule(task)
        return task

    def _perhaps_forgotten(self, task: Task) -> None:
        if task.dice.chance(self._faults.forget):
            self._counters.faults[f"{task.order.app.vendor} forget"] += 1
            at = task.began_at + task.dice.within(*_FORGETS_AFTER_MS)
            task.script = deque([*(moment for moment in task.script if moment[0] < at), (at, Beat.ENDED)])
            task.fate = Cause.FORGOTTEN

    def repeat(self, task: Task) -> None:
        task.starts += 1

    def stop(self, task: Task) -> None:
        """It ends a moment later; a second Stop changes nothing."""
        task.healthy_stops += task.phase is Beat.MEDIA
        task.stops.append(self.now)
        if task.fate is Cause.STOPPED:
            return
        created = [moment for moment in task.script if moment[1] is Beat.CREATED]
        at = max([self.now + task.dice.within(*_STOP_MS), *(when + _SHORTEST_MS for when, _ in created)])
        self._rewrite(task, [*created, (at, Beat.ENDED)], Cause.STOPPED)

    def update(self, task: Task, params: Mapping[str, Any]) -> None:
        task.params.update(params)
        self._tell(task, Beat.UPDATED, self.now)

    def end(self, task: Task, cause: Cause) -> None:
        """It ends now."""
        if task.alive:
            self._rewrite(task, [(self.now, Beat.ENDED)], cause)

    def interrupt(self, task: Task) -> None:
        """It reconnects from now on, until somebody ends it."""
        if task.alive:
            self._rewrite(task, [(self.now, Beat.INTERRUPTED)], None)

    def _rewrite(self, task: Task, moments: list[tuple[int, Beat]], fate: Cause | None) -> None:
        task.script, task.fate = deque(moments), fate
        task.edition += 1
        self._schedule(task)

    # By their scripts.

    def happen(self, task: Task) -> None:
        """The next moment of its script, which is now."""
        _, beat = task.script.popleft()
        if beat is Beat.ENDED:
            self._ended(task)
        elif beat in _PHASES:
            task.before, task.phase = task.phase, beat
            if beat is Beat.MEDIA and task.media_at is None:
                task.media_at = self.now
        if task.cause is not Cause.FORGOTTEN:
            self._tell(task, beat, self.now)

    def _ended(self, task: Task) -> None:
        task.cause, task.ended_at, task.phase = task.fate, self.now, Beat.ENDED
        task.script.clear()
        if task.known:
            vendor = self._vendors[task.order.app.vendor]
            task.files = vendor.files_of(task) if task.order.nature.files and task.media_at is not None else ()
            task.script.extend((self.now + after, beat) for after, beat in vendor.afterwards(task))
