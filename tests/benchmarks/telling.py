"""(f) How many events a second reach one healthy subscriber on this machine: from the vendor's POST until the ledger knows that the
subscriber took it.

A round sends callbacks for some seconds at a steady pace, and looks on how far behind the subscriber is; then it waits until
nothing is undelivered. The rate is that of events that the subscriber took over the time from the first callback to that end.

Then the subscription is paused, as many callbacks are sent, and it is resumed: the rate at which a backlog is delivered while
nothing else is done.
"""

import json
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from adapters.ledger.schema import events
from tests.benchmarks.load import Sending
from tests.benchmarks.report import Figure, Report, Target
from tests.benchmarks.rounds import Plan, Spread, send_to
from tests.benchmarks.stack import Stack
from tests.benchmarks.stream import Stream

_ROOT = Path(__file__).resolve().parents[2]
_RATE = Target(least=1_000)
#: Callbacks a second: about one in ten makes no event.
PACE = 1_250.0
_LOOK_S = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """events: that the subscriber took. oldest_s: the greatest age of an undelivered event while the load went on."""

    events: int
    took_s: float
    oldest_s: float

    @property
    def rate(self) -> float:
        return self.events / self.took_s


class Subscriber:
    """The process of `tests.benchmarks.subscriber`."""

    def __init__(self) -> None:
        command = (sys.executable, "-m", "tests.benchmarks.subscriber")
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=_ROOT)
        assert self._process.stdout is not None
        #: Of its subscription.
        self.path = ""
        self.url = f"http://127.0.0.1:{int(self._process.stdout.readline())}/hook"

    def pause(self, stack: Stack) -> None:
        _post(stack, f"{self.path}/pause")

    def resume(self, stack: Stack) -> None:
        _post(stack, f"{self.path}/resume")

    def counts(self) -> dict[str, int]:
        with urllib.request.urlopen(self.url, timeout=30) as answer:
            found: dict[str, int] = json.load(answer)
            return found

    def close(self) -> None:
        self._process.terminate()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


@contextmanager
def subscribed(stack: Stack) -> Iterator[Subscriber]:
    """A subscriber that hears of all tasks from now on."""
    subscriber = Subscriber()
    try:
        wish = json.dumps({"sink": {"type": "webhook", "url": subscriber.url}}).encode()
        subscriber.path = f"/v1/subscriptions/{_post(stack, '/v1/subscriptions', wish)['id']}"
        yield subscriber
    finally:
        subscriber.close()


def _post(stack: Stack, path: str, body: bytes = b"") -> Any:
    request = urllib.request.Request(f"{stack.origin}{path}", body, method="POST")
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def measure(stack: Stack, subscriber: Subscriber, stream: Stream, plan: Plan, pace: float = PACE) -> list[Round]:
    """The stack is started."""
    rounds = [
        _round(stack, subscriber, stream, plan.seconds if number else plan.warm_up_s, pace) for number in range(plan.rounds + 1)
    ]
    return rounds[1:]


def _round(stack: Stack, subscriber: Subscriber, stream: Stream, seconds: float, pace: float) -> Round:
    before, began = subscriber.counts()["events"], time.monotonic()
    sending = Sending(stack.door, stream, stack.sent, seconds=seconds, rate=pace)
    over, ages = threading.Event(), [0.0]
    watching = threading.Thread(target=_watch, args=(stack, over, ages))
    watching.start()
    load = sending.result()
    over.set()
    watching.join()
    stack.sent += load.sent
    stack.unacknowledged += load.sent - load.acked
    stack.drain()
    _deliver(stack)
    return Round(events=subscriber.counts()["events"] - before, took_s=time.monotonic() - began, oldest_s=max(ages))


def measure_backlog(stack: Stack, subscriber: Subscriber, stream: Stream, plan: Plan) -> list[Round]:
    return [_backlog(stack, subscriber, stream, plan.seconds) for _ in range(plan.rounds)]


def _backlog(stack: Stack, subscriber: Subscriber, stream: Stream, seconds: float) -> Round:
    subscriber.pause(stack)
    send_to(stack, stream, seconds=seconds)
    stack.drain()
    before, began = subscriber.counts()["events"], time.monotonic()
    subscriber.resume(stack)
    _deliver(stack)
    return Round(events=subscriber.counts()["events"] - before, took_s=time.monotonic() - began, oldest_s=0.0)


def _watch(stack: Stack, over: threading.Event, ages: list[float]) -> None:
    while not over.wait(_LOOK_S):
        ages.append(stack.get("/v1/stats")["oldest_undelivered_s"] or 0.0)


def _deliver(stack: Stack, limit_s: float = 120) -> None:
    until = time.monotonic() + limit_s
    while stack.get("/v1/stats")["undelivered_events"]:
        if time.monotonic() > until:
            raise TimeoutError(f"{stack.name}: not all events were delivered after {limit_s} s")
        time.sleep(0.02)


def report(stack: Stack, rounds: Sequence[Round], into: Report, pace: float) -> None:
    oldest = max(each.oldest_s for each in rounds)
    name = f"{stack.name}: events to one subscriber, at {pace:,.0f} callbacks/s"
    into.figures.append(_figure(name, rounds, f"never more than {oldest:.1f} s behind"))


def report_backlog(stack: Stack, rounds: Sequence[Round], into: Report) -> None:
    events_each = Spread.of([float(each.events) for each in rounds]).median
    into.figures.append(_figure(f"{stack.name}: a backlog to one subscriber", rounds, f"{events_each:,.0f} events each"))


def _figure(name: str, rounds: Sequence[Round], more: str) -> Figure:
    rates = Spread.of([each.rate for each in rounds])
    return Figure(question="f", name=name, value=rates, unit="events/s", target=_RATE, more=more)


def complaints(stack: Stack, subscriber: Subscriber) -> list[str]:
    """What came wrong, or not at all."""
    counts = subscriber.counts()
    with stack.ledger.read() as connection:
        told = connection.scalar(select(func.count()).select_from(events)) or 0
    wrong = {"lost": told - counts["events"], **{name: counts[name] for name in ("too_early", "unsigned")}}
    return [f"f, {stack.name}: {number} events {name}" for name, number in wrong.items() if number]
