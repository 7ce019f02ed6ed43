"""The dramatiq side: one actor, woken by hints."""

import threading

import dramatiq
from dramatiq import Broker, Worker

from adapters.ledger import LedgerUnavailableError
from adapters.logs import logger
from adapters.queue import Hints, queue_of
from adapters.queue.notifier import APPLY
from adapters.supervision import Health
from workers.apply.applier import Applier

#: How long an idle thread waits at a time, ms. It sleeps meanwhile, and wakes when there is something; so long may an end take.
_WAIT_MS = 250
#: So long is waited for a consumer of a worker that is replaced, s.
_CONSUMER_S = 2.0
#: One: while it applies, one hint waits, and stands for all that comes.
_THREADS = 1

log = logger(__name__)


def declare_actors(broker: Broker, applier: Applier, hints: Hints) -> None:
    """Makes the actor known to the broker."""

    @dramatiq.actor(broker=broker, actor_name=APPLY, queue_name=queue_of(broker))
    def apply_inbox() -> None:
        hints.taken()
        try:
            applier.apply_waiting()
        except LedgerUnavailableError:
            return  # the sweep says so, and tries again
        except Exception as error:
            log.error("sweep.failed", exc_info=error)


class HintWorker:
    """dramatiq's worker, and another one in its place if a thread of it is gone. Without hints the sweep finds the work."""

    def __init__(self, broker: Broker, hints: Hints, health: Health) -> None:
        self._broker = broker
        self._hints = hints
        self._health = health
        self._part = health.part("hints", vital=False)
        self._lock = threading.Lock()
        self._worker = self._open()
        self.ended = False

    def start(self) -> None:
        self._worker.start()
        self._health.watch(self)

    def stop(self) -> None:
        with self._lock:
            self.ended = True
            self._worker.stop()

    def revive(self) -> None:
        """Replaces a worker of which a thread is gone."""
        with self._lock:
            threads: list[threading.Thread] = [*self._worker.workers, *self._worker.consumers.values()]
            if self.ended or all(thread.is_alive() for thread in threads):
                self._part.worked()
                return
            self._part.failed("a thread of its worker was gone")
            log.error("thread.failed", part="hints", error="a thread is gone; another worker is started")
            for worker in self._worker.workers:
                worker.stop()
            for consumer in self._worker.consumers.values():
                consumer.stop()
                consumer.join(_CONSUMER_S)  # it must not take a hint any more: nobody would use it
            self._hints.taken()  # the hint that it had counts as taken, or no other one would be sent
            self._worker = self._open()
            self._worker.start()

    def _open(self) -> Worker:
        return Worker(self._broker, queues={queue_of(self._broker)}, worker_timeout=_WAIT_MS, worker_threads=_THREADS)
