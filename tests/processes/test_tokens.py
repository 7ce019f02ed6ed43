"""A token always: what the first start makes opens the desk, and nothing else does, whatever stands before it."""

import json
import os
import pty
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2

from adapters.access.tokens import generate
from callbacks.desk.endpoints import ENDPOINTS, GuardedEndpoint
from tests.processes.test_tally import recording
from tests.support.sample_apps import tencent
from tests.support.server_processes import Process, free_port, missing, up, write_config

ROOT = Path(__file__).parents[2]
GUARDED = [(each.method, each.path.replace("{id}", "1")) for each in ENDPOINTS if isinstance(each, GuardedEndpoint)]
#: What proxies add to a request, and what clients may claim of themselves.
VARIANTS = [{}, {"Via": "1.1 p"}, {"X-Real-IP": "127.0.0.1"}, {"CF-Connecting-IP": "127.0.0.1"}, {"Host": "localhost"}]


@contextmanager
def running(config: Path) -> Iterator[Process]:
    process = up(config)
    try:
        yield process
    finally:
        assert process.stop() == 0


def tally(*arguments: str, folder: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TALLY_")}
    command = [sys.executable, "-m", "tally", *arguments]
    env = kept | {"PYTHONPATH": str(ROOT)} | environ
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=env, timeout=60, check=False)


@contextmanager
def nginx(folder: Path, target: int) -> Iterator[str]:
    """A proxy with nothing but `proxy_pass`; its origin."""
    program = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None:
        missing("nginx")
    port = free_port()
    temporary = "".join(f"{kind}_temp_path {folder}/{kind}; " for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    (folder / "nginx.conf").write_text(
        f"daemon off; master_process off; pid {folder}/nginx.pid; events {{}} http {{ access_log off; {temporary}"
        f"server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://127.0.0.1:{target}; }} }} }}"
    )
    process = subprocess.Popen([str(program), "-c", f"{folder}/nginx.conf", "-p", str(folder), "-e", f"{folder}/error.log"])
    try:
        for _ in range(200):
            try:
                httpx2.get(f"http://127.0.0.1:{port}/healthz")
                break
            except httpx2.ConnectError:
                subprocess.run(["sleep", "0.05"], check=True)  # another process starts: only asking it tells
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=30)


def test_behind_a_plain_proxy_nothing_is_told_without_the_token_and_callbacks_come_through(tmp_path: Path) -> None:
    with running(write_config(tmp_path, open_desk=False)) as service, nginx(tmp_path, service.port) as origin:
        token = (tmp_path / "tally.token").read_text().strip()
        with httpx2.Client(base_url=origin) as client:
            for headers in VARIANTS:
                told = {(method, path): client.request(method, path, headers=headers).status_code for method, path in GUARDED}
                assert set(told.values()) == {401}, told
            assert [client.get(path).status_code for path in ("/healthz", "/readyz", "/", "/docs")] == [200] * 4
            vendor, body, signed = recording()
            assert client.post(f"/callbacks/{vendor}", content=body, headers=signed).status_code == 200
            allowed = {"Authorization": f"Bearer {token}"}
            assert {client.get(path, headers=allowed).status_code for path in ("/v1/stats", "/metrics", "/v1/tasks")} == {200}


def test_the_first_start_makes_a_token_and_later_ones_keep_it(tmp_path: Path) -> None:
    config = write_config(tmp_path, open_desk=False)
    texts, events = [], []
    for _ in range(2):
        with running(config) as service:
            path = tmp_path / "tally.token"
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            texts.append(path.read_text())
            ours = {"Authorization": f"Bearer {path.read_text().strip()}"}
            assert httpx2.get(f"{service.url}/v1/tasks", headers=ours).status_code == 200
            assert httpx2.get(f"{service.url}/v1/tasks").status_code == 401
        events.append([event for event in service.events if event["event"].startswith("server.token")])
        log = json.dumps(list(service.events))
        assert texts[0].strip() not in log
        assert "#code=" not in log
    assert texts[0] == texts[1]
    assert [(event["file"], event["new"]) for (event,) in events] == [(str(path), True), (str(path), False)]


def test_wrong_tokens_are_counted_logged_and_told_to_wait_and_the_right_one_is_not(tmp_path: Path) -> None:
    with running(write_config(tmp_path, open_desk=False)) as service, httpx2.Client(base_url=service.url) as client:
        ours = {"Authorization": f"Bearer {(tmp_path / 'tally.token').read_text().strip()}"}
        told = [client.get("/v1/tasks", headers={"Authorization": f"Bearer wrong-{n}-0123456789"}) for n in range(300)]
        assert [answer.status_code for answer in told] == [401] * 10 + [429] * 290
        assert 1 <= int(told[-1].headers["retry-after"]) <= 60
        assert client.get("/v1/tasks", headers=ours).status_code == 200
        assert "tally_wrong_tokens_total 300.0" in client.get("/metrics", headers=ours).text
    lines = [event for event in service.events if event["event"] == "token.refused"]
    left_out = sum(event["lines"] for event in service.events if event.get("of") == "token.refused")
    assert lines[0]["remote"] == "127.0.0.1"
    assert len(lines) + left_out == 300
    assert len(lines) <= 100
    assert "0123456789" not in json.dumps(lines)


def test_curl_finds_address_and_token_by_itself_and_keeps_the_token_out_of_its_arguments(tmp_path: Path) -> None:
    config = write_config(tmp_path, open_desk=False)
    with running(config) as service:
        port = str(service.port)
        vendor, body, signed = tencent({"EventGroupId": 3, "EventType": 301, "EventInfo": {"TaskId": "t"}})
        assert httpx2.post(f"{service.url}/callbacks/{vendor}", content=body, headers=signed).status_code == 200
        found = tally("curl", "/v1/stats", folder=tmp_path, TALLY_SERVER__PORT=port)
        assert json.loads(found.stdout)["callbacks"]["received"] == 1
        other = tmp_path / "elsewhere"
        other.mkdir()
        found = tally("curl", "--port", port, "-X", "POST", "-d", '{"dry_run": true, "filter": {"vendor": "tencent"}}',
                      "/v1/callbacks/replay", "-w", "%{http_code}", folder=other, TALLY_CONFIG=str(config))  # fmt: skip
        assert found.stdout.endswith("200"), found
        # A curl that shows what it was started with.
        (other / "curl").write_text('#!/bin/sh\necho "$@"\nfor last; do :; done\ncat "${last#@}"\n')
        (other / "curl").chmod(0o755)
        path = f"{other}:{os.environ['PATH']}"
        shown = tally("curl", "/v1/stats", "--config", str(config), "--port", port, folder=other, PATH=path).stdout.splitlines()
    token = (tmp_path / "tally.token").read_text().strip()
    assert token not in shown[0]
    assert shown[1:] == [f"Authorization: Bearer {token}"]


def test_what_hinders_curl_is_said_in_a_line(tmp_path: Path) -> None:
    config = str(write_config(tmp_path, open_desk=False))
    cases = {
        ("curl", "--port", "8080"): (2, "contain no path of the API"),
        ("link", "--port", "8080"): (1, "there is no token at"),
    }
    for words, (status, said) in cases.items():
        answer = tally(*words, "--config", config, folder=tmp_path)
        assert (answer.returncode, said in answer.stderr, answer.stderr.count("\n")) == (status, True, 1), answer
    (tmp_path / "tally.token").write_text("0123456789abcdefghijkl\n")
    answer = tally("curl", "/v1/tasks", "--config", config, "--port", "8080", folder=tmp_path, PATH=str(tmp_path))
    assert (answer.returncode, "curl is not installed" in answer.stderr) == (2, True)


def on_terminal(config: Path) -> tuple[str, str]:
    """What `tally up` shows on a terminal until the link is there, and what the link's code is exchanged for."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "tally", "up", "--config", str(config)]
    with subprocess.Popen(command, stderr=theirs, stdout=subprocess.DEVNULL, env=os.environ | {"PYTHONPATH": str(ROOT)}) as process:
        os.close(theirs)
        shown = ""
        while (link := re.search(r"(http://127\.0\.0\.1:\d+)/#code=([\w-]+)\s", shown)) is None:
            shown += os.read(ours, 4096).decode()
        said = httpx2.post(f"{link[1]}/v1/login", json={"code": link[2]})
        process.terminate()
        assert process.wait(timeout=30) == 0
    os.close(ours)
    return shown, said.json()["token"]


def test_on_a_terminal_a_link_is_shown_that_logs_in_without_holding_the_token(tmp_path: Path) -> None:
    shown, token = on_terminal(write_config(tmp_path, open_desk=False))
    assert token == (tmp_path / "tally.token").read_text().strip()
    assert token not in shown


def test_a_printed_link_logs_in(tmp_path: Path) -> None:
    config = write_config(tmp_path, open_desk=False)
    with running(config) as service:
        link = tally("link", "--config", str(config), "--port", str(service.port), folder=tmp_path).stdout.strip()
        origin, _, code = link.partition("/#code=")
        assert origin == service.url
        assert httpx2.post(f"{origin}/v1/login", json={"code": code}).json()["role"] == "admin"
        assert httpx2.post(f"{origin}/v1/login", json={"code": code}).status_code == 401


def test_an_open_desk_is_opened_on_purpose_and_on_loopback_only(tmp_path: Path) -> None:
    config = write_config(tmp_path, open_desk=False)
    process = Process("up", "--config", str(config), "--open-desk", ready="server.open_desk")
    assert httpx2.get(f"{process.url}/v1/tasks").status_code == 200
    assert httpx2.get(f"{process.url}/v1/tasks", headers={"Via": "1.1 p"}).status_code == 401
    assert process.stop() == 0
    assert not (tmp_path / "tally.token").exists()
    refused = tally("up", "--open-desk", "--host", "0.0.0.0", "--config", str(config), folder=tmp_path)
    assert (refused.returncode, "server.open_desk" in refused.stderr, "--open-desk" in refused.stderr) == (2, True, True)


def test_an_open_desk_with_tokens_is_a_bad_configuration(tmp_path: Path) -> None:
    tokens = '"0123456789abcdef"'
    config = write_config(tmp_path, open_desk=False, more=f'[[tokens]]\nname = "a"\nrole = "viewer"\ntoken = {tokens}\n')
    refused = tally("web", "--open-desk", "--config", str(config), folder=tmp_path)
    assert (refused.returncode, "must be false if there are [[tokens]]" in refused.stderr) == (2, True)


def test_a_token_that_cannot_be_kept_is_told_in_a_line(tmp_path: Path) -> None:
    config = write_config(tmp_path, open_desk=False)
    (tmp_path / "tally.token").mkdir()
    refused = tally("up", "--config", str(config), folder=tmp_path)
    assert refused.returncode == 1
    assert (
        refused.stderr.splitlines()[-1]
        == f"tally: {tmp_path}/tally.token must be a regular file with the desk's token; move it away"
    )


def test_check_says_where_the_token_is_and_which_ones_are_short(tmp_path: Path) -> None:
    config = write_config(tmp_path, open_desk=False)
    assert f"token      local: admin, in {tmp_path}/tally.token" in tally("check", "--config", str(config), folder=tmp_path).stdout
    tokens = (("a", "0123456789abcdef"), ("b", generate()))
    more = "".join(f'[[tokens]]\nname = "{name}"\nrole = "viewer"\ntoken = "{token}"\n' for name, token in tokens)
    config = write_config(tmp_path, open_desk=False, more=more)
    said = tally("check", "--config", str(config), folder=tmp_path).stdout
    assert "token      a: viewer; short" in said
    assert "token      b: viewer\n" in said
