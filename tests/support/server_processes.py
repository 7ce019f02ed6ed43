"""Starts real processes for tests: `tally` and Redis. They listen on loopback, on ports that the kernel chose."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

from tests.support.sample_apps import TENCENT_APP, TENCENT_KEY, VOLCENGINE_APPS, VOLCENGINE_KEY

#: Timeout for a process to become ready, s.
READY_S = 30


def write_config(folder: Path, *, database: str = "", queue: str = "", more: str = "", open_desk: bool = True) -> Path:
    """Writes a configuration with the samples' apps, a ledger in this folder unless `database` names another, and a spool.

    open_desk: True if requests need no token; otherwise the service makes a token at its first start.
    """
    database = database or f"sqlite:///{folder}/tally.db"
    apps = [("volcengine", app, VOLCENGINE_KEY) for app in VOLCENGINE_APPS] + [("tencent", TENCENT_APP, TENCENT_KEY)]
    lines = [
        f'[database]\nurl = "{database}"\n[queue]\nurl = "{queue}"\n[spool]\nfolder = "{folder}/spool"\n[server]\nport = 0\n'
        f"open_desk = {str(open_desk).lower()}\n{more}"
    ]
    lines += [f'[[apps]]\nvendor = "{vendor}"\napp_id = "{app}"\ncallback_secrets = ["{key}"]' for vendor, app, key in apps]
    path = folder / "tally.toml"
    path.write_text("\n".join(lines) + "\n")
    return path


class Process:
    """A running `tally SUBCOMMAND`. `events` are its log lines."""

    def __init__(self, *arguments: str, ready: str) -> None:
        skip_if_quick("processes")
        command = [sys.executable, "-m", "adapters.process.entry", *arguments]
        self._process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=_environment())
        self.events: deque[dict[str, Any]] = deque(maxlen=10_000)
        self._ready = threading.Event()
        self._wanted = ready
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        if not self._ready.wait(READY_S) or self._process.poll() is not None:
            self.kill()
            raise AssertionError(f"tally {arguments} did not get ready: {list(self.events)}")

    def _read(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            try:
                event = json.loads(line)
            except ValueError:
                event = {"event": line.rstrip()}
            self.events.append(event)
            if event.get("event") == self._wanted:
                self._ready.set()
        self._ready.set()

    @cached_property
    def port(self) -> int:
        return next(int(e["port"]) for e in self.events if e.get("event") == "server.started")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        return self._process.pid

    def kill(self) -> None:
        """Kills it with SIGKILL."""
        self._end(signal.SIGKILL)

    def suspend(self) -> None:
        """Makes it hang until `resume`."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def stop(self) -> int:
        """Stops it as a service manager does, with SIGTERM; returns its exit status."""
        return self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> int:
        if self._process.poll() is None:
            self._process.send_signal(number)
        status = self._process.wait(timeout=READY_S)
        self._reader.join(timeout=READY_S)
        assert self._process.stderr is not None
        self._process.stderr.close()
        return status


def up(config: Path) -> Process:
    return Process("up", "--config", str(config), ready="server.started")


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TALLY_")}
    return kept | {"PYTHONPATH": str(Path(__file__).parents[2])}


def skip_if_quick(what: str) -> None:
    """Skips the test in `make quick`, which starts no servers."""
    if os.environ.get("TALLY_QUICK"):
        pytest.skip(f"make quick starts no {what}")


def missing(service: str) -> None:
    """Skips the test because a service is not installed; in CI fails it."""
    if os.environ.get("CI"):
        pytest.fail(f"{service} is not installed; `make test` installs it")
    pytest.skip(f"{service} is not installed")


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


@contextmanager
def redis_server(folder: Path) -> Iterator["RedisServer"]:
    skip_if_quick("Redis")
    program = shutil.which("redis-server")
    if program is None:
        missing("redis-server")
    assert program is not None
    server = RedisServer(program, folder, free_port())
    server.start()
    try:
        yield server
    finally:
        server.stop()


class RedisServer:
    """A real Redis that can be stopped and started again; it keeps no data."""

    def __init__(self, program: str, folder: Path, port: int) -> None:
        nothing_kept = ["--save", "", "--appendonly", "no"]
        self._command = [program, "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), *nothing_kept]
        self.url = f"redis://127.0.0.1:{port}/0"
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if "Ready to accept connections" in line:
                return
        raise AssertionError("redis-server ended before it was ready")

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(timeout=READY_S)
            assert self._process.stdout is not None
            self._process.stdout.close()
            self._process = None
