"""Copies the ledger's sums into the metrics of this process: workers may be other processes, and one scrape covers all."""

import threading
from math import nan

from prometheus_client import Counter

from adapters.ledger import Connection, deliveries, effects, stats, subscriptions
from adapters.metrics import Metrics
from statemachine.delivery_policy import SubscriptionState
from statemachine.states import Anomaly

#: The states shown in metrics; deleted subscriptions are left out.
_SHOWN = (SubscriptionState.ACTIVE, SubscriptionState.PAUSED, SubscriptionState.DISABLED)


class MetricsBridge:
    """Remembers how much of each sum is in its counter already, because counters can only grow."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: dict[tuple[str, ...], int] = {}

    def update(self, metrics: Metrics, connection: Connection, now: int) -> None:
        """Updates all metrics that come from the ledger. now: ms."""
        read = stats.read(connection, now)
        metrics.unapplied.set(read.unapplied_callbacks)
        metrics.oldest_unapplied_seconds.set(read.oldest_unapplied_s or 0)
        metrics.overdue_deadlines.set(read.overdue_deadlines)
        for anomaly in Anomaly:
            metrics.anomalies.labels(anomaly.value).set(read.anomalies.get(anomaly.value, 0))
        metrics.waiting_calls.set(effects.backlog(connection)[0])
        metrics.undelivered.set(read.undelivered_events)
        metrics.oldest_undelivered_seconds.set(read.oldest_undelivered_s or 0)
        by_state = subscriptions.by_state(connection)
        for state in _SHOWN:
            metrics.subscriptions.labels(state.value).set(by_state.get(state.value, 0))
        for verdict, total in stats.by_verdict(connection).items():
            self._increase_counter("verdict", metrics.callbacks, verdict, total)
        for move, total in stats.moves(connection).items():
            self._increase_counter("move", metrics.moves, move, total)
        for call, total in stats.calls(connection).items():
            self._increase_counter("calls", metrics.calls, call, total)
        for kind, total in stats.deadlines_passed(connection).items():
            self._increase_counter("passed", metrics.deadlines_passed, (kind,), total)
        for attempt, total in deliveries.attempts_by_outcome(connection).items():
            self._increase_counter("deliveries", metrics.deliveries, attempt, total)

    def _increase_counter(self, name: str, counter: Counter, labels: tuple[str, ...], total: int) -> None:
        with self._lock:
            more = total - self._seen.get((name, *labels), 0)
            if more > 0:
                counter.labels(*labels).inc(more)
                self._seen[(name, *labels)] = total


def mark_unknown(metrics: Metrics) -> None:
    """Sets gauges to NaN while the ledger cannot be read: their old values would be wrong."""
    inbox = (metrics.unapplied, metrics.oldest_unapplied_seconds, metrics.overdue_deadlines, metrics.waiting_calls)
    for gauge in (*inbox, metrics.undelivered, metrics.oldest_undelivered_seconds):
        gauge.set(nan)
    for state in _SHOWN:
        metrics.subscriptions.labels(state.value).set(nan)
