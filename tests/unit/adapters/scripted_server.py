"""Servers on loopback that do what a script says, for tests of clients."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

#: Does with one connection what a server does; gets what was asked.
Script = Callable[[socket.socket, bytes], None]

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

#: A certificate for 127.0.0.1 that nobody else believes; its key guards nothing.
CERTIFICATE = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgpBa3VbghLptbfY9x
xu/SGzLynh0qoB00iuaJZWNtgT2hRANCAAQppgOOTYOWNZneSK+/AzC9J9ydurI7
8d7TgYgGva65VEF5E6Itzy6iQGppsUeOfssHHr6rcv8lgfhDUcKyHPkd
-----END PRIVATE KEY-----
-----BEGIN CERTIFICATE-----
MIIBUjCB+qADAgECAgEBMAoGCCqGSM49BAMCMBAxDjAMBgNVBAMMBXRlc3RzMCAX
DTIwMDEwMTAwMDAwMFoYDzIxMjAwMTAxMDAwMDAwWjAQMQ4wDAYDVQQDDAV0ZXN0
czBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABCmmA45Ng5Y1md5Ir78DML0n3J26
sjvx3tOBiAa9rrlUQXkToi3PLqJAammxR45+ywcevqty/yWB+ENRwrIc+R2jQzBB
MA8GA1UdEQQIMAaHBH8AAAEwDwYDVR0TAQH/BAUwAwEB/zAdBgNVHQ4EFgQUYydI
HJtquK4LO5de9Zjb1GhKuXYwCgYIKoZIzj0EAwIDRwAwRAIfPS2moqRDLLCny86c
vW7lx1D8UDJCNQdAE+Yg5BDerQIhAPsUmkeQfs8xweywsQeEeuZCsRLuKhefTkMC
ttESHGSB
-----END CERTIFICATE-----
"""


class Server:
    """Plays its scripts, one after the other, each time a request comes; a script that leaves the connection open gets the next.

    Before any request a script of None closes the connection.
    """

    def __init__(self, scripts: list[Script | None], tls: ssl.SSLContext | None) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._scripts = scripts
        self._tls = tls
        self.port = self._listener.getsockname()[1]
        self.asked: list[bytes] = []
        self.connections = 0
        self.ended = threading.Event()
        #: A connection was closed.
        self.closed = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while self._scripts:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            with connection, suppress(OSError):
                connection.settimeout(10)
                if self._tls is None:
                    self._talk(connection)
                else:
                    with self._tls.wrap_socket(connection, server_side=True) as safe:
                        self._talk(safe)
            self.closed.set()

    def _talk(self, connection: socket.socket) -> None:
        while self._scripts:
            if self._scripts[0] is None:
                self._scripts.pop(0)
                return
            request = received(connection)
            if not request:
                return
            self.asked.append(request)
            script = self._scripts.pop(0)
            assert script is not None
            script(connection, request)

    def close(self) -> None:
        self.ended.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(timeout=10)

    def url(self, target: str = "/", scheme: str = "http") -> str:
        return f"{scheme}://127.0.0.1:{self.port}{target}"


def received(connection: socket.socket) -> bytes:
    """One request, head and body; empty when the other side hung up."""
    got = b""
    while b"\r\n\r\n" not in got:
        more = connection.recv(65536)
        if not more:
            return b""
        got += more
    head, _, body = got.partition(b"\r\n\r\n")
    lengths = [line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    while len(body) < int((lengths or [b"0"])[0]):
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body


@contextmanager
def serving(*scripts: Script | None, tls: ssl.SSLContext | None = None) -> Iterator[Server]:
    server = Server(list(scripts), tls)
    yield server
    server.close()


def says(*parts: bytes) -> Script:
    """Sends this and keeps the connection open."""
    return lambda connection, _: connection.sendall(b"".join(parts))


def says_and_closes(*parts: bytes) -> Script:
    def script(connection: socket.socket, _: bytes) -> None:
        connection.sendall(b"".join(parts))
        connection.shutdown(socket.SHUT_RDWR)

    return script


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def hangs(ended: threading.Event) -> Script:
    def script(_: socket.socket, __: bytes) -> None:
        ended.wait(10)

    return script


def serving_context(folder: Path) -> ssl.SSLContext:
    """TLS as the server of CERTIFICATE speaks it."""
    path = folder / "certificate.pem"
    path.write_text(CERTIFICATE)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context


def trusting() -> ssl.SSLContext:
    return ssl.create_default_context(cadata=CERTIFICATE[CERTIFICATE.index("-----BEGIN CERTIFICATE") :])
