"""Renders subscriptions and deliveries as JSON. `keys`: whether the reader may see credentials and answers of targets."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from adapters.contract import cloud_events, masking
from adapters.contract.task_json import format_time
from adapters.downstream import Sink
from adapters.ledger.deliveries import Delivery
from adapters.ledger.replays import Replay
from adapters.ledger.subscriptions import Subscription


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionBacklog:
    """A subscription, the number of events that wait for it, and its replays."""

    subscription: Subscription
    undelivered: int
    replays: Sequence[Replay]


def render_subscription(found: SubscriptionBacklog, sink: Sink | None, now: int, *, keys: bool) -> dict[str, Any]:
    """Renders a subscription without its secrets. now: ms. sink: None if this version of the program has no sink of its type."""
    of = found.subscription
    return {
        "id": of.id,
        "sink": sink.masked(of.sink, keys=keys) if sink is not None else {"type": of.sink_type},
        "types": list(of.types),
        "filter": dict(of.filter),
        "description": of.description,
        "state": of.state.value,
        "reason": of.reason,
        "failing_since": format_time(of.failing_since),
        "last_delivered_at": format_time(of.delivered_at),
        "undelivered": found.undelivered,
        "replays": [_render_replay(each) for each in found.replays],
        "previous_secret_until": format_time(of.old_secret_until) if len(of.signing_secrets(now)) > 1 else None,
        "created_at": format_time(of.created_at),
        "updated_at": format_time(of.updated_at),
        "version": of.version,
    }


def _render_replay(replay: Replay) -> dict[str, Any]:
    selection = replay.selection
    return {
        "from": format_time(selection.since or None),
        "to": format_time(selection.until),
        "task_id": selection.subject,
        "dead": selection.dead,
        "rate_per_s": replay.rate,
    }


def render_delivery(delivery: Delivery, versions: Mapping[int, int], now: int, *, keys: bool) -> dict[str, Any]:
    """Renders a delivery. versions: position of an event -> version of its subject. now: ms."""
    # A worker whose lease has expired no longer sends it: it is due again.
    sending = delivery.lease_until is not None and delivery.lease_until > now
    return {
        "id": str(delivery.id),
        "subscription_id": delivery.subscription_id,
        "event_id": _event_id(delivery, versions),
        "task_id": delivery.subject if delivery.type.startswith(cloud_events.TASK_PREFIX) else None,
        "type": delivery.type,
        "origin": delivery.origin,
        "state": delivery.state.value,
        "queued_at": format_time(delivery.queued_at),
        "next_try_at": None if sending else format_time(delivery.due_at),
        "sending": sending,
        "done_at": format_time(delivery.done_at),
        "attempts": [_render_attempt(each, keys=keys) for each in delivery.attempts],
    }


def _event_id(delivery: Delivery, versions: Mapping[int, int]) -> str | None:
    if delivery.event_id is None:
        return cloud_events.test_id(delivery.subscription_id, delivery.id)
    version = versions.get(delivery.event_id)
    return None if version is None else cloud_events.event_id(delivery.subject, version)


def _render_attempt(attempt: Mapping[str, Any], *, keys: bool) -> dict[str, Any]:
    """Renders an attempt. The target's answer may contain anything, also secrets: it needs `keys`."""
    shown = {name: attempt.get(name) for name in ("status", "error", "detail", "duration_ms", "answer")}
    safe = shown if keys else {**shown, "detail": masking.without_keys(shown["detail"]), "answer": None}
    return {"at": format_time(attempt.get("at")), **safe}
