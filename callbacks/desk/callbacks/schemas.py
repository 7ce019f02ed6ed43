"""Defines the shapes of callbacks, replays and rejections, as JSON Schema."""

from adapters.vendors.registry import vendor_names
from callbacks.desk.callbacks import replays
from callbacks.desk.http.body_fields import schema_of
from callbacks.desk.http.json_schema import (
    COUNT,
    TEXT,
    TIME,
    Schema,
    described,
    enum_of,
    object_of,
    or_null,
    page_of,
)
from statemachine.states import Verdict

_REPLAY: Schema = {
    **schema_of("What to replay; at least one filter, inside `filter` or beside it. null means left out.", replays.FIELDS),
    "examples": [{"filter": {"verdict": "unknown"}, "received_after": "2026-11-21T13:00:00Z", "dry_run": True}],
}


def schemas() -> dict[str, Schema]:
    """Returns the schemas by name."""
    return {
        "Callback": _callback_schema(),
        "CallbackPage": page_of("Callback"),
        "Replay": _REPLAY,
        "Matched": object_of("The number of callbacks that a replay would read again.", matched=COUNT, dry_run={"const": True}),
        "Replayed": object_of("A replay that was recorded.", matched=COUNT, queued=COUNT),
        "Rejection": _rejection_schema(),
        "RejectionPage": page_of("Rejection"),
    }


def _callback_schema() -> Schema:
    return object_of(
        "A callback as it was sent, and what it did.",
        id=TEXT,
        vendor=enum_of(vendor_names()),
        app_id=TEXT,
        event_type=TEXT,
        received_at=TIME,
        event_at=described(or_null(TIME), "The vendor's own time, if it is plausible."),
        applied_at=described(or_null(TIME), "When it was applied; null while it waits."),
        verdict=or_null(enum_of(Verdict)),
        reason=or_null(TEXT),
        error=described(or_null(TEXT), "Why it was set aside."),
        task_id=or_null(TEXT),
        masked=described({"type": "boolean"}, "Headers and body are not shown to this token."),
        size=described(COUNT, "Bytes of the body."),
        headers={"type": ["object", "null"], "additionalProperties": TEXT, "description": "Null in lists, and where `masked`."},
        body=described(
            or_null(TEXT), "The body, if it is UTF-8. Null in lists, and where `masked`: the callback's own path has it."
        ),
        body_base64=described(or_null(TEXT), "The body, whatever it is. Null in lists, and where `masked`."),
    )


def _rejection_schema() -> Schema:
    return object_of(
        "A callback that was rejected.",
        at=TIME,
        vendor=described(enum_of((*vendor_names(), "")), "Empty if the path belongs to no vendor."),
        app_id=or_null(TEXT),
        status=described(COUNT, "The status of the answer."),
        reason=described(TEXT, "For example `bad_signature`."),
        detail=TEXT,
        remote=described(or_null(TEXT), "The sender's address."),
        size=described(COUNT, "Bytes of the body."),
    )
