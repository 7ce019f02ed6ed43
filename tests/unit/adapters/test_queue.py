"""Hints reach every worker soon, few stand for any number of rings, and nothing that happens to Redis ends or holds up anybody."""

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import dramatiq
import pytest
import redis

from adapters.queue import Notifier, open_broker, open_hints, queue_of
from adapters.queue.backoff import Outage
from adapters.queue.notifier import APPLY_ACTOR
from adapters.queue.redis_broker import NAMESPACE, HintBroker
from adapters.queue.redis_client import open_redis_client
from tests.support.server_processes import RedisServer, redis_server

#: Whatever a test waits for takes far less, s.
PATIENCE_S = 20
#: By then hints are sent and taken again, whatever happened: two of the longest rests, s.
BACK_S = 5


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with redis_server(tmp_path) as server:
        yield server


@pytest.fixture
def admin(server: RedisServer) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(server.url) as admin:
        yield admin


class Hand:
    """A worker that counts the hints it takes, and that can be held up in the midst of one."""

    def __init__(self, broker: dramatiq.Broker, taken: Callable[[], None] = lambda: None, *, wait_ms: int = 50) -> None:
        self.broker = broker
        self.hints = 0
        self._told_hint = taken
        self._news = threading.Condition()
        self._free = threading.Event()
        self._free.set()
        dramatiq.actor(self._take, broker=broker, actor_name=APPLY_ACTOR, queue_name=queue_of(broker))
        self.worker = dramatiq.Worker(broker, queues={queue_of(broker)}, worker_timeout=wait_ms, worker_threads=1)
        self.worker.start()

    def _take(self) -> None:
        self._told_hint()
        with self._news:
            self.hints += 1
            self._news.notify_all()
        self._free.wait(PATIENCE_S)

    def awaits(self, hints: int, within_s: float = PATIENCE_S) -> bool:
        with self._news:
            return self._news.wait_for(lambda: self.hints >= hints, within_s)

    @contextmanager
    def busy(self) -> Iterator[None]:
        self._free.clear()
        yield
        self._free.set()

    def stop(self) -> None:
        self._free.set()
        self.worker.stop()
        self.broker.close()

    @property
    def threads(self) -> list[threading.Thread]:
        return [*self.worker.workers, *self.worker.consumers.values()]


class Post:
    """A bell as `tally web` has one. `failures`: what it said."""

    def __init__(self, url: str) -> None:
        self.broker = open_broker(url)
        self.hints = open_hints(url)
        self.failures: list[Exception] = []
        self.bell = Notifier(self.broker, self.hints, self.failures.append)
        self.bell.start()

    def stop(self) -> None:
        self.bell.stop()
        self.broker.close()


class Street:
    """Posts and hands on one Redis."""

    def __init__(self, url: str, posts: int, hands: int) -> None:
        self.posts = [Post(url) for _ in range(posts)]
        self.hands = [Hand(open_broker(url)) for _ in range(hands)]

    def announced(self, admin: redis.Redis) -> None:
        until(lambda: admin.zcard(f"{NAMESPACE}:workers") >= len(self.hands))

    def wakes_all(self) -> None:
        """A ring, or one of a few, wakes every hand."""
        were = [hand.hints for hand in self.hands]
        give_up_at = time.monotonic() + BACK_S
        while not all(hand.awaits(before + 1, within_s=0.1) for hand, before in zip(self.hands, were, strict=True)):
            assert time.monotonic() < give_up_at, "nobody is woken any more"
            self.posts[0].bell.notify()

    def lives(self) -> bool:
        return all(thread.is_alive() for hand in self.hands for thread in hand.threads)

    def stop(self) -> None:
        for each in (*self.posts, *self.hands):
            each.stop()


@contextmanager
def street(url: str, admin: redis.Redis, *, posts: int = 1, hands: int = 1) -> Iterator[Street]:
    made = Street(url, posts, hands)
    try:
        made.announced(admin)
        yield made
    finally:
        made.stop()


def until(holds: Callable[[], Any]) -> None:
    give_up_at = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < give_up_at
        time.sleep(0.01)  # another server tells nobody what it has become


def ring(post: Post, times: int, *, every_s: float = 0.0) -> float:
    """The longest that a ring held up who rang, s."""
    longest = 0.0
    for _ in range(times):
        began = time.monotonic()
        post.bell.notify()
        longest = max(longest, time.monotonic() - began)
        time.sleep(every_s)
    return longest


def test_one_ring_wakes_every_worker_once(server: RedisServer, admin: redis.Redis):
    with street(server.url, admin, hands=4) as made:
        made.posts[0].bell.notify()
        assert all(hand.awaits(1) for hand in made.hands)
        assert not any(hand.awaits(2, within_s=0.1) for hand in made.hands)


def test_thousands_of_rings_leave_one_hint_with_a_busy_worker(server: RedisServer, admin: redis.Redis):
    with street(server.url, admin, posts=3, hands=2) as made:
        with ExitStack() as busy:
            for hand in made.hands:
                busy.enter_context(hand.busy())
            made.posts[0].bell.notify()
            assert all(hand.awaits(1) for hand in made.hands)
            for post in made.posts:
                ring(post, 2_000, every_s=0.0002)
            waiting = [admin.llen(f"{NAMESPACE}:{queue_of(hand.broker)}") for hand in made.hands]
            assert all(1 <= hints <= len(made.posts) for hints in waiting), waiting
        assert all(hand.awaits(2) for hand in made.hands)
        assert not any(hand.awaits(4, within_s=0.2) for hand in made.hands), "hints that waited together are one"


def test_what_a_quick_worker_gets_is_bounded_by_time_and_not_by_rings(server: RedisServer, admin: redis.Redis):
    with street(server.url, admin, posts=3) as made:
        began = time.monotonic()
        rings = 0
        while time.monotonic() - began < 1:
            for post in made.posts:
                post.bell.notify()
                rings += 1
            time.sleep(0.0002)
        assert made.hands[0].hints <= 110 * (time.monotonic() - began)
        assert rings > 10 * made.hands[0].hints


def test_no_hint_is_kept_where_nobody_works(server: RedisServer, admin: redis.Redis):
    post = Post(server.url)
    ring(post, 500, every_s=0.0002)
    post.stop()
    assert not post.failures
    assert admin.keys("*hints*") == []


def test_an_idle_worker_asks_redis_a_few_times_a_second(server: RedisServer, admin: redis.Redis):
    hand = Hand(open_broker(server.url), wait_ms=250)
    until(lambda: admin.zcard(f"{NAMESPACE}:workers"))
    before = admin.info("commandstats")
    time.sleep(2)  # that long is looked at
    after = admin.info("commandstats")
    asked = {name: told["calls"] - before.get(name, {"calls": 0})["calls"] for name, told in after.items()}
    hand.stop()
    assert asked["cmdstat_blmove"] + asked["cmdstat_evalsha"] <= 12, asked


def test_a_worker_that_ends_leaves_nothing_behind(server: RedisServer, admin: redis.Redis):
    with street(server.url, admin):
        pass
    assert admin.keys("*hints*") == []
    assert admin.zcard(f"{NAMESPACE}:workers") == 0


def test_what_a_killed_worker_leaves_behind_is_removed_by_those_who_live(server: RedisServer, admin: redis.Redis):
    dead = open_broker(server.url)
    assert isinstance(dead, HintBroker)
    for _ in range(2):
        dead.enqueue(dramatiq.Message(queue_name=dead.own_queue, actor_name=APPLY_ACTOR, args=(), kwargs={}, options={}))
    dead.do_fetch(dead.own_queue, 1)
    admin.zadd(f"{NAMESPACE}:workers", {dead.own_queue: time.time() * 1000 - 120_000})
    assert len(admin.keys(f"*{dead.broker_id}*")) == 3
    with street(server.url, admin) as made:
        until(lambda: admin.keys(f"*{dead.broker_id}*") == [])
        made.wakes_all()
    dead.close()


def test_a_worker_that_died_is_not_rung_for_long(server: RedisServer, admin: redis.Redis):
    hints = open_hints(server.url)
    with street(server.url, admin) as made:
        admin.zadd(f"{NAMESPACE}:workers", {"hints.dead": time.time() * 1000 - 1})
        assert hints.queues_without_hint() == [queue_of(made.hands[0].broker)]
    hints.close()


def test_a_flushed_redis_costs_a_hint_and_no_more(server: RedisServer, admin: redis.Redis):
    with street(server.url, admin, hands=2) as made:
        with made.hands[0].busy(), made.hands[1].busy():
            made.posts[0].bell.notify()
            assert all(hand.awaits(1) for hand in made.hands)
            made.posts[0].bell.notify()
            until(lambda: all(admin.llen(f"{NAMESPACE}:{queue_of(hand.broker)}") for hand in made.hands))
            admin.flushall()
        made.wakes_all()
        assert made.lives()
        assert not made.posts[0].failures


def test_killed_connections_are_made_anew(server: RedisServer, admin: redis.Redis):
    with street(server.url, admin, hands=2) as made:
        for _ in range(5):
            admin.client_kill_filter(_type="normal", skipme=True)
            made.wakes_all()
        assert made.lives()


def test_redis_may_be_gone_for_a_while(server: RedisServer, admin: redis.Redis):
    with street(server.url, admin, hands=2) as made:
        server.stop()
        assert ring(made.posts[0], 2_000, every_s=0.0005) < 0.2
        assert len(made.posts[0].failures) == 1, "it is said once, not at every try"
        server.start()
        made.wakes_all()
        assert made.lives()


def test_a_redis_that_hangs_holds_up_nobody_who_rings(server: RedisServer, admin: redis.Redis):
    with street(server.url, admin) as made:
        server_id = int(admin.info("server")["process_id"])
        os.kill(server_id, signal.SIGSTOP)
        try:
            assert ring(made.posts[0], 500) < 0.2
            until(lambda: made.posts[0].failures)
        finally:
            os.kill(server_id, signal.SIGCONT)
        made.wakes_all()
        assert made.lives()


def test_a_paused_redis_is_waited_for(server: RedisServer, admin: redis.Redis):
    with street(server.url, admin) as made:
        admin.client_pause(2_500)
        assert ring(made.posts[0], 500, every_s=0.005) < 0.2
        made.wakes_all()
        assert made.lives()


def test_a_master_that_is_demoted_and_comes_back_is_survived(server: RedisServer, admin: redis.Redis, tmp_path: Path):
    (tmp_path / "other").mkdir()
    with redis_server(tmp_path / "other") as other, street(server.url, admin, hands=2) as made:
        admin.replicaof("127.0.0.1", str(other.url.rsplit(":", 1)[1].split("/")[0]))
        made.posts[0].bell.notify()
        until(lambda: made.posts[0].failures)
        assert made.lives()
        admin.replicaof("NO", "ONE")
        made.wakes_all()
        assert made.lives()


class Signpost:
    """A name that leads to one server or another."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, port: int) -> None:
        self.port = port
        self.asked = 0
        self._resolve = socket.getaddrinfo
        monkeypatch.setattr(socket, "getaddrinfo", self._lead)

    url = "redis://queue.test:6379/0"

    def _lead(self, host: Any, *arguments: Any, **options: Any) -> Any:
        if host != "queue.test":
            return self._resolve(host, *arguments, **options)
        self.asked += 1
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", self.port))]


def port_of(server: RedisServer) -> int:
    return int(redis.connection.parse_url(server.url)["port"])


def test_clients_follow_a_name_to_another_server(
    server: RedisServer, admin: redis.Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "new").mkdir()
    name = Signpost(monkeypatch, port_of(server))
    with redis_server(tmp_path / "new") as new, street(name.url, admin, hands=2) as made:
        name.port = port_of(new)
        server.stop()
        made.wakes_all()
        assert made.lives()


def test_clients_leave_a_demoted_server_that_goes_on_answering(
    server: RedisServer, admin: redis.Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "new").mkdir()
    name = Signpost(monkeypatch, port_of(server))
    with redis_server(tmp_path / "new") as new, street(name.url, admin, hands=2) as made:
        admin.replicaof("127.0.0.1", str(port_of(new)))
        name.port = port_of(new)
        made.wakes_all()
        assert made.lives()


def test_connections_are_made_anew_once_a_minute(server: RedisServer, monkeypatch: pytest.MonkeyPatch):
    """So that a server that was replaced, and goes on answering all the same, is left."""
    now = [0.0]
    monkeypatch.setattr("adapters.queue.redis_client.monotonic_s", lambda: now[0])
    name = Signpost(monkeypatch, port_of(server))
    with open_redis_client(name.url) as client:
        asked = []
        for now[0] in (0.0, 59.0, 61.0, 100.0, 122.0):
            client.ping()
            asked.append(name.asked)
    assert asked == [1, 1, 2, 2, 3]


@pytest.mark.parametrize("word", [b"-LOADING Redis is loading the dataset in memory\r\n", b"-MASTERDOWN Link is down\r\n", b""])
def test_a_server_that_is_not_ready_is_asked_again(
    word: bytes, server: RedisServer, admin: redis.Redis, monkeypatch: pytest.MonkeyPatch
):
    name = Signpost(monkeypatch, port_of(server))
    with not_ready(word) as port, street(name.url, admin) as made:
        name.port = port
        admin.client_kill_filter(_type="normal", skipme=True)
        until(lambda: (made.posts[0].bell.notify(), made.posts[0].failures)[1])
        name.port = port_of(server)
        made.wakes_all()
        assert made.lives()


@contextmanager
def not_ready(word: bytes) -> Iterator[int]:
    """A server that says the same to whatever it is asked, or hangs up where that is nothing; its port."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        ended = threading.Thread(target=_say, args=(listening, word), daemon=True)
        ended.start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)
        ended.join(PATIENCE_S)


def _say(listening: socket.socket, word: bytes) -> None:
    while True:
        try:
            connection, _ = listening.accept()
        except OSError:
            return
        with connection:
            connection.settimeout(0.2)
            try:
                while word and connection.recv(65_536):
                    connection.sendall(word)
            except OSError:
                pass


def test_an_outage_is_told_once_in_a_while_and_rests_grow():
    told: list[Exception] = []
    outage = Outage(told.append)
    rests = [outage.record_failure(OSError("away")) for _ in range(20)]
    assert len(told) == 1
    assert rests[0] <= 0.05
    assert all(0.5 <= rest <= 1 for rest in rests[-5:])
    outage.record_success()
    assert outage.record_failure(OSError("away again")) <= 0.05
    assert len(told) == 1, "one that comes and goes is not told at every turn"


def test_an_outage_that_lasts_is_told_again():
    told: list[Exception] = []
    outage = Outage(told.append, report_interval_s=0)
    for _ in range(3):
        outage.record_failure(OSError("away"))
    assert len(told) == 3


def test_in_one_process_thousands_of_rings_leave_one_hint():
    post = Post("")
    hand = Hand(post.broker, post.hints.mark_received)
    with hand.busy():
        post.bell.notify()
        assert hand.awaits(1)
        ring(post, 5_000)
    assert hand.awaits(2)
    assert not hand.awaits(4, within_s=0.1), "the last ring may have come when the second hint was just taken"
    hand.stop()
    post.stop()


def test_the_bell_outlives_whatever_goes_wrong():
    post = Post("")

    class Broken:
        tries = 0

        def wanting(self) -> list[str]:
            self.tries += 1
            raise MemoryError

        def taken(self) -> None: ...

        def close(self) -> None: ...

    broken = Broken()
    bell = Notifier(post.broker, broken, post.failures.append)
    bell.start()
    until(lambda: (bell.notify(), broken.tries > 2)[1])
    bell.stop()
    assert [type(error) for error in post.failures] == [MemoryError]
    post.stop()
