"""Redis streams: an event becomes an entry with one field, `event`. An attempt whose answer got lost may have added one already.

Many subscriptions may share a stream. About `streams.max_entries` entries stay in it; readers who are slower than that ask the
feed of events for the rest. What goes are entries that Tallylight wrote, and no others: where the oldest entry is somebody else's,
the stream is theirs too, and is not trimmed. That is read from the entries themselves, so it holds after a FLUSHALL, for a stream
that was deleted and made anew by another program, and for streams that an earlier version made.
"""

import re
import threading
from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import Any, ClassVar

import redis

from adapters.clock import monotonic_s
from adapters.downstream.sink import DETAIL_LIMIT, Answer, Failure, Message, harmless, unknown_members
from adapters.logs import logger
from adapters.queue.redis_broker import NAMESPACE
from adapters.queue.redis_client import redis_client
from adapters.settings import Settings
from adapters.text import FieldProblem

_FIELD = "event"
#: How an event of ours begins, as `envelope` writes it: nobody else gives this source.
_OURS = re.compile(rb'\{"specversion":"1\.0","id":"[^"]{1,200}","source":"urn:tallylight[:"]')
#: A stream may have so many entries more before it is looked at, so that this is seldom.
_SLACK = 100
#: Entries that are read at once to see whose they are: some may be long. So many are removed at the most after one was added.
_LOOKED_AT, _AT_ONCE = 20, 2_000
_TOLD_EVERY_S = 3_600.0
#: How keys of queues begin: ours, and those of other programs that use the same library.
_QUEUES = ("dramatiq", f"{NAMESPACE}:workers", f"{NAMESPACE}:hints.", f"{NAMESPACE}:__")
_NAME = f"(?!{'|'.join(map(re.escape, _QUEUES))})[!-~]{{1,200}}"
log = logger(__name__)

_UNSET = "there is no Redis; set streams.url (or queue.url)"
_RIGHT_NAME = f"must be 1 to 200 printable ASCII characters without blanks that do not begin with {', '.join(_QUEUES)}"


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
            "stream": {"type": "string", "pattern": f"^{_NAME}$", "description": "The stream's key."},
        },
    }

    def __init__(self, url: str, max_entries: int) -> None:
        """url: empty where there is no Redis; then no sink is right. Connects when it is first used."""
        self._client = redis_client(url) if url else None
        self._max_entries = max_entries
        self._trimming = threading.Lock()
        #: When it was last told of a stream that others write to.
        self._told_s: dict[str, float] = {}

    def read(self, given: Mapping[str, Any]) -> tuple[dict[str, Any], list[FieldProblem]]:
        stream = given.get("stream")
        problems = [] if self._client else [FieldProblem(field="sink.type", message=f"must not be redis: {_UNSET}")]
        if not (isinstance(stream, str) and re.fullmatch(_NAME, stream)):
            problems.append(FieldProblem(field="sink.stream", message=_RIGHT_NAME))
        return {"type": self.type, "stream": stream}, problems + unknown_members(given, ("type", "stream"))

    def shown(self, sink: Mapping[str, Any], *, keys: bool) -> dict[str, Any]:
        """A name opens nothing."""
        return {**sink}

    def send(self, sink: Mapping[str, Any], message: Message, secrets: Sequence[str]) -> Answer:
        if self._client is None:
            return _failed(Failure.NOT_CONNECTED, _UNSET)
        try:
            self._add(sink["stream"], message.body)
        except redis.TimeoutError as error:
            return _failed(Failure.TIMEOUT, str(error))
        except (redis.ConnectionError, OSError) as error:
            return _failed(Failure.NOT_CONNECTED, str(error))
        except (redis.RedisError, ValueError) as error:
            return _failed(Failure.REFUSED, str(error))
        return Answer(ok=True)

    def _add(self, stream: str, body: bytes) -> None:
        """One round trip; every so often a few more, to trim."""
        assert self._client is not None
        pipe = self._client.pipeline(transaction=False)
        pipe.xadd(stream, {_FIELD: body})
        pipe.xlen(stream)
        _, length = pipe.execute()
        if length > self._max_entries + _SLACK and self._trimming.acquire(blocking=False):
            try:
                self._trim(stream, length - self._max_entries)
            except redis.RedisError as error:
                log.warning("stream.not_trimmed", stream=stream, error=str(error))
            finally:
                self._trimming.release()

    def _trim(self, stream: str, number: int) -> None:
        """Removes so many of the oldest entries, as far as they are ours."""
        assert self._client is not None
        for _ in range(min(number, _AT_ONCE) // _LOOKED_AT):
            looked_at: Any = self._client.xrange(stream, count=_LOOKED_AT + 1)
            ours = list(takewhile(lambda entry: _is_ours(entry[1]), looked_at))
            kept = looked_at[len(ours)][0] if len(ours) < len(looked_at) else looked_at[-1][0]
            if ours:
                self._client.xtrim(stream, minid=kept, approximate=False)
            if len(ours) < len(looked_at):
                self._tell_foreign(stream)
                return

    def _tell_foreign(self, stream: str) -> None:
        """Once an hour for each stream."""
        now_s = monotonic_s()
        if now_s - self._told_s.get(stream, -_TOLD_EVERY_S) >= _TOLD_EVERY_S:
            self._told_s[stream] = now_s
            log.warning("stream.not_trimmed", stream=stream, error="its oldest entry was written by another program")

    def close(self) -> None:
        if self._client is not None:
            self._client.close()


def _is_ours(entry: Mapping[bytes, bytes]) -> bool:
    return entry.keys() == {_FIELD.encode()} and _OURS.match(entry[_FIELD.encode()]) is not None


def open_sink(settings: Settings) -> RedisStream:
    return RedisStream(settings.streams.url or settings.queue.url, settings.streams.max_entries)


def _failed(error: Failure, detail: str) -> Answer:
    return Answer(ok=False, error=error, detail=harmless(detail)[:DETAIL_LIMIT])
