"""Callbacks on their way: lost, doubled, delayed, and retried as each vendor does."""

import heapq
from collections.abc import Mapping
from dataclasses import dataclass

from simulator.counters import Counters
from simulator.messages import CallbackDelivery, OutgoingEvent
from simulator.plan import Faults
from simulator.protocol import Vendor, WorldContext
from simulator.seeded_random import SeededRandom

# Shortest and longest network delay; events that lie closer together may arrive in another order.
_FASTEST_MS, _SLOWEST_MS = 20, 250


@dataclass(frozen=True, slots=True, order=True)
class _QueuedDelivery:
    due_at: int
    number: int
    attempt: int
    first_at: int


class Outbox:
    """Callbacks that are waiting for their delivery."""

    def __init__(self, context: WorldContext, vendors: Mapping[str, Vendor], faults: Faults, counters: Counters) -> None:
        self._context = context
        self._vendors = vendors
        self._faults = faults
        self._counters = counters
        self._heap: list[_QueuedDelivery] = []
        self._events: dict[int, OutgoingEvent] = {}
        self._number = 0

    def send(self, event: OutgoingEvent, at: int) -> None:
        """Sends an event at this time of the world's clock, through a network with faults."""
        vendor, faults = event.app.vendor, self._faults
        random = SeededRandom(self._context.seed, "callback", vendor, event.unique_name)
        self._counters.callbacks[f"{vendor} made"] += 1
        if random.happens(faults.lose):
            self._counters.callbacks[f"{vendor} lost"] += 1
            return
        late_ms = round(faults.max_delay_s * 1000)
        due = at + random.integer_between(_FASTEST_MS, _SLOWEST_MS)
        if random.happens(faults.delay):
            self._counters.callbacks[f"{vendor} delayed"] += 1
            due += random.integer_between(0, late_ms)
        self._queue_delivery(event, due)
        if random.happens(faults.double):
            self._counters.callbacks[f"{vendor} doubled"] += 1
            self._queue_delivery(event, due + random.integer_between(0, late_ms))

    def _queue_delivery(self, event: OutgoingEvent, due: int) -> None:
        self._number += 1
        self._events[self._number] = event
        heapq.heappush(self._heap, _QueuedDelivery(due, self._number, 1, due))

    def next_ms(self) -> int | None:
        """Returns the due time of the next delivery; None if there is none."""
        return self._heap[0].due_at if self._heap else None

    def take_due(self, now: int) -> list[CallbackDelivery]:
        """Returns the deliveries that are due, in the order in which they arrive."""
        deliveries = []
        while self._heap and self._heap[0].due_at <= now:
            deliveries.append(self._signed_delivery(heapq.heappop(self._heap)))
        return deliveries

    def _signed_delivery(self, delivery: _QueuedDelivery) -> CallbackDelivery:
        event = self._events[delivery.number]
        vendor = self._vendors[event.app.vendor]
        body, headers = vendor.sign_callback(event, self._context.outside_ms(delivery.due_at))
        self._counters.callbacks[f"{vendor.name} sent"] += 1
        return CallbackDelivery(
            number=delivery.number,
            vendor=vendor.name,
            app_id=event.app.app_id,
            event_type=event.event_type,
            due_at=delivery.due_at,
            body=body,
            headers=headers,
            attempt=delivery.attempt,
            first_at=delivery.first_at,
            source_event=event,
        )

    def record_answer(self, callback: CallbackDelivery, status: int | None, now: int) -> None:
        """Records the answer to a delivery; None: no answer in time. A failed one is retried, up to the vendor's limit."""
        vendor = self._vendors[callback.vendor]
        if status == 200:
            self._counters.callbacks[f"{vendor.name} delivered"] += 1
            self._events.pop(callback.number, None)
            return
        outside_ms = self._context.outside_ms
        at = vendor.retry_at(callback.attempt, outside_ms(callback.first_at), outside_ms(now))
        if at is None:
            self._counters.callbacks[f"{vendor.name} given_up"] += 1
            self._events.pop(callback.number, None)
        else:
            self._counters.callbacks[f"{vendor.name} retried"] += 1
            due = max(now, self._context.world_ms(at))
            heapq.heappush(self._heap, _QueuedDelivery(due, callback.number, callback.attempt + 1, callback.first_at))
