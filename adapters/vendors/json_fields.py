"""Tolerant, typed reading of vendors' JSON: the same field may come as a number or as text.

All values that are read can be stored: text without NUL characters and lone surrogates, integers of at most 18 digits.
Times are whole ms since the Unix epoch, UTC; implausible ones are dropped.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from adapters.text import storable

_INTEGER = re.compile(r"-?[0-9]{1,18}")
_INTEGER_LIMIT = 10**18
# Digits of a number at most: Python converts no longer ones to int. A longer number stays text.
_DIGITS_LIMIT = 100
_MESSAGE_LIMIT = 2000

#: 2015-01-01: none of these services existed before, so an earlier time is a zero, or seconds read as milliseconds.
EARLIEST_MS = 1_420_070_400_000
#: A vendor's clock may be ahead of ours by at most this much: 10 minutes.
CLOCK_AHEAD_MS = 10 * 60 * 1000
#: A start may be planned ahead by at most this much: a leap year.
PLANNED_AHEAD_MS = 366 * 24 * 3600 * 1000


class NotAnObjectError(ValueError):
    """The bytes are not a JSON object."""


class TooDeepError(NotAnObjectError):
    """The bytes may be a JSON object, but it is nested too deep to be read."""


class UnreadableError(ValueError):
    """A known event lacks a required field, or has a value that no document lists."""


def json_object(raw: str | bytes) -> dict[str, Any]:
    """Returns the JSON object in this text. Raises NotAnObjectError (TooDeepError), and nothing else."""
    try:
        value = _DECODER.decode(raw if isinstance(raw, str) else raw.decode(json.detect_encoding(raw), "surrogatepass"))
    except RecursionError:
        raise TooDeepError("nested too deep") from None
    except ValueError as error:
        raise NotAnObjectError(f"not JSON: {error}") from None
    if not isinstance(value, dict):
        raise NotAnObjectError("not a JSON object")
    return value


def _parse_int(digits: str) -> int | str:
    return int(digits) if len(digits) <= _DIGITS_LIMIT else digits


def _reject_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a JSON number")


#: Made once: `json.loads` with these options makes a decoder for every text, which takes a third of its time.
_DECODER = json.JSONDecoder(parse_int=_parse_int, parse_constant=_reject_constant)


def digest_of(*parts: bytes) -> str:
    """Returns the SHA-256 of the parts, each prefixed with its length, so that different lists of parts never have equal input."""
    return hashlib.sha256(b"".join(b"%d:%b" % (len(part), part) for part in parts)).hexdigest()


def dedupe_key(at: int | None, *parts: bytes) -> str:
    """Returns 64 hex digits: the event's own time (ms; the same in all its deliveries) and a digest of the parts.

    The time comes first, so that an index of these keys grows at its end; random keys would dirty one page each.
    """
    time_ms = at if at is not None and 0 <= at < 1 << 48 else 0
    return f"{time_ms:012x}{digest_of(*parts)[:52]}"


def as_bytes(text: str) -> bytes:
    """Returns the text as UTF-8, also if it contains lone surrogates (from JSON escapes)."""
    return text.encode("utf-8", "surrogatepass")


def as_text(value: Any) -> str | None:
    """Returns text, or a whole number as text; None for anything else and for empty text."""
    if isinstance(value, str):
        return storable(value) or None
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else None


def as_integer(value: Any) -> int | None:
    """Returns a whole number, also one written as text; None for anything else."""
    if isinstance(value, str):
        return int(value) if _INTEGER.fullmatch(value) else None
    if isinstance(value, int) and not isinstance(value, bool):
        return value if abs(value) < _INTEGER_LIMIT else None
    return None


def plausible_time(ms: int | None, received_at: int, *, ahead_ms: int = CLOCK_AHEAD_MS) -> int | None:
    """Returns the time if it is plausible: not before 2015, and at most `ahead_ms` after its receipt. None otherwise."""
    if ms is None or not EARLIEST_MS <= ms <= received_at + ahead_ms:
        return None
    return ms


@dataclass(frozen=True, slots=True)
class Fields:
    """One JSON object of a callback or an answer. Methods that take several names use the first that can be read."""

    raw: Mapping[str, Any]
    #: ms; decides which times are plausible.
    received_at: int

    def text(self, *names: str) -> str | None:
        for name in names:
            value = as_text(self.raw.get(name))
            if value is not None:
                return value
        return None

    def message(self, *names: str) -> str | None:
        """Returns the vendor's message, cut to 2,000 characters so that lists of tasks stay small."""
        text = self.text(*names)
        return text[:_MESSAGE_LIMIT] if text else None

    def code(self, *names: str) -> str | None:
        """Returns the vendor's code as text; None for 0, which means no error."""
        code = self.message(*names)
        return None if code == "0" else code

    def integer(self, *names: str) -> int | None:
        for name in names:
            value = as_integer(self.raw.get(name))
            if value is not None:
                return value
        return None

    def required_integer(self, *names: str) -> int:
        value = self.integer(*names)
        if value is None:
            raise UnreadableError(f"{' or '.join(names)} is not a whole number")
        return value

    def past_time(self, name: str, *, unit_ms: int = 1) -> int | None:
        """Returns a time in the past, ms; None if it is missing or implausible. unit_ms: unit of the field."""
        return plausible_time(self._time_ms(name, unit_ms), self.received_at)

    def planned_time(self, name: str, *, unit_ms: int = 1) -> int | None:
        """Returns a time that may lie up to a year ahead, ms; None if it is missing or implausible. unit_ms: unit of the field."""
        return plausible_time(self._time_ms(name, unit_ms), self.received_at, ahead_ms=PLANNED_AHEAD_MS)

    def _time_ms(self, name: str, unit_ms: int) -> int | None:
        value = self.integer(name)
        return None if value is None else value * unit_ms

    def child(self, name: str) -> "Fields":
        """Returns the object in this field; an empty one if there is none."""
        value = self.raw.get(name)
        return Fields(value if isinstance(value, dict) else {}, self.received_at)

    def children(self, name: str) -> "tuple[Fields, ...]":
        """Returns the objects in the list in this field."""
        value = self.raw.get(name)
        items = value if isinstance(value, list) else []
        return tuple(Fields(item, self.received_at) for item in items if isinstance(item, dict))

    def texts(self, name: str) -> tuple[str, ...]:
        """Returns the texts in the list in this field, or the one text that stands in place of the list."""
        value = self.raw.get(name)
        items = value if isinstance(value, list) else [value]
        return tuple(text for item in items if (text := as_text(item)) is not None)
