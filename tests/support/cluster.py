"""Two web and two worker processes on one PostgreSQL ledger and one Redis, all real."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from adapters.ledger import Ledger
from adapters.ledger.migrate import upgrade
from tests.support.postgresql import PostgresServer
from tests.support.server_processes import Process, RedisServer, redis_server, write_config

ROLES = ("web", "web", "work", "work")
_READY = {"web": "server.started", "work": "worker.started"}


class Cluster:
    """`processes`: as in ROLES; None: dead."""

    def __init__(self, config: Path, postgres: PostgresServer, redis: RedisServer, url: str) -> None:
        self._config = config
        self.postgres = postgres
        self.redis = redis
        self.url = url
        self.processes: list[Process | None] = [None for _ in ROLES]

    def start(self, number: int) -> Process:
        role = ROLES[number]
        process = Process(role, "--config", str(self._config), ready=_READY[role])
        self.processes[number] = process
        return process

    def kill(self, number: int) -> None:
        """As `kill -9`."""
        process, self.processes[number] = self.processes[number], None
        if process is not None:
            process.kill()

    def running(self, number: int) -> Process:
        process = self.processes[number]
        assert process is not None, "it was killed"
        return process

    def web(self, number: int = 0) -> Process:
        return self.running(number)

    def stop(self) -> list[int]:
        """Their exit statuses."""
        return [process.stop() for process in self.processes if process is not None]


@contextmanager
def cluster(folder: Path, *, more: str = "") -> Iterator[Cluster]:
    """All of it, running. more: of the configuration. The server's own files are on disk as they are in production."""
    home = Path(tempfile.mkdtemp(prefix="tally-cluster-"))
    home.chmod(0o755)  # the server has a user of its own
    postgres = PostgresServer(home / "postgres", durable=True)
    postgres.start()
    try:
        url = postgres.make_database("tally")
        ledger = Ledger(url)
        upgrade(ledger)
        ledger.close()
        with redis_server(folder) as redis:
            made = Cluster(write_config(folder, database=url, queue=redis.url, more=more), postgres, redis, url)
            for number in range(len(ROLES)):
                made.start(number)
            yield made
            for number in range(len(ROLES)):
                made.kill(number)
    finally:
        postgres.stop()
        shutil.rmtree(home, ignore_errors=True)
