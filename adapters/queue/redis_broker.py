"""Hints among processes that share a Redis: dramatiq's broker with one queue per worker process.

dramatiq's own consumer polls: with pauses of 50 ms it finds a hint too late, and with shorter ones it never lets the machine sleep.
It treats only lost connections as broker failures, and pauses 3 s after any. Our consumer blocks in Redis until there is a hint,
and backs off after any Redis error, so that no worker thread ends or waits for long.

Workers announce themselves in a sorted set, for a few seconds each time. Senders read it: without workers no hints are sent.
"""

import threading
from collections.abc import Sequence
from typing import Any

import dramatiq
import redis
from dramatiq.broker import Consumer, MessageProxy
from dramatiq.brokers.redis import RedisBroker

from adapters.clock import monotonic_s
from adapters.logs import logger
from adapters.queue.backoff import Outage
from adapters.queue.redis_client import FailoverClient

#: Prefix of all our keys.
NAMESPACE = "tally"
#: Prefix of a worker's queue; its broker's id follows.
_QUEUE_PREFIX = "hints."
#: Interval of a worker's announcements, s.
_ANNOUNCE_INTERVAL_S = 1.0
#: Time for which an announcement is valid, ms.
_ANNOUNCEMENT_VALID_MS = 3_000
#: Time after which the keys of a dead worker are removed, ms.
_DEAD_WORKER_KEPT_MS = 60_000
#: Hints fetched at once, of which one is used: several senders may have seen an empty queue at the same time.
_FETCH_LIMIT = 100
#: Minimum time between two hints of a worker, s; rows that arrive meanwhile are applied together.
_FETCH_INTERVAL_S = 0.01

#: Lua: returns the queues of live workers in which no hint waits. KEYS: the namespace.
_QUEUES_WITHOUT_HINT = """
local time = redis.call('time')
local queues = {}
for _, queue in ipairs(redis.call('zrangebyscore', KEYS[1] .. ':workers', time[1] * 1000 + time[2] / 1000, '+inf')) do
    if redis.call('llen', KEYS[1] .. ':' .. queue) == 0 then
        queues[#queues + 1] = queue
    end
end
return queues
"""

#: Lua: announces a worker, and removes the keys of workers that died long ago, including dramatiq's own.
#: KEYS: the namespace. ARGV: the worker's queue, validity of the announcement (ms), time to keep dead workers (ms), queue prefix.
_ANNOUNCE_WORKER = """
local time = redis.call('time')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local workers, heartbeats = KEYS[1] .. ':workers', KEYS[1] .. ':__heartbeats__'
redis.call('zadd', workers, now + ARGV[2], ARGV[1])
for _, queue in ipairs(redis.call('zrangebyscore', workers, '-inf', now - ARGV[3])) do
    local id, key = string.sub(queue, #ARGV[4] + 1), KEYS[1] .. ':' .. queue
    redis.call('del', key, key .. '.msgs', KEYS[1] .. ':__acks__.' .. id .. '.' .. queue)
    redis.call('zrem', workers, queue)
end
redis.call('zremrangebyscore', heartbeats, '-inf', now - 60 * ARGV[3])
"""

log = logger(__name__)


class HintBroker(RedisBroker):
    """dramatiq's broker without delay queues (no hint is delayed) and without maintenance.

    Maintenance would requeue the hints of dead workers, which is not needed, and would scan all keys of the Redis.
    """

    def __init__(self, client: FailoverClient) -> None:
        super().__init__(client=client, middleware=[], namespace=NAMESPACE, maintenance_chance=0)  # type: ignore[no-untyped-call]
        self.own_queue = f"{_QUEUE_PREFIX}{self.broker_id}"

    def declare_queue(self, queue_name: str) -> None:
        if queue_name not in self.queues:
            self.emit_before("declare_queue", queue_name)
            self.queues.add(queue_name)
            self.emit_after("declare_queue", queue_name)

    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = 250) -> Consumer:
        return HintConsumer(self, queue_name, timeout / 1000)

    def close(self) -> None:
        self.client.close()


class RedisHints:
    """Hints for all processes that share a Redis."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._find_queues = client.register_script(_QUEUES_WITHOUT_HINT)

    def queues_without_hint(self) -> Sequence[str]:
        return [queue.decode() for queue in self._find_queues(keys=[NAMESPACE])]

    def mark_received(self) -> None:
        """Does nothing: the hint has left its queue."""

    def close(self) -> None:
        self._client.close()


class HintConsumer(Consumer):
    """Yields one hint at a time, and the next one only when that one is done. block_s: timeout of one call.

    A hint leaves Redis for good before it is yielded; if the worker dies, no message has to be recovered.
    """

    def __init__(self, broker: HintBroker, queue: str, block_s: float) -> None:
        self._commands: Any = broker  # its command methods are created at run time
        self._client = broker.client
        self._queue = queue
        self._block_s = block_s
        self._announce_script = self._client.register_script(_ANNOUNCE_WORKER)
        self._announced_at = float("-inf")
        self._fetched_at = float("-inf")
        self._unacked: list[str] = []
        self._done = threading.Event()
        self._done.set()
        self._outage = Outage(lambda error: log.warning("hint.failed", error=str(error)))

    def __next__(self) -> MessageProxy | None:
        try:
            self._announce_worker()
            self._acknowledge_hints()
            hint = self._fetch_hint() if self._done.wait(self._block_s) else None
        except (redis.RedisError, OSError) as error:
            self._sleep(self._outage.record_failure(error))
            return None
        self._outage.record_success()
        return hint

    def ack(self, message: MessageProxy) -> None:
        """Records that the hint is done. Called by the worker thread, which must not wait for Redis."""
        self._done.set()

    def nack(self, message: MessageProxy) -> None:
        """Does the same as `ack`: a failed hint is not repeated."""
        self._done.set()

    def close(self) -> None:
        """Removes the worker's announcement and queue. During an outage it does nothing: the announcement expires soon."""
        if self._outage.is_ongoing:
            return
        try:
            self._client.zrem(f"{NAMESPACE}:workers", self._queue)
            self._commands.do_purge(self._queue)
        except (redis.RedisError, OSError) as error:
            self._outage.record_failure(error)

    def _announce_worker(self) -> None:
        now = monotonic_s()
        if now - self._announced_at >= _ANNOUNCE_INTERVAL_S:
            self._announce_script(keys=[NAMESPACE], args=[self._queue, _ANNOUNCEMENT_VALID_MS, _DEAD_WORKER_KEPT_MS, _QUEUE_PREFIX])
            self._announced_at = now

    def _acknowledge_hints(self) -> None:
        while self._unacked:
            self._commands.do_ack(self._queue, self._unacked[-1])
            self._unacked.pop()

    def _fetch_hint(self) -> MessageProxy | None:
        self._sleep(self._fetched_at + _FETCH_INTERVAL_S - monotonic_s())
        if not self._wait_for_hint():
            return None
        bodies = self._commands.do_fetch(self._queue, _FETCH_LIMIT)
        hints = [dramatiq.Message.decode(body) for body in bodies if body is not None]
        if not hints:  # the Redis was flushed in between
            return None
        self._unacked = [hint.options["redis_message_id"] for hint in hints]
        self._fetched_at = monotonic_s()
        self._done.clear()
        return MessageProxy(hints[0])

    @staticmethod
    def _sleep(pause_s: float) -> None:
        threading.Event().wait(max(0.0, pause_s))

    def _wait_for_hint(self) -> bool:
        """Returns whether a hint arrived in time. It stays in its queue: it is moved from the head of the list to the head."""
        key = f"{NAMESPACE}:{self._queue}"
        return self._client.blmove(key, key, self._block_s, "LEFT", "LEFT") is not None  # type: ignore[arg-type]  # the library's types allow whole seconds only
