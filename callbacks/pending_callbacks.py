"""Callbacks that wait for their answer: each is a future that the door awaits and that the recorder's threads resolve.

Answers are bounded in time and memory, whatever hangs: when a callback has waited for `answer_timeout_s`, the event loop itself
rejects it. A rejected callback may be sent again, and is recognised if the ledger or the spool took it after all.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import inf

from adapters.clock import monotonic_s
from adapters.ledger.inbox import Arrival

#: Batch limits, rows and bytes: bound how long one callback waits for the others of its commit.
_BATCH_ROWS = 500
_BATCH_BYTES = 8 * 1024 * 1024
#: Memory that a callback takes besides its body, about, bytes.
_OVERHEAD_BYTES = 2_048


class NotRecordedError(Exception):
    """Neither the ledger nor the spool can take the callback now."""


@dataclass(slots=True, eq=False)
class PendingCallback:
    """A callback that waits for its answer."""

    arrival: Arrival
    #: The answer: whether the callback was new, as far as is known. Done when the callback is durable, or with NotRecordedError.
    future: "asyncio.Future[bool]"
    #: Of the monotonic clock, s.
    arrived_s: float
    #: Memory that it takes, bytes; 0 once it is answered.
    size_bytes: int


#: A callback and its answer: whether it was new, as far as is known; or why it was not recorded.
Result = tuple[PendingCallback, bool | Exception]


class PendingCallbacks:
    """The callbacks that wait for their answer. For the event loop; `resolve_soon` and `resolve_later` for any thread.

    max_bytes: memory that they may take together. answer_timeout_s: after this time a callback is rejected.
    """

    def __init__(self, max_bytes: int, answer_timeout_s: float) -> None:
        self._max_bytes = max_bytes
        self._answer_timeout_s = answer_timeout_s
        self._loop: asyncio.AbstractEventLoop | None = None
        #: The oldest first; a callback that was answered stays until those before it are answered too.
        self._callbacks: deque[PendingCallback] = deque()
        #: Memory that they take, bytes.
        self.size_bytes = 0

    def start(self) -> None:
        """Binds it to the running event loop."""
        self._loop = asyncio.get_running_loop()

    def add(self, arrival: Arrival) -> PendingCallback:
        """Returns a new pending callback. If too many wait, its future is done, with NotRecordedError."""
        assert self._loop is not None, "start() first"
        callback = PendingCallback(arrival, self._loop.create_future(), monotonic_s(), len(arrival.body) + _OVERHEAD_BYTES)
        size_bytes = self.size_bytes + callback.size_bytes
        if size_bytes > self._max_bytes:
            callback.future.set_exception(NotRecordedError("too many wait already"))
        else:
            self.size_bytes = size_bytes
            self._callbacks.append(callback)
        return callback

    def reject_overdue(self) -> None:
        """Rejects the callbacks that have waited for too long."""
        oldest_s, callbacks = monotonic_s() - self._answer_timeout_s, self._callbacks
        while callbacks and (not callbacks[0].size_bytes or callbacks[0].arrived_s < oldest_s):
            self._set_answers([(callbacks.popleft(), NotRecordedError("neither the ledger nor the spool took it in time"))])

    def resolve_soon(self, results: Sequence[Result]) -> None:
        """Lets the event loop answer these callbacks. May be called from any thread."""
        self._call_in_loop(lambda: self._set_answers(results))

    def resolve_later(self, delay_s: float, results: Sequence[Result]) -> None:
        """Answers these callbacks after a delay; an answer that comes before then counts. May be called from any thread."""
        self._call_in_loop(lambda: self._call_later(delay_s, results))

    def _call_later(self, delay_s: float, results: Sequence[Result]) -> None:
        assert self._loop is not None
        self._loop.call_later(delay_s, self._set_answers, results)

    def _call_in_loop(self, function: Callable[[], None]) -> None:
        assert self._loop is not None
        with suppress(RuntimeError):  # the loop is closed: a writer that hung when the process was told to end has come back
            self._loop.call_soon_threadsafe(function)

    def _set_answers(self, results: Sequence[Result]) -> None:
        for callback, answer in results:
            self.size_bytes -= callback.size_bytes
            callback.size_bytes = 0
            if callback.future.done():  # the spool and the ledger both have it, or the sender hung up: it is kept all the same
                continue
            if isinstance(answer, Exception):
                callback.future.set_exception(answer)
            else:
                callback.future.set_result(answer)
        while self._callbacks and not self._callbacks[0].size_bytes:
            self._callbacks.popleft()


def pop_batch(queue: deque[PendingCallback]) -> list[PendingCallback]:
    """Removes a batch from the front of the queue and returns it. Several threads may do so at the same time."""
    batch: list[PendingCallback] = []
    body_bytes = 0
    with suppress(IndexError):
        while len(batch) < _BATCH_ROWS and body_bytes < _BATCH_BYTES:
            batch.append(queue.popleft())
            body_bytes += len(batch[-1].arrival.body)
    return batch


def oldest_arrival_s(queue: Sequence[PendingCallback]) -> float:
    """Returns when the first callback of the queue arrived, s; infinity if the queue is empty."""
    try:
        return queue[0].arrived_s
    except IndexError:  # empty, or another thread has removed it
        return inf
