"""The notifier: turns any number of notifications into few hints."""

import threading
from collections.abc import Callable, Sequence
from typing import Protocol

import dramatiq

from adapters.queue.backoff import Outage
from adapters.supervision import Health, SupervisedThread

#: Name of the actor that applies the inbox; hints name it, so that the sender need not import it.
APPLY_ACTOR = "apply_inbox"
#: Name of the queue inside this process.
LOCAL_QUEUE = "tally"

#: Minimum time between two hints, s; it limits the load on a busy door, and no caller waits for a hint.
_SEND_INTERVAL_S = 0.02


class Hints(Protocol):
    """The senders' side of the queue: which workers need a hint."""

    def queues_without_hint(self) -> Sequence[str]:
        """Returns the queues in which no hint waits; the caller sends one to each. Raises the broker's errors."""
        ...

    def mark_received(self) -> None:
        """Records that this process received a hint; later work needs a new one."""
        ...

    def close(self) -> None:
        """Closes the connections."""
        ...


class LocalHints:
    """Hints for a queue inside this process."""

    def __init__(self) -> None:
        self._hint_waits = threading.Event()

    def queues_without_hint(self) -> Sequence[str]:
        if self._hint_waits.is_set():
            return []
        self._hint_waits.set()
        return [LOCAL_QUEUE]

    def mark_received(self) -> None:
        self._hint_waits.clear()

    def close(self) -> None:
        """Does nothing."""


class Notifier:
    """Sends hints to workers after new rows in the inbox. It has a thread of its own, so that `notify` never waits.

    on_failure: called once in a while as long as hints cannot be sent. health: where it registers. It is not vital: without hints
    the sweep finds the work.
    """

    def __init__(
        self, broker: dramatiq.Broker, hints: Hints, on_failure: Callable[[Exception], None], health: Health | None = None
    ) -> None:
        self._broker = broker
        self._hints = hints
        self._outage = Outage(on_failure)
        self._notified = threading.Event()
        self._stopping = threading.Event()
        health = health or Health()
        self._health_part = health.part("bell", vital=False, needs_ledger=False)
        self._thread = SupervisedThread(health, self._health_part, self._run, self._stopping)

    def start(self) -> None:
        self._thread.start()

    def notify(self) -> None:
        """Requests a hint to all workers; returns at once. Called after rows were written to the inbox."""
        self._notified.set()

    def stop(self) -> None:
        """Stops the thread and closes the connections; waits for at most 5 s."""
        self._stopping.set()
        self._notified.set()
        self._thread.join(timeout=5)
        self._hints.close()

    def _run(self) -> None:
        while True:
            self._notified.wait()
            self._notified.clear()
            if self._stopping.is_set():
                return
            with self._health_part.at_work():
                pause_s = self._send_hints()
            self._stopping.wait(pause_s)

    def _send_hints(self) -> float:
        """Sends a hint to each worker without one. Returns the pause before the next one, s."""
        try:
            for queue in self._hints.queues_without_hint():
                send_hint(self._broker, queue)
        except Exception as error:  # noqa: BLE001 - the thread's boundary: without it, no worker would be woken any more
            return self._outage.record_failure(error)
        self._outage.record_success()
        return _SEND_INTERVAL_S


def send_hint(broker: dramatiq.Broker, queue: str) -> None:
    """Sends a hint to the worker with this queue. Raises the broker's errors."""
    broker.enqueue(dramatiq.Message(queue_name=queue, actor_name=APPLY_ACTOR, args=(), kwargs={}, options={}))
