"""The shapes of subscriptions and deliveries, as JSON Schema (OpenAPI 3.1)."""

from collections.abc import Mapping
from functools import cache

from adapters.downstream import open_sinks
from adapters.envelope import TYPES
from adapters.settings import Settings
from callbacks.desk import resends, rotation, subscription_bodies
from callbacks.desk.shapes import COUNT, FLAG, TEXT, TIME, Schema, body_of, list_of, object_of, or_null, page_of, ref, said, words
from statemachine.delivery import FAILING, GONE, DeliveryState, SubscriptionState

_MATCHED = said(COUNT, "How many events it is about, as things are.")


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
    properties = {param.name: said(or_null(param.schema), param.meaning) for param in subscription_bodies.FILTERS}
    return body_of("Which tasks' events are wanted; what is left out or null may be anything.", properties)


def _wanted() -> dict[str, Schema]:
    """What somebody may say of a subscription."""
    meaning = "Types of events; one that ends in `*` stands for all that begin so. There are " + ", ".join(TYPES) + "."
    types = {**list_of(TEXT), "minItems": 1, "maxItems": subscription_bodies.MAX_TYPES, "uniqueItems": True}
    return {
        "sink": _sink(),
        "types": said(types, meaning),
        "filter": ref("Filter"),
        "description": {"type": "string", "maxLength": subscription_bodies.MAX_DESCRIPTION, "description": "For people."},
    }


def _new() -> Schema:
    types = {**_wanted()["types"], "default": subscription_bodies.DEFAULTS["types"]}
    return body_of("Whom to tell of what.", {**_wanted(), "types": types}, "sink")


def _change() -> Schema:
    state = said(words(subscription_bodies.STATES), "`active` resumes it, `paused` pauses it.")
    return body_of("What is to be different; what is left out stays as it is.", {**_wanted(), "state": state})


def _subscription() -> Schema:
    secret = said(or_null(TEXT), "Only in the answer to the request that made it; null: its sink is not signed.")
    shape = object_of(
        "Who is told of events. Viewers see its target without what opens it.",
        id=TEXT,
        **_wanted(),
        state=words(state for state in SubscriptionState if state is not SubscriptionState.DELETED),
        reason=said(
            or_null(words((GONE, FAILING))),
            "Why it is disabled: the target wants no more (410), or nothing could be delivered for 5 days.",
        ),
        failing_since=said(or_null(TIME), "Since when nothing could be delivered; null: the newest attempt went well."),
        last_delivered_at=or_null(TIME),
        undelivered=said(COUNT, "Events that wait for it."),
        replays=said(list_of(_replay()), "What is delivered once more, and not all queued yet."),
        previous_secret_until=said(or_null(TIME), "Until then the secret before is signed with as well."),
        created_at=TIME,
        updated_at=TIME,
        version=said({"type": "integer", "minimum": 1}, "Grows with each change that somebody asked for, and when it is disabled."),
    )
    return {**shape, "properties": {**shape["properties"], "secret": secret}}


def _replay() -> Schema:
    return object_of(
        "A replay.",
        **{"from": said(or_null(TIME), "Null: from the beginning.")},
        to=TIME,
        task_id=or_null(TEXT),
        dead=FLAG,
        rate_per_s=said({"type": "number"}, "Events per second."),
    )


def _rotate() -> Schema:
    overlap = {"type": "integer", "minimum": 0, "maximum": rotation.MAX_OVERLAP_S, "default": rotation.USUAL_OVERLAP_S}
    meaning = "How many seconds the secret before lives on; 0: it dies at once."
    return body_of("How a secret is replaced; may be left out.", {"overlap_s": said(overlap, meaning)})


def _rotated() -> Schema:
    return object_of(
        "A new secret.",
        secret=said(TEXT, "This once; it is not shown again."),
        previous_secret_until=said(or_null(TIME), "Until then the secret before is signed with as well; null: it is not."),
    )


def _delivery() -> Schema:
    return object_of(
        "An event on its way to a subscription, or what became of it.",
        id=TEXT,
        subscription_id=TEXT,
        event_id=said(or_null(TEXT), "The CloudEvent's `id`; null: the event is no longer there."),
        task_id=said(or_null(TEXT), "Null: it is no task's."),
        type=said(TEXT, "The CloudEvent's `type`."),
        origin=said(words(("event", "replay", "retry", "test")), "Why it was queued."),
        state=words(DeliveryState),
        queued_at=TIME,
        next_try_at=said(or_null(TIME), "Null: another event of its task waits before it, it is being sent, or it is at its end."),
        sending=said(FLAG, "It is being sent right now."),
        done_at=said(or_null(TIME), "When it came to its end."),
        attempts=said(list_of(_attempt()), "The newest 30, the oldest of them first."),
    )


def _attempt() -> Schema:
    return object_of(
        "How an attempt went.",
        at=TIME,
        status=said(or_null({"type": "integer"}), "The HTTP status, if there was one."),
        error=said(or_null(TEXT), "Why it was not taken, in one stable word; null: it was."),
        detail=said(or_null(TEXT), "The same for people."),
        duration_ms=or_null(COUNT),
        answer=said(or_null(TEXT), "How the target's answer begins; null for viewers."),
    )


def _resend() -> Schema:
    rate = {"type": ["number", "null"], "minimum": 1, "maximum": resends.MAX_RATE, "default": resends.USUAL_RATE}
    properties = {
        "from": said(or_null(TIME), "Events of this time or later; left out: from the beginning."),
        "to": said(or_null(TIME), "Events before this time; left out: until now."),
        "task_id": said(or_null(TEXT), "Only events of this task."),
        "dead": said(
            {"type": ["boolean", "null"], "default": False},
            "Only what was tried for three days in vain; `from` and `to` say when it was queued.",
        ),
        "rate_per_s": said(rate, "How many events are queued each second, at the most."),
        "dry_run": said({"type": ["boolean", "null"], "default": False}, "Only say how many."),
    }
    shape = body_of("What to deliver once more; at least one of from, to, task_id and dead. null means left out.", properties)
    return {**shape, "examples": [{"from": "2026-11-21T13:00:00Z", "to": "2026-11-21T14:00:00Z", "dry_run": True}]}
