"""Starts a real PostgreSQL for tests: one server for each test process, when its first test needs it; a database for each test."""

import atexit
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy.engine import make_url

from adapters.ledger import Ledger
from adapters.ledger.migrate import upgrade
from tests.support.server_processes import READY_S, free_port, missing, skip_if_quick

_NUMBERS = count(1)
#: No test cuts the power, so writes need not reach the disk; `durable` servers are for tests that kill processes.
_QUICK = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


class PostgresServer:
    """A server on a free port of the loopback address. `folder`: must not exist yet. `follows`: the primary, for a standby."""

    def __init__(self, folder: Path, *, durable: bool = False, follows: "PostgresServer | None" = None, **options: object) -> None:
        skip_if_quick("PostgreSQL")
        self._folder = folder
        self._programs = programs()
        self.port = free_port()
        self._settings = {
            "port": self.port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "max_connections": 200,
            **({} if durable else _QUICK),
            **options,
        }
        folder.mkdir(parents=True)
        folder.chmod(0o755)
        if os.geteuid() == 0:  # the server refuses to run as root
            shutil.chown(folder, "postgres", "postgres")
        if follows is not None:
            self._run("pg_basebackup", "-D", f"{folder}/data", "-d", follows.url(), "-R", "-X", "stream", "-c", "fast", "--no-sync")
            return
        # Most databases compare texts by the rules of a language; a query that needs another order must name it.
        language = ("--no-locale", "--locale-provider=icu", "--icu-locale=en-US")
        self._run("initdb", "-D", f"{folder}/data", "-U", "tally", "--auth=trust", *language, "-E", "UTF8", "--no-sync")

    def promote(self) -> None:
        """Makes a standby the primary."""
        self._run("pg_ctl", "-D", f"{self._folder}/data", "-w", "promote")

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://tally@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        options = " ".join(f"-c {name}={value!s}" if value != "" else f"-c {name}=" for name, value in self._settings.items())
        self._run("pg_ctl", "-D", f"{self._folder}/data", "-l", f"{self._folder}/log", "-o", options, "-w", "start")

    def stop(self, how: str = "immediate") -> None:
        """Stops it. immediate: as a crash does; fast: as a service manager does."""
        if (self._folder / "data" / "postmaster.pid").exists():
            self._run("pg_ctl", "-D", f"{self._folder}/data", "-m", how, "-w", "stop")

    @contextmanager
    def suspended(self) -> Iterator[None]:
        """Makes the server hang inside the block: the kernel accepts connections, which stay open and get no answer."""
        postmaster = int((self._folder / "data" / "postmaster.pid").read_text().split()[0])
        children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
        for pid in (postmaster, *map(int, children)):
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in (postmaster, *map(int, children)):
                os.kill(pid, signal.SIGCONT)

    def make_database(self, name: str, *, template: str = "template1") -> str:
        """Creates a database; returns its URL."""
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy".encode())
        return self.url(name)

    def drop_database(self, name: str) -> None:
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)".encode())

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self._programs / program), *arguments]
        if os.geteuid() == 0:
            command = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", *command]
        done = subprocess.run(command, cwd="/", capture_output=True, text=True, timeout=READY_S * 2, check=False)
        if done.returncode:
            log = self._folder / "log"
            raise AssertionError(f"{program}: {done.stderr or done.stdout}\n{log.read_text() if log.exists() else ''}")


@contextmanager
def own_server(**more: Any) -> Iterator[PostgresServer]:
    """Yields a server of its own, for tests that stop it."""
    folder = Path(tempfile.mkdtemp(prefix="tally-pg-"))
    folder.chmod(0o755)
    server = PostgresServer(folder / "server", **more)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def programs() -> Path:
    """Returns the folder of the newest server's programs: Debian's place, or the one on the PATH."""
    known = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    on_the_path = shutil.which("initdb")
    if not known and on_the_path is None:
        missing("PostgreSQL")
    return known[-1].parent if known else Path(str(on_the_path)).parent


@cache
def shared_server() -> PostgresServer:
    """Returns the server of this test process, with a template database that has the newest schema."""
    folder = Path(tempfile.mkdtemp(prefix="tally-pg-"))
    folder.chmod(0o755)
    server = PostgresServer(folder / "server")
    server.start()
    atexit.register(lambda: (server.stop(), shutil.rmtree(folder, ignore_errors=True)))
    ledger = Ledger(server.make_database("tally_template"))
    upgrade(ledger)
    ledger.close()
    return server


def new_database(*, migrated: bool = True) -> str:
    """Creates a database for one test, with the newest schema or empty; returns its URL."""
    return shared_server().make_database(f"tally_{next(_NUMBERS)}", template="tally_template" if migrated else "template1")


def drop(url: str) -> None:
    shared_server().drop_database(str(make_url(url).database))
