"""The metrics, all in one place, in a registry of their own. Whoever starts the process makes one `Metrics`."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from adapters import logs

#: 0.5 ms to 5 s, the vendors' own time limit.
_ACK_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One line of the metrics' table."""

    name: str
    type: str
    labels: tuple[str, ...]
    meaning: str


class Metrics:
    """Counters, gauges and histograms as attributes; `render` gives them in Prometheus' text format."""

    def __init__(self) -> None:
        # A `_created` series beside every counter doubles what is stored and says nothing that a restart does not.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        self.families: list[Family] = []
        self._callbacks()
        self._connections()
        self._spool()
        self._inbox()
        self._downstream()
        self._process()

    def _callbacks(self) -> None:
        self.received = self._counter("tally_callbacks_received_total", "Callbacks whose signature was right.", "vendor")
        self.duplicates = self._counter("tally_callbacks_duplicate_total", "Callbacks that were here before.", "vendor")
        self.unrecorded = self._counter(
            "tally_callbacks_unrecorded_total",
            "Callbacks that were believed and could not be made durable: answered 503, or 500. The vendor may send them again.",
            "vendor",
        )
        self.rejections = self._counter("tally_rejections_total", "Callbacks refused.", "vendor", "reason")
        self.wrong_tokens = self._counter(
            "tally_wrong_tokens_total", "Requests to the desk with a token or login code that is not right."
        )
        self.ack_seconds = self._histogram(
            "tally_ack_seconds", "Time from a callback's arrival to its answer.", _ACK_SECONDS, "vendor"
        )
        self.callbacks = self._counter("tally_callbacks_total", "Callbacks decided.", "vendor", "verdict")

    def _connections(self) -> None:
        self.connections_open = self._gauge("tally_connections_open", "Connections of clients to this process.")
        self.connections_refused = self._counter(
            "tally_connections_refused_total", "Connections closed as they opened, since nothing could be closed instead.", "reason"
        )
        self.connections_cut = self._counter(
            "tally_connections_cut_total", "Connections closed for what their clients sent, or did not send.", "reason"
        )
        self.upgrades_ignored = self._counter(
            "tally_upgrades_ignored_total", "Requests to change the protocol (`Upgrade`), answered in HTTP/1.1."
        )

    def _spool(self) -> None:
        self.ledger_away = self._gauge(
            "tally_breaker_open", "1 while the ledger does not take callbacks and this process writes them to the spool; else 0."
        )
        self.spooled = self._counter("tally_spooled_callbacks_total", "Callbacks that this process wrote to the spool.")
        self.spool_rows = self._gauge("tally_spool_rows", "Callbacks that wait in the spool of this machine.")
        self.spool_set_aside = self._gauge(
            "tally_spool_set_aside_files", "Files beside the spool with what could not be recorded or read; for a person."
        )

    def _inbox(self) -> None:
        self.unapplied = self._gauge("tally_unapplied_callbacks", "Callbacks recorded and not decided yet.")
        self.oldest_unapplied_seconds = self._gauge(
            "tally_oldest_unapplied_seconds", "Age of the oldest callback not decided yet; 0 if there is none."
        )
        self.moves = self._counter("tally_moves_total", "Tasks that came to a state.", "vendor", "kind", "state")
        self.deadlines_passed = self._counter("tally_deadlines_passed_total", "Deadlines that passed.", "kind")
        self.anomalies = self._gauge("tally_anomalies", "Tasks with an open mark that waits for a person.", "anomaly")
        self.waiting_calls = self._gauge("tally_waiting_calls", "Calls to vendors that wait for their turn or their quota.")
        self.calls = self._counter("tally_calls_total", "Calls to vendors that were answered.", "vendor", "action", "outcome")
        self.overdue_deadlines = self._gauge("tally_overdue_deadlines", "Deadlines due and not dealt with yet.")

    def _process(self) -> None:
        self.part_up = self._gauge("tally_part_up", "1 while this part of the process works, 0 while it does not.", "part")
        self.clock_steps = self._counter("tally_clock_steps_total", "Times that this machine's clock was set by 2 s or more.")
        meaning = "Lines of the log that could not be written and were given up."
        self._list("tally_log_lines_dropped_total", "counter", (), meaning)
        self.registry.register(_LinesDropped(meaning))

    def _downstream(self) -> None:
        self.undelivered = self._gauge("tally_undelivered_events", "Events that active subscriptions want and did not get yet.")
        self.oldest_undelivered_seconds = self._gauge(
            "tally_oldest_undelivered_seconds", "Age of the oldest event not delivered yet; 0 if there is none."
        )
        self.deliveries = self._counter("tally_deliveries_total", "Attempts to deliver an event.", "sink", "outcome")
        self.subscriptions = self._gauge("tally_subscriptions", "Subscriptions.", "state")
        self.event_streams = self._gauge("tally_event_streams", "Clients that listen to events of this process as they come.")

    def render(self) -> tuple[bytes, str]:
        """The body and the content type of an answer to `/metrics`."""
        return generate_latest(self.registry), CONTENT_TYPE_PLAIN_0_0_4

    def _counter(self, name: str, meaning: str, *labels: str) -> Counter:
        self._list(name, "counter", labels, meaning)
        return Counter(name, meaning, labels, registry=self.registry)

    def _gauge(self, name: str, meaning: str, *labels: str) -> Gauge:
        self._list(name, "gauge", labels, meaning)
        return Gauge(name, meaning, labels, registry=self.registry)

    def _histogram(self, name: str, meaning: str, buckets: Sequence[float], *labels: str) -> Histogram:
        self._list(name, "histogram", labels, meaning)
        return Histogram(name, meaning, labels, registry=self.registry, buckets=buckets)

    def _list(self, name: str, kind: str, labels: tuple[str, ...], meaning: str) -> None:
        self.families.append(Family(name=name, type=kind, labels=labels, meaning=meaning))


class _LinesDropped(Collector):
    """Counted by who writes the log."""

    def __init__(self, meaning: str) -> None:
        self._meaning = meaning

    def collect(self) -> Iterator[Metric]:
        yield CounterMetricFamily("tally_log_lines_dropped", self._meaning, value=logs.dropped_lines())


def metrics_table() -> str:
    """Name, type, labels and meaning of every metric as a Markdown table."""
    rows = ["| metric | type | labels | meaning |", "|---|---|---|---|"]
    for family in Metrics().families:
        labels = ", ".join(f"`{label}`" for label in family.labels)
        rows.append(f"| `{family.name}` | {family.type} | {labels} | {family.meaning} |")
    return "\n".join(rows) + "\n"
