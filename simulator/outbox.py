"""Callbacks on their way: lost, doubled, delayed, and tried again as each vendor does."""

import heapq
from collections.abc import Mapping
from dataclasses import dataclass

from simulator.counters import Counters
from simulator.messages import CallbackDelivery, OutgoingEvent
from simulator.plan import Faults
from simulator.protocol import Vendor, WorldContext
from simulator.seeded_random import SeededRandom

# How long the network takes; news that lie closer together may change places.
_FASTEST_MS, _SLOWEST_MS = 20, 250


@dataclass(frozen=True, slots=True, order=True)
class _QueuedDelivery:
    due_at: int
    number: int
    attempt: int
    first_at: int


class Outbox:
    def __init__(self, setting: WorldContext, vendors: Mapping[str, Vendor], faults: Faults, counters: Counters) -> None:
        self._setting = setting
        self._vendors = vendors
        self._faults = faults
        self._counters = counters
        self._heap: list[_QueuedDelivery] = []
        self._news: dict[int, OutgoingEvent] = {}
        self._number = 0

    def send(self, news: OutgoingEvent, at: int) -> None:
        """Sends it, at this time of the world's clock, through a network with faults."""
        vendor, faults = news.app.vendor, self._faults
        dice = SeededRandom(self._setting.seed, "callback", vendor, news.name)
        self._counters.callbacks[f"{vendor} made"] += 1
        if dice.happens(faults.lose):
            self._counters.callbacks[f"{vendor} lost"] += 1
            return
        late_ms = round(faults.max_delay_s * 1000)
        due = at + dice.integer_between(_FASTEST_MS, _SLOWEST_MS)
        if dice.happens(faults.delay):
            self._counters.callbacks[f"{vendor} delayed"] += 1
            due += dice.integer_between(0, late_ms)
        self._enqueue(news, due)
        if dice.happens(faults.double):
            self._counters.callbacks[f"{vendor} doubled"] += 1
            self._enqueue(news, due + dice.integer_between(0, late_ms))

    def _enqueue(self, news: OutgoingEvent, due: int) -> None:
        self._number += 1
        self._news[self._number] = news
        heapq.heappush(self._heap, _QueuedDelivery(due, self._number, 1, due))

    def next_ms(self) -> int | None:
        return self._heap[0].due_at if self._heap else None

    def take_due(self, now: int) -> list[CallbackDelivery]:
        """Those to be delivered by now, in the order in which they arrive."""
        found = []
        while self._heap and self._heap[0].due_at <= now:
            found.append(self._signed_delivery(heapq.heappop(self._heap)))
        return found

    def _signed_delivery(self, waiting: _QueuedDelivery) -> CallbackDelivery:
        news = self._news[waiting.number]
        vendor = self._vendors[news.app.vendor]
        body, headers = vendor.sign_callback(news, self._setting.outside_ms(waiting.due_at))
        self._counters.callbacks[f"{vendor.name} sent"] += 1
        return CallbackDelivery(
            number=waiting.number,
            vendor=vendor.name,
            app_id=news.app.app_id,
            event=news.event,
            due_at=waiting.due_at,
            body=body,
            headers=headers,
            attempt=waiting.attempt,
            first_at=waiting.first_at,
            event_sent=news,
        )

    def record_answer(self, callback: CallbackDelivery, status: int | None, now: int) -> None:
        """How a delivery went; None: no answer in time. What failed is tried again, up to the vendor's limit."""
        vendor = self._vendors[callback.vendor]
        if status == 200:
            self._counters.callbacks[f"{vendor.name} delivered"] += 1
            self._news.pop(callback.number, None)
            return
        told = self._setting.outside_ms
        at = vendor.retry_at(callback.attempt, told(callback.first_at), told(now))
        if at is None:
            self._counters.callbacks[f"{vendor.name} given_up"] += 1
            self._news.pop(callback.number, None)
        else:
            self._counters.callbacks[f"{vendor.name} retried"] += 1
            due = max(now, self._setting.world_ms(at))
            heapq.heappush(self._heap, _QueuedDelivery(due, callback.number, callback.attempt + 1, callback.first_at))
