"""A client's connection: bounds what it may say before it is known who speaks, and can be cut by the application.

uvicorn bounds none of it. Its parser joins what it is given to one header, one url or one trailer in quadratic time, and its
`close` waits until the client has taken all that was written to it: for ever, if the client takes nothing.

What is counted costs the usual request, which comes in one piece, next to nothing: pieces are weighed before they are parsed, and
exactly only if they are large.
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
from callbacks.connections import ConnectionLimits, Connections, Stage
from callbacks.forwarded import client_key

#: Bytes of a request's head, of the url in it, and its fields. As usual: nginx takes 32 KiB, Apache 100 fields.
MAX_HEAD = 32 * 1024
MAX_URL = 8 * 1024
MAX_FIELDS = 100
#: Bytes of a body as it is sent, whatever of it is read: the largest callback, cut into chunks of one byte each.
MAX_SENT_BODY = 8 * 1024 * 1024
#: Requests that may wait on one connection for the answer to one before them.
MAX_PIPELINED = 64

#: Where callbacks come in.
DOORS = "/callbacks/"

_NAME = "connection"
#: To look up a member of an enumeration takes as long as all else that is done for a header.
_NONE, _HEAD, _BODY = Stage.NONE, Stage.HEAD, Stage.BODY


class _RefusedError(Exception):
    """What a client sends is not taken. `status`: of the answer; `reason`: in the metric."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason

    def problem(self) -> bytes:
        """Returns the answer's body (RFC 9457)."""
        kind, title = f"urn:tallylight:problem:{self.reason}", self.reason.replace("_", " ")
        return json.dumps({"type": kind, "title": title, "status": self.status, "detail": str(self)}).encode()


_MALFORMED = _RefusedError(400, "malformed", "this is not a valid HTTP request")
_HEAD_TOO_LARGE = _RefusedError(431, "head_too_large", f"a request's head has at most {MAX_HEAD} bytes and {MAX_FIELDS} fields")
_URL_TOO_LONG = _RefusedError(414, "url_too_long", f"a url has at most {MAX_URL} bytes")
_TRAILERS_TOO_LARGE = _RefusedError(400, "trailers_too_large", "trailers and chunk extensions are not read, and have bounds")
_BODY_TOO_LARGE = _RefusedError(413, "body_too_large", f"a body has at most {MAX_SENT_BODY} bytes as it is sent")
_TOO_MANY_PIPELINED = _RefusedError(400, "too_many_pipelined", f"at most {MAX_PIPELINED} requests may wait on a connection")
_TIMEOUTS = {
    "head_timeout": _RefusedError(408, "head_timeout", "the request's head did not come in time"),
    "body_timeout": _RefusedError(408, "body_timeout", "the request's body did not come in time"),
}


class Connection(HttpToolsProtocol):
    """uvicorn's own, within bounds."""

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
        self._connections = connections if connections is not None else _unwatched()
        self.since = self.untaken_since = self.loop.time()
        self.stage = _HEAD  # of a new connection's first request the head is awaited at once
        self.client_key: str | None = None
        self.proven = False
        self.held = self.untaken = 0
        #: Bytes that came since the parser last got on: with the head, or with the body.
        self._stalled = 0
        #: Bytes of the piece that is being parsed, of the body, and fields behind it.
        self._piece = self._body = self._trailers = 0
        self._is_proxy = self._refused = False
        #: What is being answered; `cycle` is the request that came last, which may wait behind it.
        self._under_way: RequestResponseCycle | None = None

    # What Connections asks.

    @property
    def answering(self) -> bool:
        """Whether a whole request is being answered."""
        return self.cycle is not None and not self.cycle.response_complete and (self.stage is not _BODY or bool(self.pipeline))

    @property
    def hears_callback(self) -> bool:
        """Whether a whole callback is being answered."""
        return self.answering and self.scope["path"].startswith(DOORS)

    @property
    def is_awaited(self) -> bool:
        """Whether a request on it has begun or is to come at once, and is not whole."""
        return self.stage is not _NONE and not self.answering and not self.closing

    @property
    def closing(self) -> bool:
        return self.transport.is_closing()

    def unwritten(self) -> int:
        """Bytes that the client has not taken yet."""
        return self.transport.get_write_buffer_size()

    def time_out(self, reason: str) -> None:
        if reason == "head_timeout" and not self._stalled:
            self._refuse_silently("silent")  # who opens connections in advance expects no answer
        else:
            self._refuse(_TIMEOUTS[reason])

    def cut(self) -> None:
        self.transport.abort()

    # What the application says of it.

    def prove(self) -> None:
        """A signed callback came on it."""
        if not self.proven:
            self.proven = True
            self._connections.proved(self)

    # Its life.

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        peer = self.client[0] if self.client else None
        self._is_proxy = bool(self._connections.proxies) and peer is not None and self._connections.proxies.trusts(peer)
        self._connections.opened(self, peer)

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.closed(self)
        super().connection_lost(exc)
        self._tell_under_way()

    def _tell_under_way(self) -> None:
        """Tells the request that is being answered that its client has gone: uvicorn tells only the last one that came."""
        self.pipeline.clear()
        if self._under_way is not None and not self._under_way.response_complete:
            self._under_way.disconnected = True
            self._under_way.message_event.set()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._under_way = cycle
        super()._start_asgi_task(cycle, app)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._connections.pause(self, self._asking_client())

    def resume_writing(self) -> None:
        super().resume_writing()
        self._connections.resume(self)

    def _asking_client(self) -> str:
        """Who asks, behind a proxy if there is one."""
        peer = self.cycle.scope["client"] if self.cycle is not None else None
        return client_key(peer[0]) if peer else ""

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        self._unset_keepalive_if_required()
        if self._stalled > MAX_HEAD:
            self._refuse(_TRAILERS_TOO_LARGE if self.stage is _BODY else _HEAD_TOO_LARGE)
            return
        self._piece = len(data)
        self._stalled += self._piece
        if self.stage is _NONE:
            self.stage, self.since = _HEAD, self.loop.time()
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._connections.count_upgrade()
        except httptools.HttpParserError as error:
            self._refuse(error.__context__ if isinstance(error.__context__, _RefusedError) else _MALFORMED)
        if self.stage is _BODY:
            self._hold()

    def _hold(self) -> None:
        """Counts what has come of a body that is not whole."""
        if self._refused or self.cycle is None or self.cycle.response_complete:
            self._connections.release(self)  # it is not kept
        elif self._body > self.held:
            self._connections.hold(self, self._asking_client(), self._body)

    # What the parser says.

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["state"][_NAME] = self
        self.stage = _HEAD

    def on_url(self, url: bytes) -> None:
        if len(self.url) + len(url) > MAX_URL:
            raise _URL_TOO_LONG
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.stage is _BODY:  # a trailer: behind the body, and read by nobody
            self._trailers += 1
            if self._trailers > MAX_FIELDS:
                raise _TRAILERS_TOO_LARGE
            return
        if len(self.headers) >= MAX_FIELDS:
            raise _HEAD_TOO_LARGE
        name = name.lower()
        if name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        if (self._stalled > MAX_HEAD or self._piece > MAX_HEAD) and self._head_bytes() > MAX_HEAD:
            raise _HEAD_TOO_LARGE
        if len(self.pipeline) >= MAX_PIPELINED:
            raise _TOO_MANY_PIPELINED
        if self._is_proxy and (client := self._connections.proxies.client_of(self.headers)) is not None:
            self.scope["client"] = (client, 0)
        self.stage = _BODY
        self._stalled = self._body = self._trailers = 0
        super().on_headers_complete()
        if self._connections.ending:
            self.cycle.keep_alive = False

    def _head_bytes(self) -> int:
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)

    def on_body(self, body: bytes) -> None:
        self._stalled = 0
        self._body += len(body)
        if self._body > MAX_SENT_BODY:
            raise _BODY_TOO_LARGE
        super().on_body(body)

    def on_message_complete(self) -> None:
        self.stage = _NONE
        self._stalled = 0
        if self.held:
            self._connections.release(self)
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.stage is not _BODY:
            self.since = self.loop.time()

    # Refusals.

    def _refuse(self, refused: _RefusedError) -> None:
        """Answers that what comes is not taken, where an answer can still be given, and closes."""
        if self._refused:
            return
        self._refused = True
        self._stalled = 0
        self._connections.count_cut(refused.reason)
        cycle = self.cycle
        if cycle is None or (cycle.response_complete and self.stage is not _BODY):
            self._answer(refused)
        elif self.stage is not _BODY:
            cycle.keep_alive = False  # requests before this one are still being answered; then it closes
            return
        elif not cycle.response_started and not self.pipeline:
            self._answer(refused)
        self.transport.close()

    def _refuse_silently(self, reason: str) -> None:
        self._refused = True
        self._connections.count_cut(reason)
        self.transport.close()

    def _answer(self, refused: _RefusedError) -> None:
        body = refused.problem()
        self.transport.write(
            STATUS_LINE[refused.status] + b"content-type: application/problem+json\r\nx-content-type-options: nosniff\r\n"
            b"content-length: %d\r\nconnection: close\r\n\r\n%b" % (len(body), body)
        )


@cache
def _unwatched() -> Connections:
    """For a connection on a server that was not told any limits."""
    return Connections(ConnectionLimits(), Metrics())


def connection_of(scope: Scope) -> Connection | None:
    """A request's connection; None on another server than ours."""
    found: Connection | None = scope.get("state", {}).get(_NAME)
    return found


def cut_of(scope: Scope) -> Callable[[], None]:
    """Cuts a request's connection; on another server than ours does nothing."""
    connection = connection_of(scope)
    return connection.cut if connection is not None else lambda: None
