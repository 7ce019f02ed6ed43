"""Redis streams: each event becomes an entry with one field, `event`. An attempt whose answer got lost may have added an entry.

Many subscriptions may share a stream. About `streams.max_entries` entries stay in it; slower readers get older events from the
event feed. Only entries that Tallylight wrote are removed: if the oldest entry was written by another program, the stream is not
trimmed. This is read from the entries themselves, so it also holds after a FLUSHALL, for a stream that another program deleted and
created again, and for streams of earlier versions.
"""

import re
import threading
from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import Any, ClassVar

import redis

from adapters.clock import monotonic_s
from adapters.downstream.sink import DETAIL_LIMIT, Failure, Message, SendResult, printable, unknown_members
from adapters.logs import logger
from adapters.queue.redis_broker import NAMESPACE
from adapters.queue.redis_client import open_redis_client
from adapters.settings import Settings
from adapters.text import FieldProblem

_EVENT_FIELD = "event"
#: Beginning of our own events, as `cloud_events` writes them; no other program uses this source.
_OWN_EVENT = re.compile(rb'\{"specversion":"1\.0","id":"[^"]{1,200}","source":"urn:tallylight[:"]')
#: Entries above the limit at which a stream is trimmed, so that trimming is rare.
_TRIM_SLACK = 100
#: Entries that are read at once to check their origin; some may be long.
_CHECKED_AT_ONCE = 20
#: Entries that are removed at most after one was added.
_MAX_REMOVED = 2_000
#: Minimum time between two reports about the same stream, s.
_REPORT_INTERVAL_S = 3_600.0
#: Prefixes of keys that queues use: our own, and those of other programs with the same library.
_RESERVED_PREFIXES = ("dramatiq", f"{NAMESPACE}:workers", f"{NAMESPACE}:hints.", f"{NAMESPACE}:__")
_STREAM_NAME = f"(?!{'|'.join(map(re.escape, _RESERVED_PREFIXES))})[!-~]{{1,200}}"
log = logger(__name__)

_NO_REDIS = "there is no Redis; set streams.url (or queue.url)"
_NAME_RULE = f"must be 1 to 200 printable ASCII characters without blanks that do not begin with {', '.join(_RESERVED_PREFIXES)}"


class RedisStream:
    """The sink `{"type": "redis", "stream": "NAME"}`."""

    type: ClassVar[str] = "redis"
    signed: ClassVar[bool] = False
    SCHEMA: ClassVar[Mapping[str, Any]] = {
        "type": "object",
        "description": "Adds each event to a stream of the Redis that `streams.url` names, as JSON in the field `event`.",
        "required": ["type", "stream"],
        "additionalProperties": False,
        "properties": {
            "type": {"const": "redis"},
            "stream": {"type": "string", "pattern": f"^{_STREAM_NAME}$", "description": "The stream's key."},
        },
    }

    def __init__(self, url: str, max_entries: int) -> None:
        """url: empty if there is no Redis; then every sink is invalid. Connects on first use."""
        self._client = open_redis_client(url) if url else None
        self._max_entries = max_entries
        self._trim_lock = threading.Lock()
        #: Stream -> when it was last reported that another program writes to it.
        self._reported_at_s: dict[str, float] = {}

    def parse(self, requested: Mapping[str, Any]) -> tuple[dict[str, Any], list[FieldProblem]]:
        stream = requested.get("stream")
        problems = [] if self._client else [FieldProblem(field="sink.type", message=f"must not be redis: {_NO_REDIS}")]
        if not (isinstance(stream, str) and re.fullmatch(_STREAM_NAME, stream)):
            problems.append(FieldProblem(field="sink.stream", message=_NAME_RULE))
        return {"type": self.type, "stream": stream}, problems + unknown_members(requested, ("type", "stream"))

    def masked(self, sink: Mapping[str, Any], *, keys: bool) -> dict[str, Any]:
        """Returns the sink unchanged: a stream's name is no credential."""
        return {**sink}

    def send(self, sink: Mapping[str, Any], message: Message, secrets: Sequence[str]) -> SendResult:
        if self._client is None:
            return _failed_result(Failure.NOT_CONNECTED, _NO_REDIS)
        try:
            self._add_entry(sink["stream"], message.body)
        except redis.TimeoutError as error:
            return _failed_result(Failure.TIMEOUT, str(error))
        except (redis.ConnectionError, OSError) as error:
            return _failed_result(Failure.NOT_CONNECTED, str(error))
        except (redis.RedisError, ValueError) as error:
            return _failed_result(Failure.REFUSED, str(error))
        return SendResult(ok=True)

    def _add_entry(self, stream: str, body: bytes) -> None:
        """Adds the event in one round trip; once in a while a few more round trips trim the stream."""
        assert self._client is not None
        pipe = self._client.pipeline(transaction=False)
        pipe.xadd(stream, {_EVENT_FIELD: body})
        pipe.xlen(stream)
        _, length = pipe.execute()
        if length > self._max_entries + _TRIM_SLACK and self._trim_lock.acquire(blocking=False):
            try:
                self._trim_stream(stream, length - self._max_entries)
            except redis.RedisError as error:
                log.warning("stream.not_trimmed", stream=stream, error=str(error))
            finally:
                self._trim_lock.release()

    def _trim_stream(self, stream: str, number: int) -> None:
        """Removes up to this number of the oldest entries; stops at the first one that another program wrote."""
        assert self._client is not None
        for _ in range(min(number, _MAX_REMOVED) // _CHECKED_AT_ONCE):
            entries: Any = self._client.xrange(stream, count=_CHECKED_AT_ONCE + 1)
            own = list(takewhile(lambda entry: _is_own_entry(entry[1]), entries))
            first_kept = entries[len(own)][0] if len(own) < len(entries) else entries[-1][0]
            if own:
                self._client.xtrim(stream, minid=first_kept, approximate=False)
            if len(own) < len(entries):
                self._report_foreign_stream(stream)
                return

    def _report_foreign_stream(self, stream: str) -> None:
        """Logs at most once an hour per stream that it is not trimmed."""
        now_s = monotonic_s()
        if now_s - self._reported_at_s.get(stream, -_REPORT_INTERVAL_S) >= _REPORT_INTERVAL_S:
            self._reported_at_s[stream] = now_s
            log.warning("stream.not_trimmed", stream=stream, error="its oldest entry was written by another program")

    def close(self) -> None:
        if self._client is not None:
            self._client.close()


def _is_own_entry(entry: Mapping[bytes, bytes]) -> bool:
    return entry.keys() == {_EVENT_FIELD.encode()} and _OWN_EVENT.match(entry[_EVENT_FIELD.encode()]) is not None


def open_sink(settings: Settings) -> RedisStream:
    return RedisStream(settings.streams.url or settings.queue.url, settings.streams.max_entries)


def _failed_result(error: Failure, detail: str) -> SendResult:
    return SendResult(ok=False, error=error, detail=printable(detail)[:DETAIL_LIMIT])
