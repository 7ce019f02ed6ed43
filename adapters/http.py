"""The one HTTP client for calls to vendors and webhooks: it sends a request as it was signed, once, and brings what came back.

It neither retries nor follows redirects, and knows no proxies: whoever calls decides what an answer means. What matters most is
whether a call without an answer may have arrived: NOT_SENT is said only while there was no connection (no name, an address that is
not permitted, refused, no TLS); from then on it is CUT_OFF.

A name is looked up once for each connection, and the addresses found are those connected to: whoever gives `resolve` can check them
and be sure. TLS still wants a certificate for the name.

An answer must be whole in time, however slowly it trickles in: each read is allowed what is left of the time, no more.
"""

import http.client
import io
import logging
import socket
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

import urllib3
from urllib3 import HTTPConnectionPool, HTTPResponse, HTTPSConnectionPool, PoolManager, Timeout
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError, LocationValueError

from adapters.clock import monotonic_s
from adapters.vendors.calls import HttpRequest, WireError

#: More of a body is not read: no answer is that long.
BODY_LIMIT = 1024 * 1024
#: A connection that rested longer is not used again: its server may be about to close it, and a call that is sent right then
#: has no answer.
_REST_S = 4.0

# Of an answer with odd headers it would write the url down whole, with the keys that may stand in it.
logging.getLogger("urllib3.connection").setLevel(logging.ERROR)

#: From a host and a port to what `socket.getaddrinfo` gives: all addresses that may be connected to. Raises an OSError or a
#: ValueError where there are none.
Resolve = Callable[[str, int], Sequence[tuple[Any, ...]]]


def look_up(host: str, port: int) -> Sequence[tuple[Any, ...]]:
    """As the system resolves it. How long that may take no caller can say: resolv.conf does, by default 10 s per server."""
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What came back. Of a body that is too long, the beginning."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


class NoAnswer(Exception):
    """Nothing came back, or not all of it. `error` says whether the call may have arrived."""

    def __init__(self, error: WireError, detail: str) -> None:
        super().__init__(detail)
        self.error = error

    @property
    def timed_out(self) -> bool:
        """Whether the time was over."""
        return self.comes_of(TimeoutError) or self.comes_of(urllib3.exceptions.TimeoutError)

    def comes_of(self, kind: type[BaseException]) -> bool:
        """Whether an error of this kind stands behind it."""
        error: BaseException | None = self
        while error is not None and not isinstance(error, kind):
            error = error.__cause__ or error.__context__
        return error is not None


class HttpClient:
    """Thread-safe. connect_s: until there is a connection, and as long again until it is safe; total_s: for all.

    A lookup of a name cannot be broken off; the time it takes counts, so after a long one nothing is connected to any more.
    """

    def __init__(
        self,
        *,
        connect_s: float = 3.0,
        total_s: float = 10.0,
        connections: int = 32,
        trust: ssl.SSLContext | None = None,
        resolve: Resolve = look_up,
        body_limit: int = BODY_LIMIT,
    ) -> None:
        """connections: kept to each server. trust: whose certificates are believed; None: those that the system trusts.

        body_limit: of a longer answer the beginning is read and its connection given up.
        """
        self._body_limit = body_limit
        self._timeout = partial(Timeout, connect=connect_s, total=total_s)
        trust = trust or ssl.create_default_context()
        self._pools = PoolManager(num_pools=32, maxsize=connections, block=False, ssl_context=trust)
        classes: Any = {"http": partial(_Pool, resolve=resolve), "https": partial(_SafePool, resolve=resolve)}
        self._pools.pool_classes_by_scheme = classes

    def send(self, request: HttpRequest) -> Reply:
        """Sends it, once. Raises NoAnswer, and nothing else."""
        try:
            response = self._sent(request)
            body = _whole(response, self._body_limit)
        except (_NotConnectedError, LocationValueError) as error:
            raise NoAnswer(WireError.NOT_SENT, str(error)) from error
        except (HTTPError, http.client.HTTPException, OSError, ValueError) as error:
            raise NoAnswer(WireError.CUT_OFF, str(error)) from error
        return Reply(status=response.status, headers=dict(response.headers), body=body)

    def _sent(self, request: HttpRequest) -> HTTPResponse:
        answered = self._pools.urlopen(
            request.method,
            request.url,
            body=request.body or None,
            headers=dict(request.headers),
            redirect=False,
            retries=False,
            timeout=self._timeout(),
            preload_content=False,
            decode_content=False,
        )
        return cast(HTTPResponse, answered)

    def close(self) -> None:
        """Closes the connections that rest."""
        self._pools.clear()


def _whole(response: HTTPResponse, limit: int) -> bytes:
    """The body; if it is too long its beginning, and the connection is given up."""
    body = b""
    try:
        while len(body) <= limit and (more := response.read(limit + 1 - len(body), decode_content=False)):
            body += more
    except BaseException:
        response.close()
        raise
    if len(body) > limit:
        response.close()
    response.release_conn()
    return body[:limit]


class _NotConnectedError(Exception):
    """There was no connection, so nothing was sent. None of urllib3's own errors: those it would wrap."""


class _Timed(HTTPConnection):
    """A connection that says when there was none, keeps to its time, and is not used again after a long rest."""

    _answered_s = 0.0

    def __init__(self, *args: Any, resolve: Resolve, **named: Any) -> None:
        super().__init__(*args, **named)
        self._resolve = resolve

    def connect(self) -> None:
        try:
            super().connect()
        except (HTTPError, OSError, http.client.HTTPException, ValueError) as error:
            self.close()
            raise _NotConnectedError(str(error)) from error

    def _new_conn(self) -> socket.socket:
        """As urllib3 does it, but the time is for all addresses of the name together."""
        until = monotonic_s() + float(self.timeout or 0)
        addresses = self._resolve(self.host.strip("[]"), self.port)
        if monotonic_s() >= until:
            raise TimeoutError("the name was not resolved in time")
        failed = OSError("the name has no address")
        for number, (family, kind, protocol, _, address) in enumerate(addresses):
            sock = socket.socket(family, kind, protocol)
            try:
                sock.settimeout(max(0.001, (until - monotonic_s()) / (len(addresses) - number)))
                sock.connect(address)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                sock.settimeout(float(self.timeout or 0))
            except OSError as error:
                sock.close()
                failed = error
            else:
                return sock
        raise failed

    def getresponse(self) -> HTTPResponse:  # type: ignore[override]  # as urllib3 has it
        """By now `timeout` is what is left of the time for all."""
        until = monotonic_s() + float(self.timeout or 0)
        self.response_class = cast(Any, partial(_TimedResponse, left_s=lambda: until - monotonic_s()))
        response = super().getresponse()
        self._answered_s = monotonic_s()
        return response

    @property
    def is_connected(self) -> bool:
        return super().is_connected and monotonic_s() - self._answered_s < _REST_S


class _SafeTimed(_Timed, HTTPSConnection):
    """The same over TLS."""


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Timed


class _SafePool(HTTPSConnectionPool):
    ConnectionCls = _SafeTimed


class _TimedResponse(http.client.HTTPResponse):
    """Status line, headers and body are read within the time that `left_s` tells."""

    def __init__(self, sock: socket.socket, *args: Any, left_s: Callable[[], float], **named: Any) -> None:
        super().__init__(sock, *args, **named)
        self.fp = io.BufferedReader(_TimedReads(self.fp.detach(), sock, left_s))


class _TimedReads(io.RawIOBase):
    """Reads of a socket, each of which may take what is left of the time: one time limit for each would be no limit for all."""

    def __init__(self, raw: io.RawIOBase, sock: socket.socket, left_s: Callable[[], float]) -> None:
        self._raw = raw
        self._sock = sock
        self._left_s = left_s

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left_s = self._left_s()
        if left_s <= 0:
            raise TimeoutError("the answer was not whole in time")
        self._sock.settimeout(left_s)
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()
