"""A real server under attack: signed callbacks must be answered in time, and no connection or memory may remain afterwards."""

import http.client
import json
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from adapters.ledger import Ledger
from tests.benchmarks.filling import fill
from tests.support.attackers import QUERIES
from tests.support.sample_apps import tencent
from tests.support.server_processes import READY_S, Process, up, write_config

NOW = 1_768_960_000_000
#: Limit of the 99th percentile of the answer times of callbacks, s.
P99_S = 1.0
#: Limit of the growth of the server under any attack, MB.
GROWTH_MB = 200
#: Honest callbacks a second, half of them over connections that are kept, half over one each.
_RATE = 20
_VIEWER, _ADMIN = "a-viewer-of-the-attacked-port", "an-admin-of-the-attacked-port"
_MORE = f"""
[outbound]
allow = ["127.0.0.0/8"]
allow_http = true
[[tokens]]
name = "wall"
role = "viewer"
token = "{_VIEWER}"
[[tokens]]
name = "root"
role = "admin"
token = "{_ADMIN}"
"""


class Attacked:
    """A server with a few thousand tasks and callbacks. `numbers`: of its honest callbacks' tasks."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.numbers = count(1)

    def send_large(self, number: int) -> None:
        """Sends callbacks with large bodies, for lists to read."""
        client = http.client.HTTPConnection("127.0.0.1", self.process.port, timeout=30)
        for _ in range(number):
            assert _post(client, next(self.numbers), "x" * 60_000) == 200
        client.close()

    def ask(self, path: str, body: object = None) -> Any:
        """Returns the answer of the desk, as text if it is not JSON."""
        client = http.client.HTTPConnection("127.0.0.1", self.process.port, timeout=30)
        said = None if body is None else json.dumps(body)
        headers = {"Authorization": f"Bearer {_ADMIN}", "Content-Type": "application/json"}
        client.request("GET" if body is None else "POST", path, said, headers)
        answer = client.getresponse()
        text = answer.read().decode()
        client.close()
        assert answer.status < 300, text
        return json.loads(text) if "json" in answer.headers["Content-Type"] else text

    def open_connections(self) -> int:
        found = re.search(r"^tally_connections_open (\S+)$", self.ask("/metrics"), re.MULTILINE)
        assert found is not None
        return int(float(found[1]))

    def memory_mb(self, name: str = "VmRSS") -> float:
        """Returns the memory of the server; `VmHWM`: its peak."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition(f"{name}:")[2].split()[0]) / 1024

    def until_it_rests(self, limit_s: float) -> None:
        """Waits until the server is ready and no connection of an attack is left."""
        until = time.monotonic() + limit_s
        while (said := (self.ask("/readyz"), self.open_connections()))[0] != {"status": "ready"} or said[1] > 1:
            assert time.monotonic() < until, said
            time.sleep(0.2)  # another process works: only its answer shows it


@contextmanager
def attacked(folder: Path, *, large: int, limits: str = "") -> Iterator[Attacked]:
    """Yields a server with tasks. limits: lines of `[server]`. large: number of callbacks with large bodies."""
    ledger = Ledger(f"sqlite:///{folder}/tally.db")
    fill(ledger, tasks_wanted=3_000, callbacks_wanted=9_000)
    ledger.close()
    process = up(write_config(folder, open_desk=False, more=limits + _MORE))
    try:
        made = Attacked(process)
        made.send_large(large)
        yield made
    finally:
        assert process.stop() == 0


@dataclass
class Senders:
    """Honest callbacks. Times from when each was due until it was answered, s: who waits for an answer does not send less."""

    attacked: Attacked
    times_s: list[float] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    @contextmanager
    def sending(self) -> Iterator[None]:
        stop = threading.Event()
        threads = [threading.Thread(target=self._send, args=(stop, kept)) for kept in (False, True)]
        for each in threads:
            each.start()
        try:
            yield
        finally:
            stop.set()
            for each in threads:
                each.join()

    def _send(self, stop: threading.Event, kept: bool) -> None:
        port = self.attacked.process.port
        client = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        due = time.monotonic()
        while not stop.wait(max(0.0, due - time.monotonic())):
            try:
                status = _post(client, next(self.attacked.numbers))
                if status != 200:
                    self.failed.append(f"{status}, kept: {kept}")
            except (OSError, http.client.HTTPException) as error:
                self.failed.append(f"{error!r}, kept: {kept}")
                client.close()
            self.times_s.append(time.monotonic() - due)
            due += 2 / _RATE
            if not kept:
                client.close()
        client.close()


def _post(client: http.client.HTTPConnection, number: int, room: str = "r") -> int:
    info = {"EventMsTs": NOW + number, "TaskId": f"honest-{number}", "RoomId": room, "UserId": "u", "Payload": {"Status": 0}}
    _, body, headers = tencent({"EventGroupId": 3, "EventType": 301, "CallbackTs": NOW, "EventInfo": info})
    client.request("POST", "/callbacks/tencent", body, headers)
    answer = client.getresponse()
    answer.read()
    return answer.status


class Attacker:
    """A process of tests.support.attackers. `first_line`: what it wrote when it was under way."""

    def __init__(self, name: str, port: int) -> None:
        command = [sys.executable, "-m", "tests.support.attackers", name, str(port), _VIEWER]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2])
        assert self._process.stdout is not None
        self.first_line = self._process.stdout.readline().strip()
        assert self.first_line, f"{name} did not begin"

    def suspend(self) -> None:
        """Keeps its connections and does nothing any more."""
        self._process.send_signal(signal.SIGSTOP)

    def end(self) -> None:
        self._process.kill()
        self._process.wait(timeout=READY_S)
        assert self._process.stdout is not None
        self._process.stdout.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The measurements of honest callbacks under an attack. Times in s, sorted; growth of the server in MB."""

    name: str
    times_s: Sequence[float]
    failed: Sequence[str]
    growth_mb: float
    connections: int

    @property
    def p99_s(self) -> float:
        return self._part(0.99)

    def _part(self, part: float) -> float:
        return self.times_s[round(part * (len(self.times_s) - 1))]

    def __str__(self) -> str:
        p50, p99, most = (self._part(part) * 1000 for part in (0.5, 0.99, 1))
        return (
            f"{self.name}: {len(self.times_s)} callbacks, {len(self.failed)} failed, p50 {p50:.0f} ms, p99 {p99:.0f} ms, "
            f"max {most:.0f} ms; {self.growth_mb:+.0f} MB, {self.connections} connections"
        )


def attack(server: Attacked, name: str, seconds: float, *, settles_s: float | None = None) -> Found:
    """Attacks for so long while honest callbacks come.

    settles_s: so long the server has to close what the attacker still holds then; None: the attacker is ended at once.
    """
    senders, before_mb = Senders(server), server.memory_mb()
    Path(f"/proc/{server.process.pid}/clear_refs").write_text("5")  # the peak begins anew (proc(5))
    attacker = Attacker(name, server.process.port)
    try:
        for query in QUERIES if name == "dear-queries" else ():
            server.ask(query)  # they are answered at all
        if name == "hostile-subscriber":
            for mood in ("hang", "drip", "trailers"):
                server.ask(
                    "/v1/subscriptions", {"sink": {"type": "webhook", "url": f"http://127.0.0.1:{attacker.first_line}/{mood}"}}
                )
        with senders.sending():
            threading.Event().wait(seconds)  # so long is the attack
        connections = server.open_connections()
        found = Found(
            name=name,
            times_s=sorted(senders.times_s),
            failed=senders.failed,
            growth_mb=server.memory_mb("VmHWM") - before_mb,
            connections=connections,
        )
        print(found)
        if settles_s is not None:
            attacker.suspend()
            server.until_it_rests(settles_s)
    finally:
        attacker.end()
    return found
