"""Opens the sockets on which the server listens, or uses those that the service manager passed on.

It imports nothing that takes long: the socket is open before the rest of the program is loaded, and clients that connect meanwhile
wait a second instead of being refused.
"""

import errno
import os
import socket
import threading
from collections.abc import Callable, Mapping, Sequence

from adapters.clock import monotonic_s
from adapters.logs import logger
from adapters.settings.values import is_loopback

#: Connections that the kernel keeps until they are accepted; `net.core.somaxconn` may allow fewer.
BACKLOG = 2048
#: The first descriptor that a service manager passes on (sd_listen_fds(3)).
_FIRST_INHERITED = 3
#: Time and interval of retries if the port is taken, s: its owner may be about to end, which takes up to 4.5 s.
_RETRY_S, _RETRY_INTERVAL_S = 5.0, 0.01
#: Errors of a machine that lacks an address family.
_NO_FAMILY = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT)

log = logger(__name__)


class ListenError(Exception):
    """The server cannot listen on the address; the message names the address and what would help."""


def open_sockets(
    host: str, port: int, *, environ: Mapping[str, str], meanwhile: Callable[[], object] = lambda: None
) -> list[socket.socket]:
    """Returns listening sockets: those that the service manager passed on, else new ones for this host and port.

    environ: of the process. meanwhile: called if the port is taken, before it is tried again. Raises ListenError.
    """
    inherited = inherited_sockets(environ)
    if inherited:
        log.info("server.inherited", sockets=[address_of(listening) for listening in inherited])
        return inherited
    addresses = _resolve_addresses(host, port)
    try:
        return _bind_all(host, port, addresses)
    except ListenError as error:
        if not _is_taken(error):
            raise
        log.warning("server.port_taken", host=host, port=port)
    meanwhile()
    return _bind_with_retry(host, port, addresses)


def inherited_sockets(environ: Mapping[str, str]) -> list[socket.socket]:
    """Returns the sockets of a socket unit (systemd.socket(5)), if the service manager started this process with any.

    Raises ListenError if one of them is no listening stream socket.
    """
    if environ.get("LISTEN_PID") != str(os.getpid()) or not environ.get("LISTEN_FDS", "").isdigit():
        return []
    return [_inherited_socket(_FIRST_INHERITED + number) for number in range(int(environ["LISTEN_FDS"]))]


def _inherited_socket(number: int) -> socket.socket:
    try:
        os.set_inheritable(number, False)
        inherited = socket.socket(fileno=number)
        listens = inherited.type is socket.SOCK_STREAM and inherited.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError as error:
        raise ListenError(f"descriptor {number} of LISTEN_FDS is not a socket: {error.strerror}") from error
    if not listens:
        raise ListenError(f"descriptor {number} of LISTEN_FDS is not a listening stream socket; set ListenStream= and Accept=no")
    return inherited


def address_of(listening: socket.socket) -> str:
    """Returns the address as in a url: `127.0.0.1:8080`, `[::1]:8080`; a path for a Unix socket."""
    address = listening.getsockname()
    return str(address) if listening.family is socket.AF_UNIX else host_and_port(address[0], address[1])


def host_and_port(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_local(listening: socket.socket) -> bool:
    """Returns whether only this machine can reach the socket."""
    return listening.family is socket.AF_UNIX or is_loopback(listening.getsockname()[0])


_Address = tuple[socket.AddressFamily, tuple[str, int]]


def _resolve_addresses(host: str, port: int) -> Sequence[_Address]:
    try:
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise ListenError(f"cannot listen on {host_and_port(host, port)}: no such address or name") from error
    return list(dict.fromkeys((family, address[:2]) for family, _, _, _, address in addresses))  # type: ignore[misc]


def _bind_with_retry(host: str, port: int, addresses: Sequence[_Address]) -> list[socket.socket]:
    until_s, pause = monotonic_s() + _RETRY_S, threading.Event()
    while True:
        try:
            return _bind_all(host, port, addresses)
        except ListenError as error:
            if not _is_taken(error) or monotonic_s() > until_s:
                raise
        pause.wait(_RETRY_INTERVAL_S)


def _bind_all(host: str, port: int, addresses: Sequence[_Address]) -> list[socket.socket]:
    """Listens on all addresses of a name, on the same port. A family that the machine lacks is left out if it has another one."""
    sockets: list[socket.socket] = []
    missing: OSError | None = None
    for family, (address, _) in addresses:
        try:
            sockets.append(_listen_on(family, address, sockets[0].getsockname()[1] if sockets else port))
        except OSError as error:
            if error.errno in _NO_FAMILY:
                missing = error
                continue
            _close_all(sockets)
            raise ListenError(f"cannot listen on {host_and_port(host, port)}: {_describe_error(error, port)}") from error
    if not sockets:
        raise ListenError(f"cannot listen on {host_and_port(host, port)}: this machine has no such address") from missing
    return sockets


def _listen_on(family: socket.AddressFamily, address: str, port: int) -> socket.socket:
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family is socket.AF_INET6:  # `::` is for IPv4 too, as people expect; any other address is of IPv6 alone
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, address != "::")
        listening.bind((address, port))
        listening.listen(BACKLOG)
    except OSError:
        listening.close()
        raise
    return listening


def _close_all(sockets: Sequence[socket.socket]) -> None:
    for listening in sockets:
        listening.close()


def _is_taken(error: ListenError) -> bool:
    return isinstance(error.__cause__, OSError) and error.__cause__.errno == errno.EADDRINUSE


def _describe_error(error: OSError, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return "the port is in use; stop the process that listens there, or set server.port (--port)"
    if error.errno == errno.EACCES:
        return f"not permitted; ports below 1024 are for root, so use another port, behind a proxy (server.port is {port})"
    return error.strerror or str(error)
