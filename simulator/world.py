"""The vendors' side of the world: tasks that run by their scripts, calls that change them, callbacks that report them.

A world is pure: it has no clock and no network; it is given the time and returns the callbacks to send. The same seed and the
same calls at the same times give the same callbacks, byte for byte. Times are ms since the epoch, and must never go back.

    world = World(seed=7, faults=Faults(lose=0.2), start_ms=...)
    reply = world.handle(vendor, method, path, query, headers, body, now)
    while (at := world.next_event_ms()) is not None:
        for callback in world.advance_to(at):
            world.record_answer(callback, status_of(callback), at)
    world.truth()
"""

import heapq
from collections.abc import Iterable, Mapping

from simulator.counters import Counters
from simulator.gateway import Gateway
from simulator.messages import CallbackDelivery, GatewayReply, Request
from simulator.outbox import Outbox
from simulator.plan import Cause, Faults, Plan
from simulator.protocol import Vendor, WorldContext
from simulator.quotas import Quotas
from simulator.tasks import App, Moment, Tasks, VendorTask
from simulator.truth import Truth, ground_truth
from simulator.vendors.registry import DEMO_APPS, VENDORS
from simulator.world_changes import WorldChanges


class World:
    """The simulated vendors and their tasks."""

    def __init__(
        self,
        seed: int,
        faults: Faults | None = None,
        start_ms: int = 1_700_000_000_000,
        *,
        plan: Plan | None = None,
        apps: Iterable[App] = DEMO_APPS,
        speed: int = 1,
    ) -> None:
        """speed: how many times faster than outside time this world's time runs; all times in messages are outside time."""
        self.now = start_ms
        self.counters = Counters()
        self.tasks = Tasks()
        faults, plan = faults or Faults(), plan or Plan()
        self._context = WorldContext(
            seed=seed,
            apps={f"{app.vendor} {app.app_id}": app for app in apps},
            outside_ms=lambda ms: start_ms + (ms - start_ms) // speed,
            world_ms=lambda ms: start_ms + (ms - start_ms) * speed,
            exact_times=speed > 1,
        )
        self._vendors: dict[str, Vendor] = {vendor.name: vendor(self._context) for vendor in VENDORS}
        self._outbox = Outbox(self._context, self._vendors, faults, self.counters)
        self._changes = WorldChanges(
            self._context, self.tasks, plan, faults, self._vendors, self.counters, self._send_events, self._schedule_next_moment
        )
        self._switchboard = Gateway(self._context, self._vendors, faults, self.counters, Quotas(), self._changes)
        self._heap: list[tuple[int, int, int]] = []

    # Time.

    def next_event_ms(self) -> int | None:
        """Returns the time of the next event; None if nothing will happen before the next call."""
        times = [at for at in (self._heap[0][0] if self._heap else None, self._outbox.next_ms()) if at is not None]
        return max(self.now, min(times)) if times else None

    def advance_to(self, ms: int) -> list[CallbackDelivery]:
        """Lets time pass; returns the callbacks that arrive by then, in order. Each needs a `record_answer`."""
        self._advance_clock_to(ms)
        return self._outbox.take_due(ms)

    def record_answer(self, callback: CallbackDelivery, status: int | None, now: int) -> None:
        """Records the HTTP status of the answer to a callback; None: no answer in time."""
        self._outbox.record_answer(callback, status, now)

    def _advance_clock_to(self, ms: int) -> None:
        while self._heap and self._heap[0][0] <= ms:
            at, number, edition = heapq.heappop(self._heap)
            task = self.tasks.all[number]
            if edition == task.script_version and task.script:
                self._set_clock(max(at, self.now))
                self._changes.apply_next_moment(task)
                self._schedule_next_moment(task)
        self._set_clock(max(ms, self.now))

    def _set_clock(self, ms: int) -> None:
        self.now = self._changes.now = ms

    def _schedule_next_moment(self, task: VendorTask) -> None:
        if task.script:
            heapq.heappush(self._heap, (task.script[0][0], task.number, task.script_version))

    def _send_events(self, task: VendorTask, moment: Moment, at: int) -> None:
        for after, event in self._vendors[task.order.app.vendor].events_of(task, moment, at):
            if event.event_type not in event.app.silent:
                self._outbox.send(event, at + after)

    # Calls.

    def handle(
        self, vendor: str, method: str, path: str, query: str, headers: Mapping[str, str], body: bytes, now: int
    ) -> GatewayReply:
        """Answers one API call. query: raw, without the question mark; headers: in any case."""
        self._advance_clock_to(now)
        lowered = {name.lower(): value for name, value in headers.items()}
        request = Request(method=method.upper(), path=path, query=query, headers=lowered, body=body)
        return self._switchboard.answer(self._vendors[vendor], request)

    def vendor_of(self, request: Request) -> str | None:
        """Returns the vendor that a request is a call to; None if there is none."""
        return next((name for name, vendor in self._vendors.items() if vendor.recognizes(request)), None)

    def outside_ms(self, ms: int) -> int:
        """Returns the outside time of a time of this world."""
        return self._context.outside_ms(ms)

    def timeout_s(self, vendor: str) -> float:
        """Returns the vendor's timeout of callbacks, s."""
        return self._vendors[vendor].timeout_s

    # For tests and demonstrations.

    def find(self, vendor: str, vendor_task_id: str) -> VendorTask:
        """Returns the newest task with this id. Raises StopIteration if there is none."""
        ids = (vendor, vendor_task_id)
        return next(t for t in reversed(self.tasks.all) if (t.order.app.vendor, t.order.vendor_task_id) == ids)

    def end(self, task: VendorTask, cause: Cause) -> None:
        """Ends a task now."""
        self._changes.end(task, cause)

    def interrupt(self, task: VendorTask) -> None:
        """Interrupts a task now: it loses its source or target, and does not recover by itself."""
        self._changes.interrupt(task)

    def forget(self, task: VendorTask) -> None:
        """Makes the vendor lose a task: no callback, and queries do not find it."""
        self._changes.end(task, Cause.FORGOTTEN)

    def dismiss_room(self, vendor: str, app_id: str, room_id: str) -> None:
        """Dismisses a room and ends every task in it."""
        for task in self.tasks.in_room(self._context.apps[f"{vendor} {app_id}"], room_id):
            self._changes.end(task, Cause.DISMISSED)

    def truth(self) -> tuple[Truth, ...]:
        """Returns the true history of each task, in the order of their starts."""
        return tuple(ground_truth(task, self._vendors[task.order.app.vendor], self._context) for task in self.tasks.all)
