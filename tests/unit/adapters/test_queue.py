"""Hints reach every worker soon, few stand for any number of notifications, and no failure of Redis ends or blocks a thread."""

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

#: Timeout of a test, s; everything it waits for takes far less.
PATIENCE_S = 20
#: Time after which hints work again, whatever happened, s: two of the longest pauses.
BACK_S = 5


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with redis_server(tmp_path) as server:
        yield server


@pytest.fixture
def admin(server: RedisServer) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(server.url) as admin:
        yield admin


class CountingWorker:
    """A worker that counts its hints, and that can be blocked while it handles one."""

    def __init__(self, broker: dramatiq.Broker, on_hint: Callable[[], None] = lambda: None, *, wait_ms: int = 50) -> None:
        self.broker = broker
        self.hints = 0
        self._on_hint = on_hint
        self._hint_arrived = threading.Condition()
        self._unblocked = threading.Event()
        self._unblocked.set()
        dramatiq.actor(self._handle_hint, broker=broker, actor_name=APPLY_ACTOR, queue_name=queue_of(broker))
        self.dramatiq_worker = dramatiq.Worker(broker, queues={queue_of(broker)}, worker_timeout=wait_ms, worker_threads=1)
        self.dramatiq_worker.start()

    def _handle_hint(self) -> None:
        self._on_hint()
        with self._hint_arrived:
            self.hints += 1
            self._hint_arrived.notify_all()
        self._unblocked.wait(PATIENCE_S)

    def wait_for_hints(self, hints: int, within_s: float = PATIENCE_S) -> bool:
        with self._hint_arrived:
            return self._hint_arrived.wait_for(lambda: self.hints >= hints, within_s)

    @contextmanager
    def blocked(self) -> Iterator[None]:
        self._unblocked.clear()
        yield
        self._unblocked.set()

    def stop(self) -> None:
        self._unblocked.set()
        self.dramatiq_worker.stop()
        self.broker.close()

    @property
    def threads(self) -> list[threading.Thread]:
        return [*self.dramatiq_worker.workers, *self.dramatiq_worker.consumers.values()]


class Sender:
    """A notifier as `tally web` has one. `failures`: the reported errors."""

    def __init__(self, url: str) -> None:
        self.broker = open_broker(url)
        self.hints = open_hints(url)
        self.failures: list[Exception] = []
        self.notifier = Notifier(self.broker, self.hints, self.failures.append)
        self.notifier.start()

    def stop(self) -> None:
        self.notifier.stop()
        self.broker.close()


class Stack:
    """Senders and workers on one Redis."""

    def __init__(self, url: str, senders: int, workers: int) -> None:
        self.senders = [Sender(url) for _ in range(senders)]
        self.workers = [CountingWorker(open_broker(url)) for _ in range(workers)]

    def wait_until_announced(self, admin: redis.Redis) -> None:
        until(lambda: admin.zcard(f"{NAMESPACE}:workers") >= len(self.workers))

    def assert_all_wake(self) -> None:
        """Asserts that one of a few notifications wakes every worker."""
        counts = [worker.hints for worker in self.workers]
        give_up_at = time.monotonic() + BACK_S
        while not all(worker.wait_for_hints(count + 1, within_s=0.1) for worker, count in zip(self.workers, counts, strict=True)):
            assert time.monotonic() < give_up_at, "no worker is woken any more"
            self.senders[0].notifier.notify()

    def is_alive(self) -> bool:
        return all(thread.is_alive() for worker in self.workers for thread in worker.threads)

    def stop(self) -> None:
        for part in (*self.senders, *self.workers):
            part.stop()


@contextmanager
def stack(url: str, admin: redis.Redis, *, senders: int = 1, workers: int = 1) -> Iterator[Stack]:
    running = Stack(url, senders, workers)
    try:
        running.wait_until_announced(admin)
        yield running
    finally:
        running.stop()


def until(condition: Callable[[], Any]) -> None:
    give_up_at = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < give_up_at
        time.sleep(0.01)  # the state of another server can only be polled


def notify(sender: Sender, times: int, *, every_s: float = 0.0) -> float:
    """Notifies many times. Returns the longest duration of a call, s."""
    longest = 0.0
    for _ in range(times):
        began = time.monotonic()
        sender.notifier.notify()
        longest = max(longest, time.monotonic() - began)
        time.sleep(every_s)
    return longest


def test_one_notification_wakes_every_worker_once(server: RedisServer, admin: redis.Redis):
    with stack(server.url, admin, workers=4) as running:
        running.senders[0].notifier.notify()
        assert all(worker.wait_for_hints(1) for worker in running.workers)
        assert not any(worker.wait_for_hints(2, within_s=0.1) for worker in running.workers)


def test_thousands_of_notifications_leave_one_hint_with_a_busy_worker(server: RedisServer, admin: redis.Redis):
    with stack(server.url, admin, senders=3, workers=2) as running:
        with ExitStack() as blocked:
            for worker in running.workers:
                blocked.enter_context(worker.blocked())
            running.senders[0].notifier.notify()
            assert all(worker.wait_for_hints(1) for worker in running.workers)
            for sender in running.senders:
                notify(sender, 2_000, every_s=0.0002)
            waiting = [admin.llen(f"{NAMESPACE}:{queue_of(worker.broker)}") for worker in running.workers]
            assert all(1 <= hints <= len(running.senders) for hints in waiting), waiting
        assert all(worker.wait_for_hints(2) for worker in running.workers)
        assert not any(worker.wait_for_hints(4, within_s=0.2) for worker in running.workers), "hints that waited together are one"


def test_the_hints_of_a_fast_worker_are_limited_by_time_and_not_by_notifications(server: RedisServer, admin: redis.Redis):
    with stack(server.url, admin, senders=3) as running:
        began = time.monotonic()
        notifications = 0
        while time.monotonic() - began < 1:
            for sender in running.senders:
                sender.notifier.notify()
                notifications += 1
            time.sleep(0.0002)
        assert running.workers[0].hints <= 110 * (time.monotonic() - began)
        assert notifications > 10 * running.workers[0].hints


def test_no_hint_is_kept_without_workers(server: RedisServer, admin: redis.Redis):
    sender = Sender(server.url)
    notify(sender, 500, every_s=0.0002)
    sender.stop()
    assert not sender.failures
    assert admin.keys("*hints*") == []


def test_an_idle_worker_queries_redis_a_few_times_a_second(server: RedisServer, admin: redis.Redis):
    worker = CountingWorker(open_broker(server.url), wait_ms=250)
    until(lambda: admin.zcard(f"{NAMESPACE}:workers"))
    before = admin.info("commandstats")
    time.sleep(2)  # the measured time
    after = admin.info("commandstats")
    calls = {name: stats["calls"] - before.get(name, {"calls": 0})["calls"] for name, stats in after.items()}
    worker.stop()
    assert calls["cmdstat_blmove"] + calls["cmdstat_evalsha"] <= 12, calls


def test_a_worker_that_ends_leaves_nothing_behind(server: RedisServer, admin: redis.Redis):
    with stack(server.url, admin):
        pass
    assert admin.keys("*hints*") == []
    assert admin.zcard(f"{NAMESPACE}:workers") == 0


def test_the_keys_of_a_killed_worker_are_removed_by_live_workers(server: RedisServer, admin: redis.Redis):
    dead = open_broker(server.url)
    assert isinstance(dead, HintBroker)
    for _ in range(2):
        dead.enqueue(dramatiq.Message(queue_name=dead.own_queue, actor_name=APPLY_ACTOR, args=(), kwargs={}, options={}))
    dead.do_fetch(dead.own_queue, 1)
    admin.zadd(f"{NAMESPACE}:workers", {dead.own_queue: time.time() * 1000 - 120_000})
    assert len(admin.keys(f"*{dead.broker_id}*")) == 3
    with stack(server.url, admin) as running:
        until(lambda: admin.keys(f"*{dead.broker_id}*") == [])
        running.assert_all_wake()
    dead.close()


def test_a_dead_worker_gets_no_hints_for_long(server: RedisServer, admin: redis.Redis):
    hints = open_hints(server.url)
    with stack(server.url, admin) as running:
        admin.zadd(f"{NAMESPACE}:workers", {"hints.dead": time.time() * 1000 - 1})
        assert hints.queues_without_hint() == [queue_of(running.workers[0].broker)]
    hints.close()


def test_a_flushed_redis_costs_a_hint_and_no_more(server: RedisServer, admin: redis.Redis):
    with stack(server.url, admin, workers=2) as running:
        with running.workers[0].blocked(), running.workers[1].blocked():
            running.senders[0].notifier.notify()
            assert all(worker.wait_for_hints(1) for worker in running.workers)
            running.senders[0].notifier.notify()
            until(lambda: all(admin.llen(f"{NAMESPACE}:{queue_of(worker.broker)}") for worker in running.workers))
            admin.flushall()
        running.assert_all_wake()
        assert running.is_alive()
        assert not running.senders[0].failures


def test_killed_connections_are_replaced(server: RedisServer, admin: redis.Redis):
    with stack(server.url, admin, workers=2) as running:
        for _ in range(5):
            admin.client_kill_filter(_type="normal", skipme=True)
            running.assert_all_wake()
        assert running.is_alive()


def test_redis_may_be_gone_for_a_while(server: RedisServer, admin: redis.Redis):
    with stack(server.url, admin, workers=2) as running:
        server.stop()
        assert notify(running.senders[0], 2_000, every_s=0.0005) < 0.2
        assert len(running.senders[0].failures) == 1, "it is reported once, not at every attempt"
        server.start()
        running.assert_all_wake()
        assert running.is_alive()


def test_a_redis_that_hangs_does_not_block_notifications(server: RedisServer, admin: redis.Redis):
    with stack(server.url, admin) as running:
        server_id = int(admin.info("server")["process_id"])
        os.kill(server_id, signal.SIGSTOP)
        try:
            assert notify(running.senders[0], 500) < 0.2
            until(lambda: running.senders[0].failures)
        finally:
            os.kill(server_id, signal.SIGCONT)
        running.assert_all_wake()
        assert running.is_alive()


def test_a_paused_redis_is_waited_for(server: RedisServer, admin: redis.Redis):
    with stack(server.url, admin) as running:
        admin.client_pause(2_500)
        assert notify(running.senders[0], 500, every_s=0.005) < 0.2
        running.assert_all_wake()
        assert running.is_alive()


def test_a_master_that_is_demoted_and_comes_back_is_survived(server: RedisServer, admin: redis.Redis, tmp_path: Path):
    (tmp_path / "other").mkdir()
    with redis_server(tmp_path / "other") as other, stack(server.url, admin, workers=2) as running:
        admin.replicaof("127.0.0.1", str(other.url.rsplit(":", 1)[1].split("/")[0]))
        running.senders[0].notifier.notify()
        until(lambda: running.senders[0].failures)
        assert running.is_alive()
        admin.replicaof("NO", "ONE")
        running.assert_all_wake()
        assert running.is_alive()


class MovingName:
    """A host name that resolves to one server or another."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, port: int) -> None:
        self.port = port
        self.lookups = 0
        self._resolve = socket.getaddrinfo
        monkeypatch.setattr(socket, "getaddrinfo", self._resolve_name)

    url = "redis://queue.test:6379/0"

    def _resolve_name(self, host: Any, *arguments: Any, **options: Any) -> Any:
        if host != "queue.test":
            return self._resolve(host, *arguments, **options)
        self.lookups += 1
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", self.port))]


def port_of(server: RedisServer) -> int:
    return int(redis.connection.parse_url(server.url)["port"])


def test_clients_follow_a_name_to_another_server(
    server: RedisServer, admin: redis.Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "new").mkdir()
    name = MovingName(monkeypatch, port_of(server))
    with redis_server(tmp_path / "new") as new, stack(name.url, admin, workers=2) as running:
        name.port = port_of(new)
        server.stop()
        running.assert_all_wake()
        assert running.is_alive()


def test_clients_leave_a_demoted_server_that_goes_on_answering(
    server: RedisServer, admin: redis.Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "new").mkdir()
    name = MovingName(monkeypatch, port_of(server))
    with redis_server(tmp_path / "new") as new, stack(name.url, admin, workers=2) as running:
        admin.replicaof("127.0.0.1", str(port_of(new)))
        name.port = port_of(new)
        running.assert_all_wake()
        assert running.is_alive()


def test_connections_are_replaced_once_a_minute(server: RedisServer, monkeypatch: pytest.MonkeyPatch):
    """A server that was replaced, but goes on answering, is left."""
    now = [0.0]
    name = MovingName(monkeypatch, port_of(server))
    with open_redis_client(name.url, clock_s=lambda: now[0]) as client:
        lookups = []
        for now[0] in (0.0, 59.0, 61.0, 100.0, 122.0):
            client.ping()
            lookups.append(name.lookups)
    assert lookups == [1, 1, 2, 2, 3]


@pytest.mark.parametrize("answer", [b"-LOADING Redis is loading the dataset in memory\r\n", b"-MASTERDOWN Link is down\r\n", b""])
def test_a_server_that_is_not_ready_is_retried(
    answer: bytes, server: RedisServer, admin: redis.Redis, monkeypatch: pytest.MonkeyPatch
):
    name = MovingName(monkeypatch, port_of(server))
    with not_ready(answer) as port, stack(name.url, admin) as running:
        name.port = port
        admin.client_kill_filter(_type="normal", skipme=True)
        until(lambda: (running.senders[0].notifier.notify(), running.senders[0].failures)[1])
        name.port = port_of(server)
        running.assert_all_wake()
        assert running.is_alive()


@contextmanager
def not_ready(answer: bytes) -> Iterator[int]:
    """Runs a server that gives the same answer to everything, or closes the connection if it is empty; yields its port."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        ended = threading.Thread(target=_answer_all, args=(listening, answer), daemon=True)
        ended.start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)
        ended.join(PATIENCE_S)


def _answer_all(listening: socket.socket, answer: bytes) -> None:
    while True:
        try:
            connection, _ = listening.accept()
        except OSError:
            return
        with connection:
            connection.settimeout(0.2)
            try:
                while answer and connection.recv(65_536):
                    connection.sendall(answer)
            except OSError:
                pass


def test_an_outage_is_reported_once_in_a_while_and_pauses_grow():
    reported: list[Exception] = []
    outage = Outage(reported.append)
    pauses = [outage.record_failure(OSError("away")) for _ in range(20)]
    assert len(reported) == 1
    assert pauses[0] <= 0.05
    assert all(0.5 <= pause <= 1 for pause in pauses[-5:])
    outage.record_success()
    assert outage.record_failure(OSError("away again")) <= 0.05
    assert len(reported) == 1, "an outage that comes and goes is not reported part time"


def test_an_outage_that_lasts_is_reported_again():
    reported: list[Exception] = []
    outage = Outage(reported.append, report_interval_s=0)
    for _ in range(3):
        outage.record_failure(OSError("away"))
    assert len(reported) == 3


def test_in_one_process_thousands_of_notifications_leave_one_hint():
    sender = Sender("")
    worker = CountingWorker(sender.broker, sender.hints.mark_received)
    with worker.blocked():
        sender.notifier.notify()
        assert worker.wait_for_hints(1)
        notify(sender, 5_000)
    assert worker.wait_for_hints(2)
    assert not worker.wait_for_hints(4, within_s=0.1), "the last notification may have come just after the second hint was received"
    worker.stop()
    sender.stop()


def test_the_notifier_survives_any_error():
    sender = Sender("")

    class Broken:
        attempts = 0

        def queues_without_hint(self) -> list[str]:
            self.attempts += 1
            raise MemoryError

        def mark_received(self) -> None: ...

        def close(self) -> None: ...

    broken = Broken()
    notifier = Notifier(sender.broker, broken, sender.failures.append)
    notifier.start()
    until(lambda: (notifier.notify(), broken.attempts > 2)[1])
    notifier.stop()
    assert [type(error) for error in sender.failures] == [MemoryError]
    sender.stop()
