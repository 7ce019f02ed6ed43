"""The shapes of subscriptions and deliveries, as JSON Schema (OpenAPI 3.1)."""

from collections.abc import Mapping
from functools import cache

from adapters.contract.cloud_events import TYPES
from adapters.downstream import open_sinks
from adapters.settings import Settings
from callbacks.desk.http.json_schema import (
    COUNT,
    FLAG,
    TEXT,
    TIME,
    Schema,
    body_of,
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

_MATCHED = described(COUNT, "How many events it is about, as things are.")


def schemas() -> dict[str, Schema]:
    """All of them by name."""
    return {
        **_sinks(),
        "Filter": _filter(),
        "NewSubscription": _new(),
        "ChangeSubscription": _change(),
        "Subscription": _subscription(),
        "SubscriptionPage": page_of("Subscription"),
        "Rotate": _rotate(),
        "Rotated": _rotated(),
        "Delivery": _delivery(),
        "DeliveryPage": page_of("Delivery"),
        "Resend": _resend(),
        "ResendMatched": object_of("What would be delivered once more.", matched=_MATCHED, dry_run={"const": True}),
        "Resent": object_of("What is delivered once more, little by little.", matched=_MATCHED),
    }


@cache
def _sinks() -> Mapping[str, Schema]:
    """One for each way out; they are the same whatever the settings are."""
    sinks = open_sinks(Settings())
    shapes = {f"{name.capitalize()}Sink": sink.SCHEMA for name, sink in sinks.items()}
    for sink in sinks.values():
        sink.close()
    return shapes


def _sink() -> Schema:
    return {"oneOf": [ref(name) for name in _sinks()], "description": "Where events go."}


def _filter() -> Schema:
    properties = {param.name: described(or_null(param.schema), param.meaning) for param in bodies.FILTERS}
    return body_of("Which tasks' events are wanted; what is left out or null may be anything.", properties)


def _wanted() -> dict[str, Schema]:
    """What somebody may say of a subscription."""
    meaning = "Types of events; one that ends in `*` stands for all that begin so. There are " + ", ".join(TYPES) + "."
    types = {**list_of(TEXT), "minItems": 1, "maxItems": bodies.MAX_TYPES, "uniqueItems": True}
    return {
        "sink": _sink(),
        "types": described(types, meaning),
        "filter": ref("Filter"),
        "description": {"type": "string", "maxLength": bodies.MAX_DESCRIPTION, "description": "For people."},
    }


def _new() -> Schema:
    types = {**_wanted()["types"], "default": bodies.DEFAULTS["types"]}
    return body_of("Whom to tell of what.", {**_wanted(), "types": types}, "sink")


def _change() -> Schema:
    state = described(enum_of(bodies.STATES), "`active` resumes it, `paused` pauses it.")
    return body_of("What is to be different; what is left out stays as it is.", {**_wanted(), "state": state})


def _subscription() -> Schema:
    secret = described(or_null(TEXT), "Only in the answer to the request that made it; null: its sink is not signed.")
    shape = object_of(
        "Who is told of events. Viewers see its target without what opens it.",
        id=TEXT,
        **_wanted(),
        state=enum_of(state for state in SubscriptionState if state is not SubscriptionState.DELETED),
        reason=described(
            or_null(enum_of((GONE_REASON, FAILING_REASON))),
            "Why it is disabled: the target wants no more (410), or nothing could be delivered for 5 days.",
        ),
        failing_since=described(or_null(TIME), "Since when nothing could be delivered; null: the newest attempt went well."),
        last_delivered_at=or_null(TIME),
        undelivered=described(COUNT, "Events that wait for it."),
        replays=described(list_of(_replay()), "What is delivered once more, and not all queued yet."),
        previous_secret_until=described(or_null(TIME), "Until then the secret before is signed with as well."),
        created_at=TIME,
        updated_at=TIME,
        version=described(
            {"type": "integer", "minimum": 1}, "Grows with each change that somebody asked for, and when it is disabled."
        ),
    )
    return {**shape, "properties": {**shape["properties"], "secret": secret}}


def _replay() -> Schema:
    return object_of(
        "A replay.",
        **{"from": described(or_null(TIME), "Null: from the beginning.")},
        to=TIME,
        task_id=or_null(TEXT),
        dead=FLAG,
        rate_per_s=described({"type": "number"}, "Events per second."),
    )


def _rotate() -> Schema:
    overlap = {"type": "integer", "minimum": 0, "maximum": rotation.MAX_OVERLAP_S, "default": rotation.USUAL_OVERLAP_S}
    meaning = "How many seconds the secret before lives on; 0: it dies at once."
    return body_of("How a secret is replaced; may be left out.", {"overlap_s": described(overlap, meaning)})


def _rotated() -> Schema:
    return object_of(
        "A new secret.",
        secret=described(TEXT, "This once; it is not shown again."),
        previous_secret_until=described(or_null(TIME), "Until then the secret before is signed with as well; null: it is not."),
    )


def _delivery() -> Schema:
    return object_of(
        "An event on its way to a subscription, or what became of it.",
        id=TEXT,
        subscription_id=TEXT,
        event_id=described(or_null(TEXT), "The CloudEvent's `id`; null: the event is no longer there."),
        task_id=described(or_null(TEXT), "Null: it is no task's."),
        type=described(TEXT, "The CloudEvent's `type`."),
        origin=described(enum_of(("event", "replay", "retry", "test")), "Why it was queued."),
        state=enum_of(DeliveryState),
        queued_at=TIME,
        next_try_at=described(
            or_null(TIME), "Null: another event of its task waits before it, it is being sent, or it is at its end."
        ),
        sending=described(FLAG, "It is being sent right now."),
        done_at=described(or_null(TIME), "When it came to its end."),
        attempts=described(list_of(_attempt()), "The newest 30, the oldest of them first."),
    )


def _attempt() -> Schema:
    return object_of(
        "How an attempt went.",
        at=TIME,
        status=described(or_null({"type": "integer"}), "The HTTP status, if there was one."),
        error=described(or_null(TEXT), "Why it was not taken, in one stable word; null: it was."),
        detail=described(or_null(TEXT), "The same for people."),
        duration_ms=or_null(COUNT),
        answer=described(or_null(TEXT), "How the target's answer begins; null for viewers."),
    )


def _resend() -> Schema:
    rate = {"type": "number", "minimum": 1, "maximum": replays.MAX_RATE, "default": replays.USUAL_RATE}
    properties = {
        "from": described(TIME, "Events of this time or later; left out: from the beginning."),
        "to": described(TIME, "Events before this time; left out: until now."),
        "task_id": described(TEXT, "Only events of this task."),
        "dead": described(
            {"type": "boolean", "default": False},
            "Only what was tried for three days in vain; `from` and `to` say when it was queued.",
        ),
        "rate_per_s": described(rate, "How many events are queued each second, at the most."),
        "dry_run": described({"type": "boolean", "default": False}, "Only say how many."),
    }
    shape = body_of("What to deliver once more; at least one of from, to, task_id and dead.", properties)
    return {**shape, "examples": [{"from": "2026-11-21T13:00:00Z", "to": "2026-11-21T14:00:00Z", "dry_run": True}]}
