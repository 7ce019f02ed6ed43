"""The dramatiq side of the workers: one actor, which a hint wakes to apply the inbox."""

import threading

import dramatiq
from dramatiq import Broker, Worker

from adapters.ledger import LedgerUnavailableError
from adapters.logs import logger
from adapters.queue import Hints, queue_of
from adapters.queue.notifier import APPLY_ACTOR
from adapters.supervision import Health
from workers.apply.applier import Applier

#: Idle poll interval, ms; also the longest time that a shutdown waits for this thread.
_IDLE_POLL_MS = 250
#: Timeout for a consumer of a worker that is replaced, s.
_CONSUMER_JOIN_S = 2.0
#: Threads that apply. One is enough: while it applies, one hint waits in the queue, for everything that arrives meanwhile.
_THREADS = 1

log = logger(__name__)


def declare_actors(broker: Broker, applier: Applier, hints: Hints) -> None:
    """Declares the actor at the broker."""

    @dramatiq.actor(broker=broker, actor_name=APPLY_ACTOR, queue_name=queue_of(broker))
    def apply_inbox() -> None:
        hints.mark_received()
        try:
            applier.apply_waiting()
        except LedgerUnavailableError:
            return  # the sweep logs it, and tries again
        except Exception as error:
            log.error("sweep.failed", exc_info=error)


class HintWorker:
    """dramatiq's worker, which is replaced if one of its threads has died. Without hints the sweep finds the work."""

    def __init__(self, broker: Broker, hints: Hints, health: Health) -> None:
        self._broker = broker
        self._hints = hints
        self._health = health
        self._part = health.part("hints", vital=False)
        self._lock = threading.Lock()
        self._worker = self._new_worker()
        self.ended = False

    def start(self) -> None:
        self._worker.start()
        self._health.monitor(self)

    def stop(self) -> None:
        with self._lock:
            self.ended = True
            self._worker.stop()

    def revive(self) -> None:
        """Replaces the worker if one of its threads has died."""
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
                consumer.join(_CONSUMER_JOIN_S)  # it must not take another hint: no thread would handle it
            self._hints.mark_received()  # the hint that it had counts as received, or no other hint would be sent
            self._worker = self._new_worker()
            self._worker.start()

    def _new_worker(self) -> Worker:
        return Worker(self._broker, queues={queue_of(self._broker)}, worker_timeout=_IDLE_POLL_MS, worker_threads=_THREADS)
