"""Tolerant, typed reading of vendors' JSON: the same field comes as a number today and as text tomorrow.

What leaves here can be stored anywhere: text without NUL characters and lone surrogates, integers of at most 18 digits.
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
# Python refuses to make an int of very many digits; such a number stays the text it was.
_DIGITS_LIMIT = 100
_MESSAGE_LIMIT = 2000

#: 2015-01-01: before it none of these services existed, so an earlier time is a zero, or seconds taken for milliseconds.
EARLIEST_MS = 1_420_070_400_000
#: How far ahead of our clock a vendor's clock may be.
AHEAD_MS = 10 * 60 * 1000
#: How far ahead a start may be planned.
PLANNED_AHEAD_MS = 366 * 24 * 3600 * 1000


class NotAnObjectError(ValueError):
    """These bytes are not a JSON object."""


class TooDeepError(NotAnObjectError):
    """Perhaps a JSON object, but nested too deep to be read."""


class UnreadableError(ValueError):
    """A known event without a field that it needs, or with a value that no document lists."""


def json_object(raw: str | bytes) -> dict[str, Any]:
    """The JSON object in this text. Raises NotAnObjectError (TooDeepError), and nothing else."""
    try:
        value = _DECODER.decode(raw if isinstance(raw, str) else raw.decode(json.detect_encoding(raw), "surrogatepass"))
    except RecursionError:
        raise TooDeepError("nested too deep") from None
    except ValueError as error:
        raise NotAnObjectError(f"not JSON: {error}") from None
    if not isinstance(value, dict):
        raise NotAnObjectError("not a JSON object")
    return value


def _parsed_int(digits: str) -> int | str:
    return int(digits) if len(digits) <= _DIGITS_LIMIT else digits


def _refused(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a JSON number")


#: What `json.loads` would make anew for every text: a third of its time.
_DECODER = json.JSONDecoder(parse_int=_parsed_int, parse_constant=_refused)


def digest_of(*parts: bytes) -> str:
    """SHA-256 over these parts, each with its length before it, so that no two lists of parts look the same."""
    return hashlib.sha256(b"".join(b"%d:%b" % (len(part), part) for part in parts)).hexdigest()


def dedupe_key(at: int | None, *parts: bytes) -> str:
    """64 hex digits: when it happened as the event itself tells it (ms; the same in all its deliveries), and a digest of the parts.

    Keys of one time lie together, so that an index of them grows at its end: keys all over it would make each a page to be written.
    """
    told = at if at is not None and 0 <= at < 1 << 48 else 0
    return f"{told:012x}{digest_of(*parts)[:52]}"


def as_bytes(text: str) -> bytes:
    """UTF-8, also of text that JSON escapes filled with lone surrogates."""
    return text.encode("utf-8", "surrogatepass")


def as_text(value: Any) -> str | None:
    """Text, or a whole number as text; None for anything else and for empty text."""
    if isinstance(value, str):
        return storable(value) or None
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else None


def as_integer(value: Any) -> int | None:
    """A whole number, or text that is one."""
    if isinstance(value, str):
        return int(value) if _INTEGER.fullmatch(value) else None
    if isinstance(value, int) and not isinstance(value, bool):
        return value if abs(value) < _INTEGER_LIMIT else None
    return None


def believed(ms: int | None, received_at: int, *, ahead_ms: int = AHEAD_MS) -> int | None:
    """The time, or None where there is none or it cannot be true."""
    if ms is None or not EARLIEST_MS <= ms <= received_at + ahead_ms:
        return None
    return ms


@dataclass(frozen=True, slots=True)
class Fields:
    """One JSON object of a callback. Where several names are given, the first that can be read counts."""

    raw: Mapping[str, Any]
    #: ms; decides which times are believed.
    received_at: int

    def text(self, *names: str) -> str | None:
        for name in names:
            found = as_text(self.raw.get(name))
            if found is not None:
                return found
        return None

    def message(self, *names: str) -> str | None:
        """The vendor's words, cut to a length that a list of tasks can carry."""
        text = self.text(*names)
        return text[:_MESSAGE_LIMIT] if text else None

    def code(self, *names: str) -> str | None:
        """The vendor's code as text; 0 says nothing."""
        code = self.message(*names)
        return None if code == "0" else code

    def integer(self, *names: str) -> int | None:
        for name in names:
            found = as_integer(self.raw.get(name))
            if found is not None:
                return found
        return None

    def needed(self, *names: str) -> int:
        value = self.integer(*names)
        if value is None:
            raise UnreadableError(f"{' or '.join(names)} is not a whole number")
        return value

    def moment(self, name: str, *, unit_ms: int = 1) -> int | None:
        """A time in the past, in units of so many ms; None where it is not told or not believed."""
        return believed(self._scaled(name, unit_ms), self.received_at)

    def planned(self, name: str, *, unit_ms: int = 1) -> int | None:
        """A time that may lie up to a year ahead."""
        return believed(self._scaled(name, unit_ms), self.received_at, ahead_ms=PLANNED_AHEAD_MS)

    def _scaled(self, name: str, unit_ms: int) -> int | None:
        value = self.integer(name)
        return None if value is None else value * unit_ms

    def child(self, name: str) -> "Fields":
        """The object of this name; without fields where there is none."""
        value = self.raw.get(name)
        return Fields(value if isinstance(value, dict) else {}, self.received_at)

    def children(self, name: str) -> "tuple[Fields, ...]":
        """The objects in the list of this name."""
        value = self.raw.get(name)
        items = value if isinstance(value, list) else []
        return tuple(Fields(item, self.received_at) for item in items if isinstance(item, dict))

    def texts(self, name: str) -> tuple[str, ...]:
        """The texts in the list of this name, or the one text that stands in the list's place."""
        value = self.raw.get(name)
        items = value if isinstance(value, list) else [value]
        return tuple(text for item in items if (text := as_text(item)) is not None)
