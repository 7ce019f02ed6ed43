"""`tally up` and its file: it is served once, whatever it is called; while it is gone, callbacks wait in the spool."""

import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import httpx2
import pytest

from adapters.ledger import Ledger, callbacks
from tests.processes.test_tally import recording, run
from tests.support.server_processes import Process, up, write_config

LIMIT_S = 20


def _until(found: Callable[[], object]) -> None:
    until = time.monotonic() + LIMIT_S
    while not found():
        assert time.monotonic() < until
        time.sleep(0.02)  # another process works: only asking it tells


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


@pytest.mark.parametrize("way", ["symlink", "hard link", "hard link elsewhere", "lock files deleted"])
def test_a_file_is_served_once_whatever_it_is_called(tmp_path: Path, way: str) -> None:
    config = write_config(tmp_path)
    server = up(config)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    other = elsewhere / "other.db" if way == "hard link elsewhere" else tmp_path / "other.db"
    if way == "symlink":
        other.symlink_to(tmp_path / "tally.db")
    elif way == "lock files deleted":
        other = tmp_path / "tally.db"
        for path in tmp_path.glob("*.lock"):
            path.unlink()
    else:
        os.link(tmp_path / "tally.db", other)
    second = write_config(elsewhere, database=f"sqlite:///{other}")
    commands = (["up"], ["work"], *((["explain", "x"],) if way.startswith("hard") else ()))
    for command in commands:
        answer = run(*command, "--config", str(second))
        assert (answer.returncode, "already plays" in answer.stderr or "another name" in answer.stderr) == (1, True), answer
        assert "Traceback" not in answer.stderr
    assert _post(server, 1) == 200
    assert server.stop() == 0
    with suppress(FileNotFoundError):
        (elsewhere / "tally.toml").unlink()
