"""The vendors' side of the world: tasks that live by their scripts, calls that change them, callbacks that tell of them.

A world is pure: it has no clock and no network, it is told what time it is and hands out what is to be sent. The same seed and the
same calls at the same times give the same callbacks, byte for byte. Times are ms since the epoch, and must never go back.

    world = World(seed=7, faults=Faults(lose=0.2), start_ms=...)
    reply = world.handle(vendor, method, path, query, headers, body, now)
    while (at := world.next_event_ms()) is not None:
        for callback in world.advance_to(at):
            world.answered(callback, status_of(callback), at)
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
        """speed: so many times faster than the clocks outside does this world's time pass; what it tells is in outside time."""
        self.now = start_ms
        self.counters = Counters()
        self.tasks = Tasks()
        faults, plan = faults or Faults(), plan or Plan()
        self._setting = WorldContext(
            seed=seed,
            apps={f"{app.vendor} {app.app_id}": app for app in apps},
            outside_ms=lambda ms: start_ms + (ms - start_ms) // speed,
            world_ms=lambda ms: start_ms + (ms - start_ms) * speed,
            exact_times=speed > 1,
        )
        self._vendors: dict[str, Vendor] = {vendor.name: vendor(self._setting) for vendor in VENDORS}
        self._outbox = Outbox(self._setting, self._vendors, faults, self.counters)
        self._changes = WorldChanges(
            self._setting, self.tasks, plan, faults, self._vendors, self.counters, self._send_events, self._schedule
        )
        self._switchboard = Gateway(self._setting, self._vendors, faults, self.counters, Quotas(), self._changes)
        self._heap: list[tuple[int, int, int]] = []

    # Time.

    def next_event_ms(self) -> int | None:
        """When anything happens next; None: nothing ever will, unless a call comes."""
        times = [at for at in (self._heap[0][0] if self._heap else None, self._outbox.next_ms()) if at is not None]
        return max(self.now, min(times)) if times else None

    def advance_to(self, ms: int) -> list[CallbackDelivery]:
        """Lets time pass until then; the callbacks that arrive by then, in their order. Say of each how it went: `answered`."""
        self._advance_clock_to(ms)
        return self._outbox.take_due(ms)

    def record_answer(self, callback: CallbackDelivery, status: int | None, now: int) -> None:
        """The HTTP status that a callback was answered with; None: none came in time."""
        self._outbox.record_answer(callback, status, now)

    def _advance_clock_to(self, ms: int) -> None:
        while self._heap and self._heap[0][0] <= ms:
            at, number, edition = heapq.heappop(self._heap)
            task = self.tasks.all[number]
            if edition == task.script_version and task.script:
                self._set_clock(max(at, self.now))
                self._changes.apply_next_moment(task)
                self._schedule(task)
        self._set_clock(max(ms, self.now))

    def _set_clock(self, ms: int) -> None:
        self.now = self._changes.now = ms

    def _schedule(self, task: VendorTask) -> None:
        if task.script:
            heapq.heappush(self._heap, (task.script[0][0], task.number, task.script_version))

    def _send_events(self, task: VendorTask, beat: Moment, at: int) -> None:
        for after, news in self._vendors[task.order.app.vendor].events_of(task, beat, at):
            if news.event not in news.app.silent:
                self._outbox.send(news, at + after)

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
        """Which vendor a call means; None: none."""
        return next((name for name, vendor in self._vendors.items() if vendor.recognizes(request)), None)

    def outside_ms(self, ms: int) -> int:
        """A time of this world as it is told outside."""
        return self._setting.outside_ms(ms)

    def timeout_s(self, vendor: str) -> float:
        """How long this vendor waits for the answer to a callback."""
        return self._vendors[vendor].timeout_s

    # What tests and stories do to it.

    def find(self, vendor: str, vendor_task_id: str) -> VendorTask:
        """The newest task of this id. StopIteration where there is none."""
        wanted = (vendor, vendor_task_id)
        return next(t for t in reversed(self.tasks.all) if (t.order.app.vendor, t.order.vendor_task_id) == wanted)

    def end(self, task: VendorTask, cause: Cause) -> None:
        """Something ends this task now."""
        self._changes.end(task, cause)

    def interrupt(self, task: VendorTask) -> None:
        """It loses its source or target now, and does not find it again by itself."""
        self._changes.interrupt(task)

    def forget(self, task: VendorTask) -> None:
        """The vendor loses this task: no callback, and no query knows it any more."""
        self._changes.end(task, Cause.FORGOTTEN)

    def dismiss_room(self, vendor: str, app_id: str, room_id: str) -> None:
        """The room is dismissed, and with it every task in it."""
        for task in self.tasks.in_room(self._setting.apps[f"{vendor} {app_id}"], room_id):
            self._changes.end(task, Cause.DISMISSED)

    def truth(self) -> tuple[Truth, ...]:
        """What really became of each vendor task, in the order of their starts."""
        return tuple(ground_truth(task, self._vendors[task.order.app.vendor], self._setting) for task in self.tasks.all)
