"""Checks the shape of each signed field of a callback (documents 75124, 75125 and 69820).

The signature does not tell which value is which field. The meaning of a callback is in EventType, EventData, EventTime and AppId:
the shapes of these four, and the shapes that EventId and the nonce must not have, make every swap of values detectable. What the
pages leave open stays open: EventId may be nearly any text, and EventId, Version and the nonce may be missing.
"""

import re
from collections.abc import Mapping
from datetime import date
from functools import lru_cache

from adapters import clock
from adapters.vendors.volcengine.events import NO_TASK, TASK_EVENTS

#: Shape of EventType: all documented names begin with a letter; undocumented names need no more than this.
_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_.:-]{0,127}")
_RFC3339 = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?([Zz]|[+-][0-9]{2}:[0-9]{2})")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
#: Shape of the nonce: the page says 4 characters, and shows letters and digits.
_NONCE = re.compile(r"[A-Za-z0-9]{0,16}")
_NONCES = ("Nonce", "Noce")
_EVENT_ID_LIMIT = 512


def shape_problem(texts: Mapping[str, str]) -> str | None:
    """Returns a sentence about the first field with a wrong shape; None if there is none. EventData is not checked here."""
    if not _WORD.fullmatch(texts["EventType"]):
        return "EventType must be one word of at most 128 characters that begins with a letter"
    if rfc3339_ms(texts["EventTime"]) is None:
        return "EventTime must be an RFC 3339 time with an offset"
    if texts["Version"] and not _is_date(texts["Version"]):
        return "Version must be a date, such as 2020-12-01"
    if len(texts["EventId"]) > _EVENT_ID_LIMIT or _looks_like_other_field(texts["EventId"]):
        return f"EventId must be text of at most {_EVENT_ID_LIMIT} characters, and not what another field holds"
    for name in _NONCES:
        nonce = texts.get(name, "")
        if not _NONCE.fullmatch(nonce) or _looks_like_other_field(nonce):
            return f"{name} must be at most 16 letters and digits, and not what another field holds"
    return None


@lru_cache(maxsize=256)  # a second has many events, and each time is parsed twice
def rfc3339_ms(text: str) -> int | None:
    """Returns the ms since the epoch of an RFC 3339 time with an offset; None for any other text."""
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


def _looks_like_other_field(text: str) -> bool:
    """Returns whether the text is an event's name, a version or a time, or begins like event data: then values were swapped."""
    if text in TASK_EVENTS or text in NO_TASK or text.startswith("{") or _is_date(text):
        return True
    return _RFC3339.fullmatch(text) is not None
