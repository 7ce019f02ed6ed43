"""Two hundred kills during upgrades: minutes."""

from pathlib import Path

import pytest

from tests.processes import test_kill_upgrade
from tests.unit.adapters.ledger import test_migration_repair


@pytest.mark.soak
@pytest.mark.parametrize("revision", test_kill_upgrade.FROM)
def test_killed_a_hundred_times_during_an_upgrade_a_file_is_always_whole(
    tmp_path: Path, revision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(test_kill_upgrade, "KILLS", {"sqlite": 100})
    test_kill_upgrade.test_an_upgrade_of_a_file_that_is_killed_is_finished_by_the_next_one(tmp_path, revision)


@pytest.mark.soak
@pytest.mark.parametrize("revision", test_kill_upgrade.FROM)
def test_killed_twenty_times_on_postgresql(revision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(test_kill_upgrade, "KILLS", {"postgresql": 20})
    test_kill_upgrade.test_on_postgresql_too(revision)


@pytest.mark.soak
@pytest.mark.parametrize(("before", "after", "rows"), test_migration_repair.STEPS)
def test_an_older_versions_upgrade_that_was_killed_after_any_statement_is_made_again(
    tmp_path: Path, before: str | None, after: str, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(test_migration_repair, "EVERY", 1)
    test_migration_repair.test_an_upgrade_that_was_killed_at_any_moment_is_undone_and_made_again(tmp_path, before, after, rows)
