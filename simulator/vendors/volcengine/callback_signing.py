"""The envelope of a callback and its signature (75124, 69820)."""

import hashlib
import json
from datetime import UTC, datetime, timedelta, timezone

from simulator.messages import OutgoingEvent
from simulator.seeded_random import SeededRandom

_CHINA = timezone(timedelta(hours=8))
_HEADERS = {"Content-Type": "application/json"}
_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"


def sign_callback(event: OutgoingEvent, seed: int, *, exact: bool) -> tuple[bytes, dict[str, str]]:
    """Signs an event as a callback: the same bytes in every delivery, as a retry keeps its EventId."""
    random = SeededRandom(seed, "envelope", event.unique_name)
    nonce = random.random_text(_LETTERS, 4)
    fields = {
        "EventType": event.event_type,
        "EventData": json.dumps(event.data, separators=(",", ":")),
        "EventTime": _event_time(event, exact=exact),
        "EventId": random.random_text("0123456789abcdef", 32),
        "AppId": event.app.app_id,
        "Version": "2020-12-01",
    }
    # The vendor's own pages differ between the two spellings.
    spellings = random.one_of((("Nonce",), ("Noce",), ("Noce", "Nonce")))
    joined = "".join(sorted([*fields.values(), nonce, event.app.callback_secret], key=lambda value: value.encode()))
    signature = hashlib.sha256(joined.encode()).hexdigest()
    body = fields | dict.fromkeys(spellings, nonce) | {"Signature": signature}
    return json.dumps(body, separators=(",", ":")).encode(), _HEADERS


def _event_time(event: OutgoingEvent, *, exact: bool) -> str:
    """Returns EventTime: whole seconds of China's time, as in the samples; or with nine digits, as in the field table."""
    if exact:
        moment = datetime.fromtimestamp(event.at / 1000, UTC)
        return f"{moment:%Y-%m-%dT%H:%M:%S}.{event.at % 1000:03}000000Z"
    return datetime.fromtimestamp(event.at // 1000, _CHINA).isoformat()
