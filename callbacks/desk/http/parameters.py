"""Reads query parameters by a table, which is also shown in the OpenAPI document.

All wrong parameters are reported together, each with what would be right.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request

from adapters.clock import parse_rfc3339
from adapters.text import FieldProblem, closest_word, is_storable
from callbacks.desk.http.cursors import BadCursorError, decode
from callbacks.desk.http.problems import Invalid, UriTooLong

MAX_LIMIT = 500
_DEFAULT_LIMIT = 50
_MAX_TEXT = 1_000
#: Limits of a query string: bytes, and parameters. For longer names no similar name is searched.
_MAX_QUERY, _MAX_GIVEN, _MAX_NAME = 8 * 1024, 100, 100
#: The largest integer that the ledger can store.
_MAX_NUMBER = 2**63 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Param:
    """A parameter. `read` returns its value, or raises ValueError with what would be right, as in "must be ..."."""

    name: str
    meaning: str
    schema: Mapping[str, Any]
    read: Callable[[str], Any]
    repeatable: bool = False
    default: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenValue:
    """A value as the client sent it. `field`: the name of it in error messages, such as `filter.vendor`."""

    name: str
    field: str
    value: str


def text(name: str, meaning: str) -> Param:
    return Param(name=name, meaning=meaning, schema={"type": "string", "minLength": 1, "maxLength": _MAX_TEXT}, read=_read_text)


def choice(name: str, words: Iterable[str], meaning: str, *, repeatable: bool = False) -> Param:
    """Returns a parameter whose value is one of these words."""
    known = [str(each) for each in words]

    def read(value: str) -> str:
        if value not in known:
            raise ValueError(f"must be one of {', '.join(known)}")
        return value

    schema = {"type": "string", "enum": known}
    return Param(name=name, meaning=meaning, schema=schema, read=read, repeatable=repeatable, default=() if repeatable else None)


def time(name: str, meaning: str) -> Param:
    """Returns a parameter that is a time, read as ms since the epoch."""
    return Param(name=name, meaning=meaning, schema={"type": "string", "format": "date-time"}, read=_read_time)


def flag(name: str, meaning: str) -> Param:
    return Param(name=name, meaning=meaning, schema={"type": "boolean"}, read=_read_flag)


def number(name: str, meaning: str, *, default: int | None = None) -> Param:
    """Returns a parameter that is a whole number of 0 or more."""
    schema: dict[str, Any] = {"type": "integer", "minimum": 0, "maximum": _MAX_NUMBER}
    if default is not None:
        schema["default"] = default
    return Param(name=name, meaning=meaning, schema=schema, read=_read_number, default=default)


def limit() -> Param:
    schema = {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": _DEFAULT_LIMIT}
    return Param(name="limit", meaning="The largest number of items.", schema=schema, read=_read_limit, default=_DEFAULT_LIMIT)


def paging(*position: type[int] | type[str]) -> tuple[Param, Param]:
    """Returns the parameters `limit` and `cursor`; the cursor holds a position of these types."""

    def read(value: str) -> tuple[Any, ...]:
        try:
            return decode(value, *position)
        except BadCursorError:
            raise ValueError("must be the next_cursor of a page of this list") from None

    return limit(), Param(name="cursor", meaning="The `next_cursor` of the previous page.", schema={"type": "string"}, read=read)


def read_query(params: Sequence[Param], request: Request) -> dict[str, Any]:
    """Returns the values of the query's parameters, with defaults. Raises Invalid, UriTooLong."""
    require_short_query(request)
    given = [GivenValue(name=name, field=name, value=value) for name, value in request.query_params.multi_items()]
    values, errors = read_values(params, given)
    if errors:
        raise Invalid("some parameters are wrong", errors)
    return values


def require_short_query(request: Request) -> None:
    """Raises UriTooLong before a long query is parsed: 20,000 parameters in one url took 0.26 s of the event loop."""
    query: bytes = request.scope["query_string"]
    if len(query) > _MAX_QUERY or query.count(b"&") >= _MAX_GIVEN:
        raise UriTooLong(f"the query string must have at most {_MAX_QUERY} bytes and {_MAX_GIVEN} parameters")


def read_values(params: Sequence[Param], given: Iterable[GivenValue]) -> tuple[dict[str, Any], list[FieldProblem]]:
    """Returns (the values by name, one error for each wrong parameter)."""
    by_name: dict[str, list[GivenValue]] = defaultdict(list)
    for item in given:
        by_name[item.name].append(item)
    values: dict[str, Any] = {}
    errors: list[FieldProblem] = []
    for param in params:
        items = by_name.pop(param.name, [])
        values[param.name] = _read_value(param, items, errors)
    names = [param.name for param in params]
    errors += [FieldProblem(field=items[0].field, message=_unknown_message(name, names)) for name, items in by_name.items()]
    return values, errors


def _read_value(param: Param, items: Sequence[GivenValue], errors: list[FieldProblem]) -> Any:
    if len(items) > 1 and not param.repeatable:
        errors.append(FieldProblem(field=items[1].field, message="must be given once"))
        return None
    read = []
    for item in items:
        try:
            read.append(param.read(item.value))
        except ValueError as error:
            errors.append(FieldProblem(field=item.field, message=str(error)))
    if not read:
        return param.default
    return tuple(dict.fromkeys(read)) if param.repeatable else read[0]


def _unknown_message(name: str, known: Sequence[str]) -> str:
    near = closest_word(name, known) if len(name) <= _MAX_NAME else None
    return f"is not known; did you mean {near}?" if near else f"is not known; there are {', '.join(known) or 'none'}"


def _read_text(value: str) -> str:
    if not 0 < len(value) <= _MAX_TEXT or not is_storable(value):
        raise ValueError(f"must be text of 1 to {_MAX_TEXT} characters, without NUL and surrogates")
    return value


def _read_time(value: str) -> int:
    try:
        return parse_rfc3339(value)
    except ValueError:
        # In a query a bare + stands for a blank.
        raise ValueError("must be a time with Z or an offset (its + written as %2B), as in 2026-11-21T13:00:00.123Z") from None


def _read_flag(value: str) -> bool:
    if value not in ("true", "false"):
        raise ValueError("must be true or false")
    return value == "true"


def _read_number(value: str) -> int:
    if not (value.isascii() and value.isdigit() and len(value) < 20 and int(value) <= _MAX_NUMBER):
        raise ValueError(f"must be a whole number from 0 to {_MAX_NUMBER}")
    return int(value)


def _read_limit(value: str) -> int:
    if not (value.isascii() and value.isdigit() and len(value) < 10 and 1 <= int(value) <= MAX_LIMIT):
        raise ValueError(f"must be a whole number from 1 to {MAX_LIMIT}")
    return int(value)
