"""Contents of a backup, files that it never overwrites; inputs that a restore rejects, files that it keeps, and its completion."""

import json
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from adapters.ledger import Ledger, LedgerUnavailableError, callbacks, epochs, inbox
from adapters.ledger.backup import BackupError, back_up, made_at, require_no_backup
from adapters.ledger.inbox import Arrival
from adapters.ledger.migrate import upgrade
from adapters.ledger.restore import finish_interrupted, restore
from adapters.spool import Spool
from adapters.spool.snapshot import snapshot_arrivals

NOW = 1_795_000_000_000
ONE = Arrival(
    vendor="tencent", app_id="1", event_type="301", dedupe_key="0" * 63 + "1", received_at=NOW, headers={"a": "b"}, body=b"{}"
)


def arrival(number: int) -> Arrival:
    return replace(ONE, dedupe_key=f"{number:064x}")


def make(path: Path, callbacks_: int = 1) -> Path:
    ledger = Ledger(f"sqlite:///{path}")
    upgrade(ledger)
    record(ledger, range(1, callbacks_ + 1))
    ledger.close()
    return path


def record(ledger: Ledger, numbers: range) -> None:
    with ledger.write() as connection:
        inbox.record(connection, [arrival(number) for number in numbers])


def count(path: Path) -> int:
    ledger = Ledger(f"sqlite:///{path}")
    with ledger.read() as connection:
        found = len(callbacks.ids_after(connection, callbacks.CallbackFilter(), after=0, limit=10**6))
    ledger.close()
    return found


def backed_up(source: Path, target: Path) -> Path:
    back_up(source, target, iter(()), NOW)
    return target


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return make(tmp_path / "tally.db")


# Backups.


def test_a_backup_is_readable_by_its_owner_only_and_is_self_contained(source: Path, tmp_path: Path):
    made = back_up(source, tmp_path / "b", iter(()), NOW)
    assert made.path.stat().st_mode & 0o777 == 0o600
    assert made.size == made.path.stat().st_size
    assert not list(tmp_path.glob("b-*")) + list(tmp_path.glob(".b*"))
    assert made_at(made.path) == NOW
    assert made_at(source) is None


def test_commits_during_a_backup_do_not_restart_it(tmp_path: Path):
    """The shell's `.backup` would never end."""
    source = make(tmp_path / "tally.db", 30_000)
    ledger, stop, written = Ledger(f"sqlite:///{source}"), threading.Event(), []

    def write() -> None:
        number = 100_000
        while not stop.is_set():
            record(ledger, range(number, number + 1))
            written.append(number := number + 1)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        backed_up(source, tmp_path / "b")
    finally:
        stop.set()
        writer.join()
        ledger.close()
    assert written
    assert 30_000 <= count(tmp_path / "b") <= 30_000 + len(written) < count(source) + 1


def test_callbacks_that_wait_in_the_spool_are_in_the_backup(source: Path, tmp_path: Path):
    spool = Spool(tmp_path / "spool", 2**20, lambda: NOW)
    spool.append([arrival(number) for number in range(1, 6)])
    with snapshot_arrivals(tmp_path / "spool") as waiting:
        made = back_up(source, tmp_path / "b", waiting, NOW)
    assert made.spooled == 4, "the first one is in the ledger"
    assert spool.rows() == 5, "nothing was taken away"
    assert count(tmp_path / "b") == 5


def test_callbacks_drained_during_the_backup_are_in_it(source: Path, tmp_path: Path):
    spool = Spool(tmp_path / "spool", 2**20, lambda: NOW)
    spool.append([arrival(7)])
    with snapshot_arrivals(tmp_path / "spool") as waiting:
        lot = spool.next_batch()
        assert lot is not None
        spool.complete_batch(lot)
        assert spool.rows() == 0
        assert back_up(source, tmp_path / "b", waiting, NOW).spooled == 1


def test_an_earlier_backup_is_replaced(source: Path, tmp_path: Path):
    backed_up(source, tmp_path / "b")
    backed_up(make(tmp_path / "other.db", 3), tmp_path / "b")
    assert count(tmp_path / "b") == 3


@pytest.mark.parametrize("name", ["tally.db", "tally.db-wal", "link", "hard", "notes.txt", "empty", "other.db", "folder", "no/b"])
def test_nothing_else_is_overwritten(source: Path, tmp_path: Path, name: str):
    (tmp_path / "link").symlink_to(source)
    (tmp_path / "hard").hardlink_to(source)
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "empty").touch()
    (tmp_path / "folder").mkdir()
    make(tmp_path / "other.db", 2)
    before = {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    with pytest.raises(BackupError):
        backed_up(source, tmp_path / name)
    assert {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before


@pytest.mark.parametrize("content", [b"", b"no database", b"SQLite format 3\0" + b"\0" * 200])
def test_a_file_that_is_no_ledger_is_not_backed_up(tmp_path: Path, content: bytes):
    (tmp_path / "x.db").write_bytes(content)
    with pytest.raises(BackupError):
        backed_up(tmp_path / "x.db", tmp_path / "b")
    assert not (tmp_path / "b").exists()


def test_files_left_by_a_killed_run_are_removed_by_the_next(source: Path, tmp_path: Path):
    (tmp_path / ".b.partial-1-1").write_bytes(b"half")
    backed_up(source, tmp_path / "b")
    assert not list(tmp_path.glob(".b*"))


# Restores.


@pytest.fixture
def file(source: Path, tmp_path: Path) -> Path:
    return backed_up(source, tmp_path / "b")


def test_a_restored_ledger_has_what_the_backup_had_and_a_new_epoch(file: Path, tmp_path: Path):
    done = restore(file, tmp_path / "new.db", NOW)
    assert (done.made_at, done.aside) == (NOW, None)
    assert (tmp_path / "new.db").stat().st_mode & 0o777 == 0o600
    ledger = Ledger(f"sqlite:///{tmp_path}/new.db")
    require_no_backup(ledger)
    with ledger.read() as connection:
        assert epochs.current(connection) == done.begun.number > 0
    ledger.close()
    assert made_at(file) == NOW, "the backup stays as it is"


def test_the_replaced_ledger_is_kept(file: Path, source: Path, tmp_path: Path):
    make(tmp_path / "old.db", 7)
    aside = restore(file, tmp_path / "old.db", NOW).aside
    assert aside is not None
    assert (count(aside), count(tmp_path / "old.db")) == (7, 1)


def left_open(path: Path, numbers: range) -> None:
    """A ledger whose process was killed: its newest callbacks are in the log only."""
    ledger = Ledger(f"sqlite:///{path}")
    upgrade(ledger)
    record(ledger, numbers)
    files = {end: Path(f"{path}{end}").read_bytes() for end in ("", "-wal")}
    ledger.close()
    for end, content in files.items():
        Path(f"{path}{end}").write_bytes(content)


def test_a_ledger_that_was_not_closed_is_replaced_with_its_log_only_on_request(file: Path, tmp_path: Path):
    left_open(tmp_path / "old.db", range(1, 8))
    with pytest.raises(BackupError, match="--replace"):
        restore(file, tmp_path / "old.db", NOW)
    aside = restore(file, tmp_path / "old.db", NOW, replace=True).aside
    assert aside is not None
    assert (count(aside), count(tmp_path / "old.db")) == (7, 1)


def test_a_log_beside_the_file_is_an_error_unless_it_is_to_be_included(tmp_path: Path):
    left_open(tmp_path / "raw", range(1, 8))
    with pytest.raises(BackupError, match="--with-wal"):
        restore(tmp_path / "raw", tmp_path / "new.db", NOW)
    restore(tmp_path / "raw", tmp_path / "new.db", NOW, with_wal=True)
    assert count(tmp_path / "new.db") == 7


def spoilt(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[4096 * 3 : 4096 * 5] = b"\xff" * 8192
    path.write_bytes(content)


def newer(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()


def foreign(path: Path) -> None:
    path.unlink()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE notes (id INTEGER)")


@pytest.mark.parametrize(
    "spoil", [spoilt, newer, foreign, lambda p: p.write_bytes(b"text"), lambda p: p.write_bytes(b""), Path.unlink]
)
def test_a_file_that_is_no_complete_ledger_of_this_version_is_an_error_and_nothing_changes(file: Path, source: Path, spoil: object):
    spoil(file)  # type: ignore[operator]
    before = source.read_bytes()
    with pytest.raises(BackupError):
        restore(file, source, NOW)
    assert source.read_bytes() == before
    assert not list(source.parent.glob("*replaced*")) + list(source.parent.glob(".tally.db*"))


def test_a_restore_that_was_killed_half_way_is_finished(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    target = tmp_path / "old.db"
    left_open(target, range(1, 8))
    for death in steps_of_a_restore(file, target, monkeypatch):
        finish_interrupted(target)
        assert not (tmp_path / "old.db.restore").exists()
        assert count(target) == 1, death


def steps_of_a_restore(file: Path, target: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Kills a restore at each rename after its plan was written: none of its later steps is done."""
    for death in range(1, 4):
        for left in target.parent.glob("old.db*"):
            left.unlink()
        left_open(target, range(1, 8))
        begun = restore_until(death, file, target, monkeypatch)
        assert begun, "it died before"
        yield death


class _KilledError(BaseException):
    pass


def restore_until(death: int, file: Path, target: Path, monkeypatch: pytest.MonkeyPatch) -> bool:
    rename, renames = Path.rename, 0

    def dying(self: Path, to: Path) -> Path:
        nonlocal renames
        plan = target.with_name(f"{target.name}.restore")
        if plan.exists():
            renames += 1
            if renames == death:
                raise _KilledError
        return rename(self, to)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", dying)
        with pytest.raises(_KilledError):
            restore(file, target, NOW, replace=True)
    return json.loads(target.with_name(f"{target.name}.restore").read_text())["new"] != ""


# Backups that were put in place by hand.


def test_a_backup_put_in_the_ledgers_place_by_hand_is_not_served(file: Path):
    with pytest.raises(LedgerUnavailableError, match="tally db new-epoch"):
        require_no_backup(Ledger(f"sqlite:///{file}"))


def test_a_log_of_another_file_is_detected_before_it_is_written_into_the_backup(file: Path, tmp_path: Path):
    left_open(tmp_path / "old.db", range(1, 8))
    (tmp_path / "old.db").write_bytes(file.read_bytes())
    with pytest.raises(LedgerUnavailableError, match="move"):
        require_no_backup(Ledger(f"sqlite:///{tmp_path}/old.db"))
    assert (tmp_path / "old.db").read_bytes() == file.read_bytes()
