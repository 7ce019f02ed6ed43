"""The changes of tasks, by their scripts and by calls."""

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from simulator.counters import Counters
from simulator.life_script import write_script
from simulator.plan import Cause, Faults, Plan
from simulator.protocol import Vendor, WorldContext
from simulator.seeded_random import SeededRandom
from simulator.tasks import Moment, StartOrder, Tasks, VendorTask

#: Time that a Stop call takes, ms.
_STOP_MS = (300, 1500)
#: Shortest time between a task's creation and its end.
_SHORTEST_MS = 1000
_FORGETS_AFTER_MS = (10_000, 600_000)
_PHASES = frozenset({Moment.CREATED, Moment.CONNECTING, Moment.MEDIA, Moment.INTERRUPTED, Moment.QUIET})


class WorldChanges:
    """The implementation of `protocol.WorldControl`. now: ms, set by the world."""

    def __init__(
        self,
        context: WorldContext,
        tasks: Tasks,
        plan: Plan,
        faults: Faults,
        vendors: Mapping[str, Vendor],
        counters: Counters,
        tell: Callable[[VendorTask, Moment, int], None],
        schedule: Callable[[VendorTask], None],
    ) -> None:
        self.now = 0
        self.tasks = tasks
        self._context = context
        self._plan = plan
        self._faults = faults
        self._vendors = vendors
        self._counters = counters
        self._send_events = tell
        self._schedule = schedule

    # By calls.

    def mint(self, *names: object) -> SeededRandom:
        """Returns the random source for a new id: the same for the n-th task of every world with this seed."""
        return SeededRandom(self._context.seed, "id", len(self.tasks.all), *names)

    def start(self, order: StartOrder) -> VendorTask:
        run = len(self.tasks.runs_of(order.app, order.room_id, order.kind, order.vendor_task_id)) + 1
        # An id that the vendor creates depends on the number of tasks before; one that the caller chose does not.
        random = SeededRandom(
            self._context.seed, "task", order.app.vendor, order.app.app_id, order.room_id, order.vendor_task_id, run
        )
        script = write_script(order.lifetime, self._plan, random, self.now)
        task = VendorTask(
            number=len(self.tasks.all),
            run=run,
            order=order,
            params=dict(order.params),
            random=random,
            requested_at=self.now,
            began_at=script.began_at,
            script=script.moments,
            planned_cause=script.planned_cause,
            has_late_files=random.happens(self._plan.late_files),
        )
        self._maybe_plan_forgetting(task)
        self.tasks.add(task)
        self._schedule(task)
        return task

    def _maybe_plan_forgetting(self, task: VendorTask) -> None:
        if task.random.happens(self._faults.forget):
            self._counters.faults[f"{task.order.app.vendor} forget"] += 1
            at = task.began_at + task.random.integer_between(*_FORGETS_AFTER_MS)
            task.script = deque([*(moment for moment in task.script if moment[0] < at), (at, Moment.ENDED)])
            task.planned_cause = Cause.FORGOTTEN

    def repeat(self, task: VendorTask) -> None:
        task.starts += 1

    def stop(self, task: VendorTask) -> None:
        """Stops a task; it ends a moment later. A second Stop changes nothing."""
        task.healthy_stops += task.phase is Moment.MEDIA
        task.stops.append(self.now)
        if task.planned_cause is Cause.STOPPED:
            return
        created = [moment for moment in task.script if moment[1] is Moment.CREATED]
        at = max([self.now + task.random.integer_between(*_STOP_MS), *(when + _SHORTEST_MS for when, _ in created)])
        self._rewrite_script(task, [*created, (at, Moment.ENDED)], Cause.STOPPED)

    def update(self, task: VendorTask, params: Mapping[str, Any]) -> None:
        task.params.update(params)
        self._send_events(task, Moment.UPDATED, self.now)

    def end(self, task: VendorTask, cause: Cause) -> None:
        """Ends a task now."""
        if task.is_alive:
            self._rewrite_script(task, [(self.now, Moment.ENDED)], cause)

    def interrupt(self, task: VendorTask) -> None:
        """Interrupts a task now: it reconnects until a call ends it."""
        if task.is_alive:
            self._rewrite_script(task, [(self.now, Moment.INTERRUPTED)], None)

    def _rewrite_script(self, task: VendorTask, moments: list[tuple[int, Moment]], planned_cause: Cause | None) -> None:
        task.script, task.planned_cause = deque(moments), planned_cause
        task.script_version += 1
        self._schedule(task)

    # By their scripts.

    def apply_next_moment(self, task: VendorTask) -> None:
        """Applies the next moment of a task's script, which is now."""
        _, moment = task.script.popleft()
        if moment is Moment.ENDED:
            self._end_task(task)
        elif moment in _PHASES:
            task.previous_phase, task.phase = task.phase, moment
            if moment is Moment.MEDIA and task.media_at is None:
                task.media_at = self.now
        if task.cause is not Cause.FORGOTTEN:
            self._send_events(task, moment, self.now)

    def _end_task(self, task: VendorTask) -> None:
        task.cause, task.ended_at, task.phase = task.planned_cause, self.now, Moment.ENDED
        task.script.clear()
        if task.is_known:
            vendor = self._vendors[task.order.app.vendor]
            task.files = vendor.files_of(task) if task.order.lifetime.files and task.media_at is not None else ()
            task.script.extend((self.now + after, moment) for after, moment in vendor.moments_after_end(task))
