"""Brings the ledger's sums into the process's metrics: workers may be other processes, but one scrape should tell of all."""

import threading
from math import nan

from prometheus_client import Counter

from adapters.ledger import Connection, deliveries, effects, stats, subscriptions
from adapters.metrics import Metrics
from statemachine.delivery_policy import SubscriptionState
from statemachine.states import Anomaly

#: Of those that are not there any more nobody is told.
_SHOWN = (SubscriptionState.ACTIVE, SubscriptionState.PAUSED, SubscriptionState.DISABLED)


class Sums:
    """Remembers how much of each sum a counter already has: counters can only grow."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: dict[tuple[str, ...], int] = {}

    def update(self, metrics: Metrics, connection: Connection, now: int) -> None:
        """now: ms."""
        read = stats.read(connection, now)
        metrics.unapplied.set(read.unapplied_callbacks)
        metrics.oldest_unapplied_seconds.set(read.oldest_unapplied_s or 0)
        metrics.overdue_deadlines.set(read.overdue_deadlines)
        for anomaly in Anomaly:
            metrics.anomalies.labels(anomaly.value).set(read.anomalies.get(anomaly.value, 0))
        metrics.waiting_calls.set(effects.waiting(connection)[0])
        metrics.undelivered.set(read.undelivered_events)
        metrics.oldest_undelivered_seconds.set(read.oldest_undelivered_s or 0)
        by_state = subscriptions.by_state(connection)
        for state in _SHOWN:
            metrics.subscriptions.labels(state.value).set(by_state.get(state.value, 0))
        for verdict, total in stats.by_verdict(connection).items():
            self._grow("verdict", metrics.callbacks, verdict, total)
        for move, total in stats.moves(connection).items():
            self._grow("move", metrics.moves, move, total)
        for call, total in stats.calls(connection).items():
            self._grow("calls", metrics.calls, call, total)
        for kind, total in stats.deadlines_passed(connection).items():
            self._grow("passed", metrics.deadlines_passed, (kind,), total)
        for attempt, total in deliveries.attempts(connection).items():
            self._grow("deliveries", metrics.deliveries, attempt, total)

    def _grow(self, name: str, counter: Counter, labels: tuple[str, ...], total: int) -> None:
        with self._lock:
            more = total - self._seen.get((name, *labels), 0)
            if more > 0:
                counter.labels(*labels).inc(more)
                self._seen[(name, *labels)] = total


def unknown(metrics: Metrics) -> None:
    """The ledger cannot be read: a number of before would lie."""
    inbox = (metrics.unapplied, metrics.oldest_unapplied_seconds, metrics.overdue_deadlines, metrics.waiting_calls)
    for gauge in (*inbox, metrics.undelivered, metrics.oldest_undelivered_seconds):
        gauge.set(nan)
    for state in _SHOWN:
        metrics.subscriptions.labels(state.value).set(nan)
