"""An upgrade that is killed at any moment leaves a ledger that the next one finishes, with every row."""

import random
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import pytest

from adapters.ledger import Ledger
from adapters.ledger.migrate import require_current, upgrade
from adapters.ledger.schema_state import newest, revision_of
from tests.support import postgresql
from tests.support.old_ledgers import begin, copy_file, counts, fill, upgrade_to, upgrading

#: From which revision, with how many callbacks (and events, if it has them).
FROM = {"0001": 6_000, "0003": 6_000}
KILLS = {"sqlite": 2, "postgresql": 2}


@pytest.mark.parametrize("revision", FROM)
def test_an_upgrade_of_a_file_that_is_killed_is_finished_by_the_next_one(tmp_path: Path, revision: str) -> None:
    old = tmp_path / "old.db"
    upgrade_to(f"sqlite:///{old}", revision)
    fill(f"sqlite:///{old}", revision, FROM[revision])
    _kill_often(lambda: copy_file(old, tmp_path / "tally.db"), revision, KILLS["sqlite"])


@pytest.mark.parametrize("revision", FROM)
def test_on_postgresql_too(revision: str) -> None:
    name = f"tally_old_{revision}"
    old = postgresql.shared_server().make_database(name)
    upgrade_to(old, revision)
    fill(old, revision, FROM[revision])

    def copy() -> str:
        postgresql.shared_server().drop_database(f"{name}_copy")
        return postgresql.shared_server().make_database(f"{name}_copy", template=name)

    _kill_often(copy, revision, KILLS["postgresql"])
    for database in (f"{name}_copy", name):
        postgresql.shared_server().drop_database(database)


def _kill_often(copy: Callable[[], str], revision: str, kills: int) -> None:
    """Kills at random moments, one in each part of the time that an upgrade takes."""
    choice = random.Random(1)
    expected, whole_s = _undisturbed(copy())
    left: Counter[str | None] = Counter()
    for part in range(kills):
        url = copy()
        _kill_after(url, whole_s * (part + choice.random()) / kills)
        with closing(Ledger(url)) as ledger:
            with ledger.read() as connection:
                left[revision_of(connection)] += 1
            upgrade(ledger)
            require_current(ledger)
            assert counts(ledger) == expected, f"rows lost from {revision}"
    print(f"{kills} kills within {whole_s:.2f} s of an upgrade from {revision}; revisions that were left: {dict(left)}")
    assert set(left) != {newest()}, "killed too late each time: this shows nothing"


def _undisturbed(url: str) -> tuple[dict[str, object], float]:
    """What is in it afterwards, and how long that takes, s."""
    with upgrading(url) as process:
        began = time.monotonic()
        begin(process)
        assert process.wait(timeout=300) == 0
        whole_s = time.monotonic() - began
    with closing(Ledger(url)) as ledger:
        return counts(ledger), whole_s


def _kill_after(url: str, wait_s: float) -> None:
    with upgrading(url) as process:
        begin(process)
        with suppress(subprocess.TimeoutExpired):  # the moment of the kill is what is tested
            process.wait(timeout=wait_s)
        process.kill()
