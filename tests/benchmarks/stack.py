"""What is measured, as real processes on the loopback address: PostgreSQL and Redis, `tally web` and `tally work`."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from redis import Redis
from sqlalchemy import select

from adapters.ledger import Ledger
from adapters.ledger.migrate import upgrade
from adapters.ledger.schema import inbox
from tests.support.postgresql import PostgresServer
from tests.support.sample_apps import TENCENT_APP, TENCENT_KEY, VOLCENGINE_APPS, VOLCENGINE_KEY
from tests.support.server_processes import READY_S, RedisServer, free_port

_ROOT = Path(__file__).resolve().parents[2]
#: A server of some size, and nothing that would make a commit less durable.
_POSTGRES = {"shared_buffers": "512MB", "max_wal_size": "4GB", "checkpoint_timeout": "15min", "maintenance_work_mem": "256MB"}
#: What is asked of the ledger by the benchmarks themselves may take so long, s.
_PATIENCE_S = 600
_POLL_S = 0.02
#: Warnings that say nothing here.
_EXPECTED = ("server.open_desk",)


class Program:
    """A process of ours that has said that it is ready. Its log goes into a file, as it would in production."""

    def __init__(self, name: str, log: Path, *command: str, ready: str) -> None:
        self.name = name
        self.log = log
        with log.open("w") as file:
            self._process = subprocess.Popen(command, stderr=file, env=_environment(), cwd=_ROOT)
        self.port: int | None = None
        give_up_at = time.monotonic() + READY_S
        while not self._is_ready(ready):
            if self._process.poll() is not None or time.monotonic() > give_up_at:
                self.stop()
                raise RuntimeError(f"{name} did not get ready:\n{log.read_text()[-4_000:]}")
            time.sleep(0.05)

    def _is_ready(self, wanted: str) -> bool:
        for line in self.log.read_text().splitlines():
            if f'"event": "{wanted}"' in line:
                self.port = json.loads(line).get("port")
                return True
        return False

    @property
    def pid(self) -> int:
        return self._process.pid

    def stop(self) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(timeout=READY_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TALLY_")}
    return kept | {"PYTHONPATH": str(_ROOT)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Stores:
    """The servers that ledgers and queues are on."""

    folder: Path
    postgres: PostgresServer
    redis: RedisServer
    _taken: list[str] = field(default_factory=list)

    def database(self, name: str) -> str:
        """The url of a new database."""
        return self.postgres.make_database(name)

    def queue(self) -> str:
        """The url of a queue that nobody else uses."""
        self._taken.append("")
        return f"{self.redis.url.rpartition('/')[0]}/{len(self._taken) - 1}"

    def pids(self) -> dict[str, int]:
        with Redis.from_url(self.redis.url) as redis:
            found = int(redis.info("server")["process_id"])
        postmaster = self.folder / "postgresql" / "data" / "postmaster.pid"
        return {"PostgreSQL": int(postmaster.read_text().split()[0]), "Redis": found}


@contextmanager
def stores(folder: Path) -> Iterator[Stores]:
    """PostgreSQL with its own durability (every commit is synced), and Redis, which only carries hints."""
    program = shutil.which("redis-server")
    if program is None:
        raise SystemExit("redis-server is not installed; tests/benchmarks/provision.sh installs it")
    folder.chmod(0o755)  # the server of PostgreSQL is another user
    postgres = PostgresServer(folder / "postgresql", durable=True, **_POSTGRES)
    redis = RedisServer(program, folder, free_port())
    try:
        postgres.start()
        redis.start()
        yield Stores(folder=folder, postgres=postgres, redis=redis)
    finally:
        redis.stop()
        postgres.stop("fast")


class Stack:
    """A ledger, and the processes that serve it while they are started. `sent`: callbacks of the stream it was sent so far."""

    def __init__(self, folder: Path, name: str, *, database: str, queue: str = "") -> None:
        self.name = name
        self.folder = Path(tempfile.mkdtemp(dir=folder))
        self.config = self.folder / "tally.toml"
        self.config.write_text(_config(database, queue, self.folder / "spool"))
        self.ledger = Ledger(database, statement_timeout_s=_PATIENCE_S)
        upgrade(self.ledger)
        self.programs: dict[str, Program] = {}
        self.sent = 0
        self.unacknowledged = 0

    def start(self, *roles: str) -> None:
        """up, web or work; a role that is named more than once is played by as many processes."""
        for number, role in enumerate(roles, 1):
            ready = "worker.started" if role == "work" else "server.started"
            command = (sys.executable, "-m", "tally", role, "--config", str(self.config))
            self._add(f"{role} {number}" if role in self.programs else role, *command, ready=ready)

    def start_storeless(self) -> None:
        """The same door with nothing behind it."""
        module = ("-m", "tests.benchmarks.storeless_server")
        self._add("web", sys.executable, *module, str(self.config), ready="server.started")

    def _add(self, name: str, *command: str, ready: str) -> None:
        self.programs[name] = Program(name, self.folder / f"{name}.log", *command, ready=ready)

    def stop(self) -> None:
        while self.programs:
            _, program = self.programs.popitem()
            program.stop()

    def close(self) -> None:
        self.stop()
        self.ledger.close()

    @property
    def origin(self) -> str:
        port = next(program.port for program in self.programs.values() if program.port)
        return f"http://127.0.0.1:{port}"

    @property
    def door(self) -> str:
        return f"{self.origin}/callbacks/tencent"

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(f"{self.origin}{path}", timeout=READY_S) as answer:
            return json.load(answer)

    def drain(self, limit_s: float = 120) -> float:
        """Waits until nothing waits to be applied; s. Raises TimeoutError."""
        began = time.monotonic()
        while self._busy():
            if time.monotonic() - began > limit_s:
                raise TimeoutError(f"{self.name}: {self.get('/v1/stats')['unapplied_callbacks']} callbacks wait after {limit_s} s")
            time.sleep(_POLL_S)
        return time.monotonic() - began

    def _busy(self) -> bool:
        with self.ledger.read() as connection:
            if connection.execute(select(inbox.c.id).where(inbox.c.applied_at.is_(None)).limit(1)).first() is not None:
                return True
        return bool(self.get("/v1/stats")["spool_rows"])

    def complaints(self) -> list[str]:
        """What its processes have logged as wrong."""
        lines = (line for log in sorted(self.folder.glob("*.log")) for line in log.read_text().splitlines())
        return [line for line in lines if _is_complaint(line)]


def _is_complaint(line: str) -> bool:
    if not line.startswith("{"):
        return True
    said = json.loads(line)
    return said["level"] not in ("debug", "info") and said["event"] not in _EXPECTED


def _config(database: str, queue: str, spool: Path) -> str:
    """The desk is open because the peers' runner, which asks `/v1/stats` of each of them, sends no token."""
    lines = [
        f'[server]\nport = 0\nopen_desk = true\n[database]\nurl = "{database}"',
        f'[queue]\nurl = "{queue}"\n[spool]\nfolder = "{spool}"',
        '[outbound]\nallow = ["127.0.0.0/8"]\nallow_http = true',
    ]
    apps = [("tencent", TENCENT_APP, TENCENT_KEY), *(("volcengine", app, VOLCENGINE_KEY) for app in VOLCENGINE_APPS)]
    lines += [f'[[apps]]\nvendor = "{vendor}"\napp_id = "{app}"\ncallback_secrets = ["{key}"]' for vendor, app, key in apps]
    return "\n".join(lines) + "\n"
