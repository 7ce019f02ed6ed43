"""Events become entries of a stream in a real Redis; every failure gives a result."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from adapters.contract.cloud_events import event_bytes
from adapters.contract.cloud_events import test_event as made_event
from adapters.downstream.redis_stream import RedisStream, open_sink
from adapters.downstream.sink import Message, SendResult
from adapters.settings import QueueSettings, Settings, StreamSettings
from adapters.text import FieldProblem
from tests.support.server_processes import RedisServer, redis_server
from tests.unit.adapters.scripted_server import closed_port, hangs, serving

SINK = {"type": "redis", "stream": "tasks"}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with redis_server(tmp_path) as server:
        yield server


@pytest.fixture
def admin(server: RedisServer) -> Iterator[Any]:
    with redis.Redis.from_url(server.url) as admin:
        yield admin


@pytest.fixture
def stream(server: RedisServer) -> Iterator[RedisStream]:
    stream = RedisStream(server.url, 1000)
    yield stream
    stream.close()


def message(number: int = 1) -> Message:
    return Message(id=f"e{number}", body=json.dumps({"id": number, "who": "Zoë"}, ensure_ascii=False).encode(), at=0)


def test_an_event_becomes_an_entry_as_it_is(stream: RedisStream, admin: Any):
    assert stream.send(SINK, message(), ()) == SendResult(ok=True)
    ((_, entry),) = admin.xrange("tasks")
    assert entry == {b"event": '{"id": 1, "who": "Zoë"}'.encode()}


def test_entries_keep_their_order(stream: RedisStream, admin: Any):
    for number in range(20):
        stream.send(SINK, message(number), ())
    assert [json.loads(entry[b"event"])["id"] for _, entry in admin.xrange("tasks")] == list(range(20))


def test_about_as_many_entries_are_kept_as_configured(server: RedisServer, admin: Any):
    stream = RedisStream(server.url, 100)
    for number in range(500):
        stream.send(SINK, event(number), ())
    assert 100 <= admin.xlen("tasks") <= 250
    stream.close()


def event(number: int) -> Message:
    """Returns a real test event."""
    return Message(id=f"e{number}", body=event_bytes(made_event("0" * 26, number, 0)), at=0)


def test_a_stream_of_another_program_is_never_trimmed(server: RedisServer, admin: Any):
    for number in range(506):
        admin.xadd("victim", {"event": f"theirs {number}"})
    stream = RedisStream(server.url, 100)
    for number in range(150):
        assert stream.send({**SINK, "stream": "victim"}, event(number), ()) == SendResult(ok=True)
    assert admin.xlen("victim") == 506 + 150
    admin.xtrim("victim", maxlen=150, approximate=False)  # its owner may trim it
    admin.xadd("victim", {"event": "theirs again"})
    for number in range(300):
        stream.send({**SINK, "stream": "victim"}, event(number), ())
    assert [entry for _, entry in admin.xrange("victim") if entry[b"event"] == b"theirs again"] != []
    stream.close()


def test_a_stream_that_was_flushed_or_recreated_by_another_program_is_judged_by_its_entries(server: RedisServer, admin: Any):
    stream = RedisStream(server.url, 100)
    for number in range(250):
        stream.send(SINK, event(number), ())
    assert admin.xlen("tasks") <= 200
    admin.flushall()
    for number in range(20):
        admin.xadd("tasks", {"n": number})
    for number in range(250):
        stream.send(SINK, event(number), ())
    assert admin.xlen("tasks") == 270
    stream.close()


def test_many_threads_may_send_at_once(stream: RedisStream, admin: Any):
    threads = [threading.Thread(target=stream.send, args=(SINK, message(number), ())) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert admin.xlen("tasks") == 16


def test_a_key_of_another_type_is_refused_with_the_servers_message(stream: RedisStream, admin: Any):
    admin.set("tasks", "x")
    answer = stream.send(SINK, message(), ())
    assert (answer.ok, answer.error) == (False, "refused")
    assert "wrong kind of value" in answer.detail


def test_a_full_server_refuses(stream: RedisStream, admin: Any):
    admin.config_set("maxmemory", "1")
    assert stream.send(SINK, message(), ()).error == "refused"


def test_a_wrong_password_is_reported_and_not_shown(server: RedisServer, admin: Any):
    admin.config_set("requirepass", "right")
    stream = RedisStream(server.url.replace("//", "//:sesame@"), 1000)
    answer = stream.send(SINK, message(), ())
    assert (answer.ok, answer.error) == (False, "not_connected")
    assert "sesame" not in repr(answer)
    stream.close()


def test_a_server_that_is_gone_is_not_connected_to_and_reconnected_later(server: RedisServer, stream: RedisStream):
    assert stream.send(SINK, message(), ()).ok
    server.stop()
    assert stream.send(SINK, message(), ()).error == "not_connected"
    server.start()
    assert stream.send(SINK, message(), ()).ok


@pytest.mark.parametrize(
    "url", ["redis://a..b/0", "unix:///no/such.sock", "redis://no-such-host.invalid/0", "redis://127.0.0.1:1/0"]
)
def test_without_a_server_nothing_is_raised(url: str):
    answer = RedisStream(url, 1000).send(SINK, message(), ())
    assert not answer.ok
    assert answer.detail


def test_a_server_that_is_silent_times_out():
    ended = threading.Event()
    with serving(hangs(ended)) as silent:
        assert RedisStream(f"redis://127.0.0.1:{silent.port}/0", 1000).send(SINK, message(), ()).error == "timeout"
        ended.set()


# The sink in a subscription.


@pytest.mark.parametrize("name", ["a", "tally:events", "tally.tasks", "a" * 200, "Tasks/1"])
def test_a_name_is_printable_ascii_without_blanks(name: str):
    sink = {"type": "redis", "stream": name}
    assert RedisStream("redis://x", 1).parse(sink) == (sink, [])


@pytest.mark.parametrize(
    "name",
    ["", "a b", "a\n", "ä", "a" * 201, "dramatiq:default", "tally:workers", "tally:hints.x", "tally:__acks__", 1, None, ["a"]],
)
def test_any_other_name_and_any_key_of_a_queue_is_refused(name: Any):
    _, (problem,) = RedisStream("redis://x", 1).parse({"type": "redis", "stream": name})
    assert problem.field == "sink.stream"
    assert problem.message.startswith("must be 1 to 200 printable ASCII characters")


def test_without_a_redis_every_sink_is_invalid_and_the_setting_is_named():
    stream = open_sink(Settings())
    _, problems = stream.parse(SINK)
    message_ = "must not be redis: there is no Redis; set streams.url (or queue.url)"
    assert problems == [FieldProblem(field="sink.type", message=message_)]
    assert stream.send(SINK, message(), ()).error == "not_connected"
    stream.close()


def test_members_that_are_missing_or_unknown_are_reported():
    _, problems = RedisStream("redis://x", 1).parse({"type": "redis", "url": "x"})
    assert [problem.field for problem in problems] == ["sink.stream", "sink.url"]


@pytest.mark.parametrize("streams", ["", "own"])
def test_its_redis_is_the_streams_own_or_else_the_queues(server: RedisServer, admin: Any, streams: str):
    queue = QueueSettings(url=f"redis://127.0.0.1:{closed_port()}/0" if streams else server.url)
    sink = open_sink(Settings(queue=queue, streams=StreamSettings(url=server.url if streams else "")))
    assert sink.send(SINK, message(), ()).ok
    sink.close()


@pytest.mark.parametrize("keys", [True, False])
def test_every_reader_sees_all_of_it(keys: bool):
    assert RedisStream("", 1).masked(SINK, keys=keys) == SINK
