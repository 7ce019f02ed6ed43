"""The payload of a record: a callback as one line of JSON with all fields but the body, then the body as received."""

import json
from dataclasses import fields
from typing import Any

from adapters.ledger.inbox import Arrival

_FIELD_NAMES = [field.name for field in fields(Arrival) if field.name != "body"]


class UnreadablePayloadError(Exception):
    """Raised for a payload that is complete, but not a callback as this version writes it."""


def encode_arrival(arrival: Arrival) -> bytes:
    """Returns the callback as a record's payload."""
    # ASCII: it contains no line break, and can represent half a surrogate pair, which a vendor's text may contain.
    values = {name: getattr(arrival, name) for name in _FIELD_NAMES}
    return json.dumps({**values, "headers": dict(arrival.headers)}).encode("ascii") + b"\n" + arrival.body


def decode_arrival(payload: bytes) -> Arrival:
    """Returns the callback; fields that only another version knows are ignored. Raises UnreadablePayloadError."""
    line, _, body = payload.partition(b"\n")
    try:
        values: dict[str, Any] = json.loads(line)
        return Arrival(**{name: values[name] for name in _FIELD_NAMES if name in values}, body=body)
    except (ValueError, TypeError, AttributeError) as error:
        raise UnreadablePayloadError(str(error)) from error
