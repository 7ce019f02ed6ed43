"""Defines the shapes of subscriptions and deliveries, as JSON Schema (OpenAPI 3.1)."""

from collections.abc import Mapping
from functools import cache

from adapters.downstream import open_sinks
from adapters.settings import Settings
from callbacks.desk.http.body_fields import schema_of
from callbacks.desk.http.json_schema import (
    COUNT,
    FLAG,
    TEXT,
    TIME,
    Schema,
    described,
    enum_of,
    list_of,
    object_of,
    or_null,
    page_of,
    ref,
)
from callbacks.desk.subscriptions import bodies, replays, rotation
from statemachine.delivery_policy import FAILING_REASON, GONE_REASON, DeliveryState, SubscriptionState

_MATCHED = described(COUNT, "The number of events now.")


_RESEND: Schema = {
    **schema_of("What to replay; at least one of from, to, task_id and dead. null means left out.", replays.FIELDS),
    "examples": [{"from": "2026-11-21T13:00:00Z", "to": "2026-11-21T14:00:00Z", "dry_run": True}],
}


def schemas() -> dict[str, Schema]:
    """Returns the schemas by name."""
    return {
        **_sink_schemas(),
        "Filter": bodies.filter_schema(),
        "NewSubscription": bodies.new_schema(_sink_schema()),
        "ChangeSubscription": bodies.change_schema(_sink_schema()),
        "Subscription": _subscription_schema(),
        "SubscriptionPage": page_of("Subscription"),
        "Rotate": schema_of("How a secret is replaced; may be left out.", rotation.FIELDS),
        "Rotated": _rotated_schema(),
        "Delivery": _delivery_schema(),
        "DeliveryPage": page_of("Delivery"),
        "Resend": _RESEND,
        "ResendMatched": object_of("A replay that was only counted.", matched=_MATCHED, dry_run={"const": True}),
        "Resent": object_of("A replay that was stored.", matched=_MATCHED),
    }


@cache
def _sink_schemas() -> Mapping[str, Schema]:
    """Returns the schema of each sink; they do not depend on the settings."""
    sinks = open_sinks(Settings())
    shapes = {f"{name.capitalize()}Sink": sink.SCHEMA for name, sink in sinks.items()}
    for sink in sinks.values():
        sink.close()
    return shapes


def _sink_schema() -> Schema:
    return {"oneOf": [ref(name) for name in _sink_schemas()], "description": "Where events go."}


def _subscription_schema() -> Schema:
    secret = described(or_null(TEXT), "Only in the answer to the request that made it; null if its sink is not signed.")
    shape = object_of(
        "A subscription to events. Viewers see its target without credentials.",
        id=TEXT,
        **bodies.shown_schemas(_sink_schema()),
        state=enum_of(state for state in SubscriptionState if state is not SubscriptionState.DELETED),
        reason=described(
            or_null(enum_of((GONE_REASON, FAILING_REASON))),
            "Why it is disabled: the target answered 410, or nothing could be delivered for 5 days.",
        ),
        failing_since=described(or_null(TIME), "Since when nothing could be delivered; null if the newest attempt succeeded."),
        last_delivered_at=or_null(TIME),
        undelivered=described(COUNT, "Events that wait for it."),
        replays=described(list_of(_replay_schema()), "Replays that are not all queued yet."),
        previous_secret_until=described(or_null(TIME), "Until then events are signed with the previous secret too."),
        created_at=TIME,
        updated_at=TIME,
        version=described({"type": "integer", "minimum": 1}, "Grows with each requested change, and when it is disabled."),
    )
    return {**shape, "properties": {**shape["properties"], "secret": secret}}


def _replay_schema() -> Schema:
    return object_of(
        "A replay.",
        **{"from": described(or_null(TIME), "Null: from the beginning.")},
        to=TIME,
        task_id=or_null(TEXT),
        dead=FLAG,
        rate_per_s=described({"type": "number"}, "Events per second."),
    )


def _rotated_schema() -> Schema:
    return object_of(
        "A new secret.",
        secret=described(TEXT, "Shown only in this answer."),
        previous_secret_until=described(
            or_null(TIME), "Until then events are signed with the previous secret too; null: they are not."
        ),
    )


def _delivery_schema() -> Schema:
    return object_of(
        "A delivery of an event to a subscription.",
        id=TEXT,
        subscription_id=TEXT,
        event_id=described(or_null(TEXT), "The CloudEvent's `id`; null if the event is no longer in the ledger."),
        task_id=described(or_null(TEXT), "Null if it is not an event of a task."),
        type=described(TEXT, "The CloudEvent's `type`."),
        origin=described(enum_of(("event", "replay", "retry", "test")), "Why it was queued."),
        state=enum_of(DeliveryState),
        queued_at=TIME,
        next_try_at=described(or_null(TIME), "Null if an earlier event of its task waits, if it is being sent, or if it is done."),
        sending=described(FLAG, "It is being sent now."),
        done_at=described(or_null(TIME), "When it was done."),
        attempts=described(list_of(_attempt_schema()), "The newest 30, oldest first."),
    )


def _attempt_schema() -> Schema:
    return object_of(
        "An attempt to deliver.",
        at=TIME,
        status=described(or_null({"type": "integer"}), "The HTTP status, if there was one."),
        error=described(or_null(TEXT), "Why it failed, in one stable word; null if it succeeded."),
        detail=described(or_null(TEXT), "The same, for people."),
        duration_ms=or_null(COUNT),
        answer=described(or_null(TEXT), "The beginning of the target's answer; null for viewers."),
    )
