"""A server opens its sockets on the addresses that people expect."""

import socket

import pytest

from adapters.process.listening_sockets import ListenError, open_sockets


def test_an_address_that_is_not_this_machines_is_named() -> None:
    with pytest.raises(ListenError, match=r"cannot listen on 192\.0\.2\.1:8080: this machine has no such address"):
        open_sockets("192.0.2.1", 8080, environ={})


def test_two_colons_take_both_families() -> None:
    (listening,) = open_sockets("::", 0, environ={})
    port = listening.getsockname()[1]
    for host in ("127.0.0.1", "::1"):
        socket.create_connection((host, port), timeout=10).close()
    listening.close()
