"""A ledger whose file was deleted, moved away or replaced is unavailable: commits into it would be lost."""

import os
import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from adapters.ledger import Ledger, LedgerUnavailableError, inbox
from adapters.ledger.errors import LedgerFileError
from adapters.ledger.migrate import require_current, upgrade
from tests.support.ledger_rows import arrival, waiting_ids


@pytest.fixture
def used(tmp_path: Path) -> Iterator[Ledger]:
    """A ledger with a row, and with connections for reading and writing."""
    with closing(Ledger(f"sqlite:///{tmp_path / 'tally.db'}")) as ledger:
        upgrade(ledger)
        _record(ledger, 1)
        assert len(waiting_ids(ledger)) == 1
        yield ledger


def _record(ledger: Ledger, number: int) -> None:
    with ledger.write_once() as connection:
        inbox.record(connection, [arrival(number)])


def _path(ledger: Ledger) -> Path:
    assert ledger.path is not None
    return ledger.path


@pytest.mark.parametrize("ending", ["", "-wal", "-shm"])
def test_a_deleted_file_is_not_written_any_more(used: Ledger, ending: str) -> None:
    Path(f"{_path(used)}{ending}").unlink()
    with pytest.raises(LedgerFileError, match=f"tally.db{ending} was deleted or moved away"):
        _record(used, 2)
    with pytest.raises(LedgerFileError):
        require_current(used)


def test_neither_a_replaced_file_nor_the_new_one_is_written(used: Ledger, tmp_path: Path) -> None:
    path = _path(used)
    other = tmp_path / "other.db"
    with closing(Ledger(f"sqlite:///{other}")) as new:
        upgrade(new)
    other.replace(path)
    with pytest.raises(LedgerFileError, match="was replaced"):
        _record(used, 2)


def test_a_commit_during_the_deletion_counts_as_failed(used: Ledger) -> None:
    with pytest.raises(LedgerFileError):
        _record_while_it_goes(used)


def _record_while_it_goes(ledger: Ledger) -> None:
    with ledger.write_once() as connection:
        inbox.record(connection, [arrival(2)])
        _path(ledger).unlink()


def test_the_same_file_put_back_is_used_again_and_both_are_logged_once(used: Ledger) -> None:
    away = _path(used).with_name("away.db")
    with capture_logs() as logs:
        _path(used).rename(away)
        for _ in range(3):
            with pytest.raises(LedgerUnavailableError):
                _record(used, 2)
        away.rename(_path(used))
        _record(used, 3)
    assert len(waiting_ids(used)) == 2
    assert [line["event"] for line in logs] == ["ledger.file_gone", "ledger.file_back"]


def test_a_link_that_was_changed_is_detected(tmp_path: Path) -> None:
    (tmp_path / "link.db").symlink_to(tmp_path / "one.db")
    with closing(Ledger(f"sqlite:///{tmp_path / 'link.db'}")) as ledger:
        upgrade(ledger)
        _record(ledger, 1)
        shutil.copy(tmp_path / "one.db", tmp_path / "two.db")
        (tmp_path / "new").symlink_to(tmp_path / "two.db")
        (tmp_path / "new").replace(tmp_path / "link.db")
        with pytest.raises(LedgerFileError, match="was replaced"):
            _record(ledger, 2)


def test_a_ledger_that_was_closed_can_be_opened_again(used: Ledger) -> None:
    used.close()
    assert not Path(f"{_path(used)}-wal").exists()
    _record(used, 2)
    assert len(waiting_ids(used)) == 2


def test_a_hard_link_to_a_ledger_that_is_not_served_can_be_used(used: Ledger, tmp_path: Path) -> None:
    used.close()
    os.link(_path(used), tmp_path / "hard.db")
    with closing(Ledger(f"sqlite:///{tmp_path / 'hard.db'}")) as ledger:
        assert len(waiting_ids(ledger)) == 1
