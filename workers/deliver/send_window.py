"""Congestion windows: how many deliveries each subscription has in flight at once.

A window grows by one with each success and halves with each failure (AIMD). A subscriber that hangs occupies only the threads of
its window, and one event that hangs leaves room for others. A subscriber at the limit gets a prefetched backlog: its threads go on
with the next message at once, without waiting for the dispatcher's next round.
"""

import threading
from collections import deque
from collections.abc import Iterable

from workers.deliver.messages import OutboundMessage

#: Deliveries that are sent to a subscription at the same time: initial, minimum and maximum number.
_INITIAL, MIN_CONCURRENCY, MAX_CONCURRENCY = 8, 4, 32
#: Prefetch factor of a subscription at its limit: claims up to this many times its concurrency.
_PREFETCH = 12


class SendWindow:
    """The window of one subscription.

    The threads that send call `next_message` and `on_thread_ended`; the dispatcher's thread calls the rest. A lock protects the
    queue between them.
    """

    def __init__(self) -> None:
        self._limit = float(_INITIAL)
        #: Deliveries claimed from the ledger whose result has not come back yet.
        self._in_flight = 0
        self._lock = threading.Lock()
        self._waiting: deque[OutboundMessage] = deque()
        self._threads = 0

    @property
    def capacity(self) -> int:
        """The number of further deliveries that may be claimed now."""
        limit = MAX_CONCURRENCY * _PREFETCH if self._limit >= MAX_CONCURRENCY else int(self._limit)
        return max(0, limit - self._in_flight)

    @property
    def is_idle(self) -> bool:
        """True if nothing is in flight."""
        return self._in_flight == 0

    def on_claimed(self) -> None:
        """Counts a delivery that was claimed."""
        self._in_flight += 1

    def on_sent(self, *, ok: bool) -> None:
        """Counts a delivery whose result came back. ok: the subscriber accepted it."""
        self._in_flight -= 1
        self._limit = min(MAX_CONCURRENCY, self._limit + 1) if ok else max(MIN_CONCURRENCY, self._limit / 2)

    def on_returned(self) -> None:
        """Counts a claimed delivery that came back without an attempt to send it."""
        self._in_flight -= 1

    def enqueue(self, messages: Iterable[OutboundMessage]) -> int:
        """Puts messages into the queue; returns how many more threads are to be started for it."""
        with self._lock:
            self._waiting.extend(messages)
            more = max(0, min(int(self._limit), self._threads + len(self._waiting)) - self._threads)
            self._threads += more
            return more

    def next_message(self) -> OutboundMessage | None:
        """Returns the message that the calling thread sends next; None: the thread is not needed any more, and must end."""
        with self._lock:
            if not self._waiting or self._threads > self._limit:
                self._threads -= 1
                return None
            return self._waiting.popleft()

    def on_thread_ended(self) -> None:
        """Counts a thread that ends because of an error, although messages may wait."""
        with self._lock:
            self._threads -= 1

    def drain(self) -> list[OutboundMessage]:
        """Empties the queue, and returns the messages that no thread has begun to send."""
        with self._lock:
            waiting, self._waiting = list(self._waiting), deque()
            return waiting


class SendWindows:
    """The windows of all subscriptions that events are sent to. Used by one thread."""

    def __init__(self) -> None:
        self._windows: dict[str, SendWindow] = {}

    def window_of(self, subscription_id: str) -> SendWindow:
        return self._windows.setdefault(subscription_id, SendWindow())

    def drain(self) -> list[OutboundMessage]:
        """Empties all queues, and returns the messages that no thread has begun to send."""
        return [message for window in self._windows.values() for message in window.drain()]

    def keep_only(self, ids: Iterable[str]) -> None:
        """Removes the windows of all other subscriptions, unless something is in flight."""
        kept = set(ids)
        self._windows = {id_: window for id_, window in self._windows.items() if id_ in kept or not window.is_idle}
