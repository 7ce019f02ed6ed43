import pytest

from adapters.metrics import Metrics, metrics_table

NAMES = {
    "tally_connections_open": (),
    "tally_connections_refused_total": ("reason",),
    "tally_connections_cut_total": ("reason",),
    "tally_upgrades_ignored_total": (),
    "tally_callbacks_total": ("vendor", "verdict"),
    "tally_callbacks_received_total": ("vendor",),
    "tally_callbacks_duplicate_total": ("vendor",),
    "tally_callbacks_unrecorded_total": ("vendor",),
    "tally_rejections_total": ("vendor", "reason"),
    "tally_wrong_tokens_total": (),
    "tally_ack_seconds": ("vendor",),
    "tally_unapplied_callbacks": (),
    "tally_oldest_unapplied_seconds": (),
    "tally_moves_total": ("vendor", "kind", "state"),
    "tally_deadlines_passed_total": ("kind",),
    "tally_calls_total": ("vendor", "action", "outcome"),
    "tally_waiting_calls": (),
    "tally_anomalies": ("anomaly",),
    "tally_overdue_deadlines": (),
    "tally_breaker_open": (),
    "tally_spooled_callbacks_total": (),
    "tally_spool_rows": (),
    "tally_spool_set_aside_files": (),
    "tally_undelivered_events": (),
    "tally_oldest_undelivered_seconds": (),
    "tally_deliveries_total": ("sink", "outcome"),
    "tally_subscriptions": ("state",),
    "tally_event_streams": (),
    "tally_part_up": ("part",),
    "tally_clock_steps_total": (),
    "tally_log_lines_dropped_total": (),
}


def test_names_and_labels_are_the_promised_ones() -> None:
    assert {family.name: family.labels for family in Metrics().families} == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_each_metric_is_rendered_and_listed(name: str) -> None:
    body, _ = Metrics().render()

    assert f"# TYPE {name} " in body.decode()
    assert f"| `{name}` |" in metrics_table()


def test_the_body_is_prometheus_text() -> None:
    metrics = Metrics()
    metrics.moves.labels("acme", "push", "running").inc()

    body, content_type = metrics.render()

    assert content_type == "text/plain; version=0.0.4; charset=utf-8"
    assert 'tally_moves_total{kind="push",state="running",vendor="acme"} 1.0\n' in body.decode()


def test_answer_times_are_told_apart_from_half_a_millisecond_to_five_seconds() -> None:
    metrics = Metrics()
    metrics.ack_seconds.labels("acme").observe(0.0004)
    body = metrics.render()[0].decode()

    assert 'tally_ack_seconds_bucket{le="0.0005",vendor="acme"} 1.0' in body
    assert 'tally_ack_seconds_bucket{le="5.0",vendor="acme"} 1.0' in body


def test_no_created_series_double_the_counters() -> None:
    metrics = Metrics()
    metrics.received.labels("acme").inc()

    assert b"_created" not in metrics.render()[0]


def test_each_metrics_has_counters_of_its_own() -> None:
    one, other = Metrics(), Metrics()
    one.unapplied.set(7)

    assert b"tally_unapplied_callbacks 0.0" in other.render()[0]
