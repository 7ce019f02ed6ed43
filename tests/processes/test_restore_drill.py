"""The drill: a backup under load, more load, a crash, a restore elsewhere, and an audit of vendor, subscriber and ledger."""

import json
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx2
import pytest

from adapters.ledger import Ledger
from adapters.ledger.backup import made_at
from tests.processes.test_kill_calls import ENDED, overlapping
from tests.support.load_under_kills import Load, audit, drained
from tests.support.server_processes import Process, free_port, up, write_config
from tests.support.start_calls import STARTS, params
from tests.support.webhook_subscriber import subscriber

ROOT = Path(__file__).parents[2]
POLICY = {"start": {"max_elapsed_s": 60}}
#: Every second one is stopped after the backup.
DRILLED = [
    each for each in STARTS if each[1] not in ("StartPushSingleStreamToCDN", "StartRecord", "StartWebcast", "StartWebRecord")
]


def tally(*arguments: object) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "tally", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=120, check=False)


def config_in(folder: Path, port: int, calls: int) -> Path:
    folder.mkdir(exist_ok=True)
    text = (ROOT / "deploy" / "demo.toml").read_text(encoding="utf-8")
    text = text.replace("var/demo.db", f"{folder}/tally.db").replace("127.0.0.1:8090", f"127.0.0.1:{calls}")
    outbound = '[outbound]\nallow = ["127.0.0.0/8"]\nallow_http = true\n'
    path = folder / "tally.toml"
    path.write_text(f'[server]\nport = {port}\nopen_desk = true\n[spool]\nfolder = "{folder}/spool"\n{outbound}{text}')
    return path


@contextmanager
def simulated(port: int, calls: int) -> Iterator[None]:
    """The vendors, which take a second for each answer: so some are on the wire whenever one looks."""
    back = ["--callback-url", f"http://127.0.0.1:{port}/callbacks/{{vendor}}"]
    command = [sys.executable, "-m", "tally", "simulate", "--steady", "--port", str(calls), "--slow", "1", "--slow-s", "0.7", *back]
    simulator = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        assert simulator.stdout is not None
        assert "simulated vendor" in simulator.stdout.readline()
        yield
    finally:
        simulator.kill()
        simulator.communicate()


def start(service: Process, vendor: str, action: str, number: int) -> str:
    body = {"vendor": vendor, "action": action, "params": params(vendor, action, number), "policy": POLICY}
    answer = httpx2.post(f"{service.url}/v1/tasks", json=body)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def task(service: Process, task_id: str) -> dict[str, Any]:
    found: dict[str, Any] = httpx2.get(f"{service.url}/v1/tasks/{task_id}").json()
    return found


def until(so: Callable[[], bool], longest_s: float = 60) -> None:
    """Polls: other processes work, and only their answers show it."""
    begun = time.monotonic()
    while not so():
        assert time.monotonic() - begun < longest_s, "it never was so"
        time.sleep(0.1)


def callbacks_of(path: Path) -> set[bytes]:
    with closing(sqlite3.connect(path)) as connection:
        return {key for (key,) in connection.execute("SELECT dedupe_key FROM inbox WHERE kind = 'callback'")}


def test_a_ledger_restored_elsewhere_repeats_nothing_that_subscribers_or_vendors_know(tmp_path: Path) -> None:
    port, calls = free_port(), free_port()
    first, second = config_in(tmp_path / "a", port, calls), config_in(tmp_path / "b", port, calls)
    told: list[dict[str, Any]] = []

    def note(event: dict[str, Any]) -> int:
        told.append(event)
        return 200

    with simulated(port, calls), subscriber(note) as hook:
        service = up(first)
        assert (
            httpx2.post(f"{service.url}/v1/subscriptions", json={"sink": {"type": "webhook", "url": hook.url}}).status_code == 201
        )
        ids = [start(service, *each, number) for number, each in enumerate(DRILLED, 1)]
        until(lambda: all(task(service, each)["state"] == "running" for each in ids))
        ingest = start(service, "tencent", "StartStreamIngest", 50)
        until(lambda: bool(service_called(calls, "50")))
        made = tally("backup", tmp_path / "backup.db", "--config", first)
        assert made.returncode == 0, made.stderr
        in_backup = callbacks_of(tmp_path / "backup.db")

        for each in ids[::2]:
            assert httpx2.post(f"{service.url}/v1/tasks/{each}/stop").status_code == 202
        until(lambda: task(service, ingest)["state"] == "running")
        until(lambda: all(task(service, each)["state"] in {"finishing", *ENDED} for each in ids[::2]))
        until(lambda: httpx2.get(f"{service.url}/v1/stats").json()["undelivered_events"] == 0)
        read = httpx2.get(f"{service.url}/v1/events?limit=500").json()
        service.kill()
        of_the_lost, heard = {each["id"]: each for each in told}, len(told)

        restored = tally("restore", tmp_path / "backup.db", "--config", second)
        assert restored.returncode == 0, restored.stderr
        service = up(second)
        until(lambda: all(task(service, each)["state"] in {"finishing", *ENDED} for each in known_ends(ids)))
        until(lambda: httpx2.get(f"{service.url}/v1/stats").json()["undelivered_events"] == 0)
        doubtful = task(service, ingest)
        since = httpx2.get(f"{service.url}/v1/events", params={"after": read["next_after"], "limit": 500}).json()["items"]
        truth = httpx2.get(f"http://127.0.0.1:{calls}/truth").json()
        assert service.stop() == 0

    assert in_backup <= callbacks_of(tmp_path / "b" / "tally.db")
    assert doubtful["reason"] != "start_refused"
    assert doubtful["state"] != "failed" or doubtful["inferred"]
    assert not list(overlapping(truth["tasks"])), "paid twice"
    after = told[heard:]
    assert after, "the subscriber hears how they ended"
    for event in after:
        assert of_the_lost.get(event["id"], event) == event, "an id with another content"
    lost_sequences = {(each["subject"], each["sequence"]) for each in told[:heard] if each["id"] not in {e["id"] for e in after}}
    assert not lost_sequences & {(each["subject"], each["sequence"]) for each in after}
    news = [event for event in after if event["id"] not in of_the_lost]
    newest = {each["subject"]: each["sequence"] for each in sorted(told[:heard], key=lambda each: each["sequence"])}
    assert news
    assert all(event["epoch"] < event["sequence"] < 2**31 for event in news)
    assert all(event["sequence"] > newest.get(event["subject"], 0) for event in news), "who drops what is not above would miss it"
    assert {event["id"] for event in news} <= {event["id"] for event in since}, "the feed's readers miss something"


def known_ends(ids: list[str]) -> list[str]:
    """Those that were stopped after the backup, and can be asked about: all but the relay at Tencent."""
    return [each for number, each in enumerate(ids) if number % 2 == 0 and DRILLED[number][1] != "StartPublishCdnStream"]


def service_called(calls: int, room: str) -> list[Any]:
    truths = httpx2.get(f"http://127.0.0.1:{calls}/truth").json()["tasks"]
    return [each for each in truths if each["room_id"] == room]


# Killed.


def kill_after(delay_s: float, *arguments: object) -> int:
    process = subprocess.Popen(
        [sys.executable, "-m", "tally", *map(str, arguments)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT
    )
    with suppress(subprocess.TimeoutExpired):
        process.wait(delay_s)
    process.send_signal(signal.SIGKILL)
    return process.wait()


def sound(path: Path) -> bool:
    with closing(sqlite3.connect(path)) as connection:
        return bool(connection.execute("PRAGMA quick_check").fetchone() == ("ok",))


def killed_backups(folder: Path, kills: int) -> None:
    """kill -9 at random moments of backups under load: neither the ledger nor the earlier backup is the worse for it."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    moments, load = random.Random(seed), Load(seed)
    config, target = write_config(folder), folder / "backup.db"
    service, stop = up(config), threading.Event()
    senders = load.senders(lambda _: service.port, 2, stop)
    begun = time.monotonic()
    assert tally("backup", target, "--config", config).returncode == 0
    usual_s = time.monotonic() - begun
    died = 0
    for _ in range(kills):
        died += kill_after(moments.uniform(usual_s * 0.3, usual_s * 1.1), "backup", target, "--config", config) == -signal.SIGKILL
        assert sound(target), "the earlier backup is damaged"
        assert callbacks_of(target)
    stop.set()
    for sender in senders:
        sender.join()
    assert died > kills // 4, "they were never killed"
    drained(service)
    assert service.stop() == 0
    assert tally("backup", target, "--config", config).returncode == 0
    assert not list(folder.glob(".backup.db*")), "leftovers"
    assert callbacks_of(target) == callbacks_of(folder / "tally.db")
    audit(Ledger(f"sqlite:///{folder}/tally.db"), load.acked)


def test_killed_backups_harm_neither_the_ledger_nor_the_earlier_backup(tmp_path: Path) -> None:
    killed_backups(tmp_path, 4)


@pytest.mark.soak
def test_two_hundred_killed_backups_harm_neither_the_ledger_nor_the_earlier_backup(tmp_path: Path) -> None:
    killed_backups(tmp_path, 200)


def killed_restores(folder: Path, kills: int) -> None:
    """kill -9 at random moments of restores: the old ledger or the new one stands there, whole, and the other one is kept."""
    moments = random.Random(random.randrange(2**32))
    config, source, target = write_config(folder), folder / "backup.db", folder / "tally.db"
    assert tally("db", "upgrade", "--config", config).returncode == 0
    fill(target, 1, 20_000)
    assert tally("backup", source, "--config", config).returncode == 0
    fill(target, 20_000, 20_010)
    old, new = callbacks_of(target), callbacks_of(source)
    shutil.copyfile(target, folder / "saved")
    begun = time.monotonic()
    assert tally("restore", source, "--config", config).returncode == 0
    usual_s = time.monotonic() - begun
    for _ in range(kills):
        for left in folder.glob("tally.db*"):
            left.unlink()
        shutil.copyfile(folder / "saved", target)
        kill_after(moments.uniform(usual_s * 0.3, usual_s * 1.05), "restore", source, "--config", config)
        planned = (folder / "tally.db.restore").exists()
        assert tally("db", "upgrade", "--config", config).returncode == 0  # as the next start does
        assert not (folder / "tally.db.restore").exists()
        asides = list(folder.glob("tally.db.replaced-*"))
        assert sound(target)
        assert callbacks_of(target) == (new if asides else old)
        assert [callbacks_of(each) for each in asides] in ([], [old])
        assert asides or not planned


def fill(path: Path, first: int, last: int) -> None:
    with closing(sqlite3.connect(path)) as connection:
        rows = (("callback", number.to_bytes(32, "big"), 1, json.dumps({}), b"{}" * 300, 1) for number in range(first, last))
        connection.executemany(
            "INSERT INTO inbox (kind, dedupe_key, received_at, headers, body, applied_at) VALUES (?, ?, ?, ?, ?, ?)", rows
        )
        connection.commit()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def test_killed_restores_leave_the_old_ledger_or_the_new_one(tmp_path: Path) -> None:
    killed_restores(tmp_path, 2)


@pytest.mark.soak
def test_a_hundred_killed_restores_leave_the_old_ledger_or_the_new_one(tmp_path: Path) -> None:
    killed_restores(tmp_path, 100)


def test_a_ledger_that_is_served_is_not_restored_over_nor_given_an_epoch(tmp_path: Path) -> None:
    config = write_config(tmp_path)
    service = up(config)
    assert tally("backup", tmp_path / "b", "--config", config).returncode == 0
    for command in (("restore", tmp_path / "b", "--replace"), ("db", "new-epoch")):
        refused = tally(*command, "--config", config)
        assert (refused.returncode, refused.stderr.count("\n")) == (1, 1), refused.stderr
        assert "already plays" in refused.stderr
    assert service.stop() == 0
    (tmp_path / "tally.db").write_bytes((tmp_path / "b").read_bytes())
    refused = tally("up", "--config", config)
    assert (refused.returncode, "is a backup" in refused.stderr) == (1, True), refused.stderr
    assert tally("db", "new-epoch", "--config", config).returncode == 0
    assert made_at(tmp_path / "tally.db") is None, "it is a ledger now"


@pytest.mark.parametrize(("command", "says"), [("backup", "pg_dump"), ("restore", "tally db new-epoch")])
def test_of_postgresql_it_says_what_to_run(tmp_path: Path, command: str, says: str) -> None:
    config = write_config(tmp_path, database="postgresql://nobody@db.invalid/tally")
    said = tally(command, tmp_path / "b", "--config", config)
    assert said.returncode == 2
    assert says in said.stderr
