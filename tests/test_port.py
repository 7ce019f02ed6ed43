"""What the port of a real server bounds before it is known who speaks."""

import http.client
import json
import os
import re
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.house import tencent
from tests.processes import Process, up, write_config

NOW = 1_768_960_000_000
LIMITS = 'proxies = ["127.0.0.2"]\nmax_waiting_per_client = 32\nhead_timeout_s = 2\nbody_timeout_s = 3\nmax_unfinished_mb = 16\n'


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    process = up(write_config(tmp_path_factory.mktemp("port"), more=LIMITS))
    yield process
    assert process.stop() == 0


def callback(number: int = 1) -> tuple[bytes, dict[str, str]]:
    info = {"EventMsTs": NOW + number, "TaskId": f"t{number}", "RoomId": "r", "UserId": "u", "Payload": {"Status": 0}}
    _, body, headers = tencent({"EventGroupId": 3, "EventType": 301, "CallbackTs": NOW, "EventInfo": info})
    return body, headers


def post(process: Process, headers: dict[str, str] | None = None, *, source: str = "127.0.0.1") -> int:
    body, signed = callback()
    with_source = http.client.HTTPConnection("127.0.0.1", process.port, timeout=10, source_address=(source, 0))
    with_source.request("POST", "/callbacks/tencent", body, {**signed, **(headers or {})})
    status = with_source.getresponse().status
    with_source.close()
    return status


def opened(process: Process) -> socket.socket:
    return socket.create_connection(("127.0.0.1", process.port), timeout=10)


def said(client: socket.socket) -> bytes:
    """All that comes until the server closes."""
    heard = b""
    try:
        while more := client.recv(65_536):
            heard += more
    except ConnectionResetError:
        pass
    return heard


def send(client: socket.socket, data: bytes) -> None:
    with suppress(BrokenPipeError, ConnectionResetError):  # the server has heard enough
        client.sendall(data)


def metric(process: Process, name: str) -> float:
    client = http.client.HTTPConnection("127.0.0.1", process.port, timeout=10)
    client.request("GET", "/metrics")
    text = client.getresponse().read().decode()
    client.close()
    return float(match[1]) if (match := re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)) else 0.0


def cut(process: Process, reason: str) -> float:
    return metric(process, f'tally_connections_cut_total{{reason="{reason}"}}')


@pytest.mark.parametrize(
    ("head", "status", "reason"),
    [
        (b"POST /x HTTP/1.1\r\n" + b"a:\r\n" * 101 + b"\r\n", 431, "head_too_large"),
        (b"POST /x HTTP/1.1\r\na: " + b"x" * 33_000 + b"\r\n\r\n", 431, "head_too_large"),
        (b"GET /" + b"x" * 8_193 + b" HTTP/1.1\r\n\r\n", 414, "url_too_long"),
        (b"x\r\n\r\n", 400, "malformed"),
        (b"POST /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + b"a: b\r\n" * 101 + b"\r\n", 400, "trailers_too_large"),
        (b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n" * 200, 200, "too_many_pipelined"),
    ],
    ids=["fields", "bytes", "url", "junk", "trailers", "pipelined"],
)
def test_what_is_too_much_is_refused_and_counted(server: Process, head: bytes, status: int, reason: str):
    before = cut(server, reason)
    with opened(server) as client:
        send(client, head)
        answer = said(client)
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert cut(server, reason) == before + 1
    if status != 200:
        assert b"\r\ncontent-type: application/problem+json\r\n" in answer
        problem = json.loads(answer.partition(b"\r\n\r\n")[2])
        assert (problem["type"], problem["status"]) == (f"urn:tallylight:problem:{reason}", status)


@pytest.mark.parametrize(
    "start", [b"POST /x HTTP/1.1\r\na: ", b"GET /", b"", b"POST /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\na: "]
)
def test_what_never_ends_is_cut_before_it_takes_memory(server: Process, start: bytes):
    with opened(server) as client:
        send(client, start)
        sent = 0
        try:
            while sent < 20_000_000:
                sent += client.send((b"\r\n" if not start else b"xx") * 32_000)
        except OSError:
            pass
    assert sent < 8_000_000  # what the kernel holds for both ends
    assert post(server) == 200


def test_a_head_a_body_and_silence_have_their_time(server: Process):
    starts = {
        b"": b"",
        b"POST /callbacks/tencent HTT": b"HTTP/1.1 408",
        b"POST /callbacks/tencent HTTP/1.1\r\nContent-Length: 9\r\n\r\nx": b"HTTP/1.1 408",
    }
    clients = {start: opened(server) for start in starts}
    began = time.monotonic()
    for start, client in clients.items():
        client.sendall(start)
    for start, expected in starts.items():
        assert said(clients[start])[:12] == expected
        clients[start].close()
    assert time.monotonic() - began < 9


def test_the_oldest_that_wait_go_for_one_more_and_those_that_work_stay(server: Process):
    working = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    body, headers = callback()
    working.request("POST", "/callbacks/tencent", body, headers)
    working.getresponse().read()
    silent = [opened(server) for _ in range(40)]
    assert silent[0].recv(1) == b""
    assert cut(server, "client_limit") > 0
    working.request("POST", "/callbacks/tencent", body, headers)
    assert working.getresponse().status == 200
    for client in [*silent, working]:
        client.close()


def test_unfinished_bodies_are_bounded_in_their_sum(server: Process):
    piece = b"x" * 1_000_000
    clients = [opened(server) for _ in range(12)]
    for client in clients:
        send(client, b"POST /callbacks/tencent HTTP/1.1\r\nContent-Length: 1000001\r\n\r\n" + piece)
    with suppress(ConnectionResetError):  # what it had sent may not have been read
        assert clients[0].recv(1) == b""
    assert cut(server, "unfinished_bodies") > 0
    assert post(server) == 200
    for client in clients:
        client.close()


def test_upgrades_and_junk_write_no_line_each(server: Process):
    for _ in range(30):
        with opened(server) as client:
            client.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: upgrade, close\r\nUpgrade: websocket\r\n\r\n")
            assert client.recv(1000).startswith(b"HTTP/1.1 200")
    assert metric(server, "tally_upgrades_ignored_total") >= 30
    assert [event for event in server.events if event["event"] == "library.message"] == []


def test_expect_100_chunks_and_pipelines_still_work(server: Process):
    body, headers = callback(7)
    head = b"".join(f"{name}: {value}\r\n".encode() for name, value in headers.items())
    with opened(server) as client:
        client.sendall(
            b"POST /callbacks/tencent HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: %d\r\n%b\r\n" % (len(body), head)
        )
        assert client.recv(1000).startswith(b"HTTP/1.1 100 Continue")
        client.sendall(body)
        assert client.recv(1000).startswith(b"HTTP/1.1 200")
        chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\nX-Trailer: t\r\n\r\n"
        one = b"POST /callbacks/tencent HTTP/1.1\r\nTransfer-Encoding: chunked\r\n%b\r\n%b" % (head, chunks)
        last = one.replace(b"Transfer-", b"Connection: close\r\nTransfer-", 1)
        client.sendall(one + one + last)
        assert said(client).count(b"HTTP/1.1 200") == 3


def test_who_leaves_with_requests_still_waiting_leaves_nothing_running(server: Process):
    """uvicorn tells only the last request of a connection that its client has gone."""
    ask = b"GET /v1/events/stream?after=0 HTTP/1.1\r\nHost: localhost\r\n\r\n"
    clients = [opened(server) for _ in range(3)]
    for client in clients:
        client.sendall(ask * 4)
        assert client.recv(1000).startswith(b"HTTP/1.1 200")
    assert metric(server, "tally_event_streams") == 3
    for client in clients:
        client.close()
    until_s = time.monotonic() + 5  # the next heartbeat would come after 15 s
    while metric(server, "tally_event_streams"):
        assert time.monotonic() < until_s
        time.sleep(0.05)  # another process works: only asking it tells
    assert [event for event in server.events if event["event"] in ("desk.failed", "library.message")] == []


def test_failures_of_the_door_are_not_to_be_guessed_at(server: Process):
    client = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    for path, method in (("/callbacks/tencent", "GET"), ("/callbacks/nobody", "POST"), ("/callbacks/tencent", "POST")):
        client.request(method, path, b"{}")
        answer = client.getresponse()
        answer.read()
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
    client.close()


def test_a_rejection_names_the_client_behind_a_configured_proxy_only(server: Process):
    told = {"Sign": "wrong", "X-Forwarded-For": "6.6.6.6, 203.0.113.7"}
    assert post(server, told, source="127.0.0.2") == 401
    assert post(server, told, source="127.0.0.1") == 401
    until_s = time.monotonic() + 10
    while len(remotes := rejected_from(server)) < 2 and time.monotonic() < until_s:
        time.sleep(0.05)  # a thread of the server writes its log, and one of ours reads it
    assert remotes[-2:] == ["203.0.113.7", "127.0.0.1"]


def rejected_from(server: Process) -> list[str]:
    rejected = [event for event in list(server.events) if event["event"] == "callback.rejected"]
    return [event["remote"] for event in rejected if event["reason"] == "bad_signature"]


def test_a_port_that_is_taken_and_a_name_that_is_unknown_are_one_line(server: Process, tmp_path: Path):
    for more, wanted in (("", f"127.0.0.1:{server.port}"), ("--host nobody.invalid", "nobody.invalid")):
        port = f"--port {server.port}" if not more else ""
        config = write_config(tmp_path, open_desk=False)
        with config.open("a") as tokens:  # without any, an address that is not loopback is a bad configuration
            tokens.write('[[tokens]]\nname = "ops"\nrole = "admin"\ntoken = "7sHk3-qLw9_ZpX2vBn4Rt6Yc"\n')
        command = f"{os.sys.executable} -m adapters.entry up --config {config} {port} {more} 2>&1 >/dev/null"  # type: ignore[attr-defined]
        with os.popen(command) as told:
            lines = [line for line in told.read().splitlines() if not line.startswith("{")]
        assert len(lines) == 1
        assert lines[0].startswith("tally: cannot listen on")
        assert wanted in lines[0]
