"""The HTTP client for calls to vendors and webhooks: sends a request as it was signed, once, and returns the reply.

It does not retry, follow redirects, decompress or use proxies: the caller decides what a reply means. The most important result is
whether a call without a reply may have arrived: the error is NOT_SENT only if there was no connection (no name, an address that is
not permitted, refused, no TLS); after that it is CUT_OFF.

A name is looked up once for each connection, and only these addresses are connected to, so that a caller's `resolve` can check them
safely. TLS still requires a certificate for the name.

A reply must be complete in time, even if it comes slowly: each read has only the rest of the time. It must also be complete within
limits of bytes and reads, of any kind: header lines, sizes and extensions of chunks, trailers. A parser keeps some of these and
reports none, so they are counted as they come in.

Urls are parsed by urllib3 and replies by llhttp, through httptools; between them is a plain socket, because this client is used a
thousand times a second and urllib3's own client takes four times as long (350 us instead of 80).
"""

import select
import socket
import ssl
import threading
import weakref
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser
from urllib3.exceptions import LocationParseError
from urllib3.util import parse_url

from adapters.clock import monotonic_s
from adapters.http_messages import HttpRequest, WireError

#: Bytes of a body that are read, at most: no reply is that long.
BODY_LIMIT = 1024 * 1024
#: A connection that was idle for longer is not used again, s: its server may be about to close it, and a call that is sent at that
#: moment gets no reply.
_MAX_IDLE_S = 4.0
#: Fields of a reply's head and trailers together, at most.
_FIELDS_LIMIT = 100
#: Bytes that are not body, at most; as many as the body has are allowed in addition, for a body in small chunks.
_HEAD_LIMIT = 64 * 1024
_READ_BYTES = 64 * 1024
#: Reads per reply at most: each costs 10 us, even for one byte. A body of 1 MiB in packets of 536 bytes takes 2,000.
_READS_LIMIT = 5_000
_PORTS = {"http": 80, "https": 443}

#: Returns the addresses of a host and port that may be connected to, as `socket.getaddrinfo` does. Raises an OSError or a
#: ValueError if there are none.
Resolve = Callable[[str, int], Sequence[tuple[Any, ...]]]


def resolve_name(host: str, port: int) -> Sequence[tuple[Any, ...]]:
    """Resolves a name as the system does. The caller cannot limit the time: resolv.conf does, by default 10 s per server."""
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpReply:
    """The reply to a request; only the beginning of a body that is too long."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


class NoReply(Exception):
    """No reply came, or not all of it. `error` says whether the request may have arrived."""

    def __init__(self, error: WireError, detail: str) -> None:
        super().__init__(detail)
        self.error = error

    @property
    def timed_out(self) -> bool:
        """True if the time was over."""
        return self.is_caused_by(TimeoutError)

    def is_caused_by(self, kind: type[BaseException]) -> bool:
        """Returns whether it was caused by an error of this type."""
        error: BaseException | None = self
        while error is not None and not isinstance(error, kind):
            error = error.__cause__ or error.__context__
        return error is not None


@dataclass(frozen=True, slots=True)
class _Target:
    """The parts of a url. host: a name or an address, without brackets. netloc: the value of the Host header."""

    scheme: str
    host: str
    port: int
    netloc: str
    path: str

    @property
    def server(self) -> tuple[str, str, int]:
        return self.scheme, self.host, self.port


@lru_cache(maxsize=1024)
def _parse_target(url: str) -> _Target:
    """Parses a url. Raises ValueError."""
    try:
        parts = parse_url(url)
    except LocationParseError as error:
        raise ValueError(f"{url!r} is not a url") from error
    if parts.scheme not in _PORTS or not parts.host:
        raise ValueError("a url must begin with http:// or https:// and have a host")
    return _Target(
        scheme=parts.scheme,
        host=parts.host.strip("[]"),
        port=parts.port or _PORTS[parts.scheme],
        netloc=parts.netloc or "",
        path=parts.request_uri,
    )


class HttpClient:
    """Thread-safe. connect_s: timeout of the connection, and again of TLS. total_s: timeout of the whole exchange.

    A name lookup cannot be interrupted; its time counts, so after a long one no connection is tried any more.
    """

    def __init__(
        self,
        *,
        connect_s: float = 3.0,
        total_s: float = 10.0,
        connections: int = 32,
        trust: ssl.SSLContext | None = None,
        resolve: Resolve = resolve_name,
        body_limit: int = BODY_LIMIT,
        max_idle_s: float = _MAX_IDLE_S,
    ) -> None:
        """connections: idle connections per server, at most. trust: the trusted certificates; None: those of the system.

        body_limit: only the beginning of a longer body is read, and its connection is closed. max_idle_s: idle
        connections that are older are not used again.
        """
        self._connect_s = min(connect_s, total_s)
        self._total_s = total_s
        self._trust = trust or ssl.create_default_context()
        self._resolve = resolve
        self._body_limit = body_limit
        self._idle = _IdleConnections(connections, max_idle_s)
        weakref.finalize(self, self._idle.close)  # so that no caller has to close it

    def send(self, request: HttpRequest) -> HttpReply:
        """Sends a request once; returns the reply. Raises NoReply, and nothing else."""
        until_s = monotonic_s() + self._total_s
        try:
            target = _parse_target(request.url)
            data = _serialize_request(request, target)
            sock = self._idle.pop(target.server) or self._connect(target)
        except (OSError, ValueError) as error:
            raise NoReply(WireError.NOT_SENT, str(error)) from error
        try:
            reply = _exchange_messages(sock, data, until_s, self._body_limit)
        except (HttpParserError, HttpParserUpgrade) as error:
            sock.close()
            raise NoReply(WireError.CUT_OFF, f"the reply is not valid HTTP/1.1: {error}") from error
        except (OSError, ValueError) as error:
            sock.close()
            raise NoReply(WireError.CUT_OFF, str(error)) from error
        if reply.is_reusable:
            self._idle.put(target.server, sock)
        else:
            sock.close()
        return HttpReply(status=reply.status, headers=reply.headers, body=reply.body[: self._body_limit])

    def _connect(self, target: _Target) -> socket.socket:
        """Opens a connection, with TLS for https. Raises OSError, ValueError."""
        sock = _connect_socket(target, self._resolve, self._connect_s)
        if target.scheme == "http":
            return sock
        try:
            sock.settimeout(self._connect_s)
            return self._trust.wrap_socket(sock, server_hostname=target.host.rstrip("."))
        except BaseException:
            sock.close()
            raise

    def close(self) -> None:
        """Closes the idle connections."""
        self._idle.close()


def _connect_socket(target: _Target, resolve: Resolve, connect_s: float) -> socket.socket:
    """Connects to one of the addresses of the name; `connect_s` is for all of them together. Raises OSError, ValueError."""
    until_s = monotonic_s() + connect_s
    addresses = resolve(target.host, target.port)
    failed = OSError("the name has no address")
    for number, (family, kind, protocol, _, address) in enumerate(addresses):
        left_s = _remaining_s(until_s, "there was no connection in time")
        sock = socket.socket(family, kind, protocol)
        try:
            sock.settimeout(left_s / (len(addresses) - number))
            sock.connect(address)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as error:
            sock.close()
            failed = error
        else:
            return sock
    raise failed


def _serialize_request(request: HttpRequest, target: _Target) -> bytes:
    """Returns the bytes of a request; what is signed is left unchanged. Raises ValueError."""
    headers = dict(request.headers)
    names = {name.lower() for name in headers}
    defaults = {"Host": target.netloc, "Accept-Encoding": "identity"}
    if request.body or request.method not in ("GET", "HEAD"):
        defaults["Content-Length"] = str(len(request.body))
    headers |= {name: value for name, value in defaults.items() if name.lower() not in names}
    lines = [f"{request.method} {target.path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    if any("\r" in line or "\n" in line for line in lines):
        raise ValueError("a header holds a line break")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + request.body


def _exchange_messages(sock: socket.socket, data: bytes, until_s: float, limit: int) -> "_ReplyParser":
    """Sends a request and reads the reply. limit: bytes of the body that are read.

    Raises OSError, ValueError, HttpParserError, HttpParserUpgrade.
    """
    _send_all(sock, data, until_s)
    reply = _ReplyParser(limit)
    parser = reply.parser = HttpResponseParser(reply)
    while not reply.is_complete:
        sock.settimeout(_remaining_s(until_s))
        received = sock.recv(_READ_BYTES)
        if not received:
            reply.end()
            break
        reply.count_bytes(len(received))
        try:
            parser.feed_data(received)
        except (HttpParserError, HttpParserUpgrade):
            if not reply.is_complete:
                raise
            reply.is_reusable = False  # more bytes came after the reply
    return reply


def _send_all(sock: socket.socket, data: bytes, until_s: float) -> None:
    """Sends all data in time. Raises OSError. `sendall` of TLS would allow each record of 16 KiB the whole time."""
    rest = memoryview(data)
    while rest:
        sock.settimeout(_remaining_s(until_s, "the request could not be sent in time"))
        rest = rest[sock.send(rest) :]


def _remaining_s(until_s: float, message: str = "the reply was not complete in time") -> float:
    """Returns the time that is left. Raises TimeoutError with this message if there is none."""
    left_s = until_s - monotonic_s()
    if left_s <= 0:
        raise TimeoutError(message)
    return left_s


class _ReplyParser:
    """Collects a reply from the callbacks of the parser; interim replies (1xx) are skipped."""

    parser: HttpResponseParser

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._received = self._reads = self._fields = 0
        self._in_head = True
        self._keep_alive = False
        self._pieces: list[bytes] = []
        self._size = 0
        self._ends_with_connection = False
        self.status = 0
        self.headers: dict[str, str] = {}
        #: True when nothing more needs to be read.
        self.is_complete = False
        #: True if another request may follow on its connection.
        self.is_reusable = False

    @property
    def body(self) -> bytes:
        return b"".join(self._pieces)

    def count_bytes(self, size: int) -> None:
        """Counts bytes that are about to be parsed; those of the last read may all be body. Raises ValueError above a limit."""
        self._received += size
        self._reads += 1
        if self._received - self._size > _HEAD_LIMIT + _READ_BYTES + self._size:
            raise ValueError("the reply's head is too long" if self._in_head else "the reply has too many bytes besides its body")
        if self._reads > _READS_LIMIT:
            raise ValueError("the reply comes in too many pieces")

    def end(self) -> None:
        """Ends the reply, as the server closed the connection: this ends a body without a length. Raises ConnectionError."""
        if self._in_head or not self._ends_with_connection:
            raise ConnectionError("the connection was closed before the reply was complete")
        self.is_complete = True

    # Called by the parser.

    def on_message_begin(self) -> None:
        if self.is_complete:
            self.is_reusable = False  # a second reply, which was not requested

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.is_complete:
            return
        self._fields += 1
        if self._fields > _FIELDS_LIMIT:
            raise ValueError("the reply has too many headers")
        text, known = value.decode("latin-1"), self.headers.get(name.decode("latin-1"))
        self.headers[name.decode("latin-1")] = text if known is None else f"{known}, {text}"

    def on_headers_complete(self) -> None:
        if self.is_complete:
            return
        self.status = self.parser.get_status_code()
        self._in_head = self.status < 200
        names = {name.lower() for name in self.headers}
        self._ends_with_connection = self.status not in (204, 304) and not names & {"content-length", "transfer-encoding"}
        self._keep_alive = self.parser.should_keep_alive()

    def on_body(self, piece: bytes) -> None:
        if self.is_complete:
            return
        self._pieces.append(piece)
        self._size += len(piece)
        self.is_complete = self._size > self._limit

    def on_message_complete(self) -> None:
        if self.is_complete:
            return
        if self.status < 200:
            self.headers.clear()
            return
        self.is_complete = True
        self.is_reusable = self._keep_alive


class _IdleConnections:
    """Idle connections, the newest first. most: connections of each server. max_idle_s: their maximum age."""

    def __init__(self, most: int, max_idle_s: float) -> None:
        self._most = most
        self._max_idle_s = max_idle_s
        self._lock = threading.Lock()
        self._by_server: dict[tuple[str, str, int], deque[tuple[float, socket.socket]]] = {}

    def pop(self, server: tuple[str, str, int]) -> socket.socket | None:
        """Removes and returns a connection that can be used; None if there is none."""
        while True:
            with self._lock:
                idle = self._by_server.get(server)
                if not idle:
                    return None
                since_s, sock = idle.pop()
            if monotonic_s() - since_s < self._max_idle_s and _is_quiet(sock):
                return sock
            sock.close()

    def put(self, server: tuple[str, str, int], sock: socket.socket) -> None:
        """Adds a connection; closes those that are too many or too old."""
        now_s = monotonic_s()
        with self._lock:
            idle = self._by_server.setdefault(server, deque())
            idle.append((now_s, sock))
            surplus = [idle.popleft()[1]] if len(idle) > self._most else []
            surplus += self._remove_stale(now_s)
        for old in surplus:
            old.close()

    def _remove_stale(self, now_s: float) -> list[socket.socket]:
        """Removes and returns the connections that were idle for too long."""
        stale = []
        for server, idle in list(self._by_server.items()):
            while idle and now_s - idle[0][0] >= self._max_idle_s:
                stale.append(idle.popleft()[1])
            if not idle:
                del self._by_server[server]
        return stale

    def close(self) -> None:
        with self._lock:
            servers, self._by_server = list(self._by_server.values()), {}
        for idle in servers:
            for _, sock in idle:
                sock.close()


def _is_quiet(sock: socket.socket) -> bool:
    """Returns whether nothing came since the last reply: neither its end nor unrequested bytes."""
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return not poll.poll(0)
