"""A Redis client that survives a failover."""

from collections.abc import Callable
from typing import Any, Self

import redis
from redis.backoff import ConstantBackoff
from redis.retry import Retry

from adapters.clock import monotonic_s

#: Timeout of a connection attempt and of an answer, s. Blocking reads must end sooner.
_SOCKET_TIMEOUT_S = 1.0
#: Maximum age of connections, s.
_RECONNECT_INTERVAL_S = 60.0


def open_redis_client(url: str, *, clock_s: Callable[[], float] = monotonic_s) -> "FailoverClient":
    """Returns a client that connects on first use. A failed command is retried once at once, since idle connections may break.

    clock_s: a clock that nobody sets, s.
    """
    errors: list[type[Exception]] = [redis.ConnectionError, redis.TimeoutError, redis.ReadOnlyError]
    return FailoverClient.open(
        url,
        clock_s,
        retry=Retry(ConstantBackoff(0.02), retries=1),
        retry_on_error=errors,
        socket_timeout=_SOCKET_TIMEOUT_S,
        socket_connect_timeout=_SOCKET_TIMEOUT_S,
    )


class FailoverClient(redis.Redis):
    """Drops connections to a wrong server; each new connection resolves the server's name again.

    The library closes lost and silent connections. This class closes those to a server that returns errors (a master that was
    demoted, lacks its replicas or cannot write to its disk), and all connections once a minute, because a server that was replaced
    may go on answering as if nothing had happened.
    """

    _clock_s: Callable[[], float]
    _reconnect_at: float

    @classmethod
    def open(cls, url: str, clock_s: Callable[[], float], **options: Any) -> Self:
        client = cls.from_url(url, **options)
        assert isinstance(client, cls)
        client._clock_s = clock_s
        client._reconnect_at = clock_s() + _RECONNECT_INTERVAL_S
        return client

    def execute_command(self, *args: Any, **options: Any) -> Any:
        if self._clock_s() >= self._reconnect_at:
            self._drop_connections()
        try:
            return super().execute_command(*args, **options)  # type: ignore[no-untyped-call]
        except redis.ResponseError:
            self._drop_connections()
            raise

    def _drop_connections(self) -> None:
        self._reconnect_at = self._clock_s() + _RECONNECT_INTERVAL_S
        self.connection_pool.disconnect(inuse_connections=False)
