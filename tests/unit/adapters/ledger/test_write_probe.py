"""A probe succeeds only if a callback could be written."""

from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import func, select

from adapters.ledger import Ledger, LedgerUnavailableError
from adapters.ledger.migrate import upgrade
from adapters.ledger.schema import idempotency
from adapters.ledger.write_probe import prove_writable
from tests.support.small_disks import small_disk


def test_a_probe_leaves_nothing_behind(ledger: Ledger) -> None:
    for _ in range(3):
        prove_writable(ledger, 64 * 1024)
    with ledger.read() as connection:
        assert connection.scalar(select(func.count()).select_from(idempotency)) == 0


def test_a_full_disk_is_detected_until_it_is_freed(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 4 * 1024) as disk:
        ledger = Ledger(f"sqlite:///{disk.folder}/tally.db")
        upgrade(ledger)
        prove_writable(ledger, 64 * 1024)
        ledger.checkpoint()
        disk.fill()
        for _ in range(10):
            with pytest.raises(LedgerUnavailableError, match="full"):
                prove_writable(ledger, 64 * 1024)
        disk.free()
        prove_writable(ledger, 64 * 1024)
        ledger.close()


def test_a_read_only_server_is_detected(postgresql_ledger: Ledger) -> None:
    name = postgresql_ledger.url.rsplit("/", 1)[1].split("?")[0]
    change = sql.SQL("ALTER DATABASE {} SET default_transaction_read_only = {}")
    postgresql_ledger.close()
    with psycopg.connect(postgresql_ledger.url, autocommit=True) as server:
        server.execute(change.format(sql.Identifier(name), sql.SQL("on")))
    try:
        with pytest.raises(LedgerUnavailableError, match="read-only"):
            prove_writable(postgresql_ledger, 1_000)
    finally:
        postgresql_ledger.close()
        with psycopg.connect(postgresql_ledger.url, autocommit=True) as server:
            server.execute("SET default_transaction_read_only = off")
            server.execute(change.format(sql.Identifier(name), sql.SQL("off")))
    prove_writable(postgresql_ledger, 1_000)
