"""The dramatiq side: one actor, woken by hints."""

import dramatiq
from dramatiq import Broker, Worker

from adapters.ledger import LedgerUnavailableError
from adapters.logs import logger
from adapters.queue import APPLY, QUEUE, Hints
from workers.applying import Applier

#: How long an idle worker waits in one poll, ms.
_POLL_MS = 50
#: One applies, one takes the hints that come meanwhile.
_THREADS = 2

log = logger(__name__)


def declare_actors(broker: Broker, applier: Applier, hints: Hints) -> None:
    """Makes the actor known to the broker."""

    @dramatiq.actor(broker=broker, actor_name=APPLY, queue_name=QUEUE)
    def apply_inbox() -> None:
        hints.taken()
        try:
            applier.apply_waiting()
        except LedgerUnavailableError as error:
            log.error("sweep.failed", error=str(error))  # the sweep tries again; a retry by the queue would only pile up


def open_worker(broker: Broker) -> Worker:
    return Worker(broker, queues={QUEUE}, worker_timeout=_POLL_MS, worker_threads=_THREADS)
