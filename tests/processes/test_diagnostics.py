"""A log that cannot be written takes no callback with it; a disk that takes none is told by every number, and recovers."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import httpx2
import pytest

import tally
from adapters.clock import monotonic_s
from tests.support.sample_apps import tencent
from tests.support.server_processes import READY_S, _environment, free_port, write_config
from tests.support.small_disks import SmallDisk, small_disk

T0 = 1_768_960_000_000
#: A callback that is answered later hung, s.
SOON_S = 3.0


class Server:
    """`tally up` with a stderr of the test's own."""

    def __init__(self, folder: Path, stderr: int | IO[Any], *, database: str = "", spool: str = "") -> None:
        port = free_port()
        config = write_config(folder, database=database)
        if spool:
            config.write_text(config.read_text().replace(f"{folder}/spool", spool))
        command = [sys.executable, "-m", "tally", "up", "--config", str(config), "--port", str(port)]
        self.process = subprocess.Popen(command, stderr=stderr, env=_environment())
        self.client = httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=8)
        self.taken: list[int] = []
        self._number = 0
        self.until(lambda: self.ready().status_code == 200)

    def ready(self) -> httpx2.Response:
        with suppress(httpx2.TransportError):
            return self.client.get("/readyz")
        assert self.process.poll() is None, f"it ended with {self.process.returncode}"
        return httpx2.Response(599)

    def until(self, true: Callable[[], bool]) -> None:
        deadline = monotonic_s() + READY_S
        while not true():
            assert monotonic_s() < deadline
            threading.Event().wait(0.05)

    def hear(self) -> int:
        """A callback about a new task; its answer's status."""
        self._number += 1
        info = {
            "EventMsTs": T0 + self._number,
            "TaskId": f"task-{self._number}",
            "RoomId": "r",
            "UserId": "u",
            "Payload": {"Status": 0},
        }
        vendor, body, headers = tencent({"EventGroupId": 3, "EventType": 301, "CallbackTs": T0, "EventInfo": info})
        begun = monotonic_s()
        status = self.client.post(f"/callbacks/{vendor}", content=body, headers=headers).status_code
        assert monotonic_s() - begun < SOON_S
        if status == 200:
            self.taken.append(self._number)
        return status

    def recorded(self) -> int:
        received: int = self.client.get("/v1/stats").json()["callbacks"]["received"]
        return received

    def metric(self, name: str) -> float:
        lines = self.client.get("/metrics").text.splitlines()
        return next(float(line.rsplit(" ", 1)[1]) for line in lines if line.rsplit(" ", 1)[0] == name)

    def parts(self) -> dict[str, bool]:
        return {part["part"]: part["up"] for part in self.client.get("/v1/stats").json()["parts"]}


@contextmanager
def serving(folder: Path, stderr: int | IO[Any], **where: str) -> Iterator[Server]:
    server = Server(folder, stderr, **where)
    try:
        yield server
    finally:
        server.client.close()
        server.process.send_signal(signal.SIGTERM)
        try:
            assert server.process.wait(timeout=READY_S) == 0
        finally:
            server.process.kill()


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """A shell holds the write lock of the ledger."""
    shell = sqlite3.connect(folder / "tally.db", isolation_level=None)
    shell.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        shell.execute("ROLLBACK")
        shell.close()


def hear_while_the_ledger_is_locked(server: Server, folder: Path) -> None:
    """Warnings are logged by the recorder's own threads then."""
    assert server.hear() == 200
    with locked(folder):
        assert [server.hear() for _ in range(3)] == [200] * 3
    assert [server.hear() for _ in range(3)] == [200] * 3
    server.until(lambda: server.recorded() == 7)
    assert server.ready().status_code == 200


def test_a_reader_of_the_log_that_goes_away_takes_no_callback(tmp_path: Path):
    reader, writer = os.pipe()
    with serving(tmp_path, writer) as server:
        os.close(writer)
        os.close(reader)
        hear_while_the_ledger_is_locked(server, tmp_path)


def test_a_log_on_a_full_disk_takes_no_callback(tmp_path: Path):
    with open("/dev/full", "wb") as full, serving(tmp_path, full) as server:
        hear_while_the_ledger_is_locked(server, tmp_path)


def test_a_process_without_stderr_works(tmp_path: Path):
    config, port = write_config(tmp_path), free_port()
    words = [sys.executable, "-m", "tally", "up", "--config", str(config), "--port", str(port)]
    command = ["sh", "-c", 'exec "$@" 2>&- 0<&- 1>&-', "sh", *words]
    process = subprocess.Popen(command, env=_environment())
    try:
        with httpx2.Client(base_url=f"http://127.0.0.1:{port}") as client:
            deadline = monotonic_s() + READY_S
            while True:
                assert monotonic_s() < deadline
                with suppress(httpx2.TransportError):
                    if client.get("/readyz").status_code == 200:
                        break
        numbers = {fd: os.readlink(f"/proc/{process.pid}/fd/{fd}") for fd in (0, 1, 2)}
        assert set(numbers.values()) == {"/dev/null"}
    finally:
        process.terminate()
        assert process.wait(timeout=READY_S) == 0


def test_a_log_that_nobody_reads_holds_up_nothing_and_comes_out_whole_later(tmp_path: Path):
    reader, writer = os.pipe()
    with serving(tmp_path, writer) as server:
        os.close(writer)
        assert {server.hear() for _ in range(500)} == {200}  # each moves a task, which is a line of 250 bytes
        server.until(lambda: not server.parts()["log"])
        assert (server.ready().status_code, server.ready().json()["parts"][0]["part"]) == (200, "log")
        assert server.metric('tally_part_up{part="log"}') == 0
        assert server.hear() == 200
        lines: list[str] = []
        collector = threading.Thread(target=lambda: lines.extend(read_all(reader)), daemon=True)
        collector.start()
        server.until(lambda: server.ready().json() == {"status": "ready"})
    collector.join(READY_S)
    events = [json.loads(line) for line in lines]
    assert sum(len(line) for line in lines) > 65_536
    assert sum(event["event"] == "task.moved" for event in events) == 501
    assert [event["timestamp"] for event in events] == sorted(event["timestamp"] for event in events)


def read_all(fd: int) -> list[str]:
    with open(fd, encoding="utf-8") as file:
        return list(file)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with small_disk(tmp_path / "disk", 8 * 1024) as made:
        yield made


def test_a_disk_that_takes_no_callback_is_told_by_every_number_and_recovers_by_itself(tmp_path: Path, disk: SmallDisk):
    with (tmp_path / "log").open("wb") as log:
        where = {"database": f"sqlite:///{disk.folder}/tally.db", "spool": f"{disk.folder}/spool"}
        with serving(tmp_path, log, **where) as server:
            assert server.hear() == 200
            assert server.metric('tally_callbacks_unrecorded_total{vendor="tencent"}') == 0
            disk.fill()
            server.until(lambda: server.hear() == 503)
            refused = 1 + sum(server.hear() == 503 for _ in range(5))
            server.until(lambda: server.ready().status_code == 503)
            gauges = []
            for _ in range(15):
                refused += server.hear() == 503
                gauges.append(server.metric("tally_breaker_open"))
                assert server.ready().status_code == 503
                threading.Event().wait(0.1)  # the ledger is probed twice a second
            assert gauges == [1] * 15
            assert server.metric('tally_callbacks_unrecorded_total{vendor="tencent"}') == refused
            assert server.client.get("/v1/stats").json()["callbacks"]["unrecorded"] == refused
            problem = server.ready().json()
            assert problem["type"] == "urn:tallylight:problem:not_ready"
            assert "neither the ledger nor the spool takes callbacks" in problem["detail"]
            assert [part["part"] for part in problem["parts"]] == ["callbacks"]

            disk.free()
            server.until(lambda: server.ready().status_code == 200)
            server.until(lambda: server.metric("tally_breaker_open") == 0)
            assert server.hear() == 200
            server.until(lambda: server.recorded() == len(server.taken))
            server.until(lambda: server.client.get("/v1/stats").json()["callbacks"]["unrecorded"] == refused)
            assert server.client.get("/v1/stats").json()["callbacks"]["last_unrecorded_at"] is not None


def story_in(arguments: Sequence[str], folder: Path, shell: str) -> subprocess.CompletedProcess[str]:
    words = " ".join([sys.executable, "-m", "tally", *arguments])
    root = str(Path(tally.__file__).parent)
    command = ["bash", "-c", f"set -o pipefail; {words} {shell}"]
    environment = {"PYTHONPATH": root, "PATH": os.environ["PATH"]}
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment, check=False)


def test_who_reads_only_the_beginning_gets_no_traceback(tmp_path: Path):
    answer = story_in(["check"], write_config(tmp_path).parent, "| true")
    assert (answer.returncode, answer.stderr) == (141, "")


def test_an_output_that_takes_nothing_is_told_in_a_line(tmp_path: Path):
    answer = story_in(["check"], write_config(tmp_path).parent, "> /dev/full")
    assert (answer.returncode, answer.stderr) == (1, "tally: the output cannot be written: No space left on device\n")


def test_what_went_wrong_at_the_start_is_told_whoever_reads_it(tmp_path: Path):
    (tmp_path / "tally.toml").write_text("[server]\nport = 99999\n")
    answer = story_in(["up"], tmp_path, "")
    assert (answer.returncode, "server.port" in answer.stderr) == (2, True)
