"""The metrics, in a registry of their own. Each process creates one `Metrics`."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from adapters import logs

#: Buckets of the time to an answer, s: 0.5 ms to 5 s, the vendors' own time limit.
_ACK_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """A metric as the table in the documentation shows it."""

    name: str
    type: str
    labels: tuple[str, ...]
    meaning: str


class Metrics:
    """Counters, gauges and histograms as attributes; `render` returns them in Prometheus' text format."""

    def __init__(self) -> None:
        # A `_created` series beside every counter doubles what is stored, and a restart shows the same.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        self.families: list[Family] = []
        self._add_callback_metrics()
        self._add_connection_metrics()
        self._add_spool_metrics()
        self._add_inbox_metrics()
        self._add_downstream_metrics()
        self._add_process_metrics()

    def _add_callback_metrics(self) -> None:
        self.received = self._add_counter("tally_callbacks_received_total", "Callbacks with a valid signature.", "vendor")
        self.duplicates = self._add_counter("tally_callbacks_duplicate_total", "Callbacks that had been received before.", "vendor")
        self.unrecorded = self._add_counter(
            "tally_callbacks_unrecorded_total",
            "Verified callbacks that could not be made durable: answered 503, or 500. The vendor may send them again.",
            "vendor",
        )
        self.rejections = self._add_counter("tally_rejections_total", "Rejected callbacks.", "vendor", "reason")
        self.wrong_tokens = self._add_counter("tally_wrong_tokens_total", "Requests to the desk with a wrong token or login code.")
        self.ack_seconds = self._add_histogram(
            "tally_ack_seconds", "Time from the arrival of a callback to its answer.", _ACK_SECONDS, "vendor"
        )
        self.callbacks = self._add_counter("tally_callbacks_total", "Callbacks processed, by verdict.", "vendor", "verdict")

    def _add_connection_metrics(self) -> None:
        self.connections_open = self._add_gauge("tally_connections_open", "Open client connections of this process.")
        self.connections_refused = self._add_counter(
            "tally_connections_refused_total",
            "New connections closed because no older one could be closed instead.",
            "reason",
        )
        self.connections_cut = self._add_counter(
            "tally_connections_cut_total", "Connections closed because of what their clients sent, or did not send.", "reason"
        )
        self.upgrades_ignored = self._add_counter(
            "tally_upgrades_ignored_total", "Requests to change the protocol (`Upgrade`), answered in HTTP/1.1."
        )

    def _add_spool_metrics(self) -> None:
        self.ledger_away = self._add_gauge(
            "tally_breaker_open", "1 while the ledger does not take callbacks and this process writes them to the spool; else 0."
        )
        self.spooled = self._add_counter("tally_spooled_callbacks_total", "Callbacks that this process wrote to the spool.")
        self.spool_rows = self._add_gauge("tally_spool_rows", "Callbacks waiting in the spool of this machine.")
        self.spool_set_aside = self._add_gauge(
            "tally_spool_set_aside_files",
            "Files beside the spool with what could not be recorded or read; a person must look at them.",
        )

    def _add_inbox_metrics(self) -> None:
        self.unapplied = self._add_gauge("tally_unapplied_callbacks", "Callbacks recorded and not processed yet.")
        self.oldest_unapplied_seconds = self._add_gauge(
            "tally_oldest_unapplied_seconds", "Age of the oldest callback not processed yet; 0 if there is none."
        )
        self.moves = self._add_counter("tally_moves_total", "Changes of tasks to a state.", "vendor", "kind", "state")
        self.deadlines_passed = self._add_counter("tally_deadlines_passed_total", "Passed deadlines.", "kind")
        self.anomalies = self._add_gauge("tally_anomalies", "Tasks with an open anomaly, which waits for a person.", "anomaly")
        self.waiting_calls = self._add_gauge("tally_waiting_calls", "Calls to vendors that wait for their turn or for quota.")
        self.calls = self._add_counter("tally_calls_total", "Answered calls to vendors.", "vendor", "action", "outcome")
        self.overdue_deadlines = self._add_gauge("tally_overdue_deadlines", "Deadlines that are due and not handled yet.")

    def _add_process_metrics(self) -> None:
        self.part_up = self._add_gauge("tally_part_up", "1 while this part of the process works, else 0.", "part")
        self.clock_steps = self._add_counter("tally_clock_steps_total", "Times that this machine's clock was set by 2 s or more.")
        meaning = "Log lines dropped because they could not be written."
        self._add_family("tally_log_lines_dropped_total", "counter", (), meaning)
        self.registry.register(_DroppedLinesCollector(meaning))

    def _add_downstream_metrics(self) -> None:
        self.undelivered = self._add_gauge("tally_undelivered_events", "Events not delivered yet to active subscriptions.")
        self.oldest_undelivered_seconds = self._add_gauge(
            "tally_oldest_undelivered_seconds", "Age of the oldest event not delivered yet; 0 if there is none."
        )
        self.deliveries = self._add_counter("tally_deliveries_total", "Attempts to deliver an event.", "sink", "outcome")
        self.subscriptions = self._add_gauge("tally_subscriptions", "Subscriptions.", "state")
        self.event_streams = self._add_gauge("tally_event_streams", "Clients that receive events of this process as a stream.")

    def render(self) -> tuple[bytes, str]:
        """Returns body and content type of an answer to `/metrics`."""
        return generate_latest(self.registry), CONTENT_TYPE_PLAIN_0_0_4

    def _add_counter(self, name: str, meaning: str, *labels: str) -> Counter:
        self._add_family(name, "counter", labels, meaning)
        return Counter(name, meaning, labels, registry=self.registry)

    def _add_gauge(self, name: str, meaning: str, *labels: str) -> Gauge:
        self._add_family(name, "gauge", labels, meaning)
        return Gauge(name, meaning, labels, registry=self.registry)

    def _add_histogram(self, name: str, meaning: str, buckets: Sequence[float], *labels: str) -> Histogram:
        self._add_family(name, "histogram", labels, meaning)
        return Histogram(name, meaning, labels, registry=self.registry, buckets=buckets)

    def _add_family(self, name: str, kind: str, labels: tuple[str, ...], meaning: str) -> None:
        self.families.append(Family(name=name, type=kind, labels=labels, meaning=meaning))


class _DroppedLinesCollector(Collector):
    """Exports the count that the log writer keeps."""

    def __init__(self, meaning: str) -> None:
        self._meaning = meaning

    def collect(self) -> Iterator[Metric]:
        yield CounterMetricFamily("tally_log_lines_dropped", self._meaning, value=logs.dropped_lines())


def metrics_table() -> str:
    """Returns name, type, labels and meaning of every metric as a Markdown table."""
    rows = ["| metric | type | labels | meaning |", "|---|---|---|---|"]
    for family in Metrics().families:
        labels = ", ".join(f"`{label}`" for label in family.labels)
        rows.append(f"| `{family.name}` | {family.type} | {labels} | {family.meaning} |")
    return "\n".join(rows) + "\n"
