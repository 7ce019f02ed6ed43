"""Checks the shape of each signed field of a callback (documents 75124, 75125 and 69820).

The signature does not say which value is which field. What a callback means stands in EventType, EventData, EventTime and AppId:
the shapes of these four, and what EventId and the nonce may not look like, leave them no other place. What the pages leave open
stays open: EventId may be nearly any text, and EventId, Version and the nonce may be missing.
"""

import re
from collections.abc import Mapping
from datetime import date
from functools import lru_cache

from adapters import clock
from adapters.vendors.volcengine.events import NO_TASK, TASK_EVENTS

#: All names on the page begin with a letter; of one that is not on it nothing more is asked.
_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_.:-]{0,127}")
_RFC3339 = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?([Zz]|[+-][0-9]{2}:[0-9]{2})")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
#: The page says 4 characters, and shows letters and digits.
_NONCE = re.compile(r"[A-Za-z0-9]{0,16}")
_NONCES = ("Nonce", "Noce")
_EVENT_ID_LIMIT = 512


def wrong_shape(texts: Mapping[str, str]) -> str | None:
    """Says which field has not the shape that it should have, and which one that is; None: none. EventData is not looked at."""
    if not _WORD.fullmatch(texts["EventType"]):
        return "EventType must be one word of at most 128 characters that begins with a letter"
    if rfc3339_ms(texts["EventTime"]) is None:
        return "EventTime must be an RFC 3339 time with an offset"
    if texts["Version"] and not _is_date(texts["Version"]):
        return "Version must be a date, such as 2020-12-01"
    if len(texts["EventId"]) > _EVENT_ID_LIMIT or _is_of_another_field(texts["EventId"]):
        return f"EventId must be text of at most {_EVENT_ID_LIMIT} characters, and not what another field holds"
    for name in _NONCES:
        nonce = texts.get(name, "")
        if not _NONCE.fullmatch(nonce) or _is_of_another_field(nonce):
            return f"{name} must be at most 16 letters and digits, and not what another field holds"
    return None


@lru_cache(maxsize=256)  # a second has many events, and each is asked for twice
def rfc3339_ms(text: str) -> int | None:
    """ms since the epoch of an RFC 3339 time with an offset; None where it is none."""
    if not _RFC3339.fullmatch(text):
        return None
    try:
        return clock.rfc3339_ms(text)
    except ValueError:  # the 31st of February; the year 0
        return None


def _is_date(text: str) -> bool:
    if not _DATE.fullmatch(text):
        return False
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def _is_of_another_field(text: str) -> bool:
    """Whether it is the name of an event, a version, a time, or begins as event data does: then values changed places."""
    if text in TASK_EVENTS or text in NO_TASK or text.startswith("{") or _is_date(text):
        return True
    return _RFC3339.fullmatch(text) is not None
