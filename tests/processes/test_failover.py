"""PostgreSQL fails over while the old primary stays up, read-only, and keeps its connections: within seconds nobody uses them."""

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import httpx2
import psycopg
import pytest
from sqlalchemy import text

from adapters.ledger import Ledger, LedgerUnavailableError, inbox
from adapters.ledger.migrate import upgrade
from adapters.ledger.shards import Shards
from tests.processes.test_tally import recording
from tests.support.ledger_rows import arrival
from tests.support.postgresql import PostgresServer
from tests.support.server_processes import Process, up, write_config
from tests.support.tcp_forwarder import forwarder

#: After the address has moved, s.
LIMIT_S = 5


@pytest.fixture
def pair() -> Iterator[tuple[PostgresServer, PostgresServer]]:
    """A primary with a ledger, and a standby that follows it."""
    folder = Path(tempfile.mkdtemp(prefix="tally-pair-"))
    folder.chmod(0o755)
    with _running(PostgresServer(folder / "one")) as one:
        ledger = Ledger(one.make_database("tally"))
        upgrade(ledger)
        ledger.close()
        with _running(PostgresServer(folder / "two", follows=one)) as two:
            yield one, two
    shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _running(server: PostgresServer) -> Iterator[PostgresServer]:
    try:
        server.start()
        yield server
    finally:
        server.stop()


def _url(port: int) -> str:
    return f"postgresql://tally@127.0.0.1:{port}/tally"


def _fail_over(one: PostgresServer, two: PostgresServer) -> None:
    """The old primary takes no writes any more, and closes nothing."""
    with psycopg.connect(one.url(), autocommit=True) as connection:
        connection.execute("ALTER SYSTEM SET default_transaction_read_only = on")
        connection.execute("SELECT pg_reload_conf()")
    two.promote()


def _until(found: Callable[[], object], limit_s: float = LIMIT_S) -> float:
    """How long it took, s."""
    began = time.monotonic()
    while not found():
        assert time.monotonic() - began < limit_s
        time.sleep(0.05)  # others work: only asking them tells
    return time.monotonic() - began


def _connected(server: PostgresServer) -> int:
    """How many connections of ours it has."""
    with psycopg.connect(server.url("tally")) as connection:
        row = connection.execute("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'tally'").fetchone()
    assert row is not None
    return int(row[0])


def _port(ledger: Ledger, way: str) -> int:
    with getattr(ledger, way)() as connection:
        return int(connection.scalar(text("SHOW port")))


def test_door_workers_and_readers_leave_a_primary_that_was_demoted(
    pair: tuple[PostgresServer, PostgresServer], tmp_path: Path
) -> None:
    one, two = pair
    with forwarder(one.port) as address:
        server = up(write_config(tmp_path, database=_url(address.port)))
        assert _post(server, 1) == 200
        _until(lambda: _tasks(server) == 1, 20)
        assert _connected(one) > 3
        _fail_over(one, two)
        address.target = two.port
        assert _post(server, 2, event_type=302) == 200
        recorded_s = _until(lambda: _recorded(two) == 2)
        # The callbacks are old: that its files never came is concluded at once, and it is `finishing` for a moment only.
        read_s = _until(lambda: _tasks(server, "completed") == 1)
        left_s = _until(lambda: _connected(one) == 0, 30)
        print(f"recorded after {recorded_s:.1f} s, applied and read after {read_s:.1f} s more, all left after {left_s:.1f} s more")
        assert server.stop() == 0


def _post(server: Process, number: int, *, event_type: int = 301) -> int:
    vendor, body, headers = recording(number, event_type)
    return httpx2.post(f"{server.url}/callbacks/{vendor}", content=body, headers=headers, timeout=20).status_code


def _tasks(server: Process, state: str = "running") -> int:
    with suppress(httpx2.HTTPError):
        answer = httpx2.get(f"{server.url}/v1/tasks?state={state}", timeout=20)
        return len(answer.json()["items"]) if answer.status_code == 200 else 0
    return 0


def _recorded(server: PostgresServer) -> int:
    with psycopg.connect(server.url("tally")) as connection:
        row = connection.execute("SELECT count(*) FROM inbox WHERE kind = 'callback'").fetchone()
    assert row is not None
    return int(row[0])


def test_who_was_led_to_a_standby_leaves_it_as_soon_as_the_address_leads_to_the_primary(
    pair: tuple[PostgresServer, PostgresServer],
) -> None:
    primary, standby = pair
    _until(lambda: _has_schema(standby), 20)
    with forwarder(standby.port) as address, closing(Ledger(_url(address.port))) as ledger:
        for way in ("write", "write_once"):
            with pytest.raises(LedgerUnavailableError, match="read-only"):
                _record(ledger, way, 1)
        assert _port(ledger, "read") == standby.port, "what it says is better than nothing"
        shards = Shards(ledger, fresh_s=0)
        assert shards.owned() is None
        address.target = primary.port
        for way in ("read", "write", "write_once"):
            _until(lambda way=way: _port(ledger, way) == primary.port)
        _record(ledger, "write_once", 2)
        _until(lambda: _sits_at(shards, primary))
        shards.close()


def _has_schema(server: PostgresServer) -> bool:
    with suppress(psycopg.Error), psycopg.connect(server.url("tally")) as connection:
        return connection.execute("SELECT FROM inbox LIMIT 1") is not None
    return False


def _record(ledger: Ledger, way: str, number: int) -> None:
    with getattr(ledger, way)() as connection:
        inbox.record(connection, [arrival(number)])


def _sits_at(shards: Shards, server: PostgresServer) -> bool:
    with suppress(LedgerUnavailableError):
        shards.owned()
    with psycopg.connect(server.url("tally")) as connection:
        return connection.execute("SELECT FROM pg_locks WHERE locktype = 'advisory'").fetchone() is not None


def test_a_reader_that_nobody_tells_anything_notices_it_by_itself(pair: tuple[PostgresServer, PostgresServer]) -> None:
    """A `tally web` without callbacks: no statement fails that would say so."""
    one, two = pair
    with forwarder(one.port) as address, closing(Ledger(_url(address.port))) as ledger:
        assert _port(ledger, "read") == one.port
        _fail_over(one, two)
        address.target = two.port
        assert _until(lambda: _port(ledger, "read") == two.port) < LIMIT_S


def test_of_several_hosts_the_one_is_taken_that_takes_writes(pair: tuple[PostgresServer, PostgresServer]) -> None:
    primary, standby = pair
    hosts = f"127.0.0.1:{standby.port},127.0.0.1:{primary.port}"
    with closing(Ledger(f"postgresql://tally@{hosts}/tally?target_session_attrs=read-write")) as ledger:
        assert [_port(ledger, way) for way in ("read", "write", "write_once")] == [primary.port] * 3
        upgrade(ledger)
        _record(ledger, "write_once", 1)
        _fail_over(primary, standby)
        for way in ("write_once", "write", "read"):
            _until(lambda way=way: _port_or_none(ledger, way) == standby.port)


def _port_or_none(ledger: Ledger, way: str) -> int | None:
    with suppress(LedgerUnavailableError):
        return _port(ledger, way)
    return None
