"""The one HTTP client for calls to vendors: it sends a request as it was signed, once, and brings what came back.

It neither retries nor follows redirects, and knows no proxies: whoever calls decides what an answer means. What matters most is
whether a call without an answer may have arrived: NOT_SENT is said only while there was no connection (no name, refused, no TLS);
from then on it is CUT_OFF.

An answer must be whole in time, however slowly it trickles in: each read is allowed what is left of the time, no more.
"""

import http.client
import io
import socket
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

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


class HttpClient:
    """Thread-safe. connect_s: until there is a connection, and as long again until it is safe; total_s: for all."""

    def __init__(
        self,
        *,
        connect_s: float = 3.0,
        total_s: float = 10.0,
        connections: int = 32,
        trust: ssl.SSLContext | None = None,
    ) -> None:
        """connections: kept to each server. trust: whose certificates are believed; None: those that the system trusts."""
        self._timeout = partial(Timeout, connect=connect_s, total=total_s)
        trust = trust or ssl.create_default_context()
        self._pools = PoolManager(num_pools=32, maxsize=connections, block=False, ssl_context=trust)
        self._pools.pool_classes_by_scheme = {"http": _Pool, "https": _SafePool}

    def send(self, request: HttpRequest) -> Reply:
        """Sends it, once. Raises NoAnswer, and nothing else."""
        try:
            response = self._sent(request)
            body = _whole(response)
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


def _whole(response: HTTPResponse) -> bytes:
    """The body; if it is too long its beginning, and the connection is given up."""
    body = b""
    try:
        while len(body) <= BODY_LIMIT and (more := response.read(BODY_LIMIT + 1 - len(body), decode_content=False)):
            body += more
    except BaseException:
        response.close()
        raise
    if len(body) > BODY_LIMIT:
        response.close()
    response.release_conn()
    return body[:BODY_LIMIT]


class _NotConnectedError(Exception):
    """There was no connection, so nothing was sent. None of urllib3's own errors: those it would wrap."""


class _Timed(HTTPConnection):
    """A connection that says when there was none, keeps to its time, and is not used again after a long rest."""

    _answered_s = 0.0

    def connect(self) -> None:
        try:
            super().connect()
        except (HTTPError, OSError, http.client.HTTPException, ValueError) as error:
            self.close()
            raise _NotConnectedError(str(error)) from error

    def _new_conn(self) -> socket.socket:
        """As urllib3 does it, but the time is for all addresses of the name together."""
        until = monotonic_s() + float(self.timeout or 0)
        addresses = socket.getaddrinfo(self.host.strip("[]"), self.port, type=socket.SOCK_STREAM)
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
