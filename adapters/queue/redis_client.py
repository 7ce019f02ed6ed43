"""A Redis client that outlives a failover."""

from typing import Any, Self

import redis
from redis.backoff import ConstantBackoff
from redis.retry import Retry

from adapters.clock import monotonic_s

#: An answer, or a connection, that takes longer does not come. Blocking reads must end sooner, s.
_PATIENCE_S = 1.0
#: Connections are made anew after this, s.
_RENEW_S = 60.0


def redis_client(url: str) -> "FailoverClient":
    """Connects when it is first used. It tries once more at once, for connections break while nobody looks; then it raises."""
    errors: list[type[Exception]] = [redis.ConnectionError, redis.TimeoutError, redis.ReadOnlyError]
    return FailoverClient.open(
        url,
        retry=Retry(ConstantBackoff(0.02), retries=1),
        retry_on_error=errors,
        socket_timeout=_PATIENCE_S,
        socket_connect_timeout=_PATIENCE_S,
    )


class FailoverClient(redis.Redis):
    """Each new connection looks up the server's name anew, so what matters is that a connection to the wrong server does not last.

    A lost or silent one is closed by the library. One to a server that refuses (a master that was demoted, lacks its replicas or
    cannot write to its disk) is closed here; and all are closed once a minute, because a server that was replaced may go on
    answering as if nothing had happened.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._renew_at = monotonic_s() + _RENEW_S

    @classmethod
    def open(cls, url: str, **options: Any) -> Self:
        client = cls.from_url(url, **options)
        assert isinstance(client, cls)
        return client

    def execute_command(self, *args: Any, **options: Any) -> Any:
        if monotonic_s() >= self._renew_at:
            self._renew()
        try:
            return super().execute_command(*args, **options)  # type: ignore[no-untyped-call]
        except redis.ResponseError:
            self._renew()
            raise

    def _renew(self) -> None:
        self._renew_at = monotonic_s() + _RENEW_S
        self.connection_pool.disconnect(inuse_connections=False)
