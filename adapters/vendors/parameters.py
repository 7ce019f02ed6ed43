"""A vendor's documented parameters as data, and the checker of calls against them.

A table maps names to `Field`s; a name that ends in `*` is required. Objects are open: sub-fields that are not in the table
are accepted, unless the vendor's page lists the whole object (`closed`). The top level is closed.
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any
from urllib.parse import urlsplit

from adapters.text import FieldProblem, closest_word, is_storable, storable
from adapters.vendors.calls import SecretPath

#: Problems reported per call at most.
PROBLEMS_LIMIT = 100
_NAME_SHOWN = 100
# Levels of nesting at most; no documented parameter lies deeper than 8.
_DEPTH_LIMIT = 30

Params = Mapping[str, Any]
Problems = Iterator[FieldProblem]
#: A check over several fields. It must accept any JSON.
Rule = Callable[[Params], Problems]


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One documented parameter: the check of its value."""

    #: Completes the sentence "must be ...".
    expected: str
    is_valid: Callable[[Any], bool]
    #: The fields of an object.
    fields: "Mapping[str, Field]" = field(default_factory=dict)
    #: True: an object that accepts no other fields.
    closed: bool = False
    #: The check of each item of a list.
    items: "Field | None" = None
    #: A secret that is never shown.
    secret: bool = False
    #: A url that contains a stream key.
    keyed: bool = False


@dataclass(frozen=True, slots=True)
class Shape:
    """The parameters of one action in one version of the API."""

    fields: Mapping[str, Field]
    rules: tuple[Rule, ...] = ()


# --- types of fields ---


def text(expected: str = "text, not empty", ok: Callable[[str], bool] = bool) -> Field:
    return Field(expected=expected, is_valid=lambda value: isinstance(value, str) and ok(value))


def matching(pattern: str) -> Field:
    return text(f"text that matches {pattern}", lambda value: re.fullmatch(pattern, value) is not None)


def short(most_bytes: int) -> Field:
    return text(f"text of 1 to {most_bytes} bytes", lambda value: 0 < len(value.encode("utf-8", "replace")) <= most_bytes)


def url(*schemes: str) -> Field:
    words = " or ".join(f"{scheme}://" for scheme in schemes)
    return text(f"a url that begins with {words} and has a host", lambda value: _is_url(value, schemes))


def _is_url(value: str, schemes: Collection[str]) -> bool:
    try:
        parts = urlsplit(value)
        return parts.scheme in schemes and bool(parts.hostname) and not re.search(r"\s", value)
    except ValueError:  # a broken IPv6 address
        return False


def integer(low: int | None = None, high: int | None = None, *, even: bool = False, but: Collection[int] = ()) -> Field:
    words = [f"{'an even' if even else 'a whole'} number", _range_words(low, high), *(f"and not {number}" for number in but)]
    return Field(
        expected=" ".join(word for word in words if word),
        is_valid=lambda value: (
            _is_integer(value) and _is_within(value, low, high) and value not in but and not (even and value % 2)
        ),
    )


def choice(*values: Any) -> Field:
    words = ", ".join(str(value) for value in values[:-1]) + f" or {values[-1]}"
    return Field(expected=words, is_valid=lambda value: _is_one_of(value, values))


def flag() -> Field:
    return Field(expected="true or false", is_valid=lambda value: isinstance(value, bool))


def obj(fields: Mapping[str, Field] | None = None, *, closed: bool = False) -> Field:
    return Field(expected="an object", is_valid=lambda value: isinstance(value, dict), fields=fields or {}, closed=closed)


def many(items: Field, *, at_most: int | None = None) -> Field:
    words = "a list" if at_most is None else f"a list of at most {at_most}"
    return Field(
        expected=words, is_valid=lambda value: isinstance(value, list) and (at_most is None or len(value) <= at_most), items=items
    )


def hidden(one: Field) -> Field:
    """Marks a field as a secret that is never shown."""
    return replace(one, secret=True)


def keyed(one: Field) -> Field:
    """Marks a field as a url that contains a stream key."""
    return replace(one, keyed=True)


def _is_one_of(value: Any, values: Collection[Any]) -> bool:
    """Compares strictly: true is not 1, and 1.0 is not 1; but a whole number may stand for a fraction."""
    return any(value == one and type(value) in (type(one), int if isinstance(one, float) else type(one)) for one in values)


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _range_words(low: int | None, high: int | None) -> str:
    if high is not None:
        return f"from {low} to {high}"
    return "" if low is None else f"from {low} up"


def _is_within(value: int, low: int | None, high: int | None) -> bool:
    return (low is None or value >= low) and (high is None or value <= high)


# --- rules over several fields ---


def value_at(params: Any, path: str) -> Any:
    """Returns the value at a dotted path; None if there is none."""
    for name in path.split("."):
        params = params.get(name) if isinstance(params, Mapping) else None
    return params


def some_of(*names: str) -> Rule:
    """Returns the rule that at least one of these fields is given, and not empty."""

    def rule(params: Params) -> Problems:
        if not any(value_at(params, name) for name in names):
            yield FieldProblem(field=names[0], message=f"is missing; {' or '.join(names)} must be given, and not empty")

    return rule


def one_of(parent: str, *names: str) -> Rule:
    """Returns the rule that an object has exactly one of these fields."""

    def rule(params: Params) -> Problems:
        present = [name for name in names if value_at(params, f"{parent}.{name}") is not None]
        if isinstance(value_at(params, parent), Mapping) and len(present) != 1:
            yield FieldProblem(field=parent, message=f"must hold exactly one of {' and '.join(names)}")

    return rule


def only_with(name: str, other: str, values: Collection[Any]) -> Rule:
    """Returns the rule that a field is allowed only if another field has one of these values."""

    def rule(params: Params) -> Problems:
        if value_at(params, name) is not None and not _is_one_of(value_at(params, other), values):
            words = " or ".join(str(value) for value in values)
            yield FieldProblem(field=name, message=f"is allowed only if {other} is {words}; leave it out")

    return rule


def needed_when(names: Collection[str], when: Callable[[Params], bool], words: str) -> Rule:
    """Returns the rule that fields are required under a condition. words: the condition, after "it must be given"."""

    def rule(params: Params) -> Problems:
        if when(params):
            yield from (
                FieldProblem(field=name, message=f"is missing; it must be given {words}")
                for name in names
                if value_at(params, name) is None
            )

    return rule


# --- the checker ---


def find_problems(shape: Shape, params: Any) -> list[FieldProblem]:
    """Returns one problem per wrong field; empty if the call may be made. params: any JSON."""
    if not isinstance(params, Mapping):
        return [FieldProblem(field="params", message="must be an object")]
    by_field: dict[str, FieldProblem] = {}
    for problem in islice(_all_problems(shape, params), PROBLEMS_LIMIT):
        by_field.setdefault(problem.field, problem)
    return list(by_field.values())


def _all_problems(shape: Shape, params: Params) -> Problems:
    yield from _object_problems(shape.fields, params, "", closed=True)
    for rule in shape.rules:
        yield from rule(params)
    yield from _unstorable_problems(params)


def _object_problems(fields: Mapping[str, Field], value: Params, path: str, *, closed: bool) -> Problems:
    names = {name.removesuffix("*"): one for name, one in fields.items()}
    for name, one in names.items():
        if name in value:
            yield from _field_problems(one, value[name], f"{path}{name}")
        elif f"{name}*" in fields:
            yield FieldProblem(field=f"{path}{name}", message=f"is missing; it must be {one.expected}")
    if closed:
        yield from (_unknown_parameter(name, path, names) for name in value if name not in names)


def _field_problems(one: Field, value: Any, path: str) -> Problems:
    if not one.is_valid(value):
        yield FieldProblem(field=path, message=f"must be {one.expected}")
    elif isinstance(value, Mapping):
        yield from _object_problems(one.fields, value, f"{path}.", closed=one.closed)
    elif one.items is not None:
        for number, item in enumerate(value):
            yield from _field_problems(one.items, item, f"{path}[{number}]")


def _unknown_parameter(name: Any, path: str, names: Collection[str]) -> FieldProblem:
    shown = _shown_name(str(name))
    by_lower_case = {known.lower(): known for known in names}
    close = closest_word(shown.lower(), by_lower_case)
    hint = f"; did you mean {path}{by_lower_case[close]}?" if close else ""
    return FieldProblem(field=f"{path}{shown}", message=f"is not a parameter of this call{hint}")


def _unstorable_problems(params: Params) -> Problems:
    """Finds values and names, at any depth, that a database, UTF-8 or a JSON writer cannot represent."""
    rest: list[tuple[str, Any, int]] = [(str(name), value, 1) for name, value in params.items()]
    while rest:
        path, value, depth = rest.pop()
        if not is_storable(path) or (isinstance(value, str) and not is_storable(value)):
            yield FieldProblem(field=_shown_name(path), message="must not contain NUL characters or lone surrogates")
        elif depth > _DEPTH_LIMIT:
            yield FieldProblem(field=_shown_name(path), message=f"is nested deeper than {_DEPTH_LIMIT} levels")
        elif isinstance(value, Mapping):
            rest.extend((f"{path}.{name}", item, depth + 1) for name, item in value.items())
        elif isinstance(value, list):
            rest.extend((f"{path}[{number}]", item, depth + 1) for number, item in enumerate(value))


def _shown_name(path: str) -> str:
    return storable(path)[:_NAME_SHOWN]


def documented_paths_of(fields: Mapping[str, Field], path: str = "") -> Iterator[str]:
    """Yields the paths of values that the page names and that are no secrets; written as in `secret_paths_of`."""
    for name, one in fields.items():
        here = path + name.removesuffix("*")
        inner = one
        while inner.items is not None:
            here, inner = f"{here}[]", inner.items
        if not (inner.secret or inner.keyed):
            yield here
            yield from documented_paths_of(inner.fields, f"{here}.")


def secret_paths_of(fields: Mapping[str, Field], path: str = "") -> Iterator[SecretPath]:
    """Yields the paths of secrets, and of urls with stream keys."""
    for name, one in fields.items():
        here = path + name.removesuffix("*")
        inner = one
        while inner.items is not None:
            here, inner = f"{here}[]", inner.items
        if inner.secret or inner.keyed:
            yield SecretPath(path=here, in_url=inner.keyed)
        yield from secret_paths_of(inner.fields, f"{here}.")
