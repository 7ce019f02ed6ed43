"""The dramatiq side: one actor, woken by hints."""

import dramatiq
from dramatiq import Broker, Worker

from adapters.ledger import LedgerUnavailableError
from adapters.logs import logger
from adapters.queue import Hints, queue_of
from adapters.queue.bell import APPLY
from workers.applying import Applier

#: How long an idle thread waits at a time, ms. It sleeps meanwhile, and wakes when there is something; so long may an end take.
_WAIT_MS = 250
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


def open_worker(broker: Broker) -> Worker:
    return Worker(broker, queues={queue_of(broker)}, worker_timeout=_WAIT_MS, worker_threads=_THREADS)
