"""The queue carries wake-up hints, nothing else: what is to be done stands in the ledger.

A lost hint costs at most one sweep's interval; a hint too many costs one look. One hint stands for any number of rows: a worker has
at most one waiting, and none that it would take while it is still at work on the one before. Every worker process has a queue of
its own and every hint goes to all of them, because whoever rings knows neither how many there are nor whose rows these are.
"""

import dramatiq
from dramatiq.brokers.stub import StubBroker

from adapters.queue.notifier import LOCAL_QUEUE, Bell, Hints, LocalHints
from adapters.queue.redis_broker import HintBroker, RedisHints
from adapters.queue.redis_client import redis_client

__all__ = ["Bell", "Hints", "LocalHints", "RedisHints", "open_broker", "open_hints", "queue_of"]


def open_broker(url: str) -> dramatiq.Broker:
    """The broker for a `queue.url`; in this process where it is empty. Connects to nothing yet."""
    broker = HintBroker(redis_client(url)) if url else StubBroker(middleware=[])
    broker.declare_queue(queue_of(broker))
    return broker


def open_hints(url: str) -> Hints:
    return RedisHints(redis_client(url)) if url else LocalHints()


def queue_of(broker: dramatiq.Broker) -> str:
    """Where the worker of this process gets its hints from."""
    return broker.own_queue if isinstance(broker, HintBroker) else LOCAL_QUEUE
