"""What cannot start says why in one line, with an exit status that is documented, and changes nothing."""

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from adapters.ledger import Ledger
from adapters.ledger.migrate import SchemaError, upgrade
from tests.processes.test_tally import run
from tests.support import postgresql
from tests.support.server_processes import free_port, up, write_config

ROOT = Path(__file__).parents[2]
#: As root, modes of files mean nothing unless these rights are given up.
_WITHOUT_RIGHTS = ("setpriv", "--bounding-set=-dac_override,-dac_read_search,-fowner") if os.geteuid() == 0 else ()


def run_without_rights(*arguments: str) -> "subprocess.CompletedProcess[str]":
    environment = {"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"]}
    command = [*_WITHOUT_RIGHTS, sys.executable, "-m", "tally", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=60)


def one_line(answer: "subprocess.CompletedProcess[str]") -> str:
    """What it said last, after log lines; there is nothing of Python in it."""
    said = [line for line in answer.stderr.splitlines() if not line.startswith("{")]
    assert len(said) == 1, answer.stderr
    assert said[0].startswith("tally: ")
    return said[0]


def newer(folder: Path) -> None:
    with closing(Ledger(f"sqlite:///{folder}/tally.db")) as ledger:
        upgrade(ledger)
        with ledger.write() as connection:
            connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")


def foreign(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "tally.db")) as connection:
        connection.execute("CREATE TABLE users (name)")
        connection.execute("CREATE TABLE tasks (name)")


def read_only_folder(folder: Path) -> None:
    folder.chmod(0o555)


def lock_of_another(folder: Path) -> None:
    (folder / "tally.db.upgrade.lock").touch(mode=0o000)


def log_of_another(folder: Path) -> None:
    """As after a command that root ran, and that was killed."""
    with closing(Ledger(f"sqlite:///{folder}/tally.db")) as ledger:
        upgrade(ledger)
        for ending in ("-wal", "-shm"):
            shutil.copy(f"{folder}/tally.db{ending}", f"{folder}/copy{ending}")
    for ending in ("-wal", "-shm"):
        (folder / f"copy{ending}").rename(folder / f"tally.db{ending}")
        (folder / f"tally.db{ending}").chmod(0o444)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (newer, "schema is 9999, and this program is older"),
        (foreign, "a database of another program (tables: tasks, users); nothing was changed"),
        (read_only_folder, "the lock file {folder}/tally.db.upgrade.lock cannot be opened by user"),
        (lock_of_another, "the lock file {folder}/tally.db.upgrade.lock cannot be opened by user"),
        (log_of_another, "tally.db-wal cannot be written by user"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_file_that_cannot_be_the_ledger_is_told_in_one_line(tmp_path: Path, make: Callable[[Path], None], said: str) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    make(folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir() if "lock" not in path.name and "-" not in path.name}
    answer = run_without_rights("up", "--config", str(write_config(tmp_path, database=f"sqlite:///{folder}/tally.db")))
    folder.chmod(0o755)
    line = one_line(answer)
    assert (answer.returncode, said.format(folder=folder) in line) == (1, True), line
    assert "db upgrade" not in line
    assert {name: (folder / name).read_bytes() for name in before} == before


@pytest.mark.parametrize("command", [["db", "upgrade"], ["web"]])
def test_every_command_refuses_a_newer_ledger_and_advises_nothing_that_cannot_help(tmp_path: Path, command: list[str]) -> None:
    newer(tmp_path)
    answer = run(*command, "--config", str(write_config(tmp_path)))
    line = one_line(answer)
    assert (answer.returncode, "this program is older" in line, "db upgrade" in line) == (1, True, False)


def test_a_schema_of_postgresql_with_other_tables_is_not_migrated_into() -> None:
    url = postgresql.new_database(migrated=False)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE users (name text)")
        connection.execute("CREATE VIEW names AS SELECT name FROM users")
    with closing(Ledger(url)) as ledger, pytest.raises(SchemaError, match=r"another program \(tables: names, users\)"):
        upgrade(ledger)
    with psycopg.connect(url, autocommit=True) as connection:
        tables = connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone()
        connection.execute("CREATE SCHEMA ledger")
        connection.execute(f"ALTER ROLE tally IN DATABASE {connection.info.dbname} SET search_path = ledger".encode())
    assert tables == (1,)
    with closing(Ledger(url)) as ledger:  # a schema of its own is another matter
        upgrade(ledger)
    postgresql.drop(url)


def test_another_program_that_uses_alembic_too_is_told_apart(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "tally.db")) as connection:
        connection.execute("CREATE TABLE alembic_version (version_num TEXT)")
        connection.execute("INSERT INTO alembic_version VALUES ('0004')")
        connection.execute("CREATE TABLE users (name)")
        connection.commit()
    before = (tmp_path / "tally.db").read_bytes()
    with closing(Ledger(f"sqlite:///{tmp_path}/tally.db")) as ledger, pytest.raises(SchemaError, match="another program"):
        upgrade(ledger)
    assert (tmp_path / "tally.db").read_bytes() == before


def test_a_server_that_is_away_is_told_in_one_line(tmp_path: Path) -> None:
    url = f"postgresql://tally:sesame@127.0.0.1:{free_port()}/tally"
    answer = run("up", "--config", str(write_config(tmp_path, database=url)))
    line = one_line(answer)
    assert (answer.returncode, "sesame" in line, "Connection refused" in line) == (1, False, True)


def test_a_spool_that_cannot_be_written_is_told_at_start_and_the_door_opens(tmp_path: Path) -> None:
    (tmp_path / "spool").write_text("a file")
    server = up(write_config(tmp_path))
    assert [event["event"] for event in server.events if event["event"] == "spool.failed"] == ["spool.failed"]
    assert server.stop() == 0


@pytest.mark.parametrize("host", ["::1", "::"])
def test_check_prints_a_url_that_a_browser_takes(tmp_path: Path, host: str) -> None:
    token = '[[tokens]]\nname = "x"\nrole = "admin"\ntoken = "7sHk3-qLw9_ZpX2vBn4Rt6Yc"'
    answer = run("check", "--config", str(write_config(tmp_path, open_desk=False, more=f'host = "{host}"\n{token}')))
    assert f"http://[{host}]:0\n" in answer.stdout
