"""The envelope of a callback and its signature (75124, 69820)."""

import hashlib
import json
from datetime import UTC, datetime, timedelta, timezone

from simulator.messages import OutgoingEvent
from simulator.seeded_random import SeededRandom

_CHINA = timezone(timedelta(hours=8))
_HEADERS = {"Content-Type": "application/json"}
_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"


def sign_callback(news: OutgoingEvent, seed: int, *, exact: bool) -> tuple[bytes, dict[str, str]]:
    """The same bytes at every delivery: a retry keeps its EventId."""
    dice = SeededRandom(seed, "envelope", news.name)
    nonce = dice.random_text(_LETTERS, 4)
    fields = {
        "EventType": news.event,
        "EventData": json.dumps(news.data, separators=(",", ":")),
        "EventTime": _event_time(news, exact=exact),
        "EventId": dice.random_text("0123456789abcdef", 32),
        "AppId": news.app.app_id,
        "Version": "2020-12-01",
    }
    # Which of the two spellings goes over the wire differs between the vendor's own pages.
    spellings = dice.one_of((("Nonce",), ("Noce",), ("Noce", "Nonce")))
    joined = "".join(sorted([*fields.values(), nonce, news.app.callback_secret], key=lambda value: value.encode()))
    signature = hashlib.sha256(joined.encode()).hexdigest()
    body = fields | dict.fromkeys(spellings, nonce) | {"Signature": signature}
    return json.dumps(body, separators=(",", ":")).encode(), _HEADERS


def _event_time(news: OutgoingEvent, *, exact: bool) -> str:
    """Whole seconds of China's time, as in the samples; or with nine digits, as in the field table."""
    if exact:
        moment = datetime.fromtimestamp(news.at / 1000, UTC)
        return f"{moment:%Y-%m-%dT%H:%M:%S}.{news.at % 1000:03}000000Z"
    return datetime.fromtimestamp(news.at // 1000, _CHINA).isoformat()
