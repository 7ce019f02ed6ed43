"""Hints among processes that share a Redis: dramatiq's broker, with a queue per worker process.

dramatiq's own consumer polls: in rests of 50 ms it finds a hint too late, and in shorter ones it never lets the machine sleep. It
takes only lost connections for faults of the broker, and rests 3 s after any. Ours blocks in Redis until there is a hint and takes
whatever Redis says for a rest, so that no thread of a worker ends or waits for long.

Workers announce themselves in a sorted set, for a few seconds each time. Whoever rings reads it: no worker, no hints.
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

#: All our keys begin so.
NAMESPACE = "tally"
#: A worker's queue is named so and its broker's id.
_PREFIX = "hints."
#: How often a worker announces itself, s, and how long it is believed, ms.
_ANNOUNCE_S, _BELIEVED_MS = 1.0, 3_000
#: When what a dead worker left behind is removed, ms.
_KEPT_MS = 60_000
#: Hints taken at once, of which one is used: as many senders may have thought that none was waiting.
_AT_ONCE = 100
#: Between two hints of a worker: what comes meanwhile is applied together, s.
_PAUSE_S = 0.01

#: The queues of the workers alive in which nothing waits. KEYS: the namespace.
_WANTING = """
local time = redis.call('time')
local wanting = {}
for _, queue in ipairs(redis.call('zrangebyscore', KEYS[1] .. ':workers', time[1] * 1000 + time[2] / 1000, '+inf')) do
    if redis.call('llen', KEYS[1] .. ':' .. queue) == 0 then
        wanting[#wanting + 1] = queue
    end
end
return wanting
"""

#: A worker lives; what those left behind that died long ago goes, also in dramatiq's books.
#: KEYS: the namespace. ARGV: its queue, how long it is believed, ms, how long the dead are kept, ms, what queues begin with.
_ANNOUNCE = """
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
    """Nothing is ever delayed, so there are no delay queues; and none comes back from the dead, so there is no maintenance, which
    would search all keys of the Redis."""

    def __init__(self, client: FailoverClient) -> None:
        super().__init__(client=client, middleware=[], namespace=NAMESPACE, maintenance_chance=0)  # type: ignore[no-untyped-call]
        self.own_queue = f"{_PREFIX}{self.broker_id}"

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
    """For all processes that share a Redis."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._wanting = client.register_script(_WANTING)

    def wanting(self) -> Sequence[str]:
        return [queue.decode() for queue in self._wanting(keys=[NAMESPACE])]

    def taken(self) -> None:
        """Nothing to do: it is no longer in its queue."""

    def close(self) -> None:
        self._client.close()


class HintConsumer(Consumer):
    """Hands over one hint at a time, and the next only when that one is done. block_s: how long a call waits for one.

    A hint leaves Redis for good as soon as it is handed over: who dies with it owes nobody anything.
    """

    def __init__(self, broker: HintBroker, queue: str, block_s: float) -> None:
        self._do: Any = broker  # its commands are made up at run time
        self._client = broker.client
        self._queue = queue
        self._block_s = block_s
        self._announce_script = self._client.register_script(_ANNOUNCE)
        self._announced_at = float("-inf")
        self._taken_at = float("-inf")
        self._unacked: list[str] = []
        self._done = threading.Event()
        self._done.set()
        self._outage = Outage(lambda error: log.warning("hint.failed", error=str(error)))

    def __next__(self) -> MessageProxy | None:
        try:
            self._announce()
            self._settle()
            hint = self._take() if self._done.wait(self._block_s) else None
        except (redis.RedisError, OSError) as error:
            self._rest(self._outage.begun(error))
            return None
        self._outage.over()
        return hint

    def ack(self, message: MessageProxy) -> None:
        """It is done with; called by the thread that did it, which must not wait for Redis."""
        self._done.set()

    def nack(self, message: MessageProxy) -> None:
        """As `ack`: no hint is worth keeping."""
        self._done.set()

    def close(self) -> None:
        """Signs off, unless nobody would hear it; then it is forgotten soon."""
        if self._outage.lasts:
            return
        try:
            self._client.zrem(f"{NAMESPACE}:workers", self._queue)
            self._do.do_purge(self._queue)
        except (redis.RedisError, OSError) as error:
            self._outage.begun(error)

    def _announce(self) -> None:
        now = monotonic_s()
        if now - self._announced_at >= _ANNOUNCE_S:
            self._announce_script(keys=[NAMESPACE], args=[self._queue, _BELIEVED_MS, _KEPT_MS, _PREFIX])
            self._announced_at = now

    def _settle(self) -> None:
        while self._unacked:
            self._do.do_ack(self._queue, self._unacked[-1])
            self._unacked.pop()

    def _take(self) -> MessageProxy | None:
        self._rest(self._taken_at + _PAUSE_S - monotonic_s())
        if not self._there_is_one():
            return None
        bodies = self._do.do_fetch(self._queue, _AT_ONCE)
        hints = [dramatiq.Message.decode(body) for body in bodies if body is not None]
        if not hints:  # flushed in between
            return None
        self._unacked = [hint.options["redis_message_id"] for hint in hints]
        self._taken_at = monotonic_s()
        self._done.clear()
        return MessageProxy(hints[0])

    @staticmethod
    def _rest(rest_s: float) -> None:
        threading.Event().wait(max(0.0, rest_s))

    def _there_is_one(self) -> bool:
        """Waits for it; it stays where it is: it is moved from the head of the list to the head of the list."""
        key = f"{NAMESPACE}:{self._queue}"
        return self._client.blmove(key, key, self._block_s, "LEFT", "LEFT") is not None  # type: ignore[arg-type]  # whole seconds only, says the library
