"""`tally up` and its file: it is served once, whatever it is called; while it is gone, callbacks wait in the spool."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import httpx2

from adapters.ledger import Ledger, callbacks
from tests.processes.test_tally import recording, run
from tests.support.server_processes import Process, up, write_config

LIMIT_S = 20


def _until(found: Callable[[], object]) -> None:
    until = time.monotonic() + LIMIT_S
    while not found():
        assert time.monotonic() < until
        time.sleep(0.02)  # another process works: only its answer shows it


def _post(server: Process, number: int) -> int:
    vendor, body, headers = recording(number)
    return httpx2.post(f"{server.url}/callbacks/{vendor}", content=body, headers=headers).status_code


def _status(server: Process) -> int:
    return httpx2.get(f"{server.url}/readyz").status_code


def _logged(server: Process, event: str) -> bool:
    return any(line["event"] == event for line in list(server.events))


def test_nothing_is_lost_while_the_file_is_gone(tmp_path: Path) -> None:
    server = up(write_config(tmp_path))
    assert _post(server, 1) == 200
    (tmp_path / "tally.db").rename(tmp_path / "away.db")
    _until(lambda: _logged(server, "ledger.file_gone"))
    assert [_post(server, number) for number in range(2, 12)] == [200] * 10
    _until(lambda: _status(server) == 503)
    assert [path for path in (tmp_path / "spool").rglob("*.spool") if path.stat().st_size], (
        "answered 200 into a file without a name"
    )
    (tmp_path / "away.db").rename(tmp_path / "tally.db")
    _until(lambda: _logged(server, "spool.drained"))
    _until(lambda: _status(server) == 200)
    assert server.stop() == 0
    ledger = Ledger(f"sqlite:///{tmp_path}/tally.db")
    with ledger.read() as connection:
        assert len(callbacks.ids_after(connection, callbacks.CallbackFilter(), after=0, limit=99)) == 11
    ledger.close()


def test_what_came_after_the_file_was_deleted_is_in_the_next_one(tmp_path: Path) -> None:
    config = write_config(tmp_path)
    server = up(config)
    assert _post(server, 1) == 200
    for path in tmp_path.glob("tally.db*"):
        path.unlink()
    assert [_post(server, number) for number in range(2, 12)] == [200] * 10
    server.kill()
    second = up(config)
    _until(lambda: _logged(second, "spool.drained"))
    assert second.stop() == 0
    ledger = Ledger(f"sqlite:///{tmp_path}/tally.db")
    with ledger.read() as connection:
        assert len(callbacks.ids_after(connection, callbacks.CallbackFilter(), after=0, limit=99)) == 10
    ledger.close()


def test_a_file_is_served_once_whatever_it_is_called(tmp_path: Path) -> None:
    """One server for all names: a command starts in a second."""
    server = up(write_config(tmp_path))
    ledger, elsewhere = tmp_path / "tally.db", tmp_path / "elsewhere"
    elsewhere.mkdir()

    (symlink := tmp_path / "symlink.db").symlink_to(ledger)
    _is_rejected(elsewhere, symlink, "up")
    _is_rejected(elsewhere, symlink, "work")
    symlink.unlink()

    for folder, command in ((tmp_path, ["up"]), (elsewhere, ["work"]), (elsewhere, ["explain", "x"])):
        os.link(ledger, hard_link := folder / "hard-link.db")
        _is_rejected(elsewhere, hard_link, *command)
        hard_link.unlink()

    for lock in tmp_path.glob("*.lock"):
        lock.unlink()
    _is_rejected(elsewhere, ledger, "up")
    assert _post(server, 1) == 200
    assert server.stop() == 0


def _is_rejected(folder: Path, database: Path, *command: str) -> None:
    config = write_config(folder, database=f"sqlite:///{database}")
    answer = run(*command, "--config", str(config))
    assert (answer.returncode, "already plays" in answer.stderr or "another name" in answer.stderr) == (1, True), answer
    assert "Traceback" not in answer.stderr
