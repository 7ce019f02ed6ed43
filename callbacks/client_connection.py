"""A client's connection: limits what an unknown client may send, and can be cut by the application.

uvicorn has none of these limits. Its parser joins the pieces of a header, a url or a trailer in quadratic time, and its `close`
waits until the client has read all that was written to it: forever, if the client reads nothing.

The counting costs next to nothing for the usual request, which comes in one piece: the size of a piece is checked before it is
parsed, and the exact size of the head only if the piece is large.
"""

import asyncio
import json
from collections.abc import Callable
from functools import cache
from typing import Any

import httptools
from starlette.types import Scope
from uvicorn._types import ASGI3Application
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from adapters.metrics import Metrics
from callbacks.client_address import client_key
from callbacks.connection_limits import ConnectionLimits, Connections, Stage

#: Limits of a request's head: bytes, bytes of the url, header fields. These are usual: nginx takes 32 KiB, Apache 100 fields.
MAX_HEAD = 32 * 1024
MAX_URL = 8 * 1024
MAX_FIELDS = 100
#: Bytes of a body as it is sent, at most, even if it is not read: the largest callback, cut into chunks of one byte each.
MAX_SENT_BODY = 8 * 1024 * 1024
#: Requests that may wait on one connection for the answer to an earlier one, at most.
MAX_PIPELINED = 64

#: The path of the door, before the name of the vendor.
DOOR_PATH = "/callbacks/"

_STATE_KEY = "connection"
#: Local names: to look up a member of an enumeration takes as long as everything else that is done for a header.
_NONE, _HEAD, _BODY = Stage.NONE, Stage.HEAD, Stage.BODY


class _RejectedRequestError(Exception):
    """A request that is rejected. status: of the answer. reason: label of the metric."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason

    def problem(self) -> bytes:
        """Returns the body of the answer (RFC 9457)."""
        kind, title = f"urn:tallylight:problem:{self.reason}", self.reason.replace("_", " ")
        return json.dumps({"type": kind, "title": title, "status": self.status, "detail": str(self)}).encode()


_MALFORMED = _RejectedRequestError(400, "malformed", "this is not a valid HTTP request")
_HEAD_TOO_LARGE = _RejectedRequestError(
    431, "head_too_large", f"the head of a request may have at most {MAX_HEAD} bytes and {MAX_FIELDS} fields"
)
_URL_TOO_LONG = _RejectedRequestError(414, "url_too_long", f"a url may have at most {MAX_URL} bytes")
_TRAILERS_TOO_LARGE = _RejectedRequestError(
    400, "trailers_too_large", "trailers and chunk extensions are too large; they are not read"
)
_BODY_TOO_LARGE = _RejectedRequestError(413, "body_too_large", f"a body may have at most {MAX_SENT_BODY} bytes as it is sent")
_TOO_MANY_PIPELINED = _RejectedRequestError(400, "too_many_pipelined", f"at most {MAX_PIPELINED} requests may wait on a connection")
_TIMEOUTS = {
    "head_timeout": _RejectedRequestError(408, "head_timeout", "the request's head did not come in time"),
    "body_timeout": _RejectedRequestError(408, "body_timeout", "the request's body did not come in time"),
}


class Connection(HttpToolsProtocol):
    """The HTTP connection of uvicorn, with limits. See `ManagedConnection` for its attributes."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        connections: Connections | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._connections = connections if connections is not None else _default_connections()
        self.stage_since_s = self.unsent_since_s = self.loop.time()
        self.stage = _HEAD  # the head of the first request is expected at once
        self.client_key: str | None = None
        self.is_verified = False
        self.unfinished_bytes = self.last_unsent_bytes = 0
        #: Bytes received since the parser last completed a head or a piece of a body.
        self._unparsed_bytes = 0
        #: Bytes of the piece that is being parsed; bytes of the body; trailer fields.
        self._piece_bytes = self._body_bytes = self._trailer_fields = 0
        self._is_proxy = self._rejected = False
        #: The request that is being answered; `cycle` is the one that came last, which may wait behind it.
        self._current_cycle: RequestResponseCycle | None = None

    # For `Connections`.

    @property
    def is_answering(self) -> bool:
        """True while a complete request is being answered."""
        return self.cycle is not None and not self.cycle.response_complete and (self.stage is not _BODY or bool(self.pipeline))

    @property
    def is_answering_callback(self) -> bool:
        """True while a complete callback is being answered."""
        return self.is_answering and self.scope["path"].startswith(DOOR_PATH)

    @property
    def is_receiving(self) -> bool:
        """True while a request is incomplete: it has begun, or is expected at once."""
        return self.stage is not _NONE and not self.is_answering and not self.is_closing

    @property
    def is_closing(self) -> bool:
        return self.transport.is_closing()

    def unsent_bytes(self) -> int:
        """Returns the bytes that were written and that the client has not read yet."""
        return self.transport.get_write_buffer_size()

    def time_out(self, reason: str) -> None:
        if reason == "head_timeout" and not self._unparsed_bytes:
            self._close_silently("silent")  # a client that opens connections in advance expects no answer
        else:
            self._reject_request(_TIMEOUTS[reason])

    def cut(self) -> None:
        self.transport.abort()

    # For the application.

    def mark_verified(self) -> None:
        """Marks it as one on which a signed callback came."""
        if not self.is_verified:
            self.is_verified = True
            self._connections.mark_verified(self)

    # Of asyncio and uvicorn.

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        peer = self.client[0] if self.client else None
        self._is_proxy = bool(self._connections.proxies) and peer is not None and self._connections.proxies.trusts(peer)
        self._connections.opened(self, peer)

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.closed(self)
        super().connection_lost(exc)
        self._notify_current_cycle()

    def _notify_current_cycle(self) -> None:
        """Tells the current request that its client has gone: uvicorn tells it only to the last request that came."""
        self.pipeline.clear()
        if self._current_cycle is not None and not self._current_cycle.response_complete:
            self._current_cycle.disconnected = True
            self._current_cycle.message_event.set()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._current_cycle = cycle
        super()._start_asgi_task(cycle, app)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._connections.add_slow_reader(self, self._client_of_request())

    def resume_writing(self) -> None:
        super().resume_writing()
        self._connections.remove_slow_reader(self)

    def _client_of_request(self) -> str:
        """Returns the client of the last request, the one behind a proxy if there is a proxy."""
        peer = self.cycle.scope["client"] if self.cycle is not None else None
        return client_key(peer[0]) if peer else ""

    def data_received(self, data: bytes) -> None:
        if self._rejected:
            return
        self._unset_keepalive_if_required()
        if self._unparsed_bytes > MAX_HEAD:
            self._reject_request(_TRAILERS_TOO_LARGE if self.stage is _BODY else _HEAD_TOO_LARGE)
            return
        self._piece_bytes = len(data)
        self._unparsed_bytes += self._piece_bytes
        if self.stage is _NONE:
            self.stage, self.stage_since_s = _HEAD, self.loop.time()
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._connections.count_upgrade()
        except httptools.HttpParserError as error:
            self._reject_request(error.__context__ if isinstance(error.__context__, _RejectedRequestError) else _MALFORMED)
        if self.stage is _BODY:
            self._count_unfinished_body()

    def _count_unfinished_body(self) -> None:
        """Counts the bytes of an incomplete body."""
        if self._rejected or self.cycle is None or self.cycle.response_complete:
            self._connections.drop_unfinished(self)  # its bytes are not kept
        elif self._body_bytes > self.unfinished_bytes:
            self._connections.count_unfinished(self, self._client_of_request(), self._body_bytes)

    # Called by the parser.

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["state"][_STATE_KEY] = self
        self.stage = _HEAD

    def on_url(self, url: bytes) -> None:
        if len(self.url) + len(url) > MAX_URL:
            raise _URL_TOO_LONG
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.stage is _BODY:  # a trailer, behind the body; trailers are not read
            self._trailer_fields += 1
            if self._trailer_fields > MAX_FIELDS:
                raise _TRAILERS_TOO_LARGE
            return
        if len(self.headers) >= MAX_FIELDS:
            raise _HEAD_TOO_LARGE
        name = name.lower()
        if name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        if (self._unparsed_bytes > MAX_HEAD or self._piece_bytes > MAX_HEAD) and self._head_bytes() > MAX_HEAD:
            raise _HEAD_TOO_LARGE
        if len(self.pipeline) >= MAX_PIPELINED:
            raise _TOO_MANY_PIPELINED
        if self._is_proxy and (client := self._connections.proxies.client_of(self.headers)) is not None:
            self.scope["client"] = (client, 0)
        self.stage = _BODY
        self._unparsed_bytes = self._body_bytes = self._trailer_fields = 0
        super().on_headers_complete()
        if self._connections.is_ending:
            self.cycle.keep_alive = False

    def _head_bytes(self) -> int:
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)

    def on_body(self, body: bytes) -> None:
        self._unparsed_bytes = 0
        self._body_bytes += len(body)
        if self._body_bytes > MAX_SENT_BODY:
            raise _BODY_TOO_LARGE
        super().on_body(body)

    def on_message_complete(self) -> None:
        self.stage = _NONE
        self._unparsed_bytes = 0
        if self.unfinished_bytes:
            self._connections.drop_unfinished(self)
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.stage is not _BODY:
            self.stage_since_s = self.loop.time()

    # Rejections.

    def _reject_request(self, error: _RejectedRequestError) -> None:
        """Answers with an error, if an answer is still possible, and closes the connection."""
        if self._rejected:
            return
        self._rejected = True
        self._unparsed_bytes = 0
        self._connections.count_cut(error.reason)
        cycle = self.cycle
        if cycle is None or (cycle.response_complete and self.stage is not _BODY):
            self._write_response(error)
        elif self.stage is not _BODY:
            cycle.keep_alive = False  # requests before this one are still being answered; then it closes
            return
        elif not cycle.response_started and not self.pipeline:
            self._write_response(error)
        self.transport.close()

    def _close_silently(self, reason: str) -> None:
        self._rejected = True
        self._connections.count_cut(reason)
        self.transport.close()

    def _write_response(self, error: _RejectedRequestError) -> None:
        body = error.problem()
        self.transport.write(
            STATUS_LINE[error.status] + b"content-type: application/problem+json\r\nx-content-type-options: nosniff\r\n"
            b"content-length: %d\r\nconnection: close\r\n\r\n%b" % (len(body), body)
        )


@cache
def _default_connections() -> Connections:
    """Returns the connections of a server without any configured limits."""
    return Connections(ConnectionLimits(), Metrics())


def connection_of(scope: Scope) -> Connection | None:
    """Returns the connection of a request; None on a server that is not `callbacks.server`."""
    connection: Connection | None = scope.get("state", {}).get(_STATE_KEY)
    return connection


def cutter_of(scope: Scope) -> Callable[[], None]:
    """Returns a function that cuts the connection of a request; on a server that is not `callbacks.server` it does nothing."""
    connection = connection_of(scope)
    return connection.cut if connection is not None else lambda: None
