"""Declares the members of a request body once: the same table reads the body, reports errors, and gives the OpenAPI schema.

All wrong members are reported together, each with what would be right. `null` means left out.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from adapters.clock import parse_rfc3339
from adapters.text import FieldProblem
from callbacks.desk.http.json_schema import Schema, body_of, described, or_null
from callbacks.desk.http.parameters import Param
from callbacks.desk.http.request_body import unknown_members

#: Returns the value of a member as it is used. Raises ValueError with what would be right ("must be ..."), or NestedError.
Read = Callable[[Any], Any]


class NestedError(ValueError):
    """Members or items of a member are wrong. `problems`: with paths relative to the member, such as `.vendor` or `[3]`."""

    def __init__(self, problems: Sequence[FieldProblem]) -> None:
        super().__init__("has wrong members")
        self.problems = problems


@dataclass(frozen=True, slots=True, kw_only=True)
class BodyField:
    """A member of a body. `default`: its value if it is left out; a required member has none."""

    name: str
    meaning: str
    schema: Schema
    read: Read
    required: bool = False
    default: Any = None


def read_fields(fields: Sequence[BodyField], document: Mapping[str, Any]) -> tuple[dict[str, Any], list[FieldProblem]]:
    """Returns (the values by name, an error for each member that is wrong, missing or unknown)."""
    values: dict[str, Any] = {}
    errors = unknown_members(document, [field.name for field in fields])
    for field in fields:
        given = document.get(field.name)
        if given is None and not field.required:
            values[field.name] = field.default
            continue
        try:
            values[field.name] = field.read(given)
        except NestedError as error:
            errors += [FieldProblem(field=field.name + each.field, message=each.message) for each in error.problems]
        except ValueError as error:
            errors.append(FieldProblem(field=field.name, message=str(error)))
    return values, errors


def schema_of(meaning: str, fields: Sequence[BodyField]) -> Schema:
    """Returns the schema of a body with these members; those that may be left out may be null too."""
    properties = {field.name: _property_schema(field) for field in fields}
    return body_of(meaning, properties, *(field.name for field in fields if field.required))


def _property_schema(field: BodyField) -> Schema:
    schema = field.schema if field.required or "type" not in field.schema else or_null(field.schema)
    return described(schema if field.default is None else {**schema, "default": field.default}, field.meaning)


def field_of(param: Param) -> BodyField:
    """Returns the body member for a query parameter: the same name, meaning and rule, sent as text."""

    def read(given: Any) -> Any:
        if not isinstance(given, str):
            raise ValueError("must be text")
        return param.read(given)

    return BodyField(name=param.name, meaning=param.meaning, schema=param.schema, read=read)


def read_members(fields: Sequence[BodyField], message: str) -> Read:
    """Returns a reader of objects with these members. message: what would be right for something else."""

    def read(given: Any) -> Mapping[str, Any]:
        if not isinstance(given, dict):
            raise ValueError(message)
        values, errors = read_fields(fields, given)
        if errors:
            raise NestedError([FieldProblem(field=f".{each.field}", message=each.message) for each in errors])
        return values

    return read


def read_flag(given: Any) -> bool:
    """Returns a boolean."""
    if not isinstance(given, bool):
        raise ValueError("must be true or false")
    return given


def read_time(given: Any) -> int:
    """Returns a time as ms since the epoch."""
    return parse_rfc3339(given if isinstance(given, str) else "")


def read_object(message: str) -> Read:
    """Returns a reader of JSON objects. message: what would be right."""

    def read(given: Any) -> Mapping[str, Any]:
        if not isinstance(given, dict):
            raise ValueError(message)
        return given

    return read


def read_number(lowest: float, highest: float, unit: str, *, whole: bool = False) -> Read:
    """Returns a reader of numbers within these bounds. unit: as in "seconds"."""
    kind = "a whole number" if whole else "a number"

    def read(given: Any) -> Any:
        is_number = type(given) is int or (type(given) is float and not whole)
        if not is_number or not lowest <= given <= highest:
            raise ValueError(f"must be {kind} of {unit} from {lowest:g} to {highest:g}")
        return given

    return read
