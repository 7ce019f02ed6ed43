"""A real server limits what it keeps for a client that does not read, and does not wait for it."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import uvicorn

from adapters.settings import Role
from callbacks.client_connection import Connection, cutter_of
from callbacks.desk.events.sse import Streams
from tests.unit.callbacks.desk.desk_harness import TOKENS, DeskHarness, made

#: The test fails if something has not come within this time, s.
LATE_S = 20
#: The transport's own mark above which it makes the sender wait, a piece, and one event.
MOST_BYTES = 64 * 1024 + 32 * 1024 + 16 * 1024


class Weighed(Connection):
    """Records how many bytes were kept for a client each time the sender had to wait."""

    kept: list[int]
    full: threading.Event
    lost: threading.Event

    def pause_writing(self) -> None:
        self.kept.append(self.transport.get_write_buffer_size())
        self.full.set()
        super().pause_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.lost.set()


class EndingServer(uvicorn.Server):
    """Ends streams when it is to stop, as that of `tally` does."""

    def __init__(self, config: uvicorn.Config, streams: Streams) -> None:
        super().__init__(config)
        self._streams = streams

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._streams.close_all()
        await super().shutdown(sockets)


class Served:
    """The desk of a test world on a real server, in a thread."""

    def __init__(self, world: DeskHarness) -> None:
        self.kept: list[int] = []
        #: Set when a client does not read what it is sent; set when the connection to it has ended.
        self.full, self.lost = threading.Event(), threading.Event()
        weighed = type("Weighed", (Weighed,), {"kept": self.kept, "full": self.full, "lost": self.lost})
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        self.port = self._socket.getsockname()[1]
        config = uvicorn.Config(world.app, http=weighed, log_config=None, access_log=False, timeout_graceful_shutdown=2 * LATE_S)
        self._server = EndingServer(config, world.streams)
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stops without waiting for the full limits."""
        self._server.should_exit = True
        self._thread.join(timeout=LATE_S)
        assert not self._thread.is_alive()
        self._socket.close()

    def client_that_reads_nothing(self) -> socket.socket:
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", self.port))
        head = f"GET /v1/events/stream?after=0 HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKENS[Role.VIEWER]}\r\n\r\n"
        client.sendall(head.encode())
        return client

    def heard(self, number: int, **headers: str) -> list[int]:
        """Returns the positions of the events that a reading client receives."""
        asked = {"Authorization": f"Bearer {TOKENS[Role.VIEWER]}", **headers}
        url = f"http://127.0.0.1:{self.port}/v1/events/stream?after=0"
        with httpx2.stream("GET", url, headers=asked, timeout=LATE_S) as answer:
            lines = answer.iter_lines()
            positions = [int(line.removeprefix("id: ")) for line in _up_to(lines, number) if line.startswith("id: ")]
        return positions[1:]


def _up_to(lines: Iterator[str], number: int) -> Iterator[str]:
    """Lines up to and with so many that hold an event."""
    for line in lines:
        yield line
        number -= line.startswith("data: ")
        if not number:
            return


@contextmanager
def served(world: DeskHarness) -> Iterator[Served]:
    server = Served(world)
    try:
        yield server
    finally:
        server.stop()
        world.ledger.close()


def fill(world: DeskHarness, number: int = 600) -> list[int]:
    """Adds events of more than a kilobyte each: more than all buffers on the way can hold."""
    return world.tell(*[world.task(message="x" * 2_000)] * number)


def test_a_client_that_reads_nothing_is_cut_off_and_little_is_kept_for_it(tmp_path: Path) -> None:
    world = made(tmp_path, stream_limits={"patience_s": 0.2})
    places = fill(world)
    with served(world) as server:
        with server.client_that_reads_nothing():
            assert server.lost.wait(LATE_S)
        assert server.heard(len(places)) == places
        assert server.heard(100, **{"Last-Event-ID": str(places[-101])}) == places[-100:]
    assert 0 < max(server.kept) <= MOST_BYTES


def test_a_server_that_stops_does_not_wait_for_a_client_that_reads_nothing(tmp_path: Path) -> None:
    world = made(tmp_path, stream_limits={"grace_s": 0.2})
    fill(world)
    with served(world) as server, server.client_that_reads_nothing():
        assert server.full.wait(LATE_S)
        server.stop()
        assert server.lost.is_set()


def test_on_another_server_nothing_is_cut() -> None:
    cutter_of({"type": "http"})()
    cutter_of({"type": "http", "state": {}})()
