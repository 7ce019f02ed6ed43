"""The client against real sockets on loopback: what it sends, how long it waits, and whether a call may have arrived."""

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from time import thread_time

import pytest

from adapters.clock import monotonic_s, now_ms
from adapters.http import BODY_LIMIT, HttpClient, HttpReply, NoReply
from adapters.http_messages import HttpRequest, WireError
from adapters.vendors import DIALECTS
from adapters.vendors.calls import Account, CallOutcome, TaskRef
from statemachine.states import Kind
from tests.support.running_simulator import simulator
from tests.support.start_calls import APPS
from tests.unit.adapters.scripted_server import OK, closed_port, hangs, says, says_and_closes, serving, serving_context, trusting


@pytest.fixture
def client() -> Iterator[HttpClient]:
    client = HttpClient(connect_s=1, total_s=5)
    yield client
    client.close()


@pytest.fixture
def hasty() -> Iterator[HttpClient]:
    client = HttpClient(connect_s=0.3, total_s=0.4)
    yield client
    client.close()


def request(url: str, method: str = "POST", body: bytes = b"{}", **headers: str) -> HttpRequest:
    return HttpRequest(method=method, url=url, headers=headers, body=body)


def error_of(client: HttpClient, url: str) -> WireError:
    with pytest.raises(NoReply) as caught:
        client.send(request(url))
    return caught.value.error


# Requests and replies.


def test_a_request_goes_out_as_it_was_signed(client: HttpClient) -> None:
    target = "/a/b?Action=Stop&Name=%E4%BD%A0%20%2Fx~-_.&X=a%2Bb"
    headers = {"Host": "api.example.com", "Authorization": "HMAC a, b=c", "X-Date": "20260101T000000Z"}
    with serving(says(OK)) as server:
        client.send(HttpRequest(method="POST", url=server.url(target), headers=headers, body=b'{"a": "\xc3\xa4"}'))

    head, _, body = server.asked[0].partition(b"\r\n\r\n")
    line, *sent = head.decode().split("\r\n")
    assert line == f"POST {target} HTTP/1.1"
    assert body == b'{"a": "\xc3\xa4"}'
    assert {f"{name}: {value}" for name, value in headers.items()} <= set(sent)
    assert [name.lower() for name, _, _ in (field.partition(":") for field in sent)].count("host") == 1


def test_a_get_has_no_body(client: HttpClient) -> None:
    with serving(says(OK)) as server:
        client.send(request(server.url("/?a=1"), method="GET", body=b""))
    assert b"content-length" not in server.asked[0].lower()
    assert server.asked[0].startswith(b"GET /?a=1 HTTP/1.1\r\n")


@pytest.mark.parametrize("status", [200, 301, 302, 307, 308, 400, 401, 429, 500, 502, 503])
def test_any_status_is_an_answer_and_no_redirect_is_followed(client: HttpClient, status: int) -> None:
    head = f"HTTP/1.1 {status} Whatever\r\nLocation: http://127.0.0.1:1/\r\nRetry-After: 7\r\nContent-Length: 4\r\n\r\n"
    with serving(says(head.encode(), b"body")) as server:
        reply = client.send(request(server.url()))
    headers = {"Location": "http://127.0.0.1:1/", "Retry-After": "7", "Content-Length": "4"}
    assert reply == HttpReply(status=status, headers=headers, body=b"body")
    assert len(server.asked) == 1


def test_of_odd_headers_no_url_is_told(client: HttpClient, caplog: pytest.LogCaptureFixture) -> None:
    with serving(says_and_closes(b"HTTP/1.1 200 OK\r\nodd\r\n\r\nok")) as server, pytest.raises(NoReply) as caught:
        client.send(request(server.url("/?key=sesame")))
    assert caught.value.error is WireError.CUT_OFF
    assert "sesame" not in caplog.text + str(caught.value)


def test_what_comes_behind_an_answer_is_not_taken_for_the_next_one(client: HttpClient) -> None:
    with serving(says(OK, OK), says(OK)) as server:
        assert [client.send(request(server.url())).body for _ in range(2)] == [b"ok", b"ok"]
    assert server.connections == 2


def test_a_header_with_a_line_break_is_not_sent(client: HttpClient) -> None:
    with serving(says(OK)) as server, pytest.raises(NoReply) as caught:
        client.send(request(server.url(), Name="a\r\nOther: b"))
    assert (caught.value.error, server.connections) == (WireError.NOT_SENT, 0)


def test_a_body_in_chunks_or_to_the_end_is_read(client: HttpClient) -> None:
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    with serving(says(chunked), says_and_closes(b"HTTP/1.1 200 OK\r\n\r\n", b"to the end")) as server:
        assert [client.send(request(server.url())).body for _ in range(2)] == [b"abcde", b"to the end"]


def test_connections_are_kept_for_the_next_request(client: HttpClient) -> None:
    with serving(says(OK), says(OK), says(OK)) as server:
        bodies = [client.send(request(server.url())).body for _ in range(3)]
    assert (bodies, server.connections) == ([b"ok"] * 3, 1)


def test_a_connection_that_the_server_closed_meanwhile_is_made_anew(client: HttpClient) -> None:
    with serving(says_and_closes(OK), says(OK)) as server:
        first = client.send(request(server.url())).body
        assert server.closed.wait(10)
        second = client.send(request(server.url())).body
    assert (first, second, server.connections) == (b"ok", b"ok", 2)


def test_a_connection_that_rested_long_is_made_anew() -> None:
    """Its server may be about to close it, and a request that is sent at that moment gets no reply."""
    with serving(says(OK), None, says(OK)) as server, closing(HttpClient(max_idle_s=0.0)) as client:
        client.send(request(server.url()))
        client.send(request(server.url()))
    assert server.connections == 2


def test_proxies_of_the_environment_are_not_used(client: HttpClient, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    with serving(says(OK)) as server:
        assert client.send(request(server.url())).body == b"ok"


# Requests that never arrived.


@pytest.mark.parametrize("url", ["http://no-such-host.invalid/", "http://[::1", "http://a..b/", f"http://{'a' * 64}.example/"])
def test_a_name_that_cannot_be_resolved_was_not_sent_to(client: HttpClient, url: str) -> None:
    assert error_of(client, url) is WireError.NOT_SENT


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_refused_connection_was_not_sent_on(client: HttpClient, scheme: str) -> None:
    assert error_of(client, f"{scheme}://127.0.0.1:{closed_port()}/") is WireError.NOT_SENT


def test_a_connection_that_is_not_made_in_time_was_not_sent_on(hasty: HttpClient) -> None:
    """The server does not accept, and its backlog is full."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(listener.getsockname())
        assert error_of(hasty, f"http://127.0.0.1:{listener.getsockname()[1]}/") is WireError.NOT_SENT
        for each in waiting:
            each.close()


def test_addresses_of_a_name_are_tried_in_turn_within_the_time(client: HttpClient, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(says(OK)) as server:
        ports = [closed_port(), server.port]
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)) for port in ports]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
        assert client.send(request("http://two.example/")).body == b"ok"


def test_over_tls_what_answers_in_the_clear_was_not_sent_to(client: HttpClient) -> None:
    """The handshake comes before the request."""
    listener = socket.create_server(("127.0.0.1", 0))

    def answer() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(OK)

    thread = threading.Thread(target=answer)
    thread.start()
    assert error_of(client, f"https://127.0.0.1:{listener.getsockname()[1]}/") is WireError.NOT_SENT
    thread.join()
    listener.close()


def test_over_tls_a_handshake_that_hangs_or_breaks_off_was_not_sent_on(hasty: HttpClient) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        assert error_of(hasty, f"https://127.0.0.1:{listener.getsockname()[1]}/") is WireError.NOT_SENT
    with serving(None) as server:
        assert error_of(hasty, server.url(scheme="https")) is WireError.NOT_SENT


@pytest.fixture
def tls(tmp_path: Path) -> ssl.SSLContext:
    return serving_context(tmp_path)


def test_over_tls_a_certificate_that_nobody_vouches_for_is_refused(client: HttpClient, tls: ssl.SSLContext) -> None:
    with serving(says(OK), tls=tls) as server:
        assert error_of(client, server.url(scheme="https")) is WireError.NOT_SENT
    assert server.asked == []


def test_over_tls_a_certificate_of_another_name_is_refused(tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch) -> None:
    client = HttpClient(trust=trusting())
    with serving(says(OK), tls=tls) as server:
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", server.port))]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
        assert error_of(client, "https://localhost/") is WireError.NOT_SENT
    assert server.asked == []


def test_over_tls_requests_are_answered_and_connections_kept(tls: ssl.SSLContext) -> None:
    client = HttpClient(trust=trusting())
    with serving(says(OK), says(OK), tls=tls) as server:
        bodies = [client.send(request(server.url(scheme="https"))).body for _ in range(2)]
        client.close()
    assert (bodies, server.connections) == ([b"ok"] * 2, 1)


def test_over_tls_an_answer_that_hangs_is_cut_off(tls: ssl.SSLContext) -> None:
    client = HttpClient(trust=trusting(), total_s=0.4)
    ended = threading.Event()
    with serving(hangs(ended), tls=tls) as server:
        assert error_of(client, server.url(scheme="https")) is WireError.CUT_OFF
        ended.set()


def at(*ports: int) -> list[tuple[object, ...]]:
    """Returns the result of a lookup: these ports of this machine."""
    return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)) for port in ports]


def test_a_name_is_looked_up_once_and_what_was_found_is_connected_to() -> None:
    asked = []
    with serving(says(OK)) as server, closing(HttpClient(resolve=lambda *it: (asked.append(it), at(server.port))[1])) as client:
        assert client.send(request("http://no-such-host.invalid:81/")).body == b"ok"
    assert asked == [("no-such-host.invalid", 81)]


def test_what_resolving_refuses_was_not_sent_to_and_its_words_are_kept() -> None:
    def refuse(host: str, _: int) -> list[tuple[object, ...]]:
        raise PermissionError(f"{host} is out of bounds")

    with pytest.raises(NoReply) as caught:
        HttpClient(resolve=refuse).send(request("https://inside.example/"))
    assert (caught.value.error, str(caught.value)) == (WireError.NOT_SENT, "inside.example is out of bounds")
    assert caught.value.is_caused_by(PermissionError)
    assert not caught.value.is_caused_by(ConnectionError)


def test_after_a_lookup_that_took_all_the_time_nothing_is_connected_to() -> None:
    with serving(says(OK)) as server:
        client = HttpClient(connect_s=0.05, resolve=lambda *_: (server.ended.wait(0.1), at(server.port))[1])
        assert error_of(client, "http://slow.example/") is WireError.NOT_SENT
    assert server.connections == 0


# Requests that may have arrived.


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"garbage",
        b"garbage\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"HTTP/1.1 zwei OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nab",
        b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 200 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nA: " + b"b" * 100_000,
    ],
    ids=repr,
)
def test_what_is_no_whole_answer_is_cut_off(client: HttpClient, said: bytes) -> None:
    with serving(says_and_closes(said)) as server:
        assert error_of(client, server.url()) is WireError.CUT_OFF
    assert len(server.asked) == 1


def test_a_connection_that_is_reset_is_cut_off(client: HttpClient) -> None:
    def reset(connection: socket.socket, _: bytes) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        connection.close()

    with serving(reset) as server:
        assert error_of(client, server.url()) is WireError.CUT_OFF


def test_an_answer_that_does_not_come_is_cut_off(hasty: HttpClient) -> None:
    ended = threading.Event()
    with serving(hangs(ended)) as server:
        assert error_of(hasty, server.url()) is WireError.CUT_OFF
        ended.set()


def test_whether_the_time_was_over_is_told_apart_from_a_broken_connection(hasty: HttpClient) -> None:
    ended = threading.Event()
    with serving(says_and_closes(b""), hangs(ended)) as server:
        for is_over in (False, True):
            with pytest.raises(NoReply) as caught:
                hasty.send(request(server.url()))
            assert caught.value.timed_out is is_over
        ended.set()


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nX: ",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffff\r\n",
    ],
    ids=["status line", "headers", "body", "body to the end", "chunk"],
)
def test_an_answer_that_drips_is_cut_off_when_the_time_is_over(hasty: HttpClient, head: bytes) -> None:
    """Each byte comes well within the time; all of them do not."""
    dripped = []

    def drip(connection: socket.socket, _: bytes) -> None:
        connection.sendall(head)
        pause = threading.Event()
        while len(dripped) < 200 and not pause.wait(0.05):
            connection.sendall(b"a")
            dripped.append(1)

    with serving(drip) as server:
        assert error_of(hasty, server.url()) is WireError.CUT_OFF
    assert len(dripped) < 100


def test_interim_answers_without_end_are_cut_off(hasty: HttpClient) -> None:
    def go_on(connection: socket.socket, _: bytes) -> None:
        pause = threading.Event()
        while not pause.wait(0.02):
            connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")

    with serving(go_on) as server:
        assert error_of(hasty, server.url()) is WireError.CUT_OFF


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
TRAILERS = CHUNKED + b"2\r\nok\r\n0\r\n"
_64K = 64 * 1024


@pytest.mark.parametrize("limit", [4096, BODY_LIMIT])
@pytest.mark.parametrize(
    ("begin", "endless"),
    [
        (TRAILERS, b"a" * _64K),
        (TRAILERS + b"a:", b"b" * _64K),
        (TRAILERS, b"a: b\r\n" * 10_000),
        (TRAILERS, b"a: b\r\n"),
        (CHUNKED + b"1;", b"x" * _64K),
        (CHUNKED, b"0" * _64K),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 2_000),
        (b"", b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n" * 2_000),
        (b"HTTP/1.1 200 OK\r\na: b\r\n", b" c\r\n" * 10_000),
        (b"HTTP/1.1 200 OK\r\n", b"a: b\r\n" * 10_000),
        (b"HTTP/1.1 200 OK\r\n", b"a" * _64K),
        (b"HTTP/1.1 200 ", b"a" * _64K),
        (TRAILERS + b"a:", b"b"),
        (b"HTTP/1.1 200 OK\r\na:", b"b"),
    ],
    ids=[
        "trailer name",
        "trailer value",
        "trailers",
        "trailers one by one",
        "chunk extension",
        "chunk size",
        "interim answers",
        "interim answers with headers",
        "folded lines",
        "headers",
        "header name",
        "reason",
        "trailer byte by byte",
        "header byte by byte",
    ],
)
def test_whatever_has_no_end_is_cut_off_after_so_many_bytes_and_reads(begin: bytes, endless: bytes, limit: int) -> None:
    """Before, a trailer or a chunk's extension took a core for as long as a reply may take, and 100 MB."""
    sent = []

    def go_on(connection: socket.socket, _: bytes) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(begin)
        while True:  # until the other side closes it
            connection.sendall(endless)
            sent.append(len(endless))

    with serving(go_on) as server, closing(HttpClient(connect_s=1, total_s=60, body_limit=limit)) as client:
        began_s = thread_time()
        assert error_of(client, server.url()) is WireError.CUT_OFF
        assert thread_time() - began_s < 2
    assert sum(sent) < 64 * 1024 * 1024, "what the sockets hold"


def test_a_body_in_small_chunks_is_read_as_long_as_it_is_most_of_what_comes(client: HttpClient) -> None:
    body = b"".join(b"%x;a=b\r\n%b\r\n" % (size, b"x" * size) for size in [16] * 20_000)
    with serving(says(CHUNKED, body, b"0\r\nDigest: abc\r\n\r\n"), says(OK)) as server:
        assert client.send(request(server.url())).body == b"x" * 320_000
        assert client.send(request(server.url())).body == b"ok"
    assert server.connections == 1


def test_a_request_that_is_not_read_is_given_up_in_time_over_tls_too(tmp_path: Path) -> None:
    """Each record of 16 KiB is taken well within the time; all of them are not."""

    def read_slowly(connection: socket.socket, _: bytes) -> None:
        pause = threading.Event()
        while connection.recv(16 * 1024) and not pause.wait(0.1):
            pass

    begin = [lambda connection, _: None, read_slowly]
    with serving(*begin, tls=serving_context(tmp_path)) as server:
        client = HttpClient(trust=trusting(), total_s=1)
        head = request(server.url(scheme="https"), body=b"")
        big = HttpRequest(method="POST", url=head.url, headers={"Content-Length": "0"}, body=bytes(16 * 1024 * 1024))
        began_s = monotonic_s()
        with pytest.raises(NoReply) as caught, closing(client):
            client.send(big)
    assert caught.value.timed_out
    assert monotonic_s() - began_s < 5


@pytest.mark.parametrize("size", [BODY_LIMIT, 50 * BODY_LIMIT])
def test_of_a_huge_body_the_beginning_is_read(client: HttpClient, size: int) -> None:
    def huge(connection: socket.socket, _: bytes) -> None:
        connection.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n".encode())
        for _ in range(size // 1024):
            connection.sendall(b"a" * 1024)
        connection.sendall(b"a" * (size % 1024))

    with serving(huge, says(OK)) as server:
        assert client.send(request(server.url())).body == b"a" * BODY_LIMIT
        assert client.send(request(server.url())).body == b"ok"
    assert server.connections == (1 if size == BODY_LIMIT else 2)


def test_how_much_of_a_body_is_read_can_be_said() -> None:
    four, eight = (b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + b"abcdefgh"[:size] for size in (4, 8))
    with serving(says(four), says(eight), says(OK)) as server, closing(HttpClient(body_limit=4)) as client:
        assert [client.send(request(server.url())).body for _ in range(3)] == [b"abcd", b"abcd", b"ok"]
    assert server.connections == 2


def test_a_body_that_says_it_is_packed_is_not_unpacked(client: HttpClient) -> None:
    """A small body could become a huge one."""
    with serving(says(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc")) as server:
        assert client.send(request(server.url())).body == b"abc"


@pytest.mark.parametrize("vendor", APPS)
def test_what_was_signed_holds_over_the_wire(client: HttpClient, vendor: str) -> None:
    """For queries, some with parameters in the url: the vendor knows no such task, but accepts the signature."""
    dialect, app = DIALECTS[vendor], APPS[vendor]
    task = TaskRef(kind=Kind.RECORD, app_id=app.app_id, room_id="room@1", vendor_task_id="t@1")
    (call,) = dialect.inspect(task)
    with simulator() as vendors:
        url = f"http://127.0.0.1:{vendors.port}"
        account = Account(access_key_id=app.access_key_id, secret_access_key=app.secret_access_key, endpoint=url)
        reply = client.send(dialect.sign(call, account, now_ms()))
    answer = dialect.read_answer(call, reply.status, reply.headers, reply.body, received_at=now_ms())
    assert answer.outcome is CallOutcome.ALREADY_GONE, answer


def test_many_threads_may_send_at_once(client: HttpClient) -> None:
    with serving(says(OK)) as one, serving(says(OK)) as two:
        replies: list[int] = []
        threads = [threading.Thread(target=lambda s=s: replies.append(client.send(request(s.url())).status)) for s in (one, two)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert replies == [200, 200]


def test_connections_are_closed_with_a_client_that_nobody_has_any_more() -> None:
    with serving(says(OK), says(OK)) as server:
        forgotten = HttpClient()
        forgotten.send(request(server.url()))
        del forgotten
        assert server.closed.wait(10)
