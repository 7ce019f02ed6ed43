"""Reads parameters by a table of what there is; the same table is shown in the OpenAPI document.

Everything that is wrong is told at once, each with what would be right.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request

from adapters.clock import parse_rfc3339
from adapters.text import closest_word, is_storable
from callbacks.desk.http.cursors import BadCursorError, decode
from callbacks.desk.http.problems import FieldError, Invalid, UriTooLong

MAX_LIMIT = 500
_DEFAULT_LIMIT = 50
_MAX_TEXT = 1_000
#: Bytes of a query string, and its parameters; a name that is longer is like none that there is.
_MAX_QUERY, _MAX_GIVEN, _MAX_NAME = 8 * 1024, 100, 100
#: A ledger can hold no larger number.
_MAX_NUMBER = 2**63 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Param:
    """A parameter. `read`: its value, or a ValueError that says what would be right, to be read after its name."""

    name: str
    meaning: str
    schema: Mapping[str, Any]
    read: Callable[[str], Any]
    repeatable: bool = False
    default: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """A parameter as it was given. `field`: how the one who gave it calls it."""

    name: str
    field: str
    value: str


def text(name: str, meaning: str) -> Param:
    return Param(name=name, meaning=meaning, schema={"type": "string", "minLength": 1, "maxLength": _MAX_TEXT}, read=_text)


def word(name: str, words: Iterable[str], meaning: str, *, repeatable: bool = False) -> Param:
    """One of some words."""
    known = [str(each) for each in words]

    def read(value: str) -> str:
        if value not in known:
            raise ValueError(f"must be one of {', '.join(known)}")
        return value

    schema = {"type": "string", "enum": known}
    return Param(name=name, meaning=meaning, schema=schema, read=read, repeatable=repeatable, default=() if repeatable else None)


def moment(name: str, meaning: str) -> Param:
    """A time; read as ms since the epoch."""
    return Param(name=name, meaning=meaning, schema={"type": "string", "format": "date-time"}, read=_moment)


def flag(name: str, meaning: str) -> Param:
    return Param(name=name, meaning=meaning, schema={"type": "boolean"}, read=_flag)


def number(name: str, meaning: str, *, default: int | None = None) -> Param:
    """A whole number of 0 or more."""
    schema: dict[str, Any] = {"type": "integer", "minimum": 0, "maximum": _MAX_NUMBER}
    if default is not None:
        schema["default"] = default
    return Param(name=name, meaning=meaning, schema=schema, read=_number, default=default)


def limit() -> Param:
    schema = {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": _DEFAULT_LIMIT}
    return Param(name="limit", meaning="How many items at most.", schema=schema, read=_limit, default=_DEFAULT_LIMIT)


def paging(*position: type[int] | type[str]) -> tuple[Param, Param]:
    """`limit`, and a `cursor` that holds a position of this shape."""

    def read(value: str) -> tuple[Any, ...]:
        try:
            return decode(value, *position)
        except BadCursorError:
            raise ValueError("must be the next_cursor of a page of this list") from None

    return limit(), Param(name="cursor", meaning="The `next_cursor` of the page before.", schema={"type": "string"}, read=read)


def from_query(params: Sequence[Param], request: Request) -> dict[str, Any]:
    """The values of the query's parameters, defaults included. Raises Invalid."""
    require_short(request)
    given = [Given(name=name, field=name, value=value) for name, value in request.query_params.multi_items()]
    values, errors = read_all(params, given)
    if errors:
        raise Invalid("some parameters are not right", errors)
    return values


def require_short(request: Request) -> None:
    """Before it is read: 20,000 parameters in one url took 0.26 s of the event loop. Raises UriTooLong."""
    query: bytes = request.scope["query_string"]
    if len(query) > _MAX_QUERY or query.count(b"&") >= _MAX_GIVEN:
        raise UriTooLong(f"the query string must have at most {_MAX_QUERY} bytes and {_MAX_GIVEN} parameters")


def read_all(params: Sequence[Param], given: Iterable[Given]) -> tuple[dict[str, Any], list[FieldError]]:
    """The values, and everything that is wrong."""
    by_name: dict[str, list[Given]] = defaultdict(list)
    for item in given:
        by_name[item.name].append(item)
    values: dict[str, Any] = {}
    errors: list[FieldError] = []
    for param in params:
        items = by_name.pop(param.name, [])
        values[param.name] = _value(param, items, errors)
    names = [param.name for param in params]
    errors += [FieldError(field=items[0].field, message=_unknown(name, names)) for name, items in by_name.items()]
    return values, errors


def _value(param: Param, items: Sequence[Given], errors: list[FieldError]) -> Any:
    if len(items) > 1 and not param.repeatable:
        errors.append(FieldError(field=items[1].field, message="must be given once"))
        return None
    read = []
    for item in items:
        try:
            read.append(param.read(item.value))
        except ValueError as error:
            errors.append(FieldError(field=item.field, message=str(error)))
    if not read:
        return param.default
    return tuple(dict.fromkeys(read)) if param.repeatable else read[0]


def _unknown(name: str, known: Sequence[str]) -> str:
    near = closest_word(name, known) if len(name) <= _MAX_NAME else None
    return f"is not known; did you mean {near}?" if near else f"is not known; there are {', '.join(known) or 'none'}"


def _text(value: str) -> str:
    if not 0 < len(value) <= _MAX_TEXT or not is_storable(value):
        raise ValueError(f"must be text of 1 to {_MAX_TEXT} characters, without NUL and surrogates")
    return value


def _moment(value: str) -> int:
    try:
        return parse_rfc3339(value)
    except ValueError:
        # In a query a bare + stands for a blank.
        raise ValueError("must be a time with Z or an offset (its + written as %2B), as in 2026-11-21T13:00:00.123Z") from None


def _flag(value: str) -> bool:
    if value not in ("true", "false"):
        raise ValueError("must be true or false")
    return value == "true"


def _number(value: str) -> int:
    if not (value.isascii() and value.isdigit() and len(value) < 20 and int(value) <= _MAX_NUMBER):
        raise ValueError(f"must be a whole number from 0 to {_MAX_NUMBER}")
    return int(value)


def _limit(value: str) -> int:
    if not (value.isascii() and value.isdigit() and len(value) < 10 and 1 <= int(value) <= MAX_LIMIT):
        raise ValueError(f"must be a whole number from 1 to {MAX_LIMIT}")
    return int(value)
