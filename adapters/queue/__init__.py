"""The queue carries hints (wake-up messages to workers) and nothing else: the work itself is stored in the ledger.

A lost hint delays work by at most one sweep interval; a superfluous hint costs one query. One hint stands for any number of rows:
at most one hint waits per worker. Every worker process has its own queue, and every hint goes to all of them, because the sender
knows neither how many workers there are nor which worker owns the rows.

* `notifier` - turns any number of notifications into few hints, sent from a thread of its own.
* `redis_broker` - dramatiq's broker for hints among processes that share a Redis, with a consumer of our own.
* `redis_client` - a Redis client that survives a failover.
* `backoff` - growing pauses, and rare reports, while the queue is unavailable.
"""

import dramatiq
from dramatiq.brokers.stub import StubBroker

from adapters.queue.notifier import LOCAL_QUEUE, Hints, LocalHints, Notifier
from adapters.queue.redis_broker import HintBroker, RedisHints
from adapters.queue.redis_client import open_redis_client

__all__ = ["Hints", "LocalHints", "Notifier", "RedisHints", "open_broker", "open_hints", "queue_of"]


def open_broker(url: str) -> dramatiq.Broker:
    """Returns the broker for a `queue.url`; an in-process one if it is empty. Does not connect yet."""
    broker = HintBroker(open_redis_client(url)) if url else StubBroker(middleware=[])
    broker.declare_queue(queue_of(broker))
    return broker


def open_hints(url: str) -> Hints:
    """Returns the senders' side of a `queue.url`; an in-process one if it is empty. Does not connect yet."""
    return RedisHints(open_redis_client(url)) if url else LocalHints()


def queue_of(broker: dramatiq.Broker) -> str:
    """Returns the name of the queue of this process's worker."""
    return broker.own_queue if isinstance(broker, HintBroker) else LOCAL_QUEUE
