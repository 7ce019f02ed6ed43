"""The queue carries wake-up hints, nothing else: what is to be done stands in the ledger.

A lost hint costs at most one sweep's interval; a hint too many costs one look. One hint stands for any number of rows: while one
is under way no further one is sent.
"""

import threading
from typing import Any, Protocol

import dramatiq
import redis
from dramatiq.brokers.redis import RedisBroker
from dramatiq.brokers.stub import StubBroker
from dramatiq.middleware import AgeLimit, CurrentMessage, ShutdownNotifications
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

#: The actor that applies the inbox; hints name it, so that whoever sends one need not import it.
APPLY = "apply_inbox"
QUEUE = "tally"

_HINTED = "tally:hinted"
#: If a hint is lost, the next one may be sent after this, ms.
_HINT_LIFE_MS = 500
#: A hint that waited longer says nothing that the sweep did not find, ms.
_AGE_LIMIT_MS = 60_000


def open_broker(url: str) -> dramatiq.Broker:
    """The broker for a `queue.url`; in this process where it is empty."""
    middleware = [AgeLimit(max_age=_AGE_LIMIT_MS), ShutdownNotifications(), CurrentMessage()]
    if not url:
        broker: dramatiq.Broker = StubBroker(middleware=middleware)
    else:
        # A dead worker's messages come back only by maintenance, which is rare by default.
        make: Any = RedisBroker
        broker = make(client=redis_client(url), middleware=middleware, maintenance_chance=100_000, heartbeat_timeout=10_000)
    broker.declare_queue(QUEUE)
    return broker


def redis_client(url: str) -> redis.Redis:
    """A client that outlives a failover: it retries on lost connections and on a server that is starting or stepping down."""
    retry = Retry(ExponentialBackoff(cap=0.5, base=0.02), retries=3)
    errors: list[type[Exception]] = [redis.ConnectionError, redis.TimeoutError, redis.BusyLoadingError, redis.ReadOnlyError]
    return redis.Redis.from_url(url, retry=retry, retry_on_error=errors, socket_timeout=5, socket_connect_timeout=2)


class Hints(Protocol):
    def claim(self) -> bool:
        """Whether a hint may be sent now: none is under way."""
        ...

    def taken(self) -> None:
        """A hint arrived: what comes from now on needs a new one."""
        ...


class LocalHints:
    """For a queue in this process."""

    def __init__(self) -> None:
        self._under_way = threading.Event()

    def claim(self) -> bool:
        if self._under_way.is_set():
            return False
        self._under_way.set()
        return True

    def taken(self) -> None:
        self._under_way.clear()


class RedisHints:
    """For all processes that share a Redis. The mark runs out by itself, so a lost hint silences nobody."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client

    def claim(self) -> bool:
        return bool(self._client.set(_HINTED, b"1", nx=True, px=_HINT_LIFE_MS))

    def taken(self) -> None:
        self._client.delete(_HINTED)


def open_hints(url: str) -> Hints:
    return RedisHints(redis_client(url)) if url else LocalHints()


def send_hint(broker: dramatiq.Broker) -> None:
    """Wakes a worker. Raises what the broker raises when it is away."""
    broker.enqueue(dramatiq.Message(queue_name=QUEUE, actor_name=APPLY, args=(), kwargs={}, options={}))


class Bell:
    """Rung by whoever put something into the inbox; sends hints from a thread of its own, so that ringing never waits."""

    def __init__(self, broker: dramatiq.Broker, hints: Hints, on_failure: "OnFailure") -> None:
        self._broker = broker
        self._hints = hints
        self._on_failure = on_failure
        self._rung = threading.Event()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="bell", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def ring(self) -> None:
        self._rung.set()

    def stop(self) -> None:
        self._stopped = True
        self._rung.set()
        self._thread.join(timeout=5)

    def _run(self) -> None:
        while True:
            self._rung.wait()
            self._rung.clear()
            if self._stopped:
                return
            try:
                if self._hints.claim():
                    send_hint(self._broker)
            except (redis.RedisError, dramatiq.errors.BrokerError) as error:
                self._on_failure(error)


class OnFailure(Protocol):
    def __call__(self, error: Exception) -> None: ...
