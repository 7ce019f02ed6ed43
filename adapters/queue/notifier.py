"""The bell: turns any number of rings into few hints."""

import threading
from collections.abc import Callable, Sequence
from typing import Protocol

import dramatiq

from adapters.queue.backoff import Outage
from adapters.supervision import Health, SupervisedThread

#: The actor that applies the inbox; hints name it, so that whoever sends one need not import it.
APPLY = "apply_inbox"
#: Where hints go that stay in this process.
LOCAL_QUEUE = "tally"

#: After a hint, the next one is sent so much later: no one waits for it, and a busy door is not kept busy by its bell, s.
_PAUSE_S = 0.02


class Hints(Protocol):
    def wanting(self) -> Sequence[str]:
        """The queues of the workers for whom no hint waits; who asks sends one to each. Raises what the broker raises."""
        ...

    def taken(self) -> None:
        """A hint arrived here: what comes from now on needs a new one."""
        ...

    def close(self) -> None:
        """Nobody asks any more."""
        ...


class LocalHints:
    """For a queue in this process."""

    def __init__(self) -> None:
        self._under_way = threading.Event()

    def wanting(self) -> Sequence[str]:
        if self._under_way.is_set():
            return []
        self._under_way.set()
        return [LOCAL_QUEUE]

    def taken(self) -> None:
        self._under_way.clear()

    def close(self) -> None:
        """There is nothing to close."""


class Bell:
    """Rung by whoever put something into the inbox; sends hints from a thread of its own, so that ringing never waits.

    on_failure: told that hints cannot be sent, once in a while for as long as that lasts. health: where it registers; without
    hints the sweep finds the work.
    """

    def __init__(
        self, broker: dramatiq.Broker, hints: Hints, on_failure: Callable[[Exception], None], health: Health | None = None
    ) -> None:
        self._broker = broker
        self._hints = hints
        self._outage = Outage(on_failure)
        self._rung = threading.Event()
        self._stopping = threading.Event()
        health = health or Health()
        self._part = health.part("bell", vital=False, needs_ledger=False)
        self._thread = SupervisedThread(health, self._part, self._run, self._stopping)

    def start(self) -> None:
        self._thread.start()

    def ring(self) -> None:
        self._rung.set()

    def stop(self) -> None:
        """Sends no more hints."""
        self._stopping.set()
        self._rung.set()
        self._thread.join(timeout=5)
        self._hints.close()

    def _run(self) -> None:
        while True:
            self._rung.wait()
            self._rung.clear()
            if self._stopping.is_set():
                return
            with self._part.at_work():
                pause_s = self._send()
            self._stopping.wait(pause_s)

    def _send(self) -> float:
        """How long to rest then, s."""
        try:
            for queue in self._hints.wanting():
                send_hint(self._broker, queue)
        except Exception as error:  # noqa: BLE001 - the thread's edge: without it, nobody would be woken any more
            return self._outage.begun(error)
        self._outage.over()
        return _PAUSE_S


def send_hint(broker: dramatiq.Broker, queue: str) -> None:
    """Wakes the worker whose queue this is. Raises what the broker raises when it is away."""
    broker.enqueue(dramatiq.Message(queue_name=queue, actor_name=APPLY, args=(), kwargs={}, options={}))
