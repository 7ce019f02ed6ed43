"""The first ten minutes of docs/subscriptions.md work as they stand: each command is typed, and what is shown is what comes."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_structured_event
from cloudevents.core.formats.json import JSONFormat
from standardwebhooks import Webhook, WebhookVerificationError

from tests.support.server_processes import Process, free_port, up, write_config
from tests.support.webhook_subscriber import subscriber

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs" / "subscriptions.md").read_text(encoding="utf-8")
LOG = DOCUMENT.partition("## The first ten minutes\n")[2].partition("\n## ")[0]
PATIENCE_S = 30


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", LOG, re.DOTALL)


@contextmanager
def service(folder: Path) -> Iterator[Process]:
    process = up(write_config(folder, more="".join(blocks("toml")), open_desk=False))
    try:
        yield process
    finally:
        assert process.stop() == 0


class Shell:
    """One in which the log is typed, block by block."""

    def __init__(self, folder: Path, replaced: dict[str, str], environ: dict[str, str]) -> None:
        self._replaced = replaced
        self._folder = folder
        self._process = subprocess.Popen(
            ["sh", "-e"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=folder,
            env=os.environ | environ,
        )

    def type(self, script: str) -> str:
        """What it prints."""
        for old, new in self._replaced.items():
            script = script.replace(old, new)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(script + "\necho; echo '--done--'\n")
        self._process.stdin.flush()
        lines = []
        for line in self._process.stdout:
            if line == "--done--\n":
                return "".join(lines)
            lines.append(line)
        raise AssertionError("".join(lines))

    def close(self) -> None:
        self._process.communicate("kill %1 2>/dev/null || kill $! 2>/dev/null || true\n", timeout=PATIENCE_S)


def until(holds: Callable[[], bool]) -> None:
    """Another process is at work: only looking tells."""
    for _ in range(PATIENCE_S * 20):
        if holds():
            return
        subprocess.run(["sleep", "0.05"], check=True)
    raise AssertionError("it did not happen")


def test_the_log_of_the_first_ten_minutes(tmp_path: Path) -> None:
    port = free_port()
    folder = tmp_path / "integrator"
    folder.mkdir()
    (folder / "receiver.py").write_text(blocks("python")[0].replace("9000", str(port)))
    subscribe, test, look, rotate, again = blocks("sh")
    received = folder / "received"

    def has_come(number: int) -> Callable[[], bool]:
        return lambda: received.exists() and received.read_text().count("tally.test ") == number

    with service(tmp_path) as running:
        names = {"9000": str(port), "python3": sys.executable, "tally curl": f"{sys.executable} -m tally curl"}
        ours = {"TALLY_CONFIG": str(tmp_path / "tally.toml"), "TALLY_SERVER__PORT": str(running.port), "PYTHONPATH": str(ROOT)}
        shell = Shell(folder, names, ours)
        try:
            shell.type(subscribe)
            shell.type(test)
            until(has_come(1))
            delivery = json.loads(shell.type(look))["items"][0]
            assert delivery["type"] == "tally.test"
            shell.type(rotate)
            until(has_come(2))
            shell.type(again)
            until(has_come(3))
        finally:
            shell.close()
    secrets = [json.loads((folder / name).read_text())["secret"] for name in ("subscription.json", "rotated.json")]
    assert (folder / "secret").read_text() == secrets[1] != secrets[0]
    shown = blocks("console")[-1].splitlines()[1:]
    assert [(kind, number) for kind, _, number in map(str.split, received.read_text().splitlines())] == [("tally.test", "1")] * 3
    assert [(kind, number) for kind, _, number in map(str.split, shown)] == [("tally.test", "1")] * 3


def test_an_event_verifies_under_both_secrets_while_they_are_changed_and_is_a_cloudevent(tmp_path: Path) -> None:
    with service(tmp_path) as running, subscriber() as listening:
        wish = {"sink": {"type": "webhook", "url": listening.url}}
        token = (tmp_path / "tally.token").read_text().strip()
        with httpx2.Client(base_url=running.url, headers={"Authorization": f"Bearer {token}"}) as client:
            made = client.post("/v1/subscriptions", json=wish).json()
            new = client.post(f"/v1/subscriptions/{made['id']}/rotate-secret").json()["secret"]
            assert client.post(f"/v1/subscriptions/{made['id']}/test").status_code == 202
        until(lambda: bool(listening.body))
    body, headers = listening.body, listening.headers
    for secret in (made["secret"], new):
        assert Webhook(secret).verify(body, headers)["type"] == "tally.test"
    with pytest.raises(WebhookVerificationError):
        Webhook(made["secret"]).verify(body + b" ", headers)
    event = from_structured_event(HTTPMessage(headers=headers, body=body), JSONFormat())
    assert (event.get_type(), event.get_specversion(), event.get_id()) == ("tally.test", "1.0", headers["webhook-id"])
