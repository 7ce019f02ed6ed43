"""A callback as the payload of a record: a line of JSON that has everything but the body, then the body as it came."""

import json
from dataclasses import fields
from typing import Any

from adapters.ledger.inbox import Arrival

_NAMES = [field.name for field in fields(Arrival) if field.name != "body"]


class UnreadablePayloadError(Exception):
    """Whole, but not a callback as this version writes it."""


def payload(arrival: Arrival) -> bytes:
    # As ASCII: it then holds no line break, and bears half a surrogate pair, which a vendor's text may have.
    told = {name: getattr(arrival, name) for name in _NAMES}
    return json.dumps({**told, "headers": dict(arrival.headers)}).encode("ascii") + b"\n" + arrival.body


def arrival(payload: bytes) -> Arrival:
    """The callback. What another version knew of it and this one does not is left out. Raises UnreadablePayloadError."""
    line, _, body = payload.partition(b"\n")
    try:
        told: dict[str, Any] = json.loads(line)
        return Arrival(**{name: told[name] for name in _NAMES if name in told}, body=body)
    except (ValueError, TypeError, AttributeError) as error:
        raise UnreadablePayloadError(str(error)) from error
