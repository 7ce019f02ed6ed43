"""A really running simulator, and somebody who hears its callbacks."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Queue

from adapters.clock import now_ms
from simulator import Faults, Plan, World
from simulator.clock import WorldClock
from simulator.demo import Step
from simulator.realtime import Simulation
from simulator.server import Server, make_app

READY_S = 20


class Simulator:
    """A simulator at `127.0.0.1:port`."""

    def __init__(self, callback_url: str, faults: Faults, plan: Plan, speed: int, steps: tuple[Step, ...]) -> None:
        self._settings = (callback_url, faults, plan, speed)
        self._ready = threading.Event()
        self.port = 0
        self.server = Server(make_app(self._make, steps), "127.0.0.1", 0, self._started)
        self.thread = threading.Thread(target=self.server.run)
        self.thread.start()
        assert self._ready.wait(READY_S)

    def _make(self) -> Simulation:
        callback_url, faults, plan, speed = self._settings
        start = now_ms()
        self.world = World(1, faults, start, plan=plan, speed=speed)
        return Simulation(self.world, WorldClock(now_ms, start, speed), callback_url)

    def _started(self, port: int) -> None:
        self.port = port
        self._ready.set()

    def stop(self) -> None:
        self.server.should_exit = True
        self.thread.join(READY_S)
        assert not self.thread.is_alive()


@contextmanager
def simulator(
    callback_url: str = "", *, faults: Faults | None = None, plan: Plan | None = None, speed: int = 1, steps: tuple[Step, ...] = ()
) -> Iterator[Simulator]:
    running = Simulator(callback_url, faults or Faults(), plan or Plan(), speed, steps)
    try:
        yield running
    finally:
        running.stop()


class Ear(ThreadingHTTPServer):
    """Hears callbacks: (path, headers in lower case, body), in `heard`. The first of each event is refused where `deaf`."""

    daemon_threads = False

    def __init__(self, *, deaf: bool = False) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.heard: Queue[tuple[str, dict[str, str], bytes]] = Queue()
        self.deaf = deaf

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/callbacks/{{vendor}}"


class _Handler(BaseHTTPRequestHandler):
    server: Ear

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(500 if self.server.deaf else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()
        self.server.heard.put((self.path, {name.lower(): value for name, value in self.headers.items()}, body))

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def ear(*, deaf: bool = False) -> Iterator[Ear]:
    with Ear(deaf=deaf) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
