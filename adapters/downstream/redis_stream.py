"""Redis streams: an event becomes an entry with one field, `event`. An attempt whose answer got lost may have added one already.

Many subscriptions may share a stream. About `streams.max_entries` entries stay in it; readers who are slower than that ask the
feed of events for the rest.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import redis

from adapters.downstream.sink import DETAIL_LIMIT, Answer, Failure, Message, harmless, unknown_members
from adapters.queue.client import redis_client
from adapters.queue.shared import NAMESPACE
from adapters.settings import Settings
from adapters.vendors.calls import FieldProblem

_FIELD = "event"
#: How keys of queues begin: ours, and those of other programs that use the same library.
_QUEUES = ("dramatiq", f"{NAMESPACE}:workers", f"{NAMESPACE}:hints.", f"{NAMESPACE}:__")
_NAME = f"(?!{'|'.join(map(re.escape, _QUEUES))})[!-~]{{1,200}}"
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
            self._client.xadd(sink["stream"], {_FIELD: message.body}, maxlen=self._max_entries, approximate=True)
        except redis.TimeoutError as error:
            return _failed(Failure.TIMEOUT, str(error))
        except (redis.ConnectionError, OSError) as error:
            return _failed(Failure.NOT_CONNECTED, str(error))
        except (redis.RedisError, ValueError) as error:
            return _failed(Failure.REFUSED, str(error))
        return Answer(ok=True)

    def close(self) -> None:
        if self._client is not None:
            self._client.close()


def open_sink(settings: Settings) -> RedisStream:
    return RedisStream(settings.streams.url or settings.queue.url, settings.streams.max_entries)


def _failed(error: Failure, detail: str) -> Answer:
    return Answer(ok=False, error=error, detail=harmless(detail)[:DETAIL_LIMIT])
