"""Webhooks against real sockets on loopback: requests, permitted addresses, and results of any answer."""

import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook as Verifier

from adapters.clock import now_ms
from adapters.downstream.signing import new_secret
from adapters.downstream.sink import Message, SendResult
from adapters.downstream.ssrf_guard import AllowedTargets
from adapters.downstream.webhook import Webhook, open_sink, retry_after_s
from adapters.http import resolve_name
from adapters.settings import OutboundSettings, Settings
from adapters.text import FieldProblem
from tests.support.hypothesis_effort import effort
from tests.unit.adapters.scripted_server import OK, closed_port, hangs, says, says_and_closes, serving, serving_context, trusting

#: 2026-01-01T00:00:00Z
NOW = 1_767_225_600_000
SECRET = new_secret()
HERE = "127.0.0.0/8"

Lookup = Callable[[str, int], Sequence[tuple[Any, ...]]]


@contextmanager
def webhook(
    allow: Sequence[str] = (HERE,), lookup: Lookup = resolve_name, *, allow_http: bool = True, **options: Any
) -> Iterator[Webhook]:
    allowed = AllowedTargets.from_settings(OutboundSettings(allow=tuple(allow))).allow
    hook = Webhook(AllowedTargets(allow=allowed, allow_http=allow_http, lookup=lookup), **options)
    yield hook
    hook.close()


def message(body: bytes = b'{"a": 1}', at: int = NOW) -> Message:
    return Message(id="e1", body=body, at=at)


def send(url: str, **options: Any) -> SendResult:
    with webhook(**options) as hook:
        return hook.send({"type": "webhook", "url": url}, message(), [SECRET])


def result_of(answer: bytes) -> SendResult:
    with serving(says_and_closes(answer)) as server:
        return send(server.url("/hook"))


def addresses_of(*addresses: tuple[str, int]) -> list[tuple[Any, ...]]:
    return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address) for address in addresses]


# Requests.


def test_an_event_is_posted_with_its_type_and_our_user_agent():
    with serving(says(OK)) as server:
        send(server.url("/hook?key=1"))
    head, _, body = server.asked[0].partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0] == "POST /hook?key=1 HTTP/1.1"
    assert "Content-Type: application/cloudevents+json" in lines
    assert [line for line in lines if line.startswith("User-Agent: Tallylight/")]
    assert body == b'{"a": 1}'


def test_each_valid_secret_verifies_the_message():
    secrets, body = [new_secret(), new_secret()], json.dumps({"who": "Zoë 你好"}, ensure_ascii=False).encode()
    with serving(says(OK)) as server, webhook() as hook:
        hook.send({"type": "webhook", "url": server.url()}, message(body, now_ms()), secrets)
    head, _, body = server.asked[0].partition(b"\r\n\r\n")
    headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:])
    for secret in secrets:
        assert Verifier(secret).verify(body, headers) == {"who": "Zoë 你好"}


def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch):
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{closed_port()}")
    monkeypatch.delenv("no_proxy", raising=False)
    with serving(says(OK)) as server:
        assert send(server.url()).ok


def test_many_threads_may_send_at_once():
    answers: list[SendResult] = []
    with serving(says(OK)) as one, serving(says(OK)) as two, webhook() as hook:
        sinks = [{"type": "webhook", "url": server.url()} for server in (one, two)]
        threads = [threading.Thread(target=lambda s=s: answers.append(hook.send(s, message(), [SECRET]))) for s in sinks]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert [answer.ok for answer in answers] == [True, True]


# Permitted addresses.


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "127.1", "[::ffff:127.0.0.1]"])
def test_servers_on_this_machine_are_never_connected_to(host: str):
    with serving(says(OK)) as server:
        answer = send(f"http://{host}:{server.port}/", allow=())
    assert (answer.ok, answer.error, server.connections) == (False, "refused_address", 0)
    assert "outbound.allow" in answer.detail


def test_a_name_that_changes_to_this_machine_after_it_was_checked_is_not_connected_to():
    with serving(says(OK)) as server:
        finds = iter([addresses_of(("93.184.216.34", server.port)), addresses_of(("127.0.0.1", server.port))])
        with webhook((), lambda *_: next(finds)) as hook:
            sink, problems = hook.parse({"type": "webhook", "url": f"http://rebinds.example:{server.port}/"})
            assert problems == []
            assert hook.send(sink, message(), [SECRET]).error == "refused_address"
    assert (list(finds), server.connections) == ([], 0)


def test_a_name_with_a_public_and_an_internal_address_is_not_connected_to():
    with serving(says(OK)) as server:
        both = addresses_of(("127.0.0.1", server.port), ("10.0.0.1", server.port))
        assert send("http://both.example/", lookup=lambda *_: both).error == "refused_address"
    assert server.connections == 0


def test_the_checked_addresses_are_connected_to_without_another_lookup():
    with serving(says(OK)) as server:
        finds = iter([addresses_of(("127.0.0.1", server.port)), addresses_of(("127.0.0.1", closed_port()))])
        assert send("http://rebinds.example/", lookup=lambda *_: next(finds)).ok
    assert len(list(finds)) == 1


def test_a_redirect_is_not_followed():
    with serving(says(OK)) as inside:
        for status in (301, 302, 303, 307, 308):
            answer = result_of(f"HTTP/1.1 {status} Moved\r\nLocation: {inside.url()}\r\nContent-Length: 0\r\n\r\n".encode())
            assert (answer.ok, answer.status, answer.error) == (False, status, "redirect")
    assert inside.connections == 0


def test_plain_http_is_not_sent_once_it_is_no_longer_allowed():
    with serving(says(OK)) as server:
        answer = send(server.url(), allow_http=False)
    assert (answer.error, server.connections) == ("refused_address", 0)


@pytest.fixture
def tls(tmp_path: Path) -> ssl.SSLContext:
    return serving_context(tmp_path)


def test_over_tls_a_trusted_certificate_of_the_host_is_accepted(tls: ssl.SSLContext):
    with serving(says(OK), tls=tls) as server:
        assert send(server.url(scheme="https"), trust=trusting(), allow_http=False).ok


def test_over_tls_the_certificate_must_be_of_the_name_and_not_of_the_address(tls: ssl.SSLContext):
    """The name is also sent to the server (SNI): one address may serve many names."""
    names: list[str | None] = []
    tls.sni_callback = lambda _, name, __: names.append(name)
    with serving(says(OK), tls=tls) as server:
        here = addresses_of(("127.0.0.1", server.port))
        answer = send("https://hooks.example/", trust=trusting(), lookup=lambda *_: here)
    assert (answer.error, names, server.asked) == ("not_connected", ["hooks.example"], [])


# Answers.


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_any_2xx_is_success(status: int):
    answer = result_of(f"HTTP/1.1 {status} Fine\r\nContent-Length: 0\r\n\r\n".encode())
    assert answer == SendResult(ok=True, status=status)


@pytest.mark.parametrize("status", [400, 401, 404, 429, 500, 502, 503])
def test_any_other_status_is_a_failure_and_the_beginning_of_the_answer_is_kept(status: int):
    answer = result_of(f"HTTP/1.1 {status} No\r\nContent-Length: 6\r\n\r\nno\x00\r\n!".encode())
    detail = f"answered {status}"
    assert answer == SendResult(ok=False, status=status, error="status", detail=detail, excerpt="no   !")


def test_410_marks_the_target_as_gone():
    assert result_of(b"HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n").gone


@pytest.mark.parametrize(("status", "name"), [(429, "Retry-After"), (503, "retry-after"), (500, "RETRY-AFTER")])
def test_a_failure_may_have_a_retry_after(status: int, name: str):
    assert result_of(f"HTTP/1.1 {status} No\r\n{name}: 7\r\nContent-Length: 0\r\n\r\n".encode()).retry_after_s == 7


def test_an_answer_that_does_not_come_times_out():
    ended = threading.Event()
    with serving(hangs(ended)) as server:
        assert send(server.url(), total_s=0.3).error == "timeout"
        ended.set()


def test_an_answer_that_trickles_times_out():
    def trickle(connection: socket.socket, _: bytes) -> None:
        pause = threading.Event()
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while not pause.wait(0.05):
            connection.sendall(b"a")

    with serving(trickle) as server:
        assert send(server.url(), total_s=0.3).error == "timeout"


def test_only_the_beginning_of_a_gigabyte_is_read():
    pieces = []

    def gush(connection: socket.socket, _: bytes) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n")
        for _ in range(1024):
            connection.sendall(b"a" * 1024 * 1024)
            pieces.append(1)

    with serving(gush) as server:
        assert send(server.url()) == SendResult(ok=True, status=200, excerpt="a" * 512)
        assert server.closed.wait(10)
    assert len(pieces) < 100


def test_more_than_4_kib_of_an_answer_are_not_waited_for():
    ended = threading.Event()

    def stops(connection: socket.socket, request: bytes) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n" + b"a" * 4097)
        hangs(ended)(connection, request)

    with serving(stops) as server:
        assert send(server.url()).ok
        ended.set()


@pytest.mark.parametrize(
    "answer",
    [b"", b"garbage\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort", b"HTTP/1.1 2"],
    ids=repr,
)
def test_an_incomplete_answer_is_cut_off(answer: bytes):
    result = result_of(answer)
    assert (result.ok, result.status, result.error) == (False, None, "cut_off")
    assert result.detail


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/", "http://no-such-host.invalid/", "https://127.0.0.1:1/"])
def test_without_a_server_the_failure_is_not_connected(url: str):
    answer = send(url)
    assert (answer.error, bool(answer.detail)) == ("not_connected", True)


@effort(80)
@given(
    status=st.integers(0, 1200),
    fields=st.lists(st.binary(max_size=40) | st.binary(max_size=20).map(lambda value: b"Retry-After: " + value), max_size=3),
    length=st.sampled_from(
        [b"Content-Length: 3", b"Content-Length: -1", b"Transfer-Encoding: chunked", b"Content-Encoding: gzip", b"X: y"]
    ),
    body=st.binary(max_size=200),
)
def test_any_answer_gives_a_result(status: int, fields: list[bytes], length: bytes, body: bytes):
    answer = result_of(b"\r\n".join([b"HTTP/1.1 %d OK" % status, length, *fields, b"", body]))
    assert answer.ok is (answer.error is None)
    assert answer.excerpt.isprintable()
    assert answer.detail.isprintable()


# Retry-After.


@pytest.mark.parametrize(
    ("hint", "seconds"),
    [
        ("0", 0),
        ("120", 120),
        ("86401", 86400),
        ("9" * 5000, 86400),
        ("Thu, 01 Jan 2026 00:01:30 GMT", 90),
        ("Thursday, 01-Jan-26 00:01:30 GMT", 90),
        ("Thu Jan  1 00:01:30 2026", 90),
        ("Fri, 01 Jan 2027 00:00:00 GMT", 86400),
    ],
)
def test_retry_after_is_seconds_or_a_date_and_at_most_a_day(hint: str, seconds: float):
    assert retry_after_s(hint, NOW) == seconds


@pytest.mark.parametrize(
    "hint",
    ["", "-1", "1.5", "1e3", "soon", "١٢", "Thu, 01 Jan 2025 00:00:00 GMT", "Thu, 41 Jan 2026 00:00:00 GMT", "0x10", "2026-01-02"],
)
def test_an_invalid_or_past_retry_after_is_none(hint: str):
    assert retry_after_s(hint, NOW) is None


@given(st.text(), st.integers(0, 4_000_000_000_000))
def test_any_retry_after_is_within_a_day_or_none(hint: str, at: int):
    assert 0 <= (retry_after_s(hint, at) or 0) <= 86400


# The sink in a subscription.


def test_a_public_url_is_valid_and_stored_unchanged():
    with webhook(lookup=lambda *_: addresses_of(("93.184.216.34", 443))) as hook:
        sink = {"type": "webhook", "url": "https://hooks.example/T0/B1?x=y"}
        assert hook.parse(sink) == (sink, [])


@pytest.mark.parametrize("url", [None, 1, ["https://hooks.example/"], {}])
def test_a_url_is_text(url: Any):
    with webhook() as hook:
        assert hook.parse({"type": "webhook", "url": url})[1] == [FieldProblem(field="sink.url", message="must be a url, as text")]


def test_members_that_are_missing_or_unknown_are_reported():
    with webhook() as hook:
        assert [problem.field for problem in hook.parse({"type": "webhook", "uri": "x"})[1]] == ["sink.url", "sink.uri"]


def test_targets_that_the_settings_do_not_allow_are_refused():
    hook = open_sink(Settings(outbound=OutboundSettings(allow=("10.0.0.0/8",))))
    told = {
        url: hook.parse({"type": "webhook", "url": url})[1]
        for url in ("https://10.0.0.1/", "https://192.168.0.1/", "http://1.1.1.1/")
    }
    assert [[problem.field for problem in problems] for problems in told.values()] == [[], ["sink.url"], ["sink.url"]]
    hook.close()


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://hooks.example:8443/T0/B1?token=abc", "https://hooks.example:8443/***"),
        ("https://hooks.example", "https://hooks.example/***"),
        ("https://[2606:4700::1111]:444?x", "https://[2606:4700::1111]:444/***"),
        ("https://user:pass@hooks.example/x", "https://hooks.example/***"),
    ],
)
def test_a_reader_without_the_right_to_keys_sees_neither_path_nor_query(url: str, shown: str):
    sink = {"type": "webhook", "url": url}
    with webhook() as hook:
        assert hook.masked(sink, keys=False) == {"type": "webhook", "url": shown}
        assert hook.masked(sink, keys=True) == sink
