"""The one HTTP client for calls to vendors and webhooks: it sends a request as it was signed, once, and brings what came back.

It neither retries nor follows redirects, unpacks nothing, and knows no proxies: whoever calls decides what an answer means. What
matters most is whether a call without an answer may have arrived: NOT_SENT is said only while there was no connection (no name, an
address that is not permitted, refused, no TLS); from then on it is CUT_OFF.

A name is looked up once for each connection, and the addresses found are those connected to: whoever gives `resolve` can check them
and be sure. TLS still wants a certificate for the name.

An answer must be whole in time, however slowly it trickles in: each read is allowed what is left of the time, no more. It must
also be whole in so many bytes and reads, whatever they are: lines of a head, sizes and extensions of chunks, trailers. Of these a
parser keeps some and tells of none, so they are counted as they come in.

Urls are read by urllib3's parser and answers by llhttp, through httptools; what stands between them is a socket, for it is
used a thousand times a second, and urllib3's own client takes four times as long (350 us against 80).
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

#: More of a body is not read: no answer is that long.
BODY_LIMIT = 1024 * 1024
#: A connection that rested longer is not used again: its server may be about to close it, and a call that is sent right then
#: has no answer.
_REST_S = 4.0
#: Of an answer's head and trailers together: so many fields, at the most.
_FIELDS_LIMIT = 100
#: Of all that is not body, bytes; as much again as there is body is allowed on top, for a body in small chunks.
_HEAD_LIMIT = 64 * 1024
_READ = 64 * 1024
#: So many reads for one answer: each costs 10 us, however little it brings. A body of 1 MiB in packets of 536 bytes takes 2,000.
_READS_LIMIT = 5_000
_PORTS = {"http": 80, "https": 443}

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
        return self.comes_of(TimeoutError)

    def comes_of(self, kind: type[BaseException]) -> bool:
        """Whether an error of this kind stands behind it."""
        error: BaseException | None = self
        while error is not None and not isinstance(error, kind):
            error = error.__cause__ or error.__context__
        return error is not None


@dataclass(frozen=True, slots=True)
class _Target:
    """Where a url leads. `host` is a name or an address, without brackets; `netloc` is what the Host header says."""

    scheme: str
    host: str
    port: int
    netloc: str
    path: str

    @property
    def server(self) -> tuple[str, str, int]:
        return self.scheme, self.host, self.port


@lru_cache(maxsize=1024)
def _target(url: str) -> _Target:
    """Raises ValueError."""
    try:
        parts = parse_url(url)
    except LocationParseError as error:
        raise ValueError(f"{url!r} is no url") from error
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
        self._connect_s = min(connect_s, total_s)
        self._total_s = total_s
        self._trust = trust or ssl.create_default_context()
        self._resolve = resolve
        self._body_limit = body_limit
        self._resting = _Resting(connections)
        weakref.finalize(self, self._resting.close)  # nobody need remember to close it

    def send(self, request: HttpRequest) -> Reply:
        """Sends it, once. Raises NoAnswer, and nothing else."""
        until_s = monotonic_s() + self._total_s
        try:
            target = _target(request.url)
            said = _written(request, target)
            sock = self._resting.take(target.server) or self._connected(target)
        except (OSError, ValueError) as error:
            raise NoAnswer(WireError.NOT_SENT, str(error)) from error
        try:
            answer = _asked(sock, said, until_s, self._body_limit)
        except (HttpParserError, HttpParserUpgrade) as error:
            sock.close()
            raise NoAnswer(WireError.CUT_OFF, f"what came is no answer of HTTP/1.1: {error}") from error
        except (OSError, ValueError) as error:
            sock.close()
            raise NoAnswer(WireError.CUT_OFF, str(error)) from error
        if answer.reusable:
            self._resting.keep(target.server, sock)
        else:
            sock.close()
        return Reply(status=answer.status, headers=answer.headers, body=answer.body[: self._body_limit])

    def _connected(self, target: _Target) -> socket.socket:
        """Raises OSError, ValueError."""
        sock = _connected(target, self._resolve, self._connect_s)
        if target.scheme == "http":
            return sock
        try:
            sock.settimeout(self._connect_s)
            return self._trust.wrap_socket(sock, server_hostname=target.host.rstrip("."))
        except BaseException:
            sock.close()
            raise

    def close(self) -> None:
        """Closes the connections that rest."""
        self._resting.close()


def _connected(target: _Target, resolve: Resolve, connect_s: float) -> socket.socket:
    """The time is for all addresses of the name together."""
    until_s = monotonic_s() + connect_s
    addresses = resolve(target.host, target.port)
    failed = OSError("the name has no address")
    for number, (family, kind, protocol, _, address) in enumerate(addresses):
        left_s = _left_s(until_s, "there was no connection in time")
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


def _written(request: HttpRequest, target: _Target) -> bytes:
    """The request as it goes out: what is signed stands in it as it was given. Raises ValueError."""
    headers = dict(request.headers)
    named = {name.lower() for name in headers}
    usual = {"Host": target.netloc, "Accept-Encoding": "identity"}
    if request.body or request.method not in ("GET", "HEAD"):
        usual["Content-Length"] = str(len(request.body))
    headers |= {name: value for name, value in usual.items() if name.lower() not in named}
    lines = [f"{request.method} {target.path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    if any("\r" in line or "\n" in line for line in lines):
        raise ValueError("a header holds a line break")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + request.body


def _asked(sock: socket.socket, said: bytes, until_s: float, limit: int) -> "_Answer":
    """Raises OSError, ValueError, HttpParserError, HttpParserUpgrade."""
    _send_all(sock, said, until_s)
    answer = _Answer(limit)
    parser = answer.parser = HttpResponseParser(answer)
    while not answer.over:
        sock.settimeout(_left_s(until_s))
        got = sock.recv(_READ)
        if not got:
            answer.end()
            break
        answer.heed(len(got))
        try:
            parser.feed_data(got)
        except (HttpParserError, HttpParserUpgrade):
            if not answer.over:
                raise
            answer.reusable = False  # something came behind the answer
    return answer


def _send_all(sock: socket.socket, said: bytes, until_s: float) -> None:
    """Raises OSError. `sendall` of TLS would allow each record of 16 KiB the whole time."""
    rest = memoryview(said)
    while rest:
        sock.settimeout(_left_s(until_s, "the request could not be sent in time"))
        rest = rest[sock.send(rest) :]


def _left_s(until_s: float, over: str = "the answer was not whole in time") -> float:
    left_s = until_s - monotonic_s()
    if left_s <= 0:
        raise TimeoutError(over)
    return left_s


class _Answer:
    """What the parser tells of an answer; answers that only say that one will come are passed over."""

    parser: HttpResponseParser

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._received = self._reads = self._fields = 0
        self._in_head = True
        self._keeps = False
        self._pieces: list[bytes] = []
        self._size = 0
        self._to_the_end = False
        self.status = 0
        self.headers: dict[str, str] = {}
        #: There is no more to be read.
        self.over = False
        #: Another request may follow on its connection.
        self.reusable = False

    @property
    def body(self) -> bytes:
        return b"".join(self._pieces)

    def heed(self, number: int) -> None:
        """So many bytes are about to be parsed; what the last read brings may all be body. Raises ValueError."""
        self._received += number
        self._reads += 1
        if self._received - self._size > _HEAD_LIMIT + _READ + self._size:
            raise ValueError(
                "the answer's head is too long" if self._in_head else "what stands around the answer's body is too long"
            )
        if self._reads > _READS_LIMIT:
            raise ValueError("the answer comes in too many pieces")

    def end(self) -> None:
        """The server has closed the connection: that ends a body of which nothing tells the length. Raises ValueError."""
        if self._in_head or not self._to_the_end:
            raise ConnectionError("the connection was closed before the answer was whole")
        self.over = True

    # For the parser.

    def on_message_begin(self) -> None:
        if self.over:
            self.reusable = False  # nobody asked for another one

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.over:
            return
        self._fields += 1
        if self._fields > _FIELDS_LIMIT:
            raise ValueError("the answer has too many headers")
        text, known = value.decode("latin-1"), self.headers.get(name.decode("latin-1"))
        self.headers[name.decode("latin-1")] = text if known is None else f"{known}, {text}"

    def on_headers_complete(self) -> None:
        if self.over:
            return
        self.status = self.parser.get_status_code()
        self._in_head = self.status < 200
        told = {name.lower() for name in self.headers}
        self._to_the_end = self.status not in (204, 304) and not told & {"content-length", "transfer-encoding"}
        self._keeps = self.parser.should_keep_alive()

    def on_body(self, piece: bytes) -> None:
        if self.over:
            return
        self._pieces.append(piece)
        self._size += len(piece)
        self.over = self._size > self._limit

    def on_message_complete(self) -> None:
        if self.over:
            return
        if self.status < 200:
            self.headers.clear()
            return
        self.over = True
        self.reusable = self._keeps


class _Resting:
    """Connections that rest, the newest first. most: of each server."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._by_server: dict[tuple[str, str, int], deque[tuple[float, socket.socket]]] = {}

    def take(self, server: tuple[str, str, int]) -> socket.socket | None:
        """One that can be used."""
        while True:
            with self._lock:
                resting = self._by_server.get(server)
                if not resting:
                    return None
                since_s, sock = resting.pop()
            if monotonic_s() - since_s < _REST_S and _is_quiet(sock):
                return sock
            sock.close()

    def keep(self, server: tuple[str, str, int], sock: socket.socket) -> None:
        now_s = monotonic_s()
        with self._lock:
            resting = self._by_server.setdefault(server, deque())
            resting.append((now_s, sock))
            gone = [resting.popleft()[1]] if len(resting) > self._most else []
            gone += self._stale(now_s)
        for each in gone:
            each.close()

    def _stale(self, now_s: float) -> list[socket.socket]:
        """The oldest of each server, where they rested for too long; takes them out."""
        found = []
        for server, resting in list(self._by_server.items()):
            while resting and now_s - resting[0][0] >= _REST_S:
                found.append(resting.popleft()[1])
            if not resting:
                del self._by_server[server]
        return found

    def close(self) -> None:
        with self._lock:
            every, self._by_server = list(self._by_server.values()), {}
        for resting in every:
            for _, sock in resting:
                sock.close()


def _is_quiet(sock: socket.socket) -> bool:
    """Nothing came since: neither an end nor words that nobody asked for."""
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return not poll.poll(0)
