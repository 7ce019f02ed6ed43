"""What the README tells a newcomer to type works as it stands."""

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2

from tests.support.server_processes import Process, free_port, up

ROOT = Path(__file__).parents[2]
#: Something that does not happen within this never will, s.
PATIENCE_S = 30


def block(heading: str) -> str:
    """The first shell block under a heading."""
    section = (ROOT / "README.md").read_text(encoding="utf-8").partition(f"## {heading}\n")[2]
    found = re.search(r"```sh\n(.*?)```", section, re.DOTALL)
    assert found is not None
    return found[1]


@contextmanager
def demo(folder: Path) -> Iterator[tuple[Process, Path]]:
    """`tally up` and `tally simulate` as the README starts them, on free ports."""
    port, vendor = free_port(), free_port()
    config = folder / "demo.toml"
    text = (ROOT / "deploy" / "demo.toml").read_text(encoding="utf-8")
    text = text.replace("var/demo.db", f"{folder}/demo.db").replace("127.0.0.1:8090", f"127.0.0.1:{vendor}")
    config.write_text(f"[server]\nport = {port}\n{text}")
    callbacks = f"http://127.0.0.1:{port}/callbacks/{{vendor}}"
    arguments = ["simulate", "--port", str(vendor), "--callback-url", callbacks]
    simulator = subprocess.Popen([sys.executable, "-m", "tally", *arguments], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        assert simulator.stdout is not None
        assert "simulated vendor" in simulator.stdout.readline()
        service = up(config)
        try:
            yield service, config
        finally:
            assert service.stop() == 0
    finally:
        simulator.terminate()
        simulator.communicate(timeout=PATIENCE_S)


def run(script: str, service: Process, config: Path) -> str:
    ours = f"{shlex.quote(sys.executable)} -m tally"
    script = script.replace("localhost:8081", service.url.removeprefix("http://")).replace(".venv/bin/tally", ours)
    script = script.replace("deploy/demo.toml", str(config))
    done = subprocess.run(["sh", "-ec", script], capture_output=True, text=True, timeout=PATIENCE_S, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def wait_for(ask: Callable[[], list[Any]]) -> list[Any]:
    """What is there once anything is. The service wakes nobody outside, so it is asked."""
    for _ in range(PATIENCE_S * 10):
        if found := ask():
            return found
        subprocess.run(["sleep", "0.1"], check=True)
    raise AssertionError("it did not happen")


def test_a_newcomer_starts_and_stops_a_task_at_the_simulated_vendor(tmp_path: Path) -> None:
    before, _, after = block("Start a task").partition("sleep 8\n")
    with demo(tmp_path) as (service, config):
        assert run(before, service, config).startswith("HTTP/1.1 202 Accepted")
        url, token = f"{service.url}/v1/tasks", (tmp_path / "demo.token").read_text().strip()
        assert httpx2.get(url).status_code == 401
        client = httpx2.Client(headers={"Authorization": f"Bearer {token}"})
        (task,) = wait_for(lambda: client.get(url, params={"state": "running"}).json()["items"])
        shown = run(after, service, config)
        assert json.loads(shown.splitlines()[0])["items"][0]["id"] == task["id"]
        assert "call StartRelayStream: accepted" in shown
        assert "secret" not in shown
        assert client.post(f"{url}/{task['id']}/stop").status_code == 202
        (task,) = wait_for(lambda: client.get(url, params={"state": "stopped"}).json()["items"])
        client.close()
        assert task["reason"] == "stop_requested"


def test_a_newcomers_first_callback_makes_a_task_that_the_command_line_shows() -> None:
    """Types the block as it stands, but for the port."""
    script = (
        block("The first task")
        .replace("8081", str(free_port()))
        .replace(".venv/bin/tally", f"{shlex.quote(sys.executable)} -m tally")
    )
    done = subprocess.run(["sh", "-ec", script], capture_output=True, text=True, timeout=PATIENCE_S, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    answer, page, *_ = done.stdout.splitlines()
    assert json.loads(answer) == {"code": 0}
    assert [(task["kind"], task["state"]) for task in json.loads(page)["items"]] == [("record", "running")]
