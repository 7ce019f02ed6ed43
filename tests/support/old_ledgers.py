"""Ledgers of older versions of the program, and upgrades that are killed."""

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from alembic import command
from sqlalchemy import text

from adapters.ledger import Ledger, postgresql
from adapters.ledger.documents import task_text
from adapters.ledger.events import TaskEvent
from adapters.ledger.schema_state import alembic_config
from tests.support.ledger_deliveries import told
from tests.support.times import T0

ROOT = Path(__file__).parents[2]
#: Upgrades once a line arrives, so that the start of the process is not part of the time in which it is killed.
_UPGRADE = """
import sys
from adapters.ledger import Ledger
from adapters.ledger.migrate import upgrade
ledger = Ledger(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
upgrade(ledger)
"""


def upgrade_to(url: str, revision: str) -> None:
    made = alembic_config()
    made.attributes["url"] = url
    command.upgrade(made, revision)


def tell_as_0003(ledger: Ledger, them: list[TaskEvent]) -> None:
    """Writes events in the form of revision 0003."""
    first = postgresql.first_id if ledger.path is None else lambda _: 0
    rows = [
        {
            "id": first(max(T0, each.at)) + number,
            "task_id": each.subject,
            "version": each.version,
            "type": each.type,
            "at": each.at,
            "doc": _doc_of_0003(each),
        }
        for number, each in enumerate(them, start=1)
    ]
    names = ", ".join(rows[0])
    statement = f"INSERT INTO events ({names}) VALUES ({', '.join(f':{name}' for name in rows[0])})"
    with ledger.write() as connection:
        connection.execute(text(statement), sorted(rows, key=lambda row: row["id"]))


def _doc_of_0003(each: TaskEvent) -> str:
    its = each.task.key
    its_key = [its.vendor, its.app_id, its.room_id, its.vendor_task_id, its.family]
    said = {"key": its_key, "previous_state": each.previous_state, "cause": each.cause, "task": json.loads(task_text(each.task))}
    return json.dumps(said)


def fill(url: str, revision: str, rows: int) -> None:
    """Writes this number of callbacks, and of events if the revision has them."""
    with closing(Ledger(url)) as ledger:
        values = [{"key": number.to_bytes(32), "at": T0 + number} for number in range(rows)]
        keys = "INSERT INTO inbox_keys (dedupe_key, inbox_id) VALUES (:key, :at)"
        inbox = "INSERT INTO inbox (kind, dedupe_key, received_at, body) VALUES ('callback', :key, :at, :key)"
        with ledger.write() as connection:
            for statement in (inbox, *(() if ledger.path else (keys,))):
                connection.execute(text(statement), values)
        if revision >= "0003":
            tell_as_0003(ledger, [told(f"t{number % 97}", number, at=T0 + number) for number in range(1, rows + 1)])


def counts(ledger: Ledger) -> dict[str, Any]:
    """Returns the counts and sums that each upgrade must keep."""
    sums = {"inbox": "received_at", "events": "version"}
    with ledger.read() as connection:
        found = {name: connection.execute(text(f"SELECT count(*), sum({sums[name]}) FROM {name}")).one() for name in sums}
    return {name: tuple(row) for name, row in found.items()}


def copy_file(source: Path, target: Path) -> str:
    """Copies the file of a closed ledger and removes the files of an older copy; returns the URL of the copy."""
    for path in target.parent.glob(f"{target.name}*"):
        path.unlink()
    shutil.copyfile(source, target)
    return f"sqlite:///{target}"


@contextmanager
def upgrading(url: str) -> Iterator["subprocess.Popen[str]"]:
    """Yields a process that upgrades this ledger once `begin` is called."""
    arguments = [sys.executable, "-c", _UPGRADE, url]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(arguments, cwd=ROOT, text=True, **pipes) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        try:
            yield process
        finally:
            process.send_signal(signal.SIGKILL)


def begin(process: "subprocess.Popen[str]") -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()
