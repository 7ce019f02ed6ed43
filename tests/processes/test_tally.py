"""The command line as its users meet it."""

import json
import subprocess
import sys
import time
from pathlib import Path

import httpx2
import pytest

import tally
from adapters.ledger import Ledger
from adapters.ledger.migrate import upgrade
from tests.support.in_process_app import InProcessApp
from tests.support.sample_apps import tencent
from tests.support.server_processes import up, write_config

T0 = 1_768_960_000_000


def run(*arguments: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    root = str(Path(tally.__file__).parent)
    command = [sys.executable, "-m", "tally", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, env={"PYTHONPATH": root, "PATH": ""}, check=False)


def recording(number: int = 1, event_type: int = 301) -> tuple[str, bytes, dict[str, str]]:
    info = {"EventMsTs": T0 + number, "TaskId": "my-task", "RoomId": "r", "UserId": "u", "Payload": {"Status": 0}}
    return tencent({"EventGroupId": 3, "EventType": event_type, "CallbackTs": T0, "EventInfo": info})


@pytest.fixture
def config(tmp_path: Path) -> Path:
    with InProcessApp(tmp_path, T0 + 5_000).open() as house:
        house.post_and_apply(*recording())
    return write_config(tmp_path)


def test_help_names_every_subcommand():
    shown = run("--help").stdout
    assert [
        word
        for word in ("up", "web", "work", "db", "check", "explain", "replay", "curl", "link", "token")
        if f"    {word} " not in shown
    ] == []


def test_a_bad_configuration_is_answered_with_2_and_the_keys_name(tmp_path: Path):
    (tmp_path / "tally.toml").write_text("[server]\nport = 99999\n")
    for command in (["up"], ["db", "upgrade"], ["explain", "x"]):  # all commands load it in one place; each start takes a second
        answer = run(*command, folder=tmp_path)
        assert (answer.returncode, "server.port" in answer.stderr) == (2, True), answer


def test_check_says_what_the_configuration_says_without_secrets(config: Path):
    answer = run("check", "--config", str(config))
    assert answer.returncode == 0
    assert "1400000001: 1 callback secret(s)" in answer.stdout
    assert "123654" not in answer.stdout


def test_web_and_work_refuse_an_older_schema_with_a_sentence(tmp_path: Path):
    config = write_config(tmp_path)
    for command in ("web", "work"):
        answer = run(command, "--config", str(config))
        assert (answer.returncode, "run `tally db upgrade`" in answer.stderr) == (1, True)


def test_a_mistyped_path_is_not_a_new_ledger(tmp_path: Path):
    config = write_config(tmp_path)
    for command in (["explain", "x"], ["replay", "--callback", "1"]):
        answer = run(*command, "--config", str(config))
        assert (answer.returncode, "there is no ledger at" in answer.stderr) == (1, True)
    assert not (tmp_path / "tally.db").exists()


def test_a_file_that_is_no_ledger_is_named(tmp_path: Path):
    (tmp_path / "tally.db").write_text("something else, long enough to be taken for a database by nobody" * 10)
    answer = run("up", "--config", str(write_config(tmp_path)))
    assert answer.returncode == 1
    assert answer.stderr.startswith("tally: file is not a database")


def test_a_time_that_is_none_is_told_what_would_be_right(config: Path):
    answer = run("replay", "--after", "yesterday", "--config", str(config))
    assert (answer.returncode, "2026-" in answer.stderr) == (2, True)


def test_db_upgrade_can_be_run_again(tmp_path: Path):
    config = write_config(tmp_path)
    assert [run("db", "upgrade", "--config", str(config)).returncode for _ in range(2)] == [0, 0]


def test_a_second_server_on_the_same_ledger_is_refused(tmp_path: Path):
    config = write_config(tmp_path)
    first = up(config)
    second = run("up", "--config", str(config))
    assert (second.returncode, "already plays `web`" in second.stderr) == (1, True)
    assert first.stop() == 0


def test_explain_prints_the_history_of_a_task_by_any_of_its_ids(config: Path):
    answer = run("explain", "my-ta", "--config", str(config))
    assert answer.returncode == 0
    assert "moves new -> running" in answer.stdout
    assert "callback 1" in answer.stdout


def test_explain_of_an_unknown_task_fails(config: Path):
    answer = run("explain", "nobody", "--config", str(config))
    assert (answer.returncode, answer.stderr) == (1, "tally: no task has the id nobody\n")


def test_replay_needs_to_be_told_which(config: Path):
    assert run("replay", "--config", str(config)).returncode == 2


def test_a_dry_run_of_replay_counts_and_queues_nothing(config: Path, tmp_path: Path):
    answer = run("replay", "--verdict", "applied", "--dry-run", "--config", str(config))
    assert answer.stdout == "1 callback(s) would be queued to be processed again\n"


def test_a_replayed_callback_changes_nothing_twice(config: Path, tmp_path: Path):
    assert run("replay", "--callback", "1", "--config", str(config)).returncode == 0
    with InProcessApp(tmp_path, T0 + 6_000).open() as house:
        before = house.tasks()
        house.applier.apply_waiting()
        after = house.tasks()
        timeline = house.get(f"/v1/tasks/{after[0]['id']}/timeline")["items"]
    assert before == after
    assert [entry["kind"] for entry in timeline if entry["kind"] in ("callback", "replay")] == ["callback", "replay"]


def test_tokens_are_long_and_differ():
    first, second = run("token").stdout.strip(), run("token").stdout.strip()
    assert first != second
    assert len(first) >= 40


def test_logs_of_a_service_are_json_lines(tmp_path: Path):
    server = up(write_config(tmp_path))
    assert server.stop() == 0
    assert {"db.upgraded", "server.started", "server.open_desk"} <= {e["event"] for e in server.events}
    assert json.dumps(list(server.events))


def test_a_stream_tells_what_a_callback_did_and_does_not_hold_up_a_server_that_stops(tmp_path: Path):
    server = up(write_config(tmp_path))
    vendor, body, headers = recording()
    with httpx2.stream("GET", f"{server.url}/v1/events/stream", timeout=20) as answer:
        lines = answer.iter_lines()
        assert [next(lines), next(lines)] == ["retry: 2000", "id: 0"]
        assert httpx2.post(f"{server.url}/callbacks/{vendor}", content=body, headers=headers).status_code == 200
        heard = next(json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: "))
        began = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - began < 3
        rest = list(lines)
    assert (heard["type"], heard["data"]["vendor_task_id"]) == ("tally.task.running", "my-task")
    assert [line for line in rest if line.startswith("event")] == []
    assert [event for event in server.events if event["level"] == "error"] == []


def test_upgrade_of_a_fresh_ledger_is_what_up_does_itself(tmp_path: Path):
    ledger = Ledger(f"sqlite:///{tmp_path}/tally.db")
    before, after = upgrade(ledger)
    ledger.close()
    assert before is None
    assert after


def test_check_warns_of_callback_secrets_that_are_shared_or_short(tmp_path: Path):
    """Not every vendor signs the app: with one key in two apps a callback of one is believed for the other."""
    apps = "".join(
        f"""
        [[apps]]
        vendor = "{vendor}"
        app_id = "{app_id}"
        callback_secrets = {secrets}
        """
        for vendor, app_id, secrets in (
            ("tencent", "1400000001", '["aLongEnoughSecret", "another-long-one"]'),
            ("tencent", "1400000002", '["aLongEnoughSecret"]'),
            ("tencent", "1400000003", '["short"]'),
            ("volcengine", "661e", '["aLongEnoughSecret"]'),
        )
    )
    (tmp_path / "tally.toml").write_text(apps)
    checked = run("check", folder=tmp_path)
    said = [line for line in checked.stdout.splitlines() if line.startswith("warning")]
    assert checked.returncode == 0
    assert [line.split(":")[1].strip() for line in said] == [
        "apps 1400000001, 1400000002 at tencent share a callback secret",
        "app tencent 1400000003 has a callback secret of fewer than 12 characters",
    ]
    assert "aLongEnoughSecret" not in checked.stdout
