"""Only one process has a role for a ledger."""

import subprocess
import sys
from pathlib import Path

import pytest

from adapters.ledger.process_locks import AlreadyServedError, ServingLock

_HOLD = """
import sys
from adapters.ledger.process_locks import ServingLock
ServingLock(sys.argv[1], sys.argv[2]).acquire()
"""
_TRY = (
    _HOLD.replace("ServingLock(", "lock = ServingLock(").replace(").acquire()", ")")
    + """
from adapters.ledger.process_locks import AlreadyServedError
try:
    lock.acquire()
except AlreadyServedError as error:
    print(error)
else:
    print("acquired")
"""
)
_KEEP = (
    _HOLD.replace("ServingLock(sys", "lock = ServingLock(sys").replace(").acquire()", ")\nlock.acquire()")
    + "print('held', flush=True)\nsys.stdin.read()\n"
)
_ROOT = Path(__file__).parents[4]


def _url(folder: Path) -> str:
    return f"sqlite:///{folder / 'tally.db'}"


def _try(url: str, role: str) -> str:
    run = subprocess.run([sys.executable, "-c", _TRY, url, role], cwd=_ROOT, capture_output=True, text=True, check=True)
    return run.stdout.strip()


def test_a_second_process_is_rejected_with_a_message_that_names_the_first(tmp_path: Path) -> None:
    url = _url(tmp_path)
    holder = [sys.executable, "-c", _KEEP, url, "web"]
    with subprocess.Popen(holder, cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdin is not None
        assert first.stdout is not None
        assert first.stdout.readline() == "held\n"
        lock = tmp_path / "tally.db.web.lock"
        sentence = f"process {first.pid} already plays `web` for this ledger ({lock}); stop it first"
        assert _try(url, "web") == sentence
        assert _try(url, "work") == "acquired"
        with pytest.raises(AlreadyServedError) as error:
            ServingLock(url, "web").acquire()
        assert str(error.value) == sentence
        first.kill()
    assert _try(url, "web") == "acquired"


def test_a_released_lock_can_be_acquired_again(tmp_path: Path) -> None:
    first, second = ServingLock(_url(tmp_path), "work"), ServingLock(_url(tmp_path), "work")
    first.acquire()
    with pytest.raises(AlreadyServedError):
        second.acquire()
    first.release()
    first.release()
    second.acquire()
    second.release()


def test_ledgers_on_postgresql_need_no_lock() -> None:
    locks = [ServingLock("postgresql://db/tally", "web") for _ in range(2)]
    for lock in locks:
        lock.acquire()
    for lock in locks:
        lock.release()
