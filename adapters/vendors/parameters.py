"""A vendor's documented parameters as data, and the small interpreter that checks a call against them.

A table maps names to `Field`s; a name that ends in `*` must be given. Objects stay open: sub-fields that the table does not
name pass, unless the vendor's page spells out the whole object (`closed`). The top level is closed.
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any
from urllib.parse import urlsplit

from adapters.text import FieldProblem, closest_word, storable
from adapters.vendors.calls import SecretPath

#: So many problems are told at most.
PROBLEMS_LIMIT = 100
_NAME_SHOWN = 100
# No documented parameter lies deeper than 8.
_DEPTH_LIMIT = 30

Params = Mapping[str, Any]
Problems = Iterator[FieldProblem]
#: A rule over several fields. It must bear any JSON.
Rule = Callable[[Params], Problems]


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    #: Ends the sentence "must be ...".
    right: str
    ok: Callable[[Any], bool]
    #: Of an object.
    fields: "Mapping[str, Field]" = field(default_factory=dict)
    closed: bool = False
    #: Of a list.
    items: "Field | None" = None
    secret: bool = False
    #: A url that holds a stream key.
    keyed: bool = False


@dataclass(frozen=True, slots=True)
class Shape:
    """The parameters of one action in one version."""

    fields: Mapping[str, Field]
    rules: tuple[Rule, ...] = ()


# --- what fields can be ---


def text(right: str = "text, not empty", ok: Callable[[str], bool] = bool) -> Field:
    return Field(right=right, ok=lambda value: isinstance(value, str) and ok(value))


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
    words = [f"{'an even' if even else 'a whole'} number", _range(low, high), *(f"and not {number}" for number in but)]
    return Field(
        right=" ".join(word for word in words if word),
        ok=lambda value: _is_integer(value) and _within(value, low, high) and value not in but and not (even and value % 2),
    )


def choice(*values: Any) -> Field:
    words = ", ".join(str(value) for value in values[:-1]) + f" or {values[-1]}"
    return Field(right=words, ok=lambda value: _among(value, values))


def flag() -> Field:
    return Field(right="true or false", ok=lambda value: isinstance(value, bool))


def obj(fields: Mapping[str, Field] | None = None, *, closed: bool = False) -> Field:
    return Field(right="an object", ok=lambda value: isinstance(value, dict), fields=fields or {}, closed=closed)


def many(items: Field, *, most: int | None = None) -> Field:
    words = "a list" if most is None else f"a list of at most {most}"
    return Field(right=words, ok=lambda value: isinstance(value, list) and (most is None or len(value) <= most), items=items)


def hidden(one: Field) -> Field:
    return replace(one, secret=True)


def keyed(one: Field) -> Field:
    return replace(one, keyed=True)


def _among(value: Any, values: Collection[Any]) -> bool:
    """Without taking true for 1, or 1.0 for 1; but a whole number is a fraction too."""
    return any(value == one and type(value) in (type(one), int if isinstance(one, float) else type(one)) for one in values)


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _range(low: int | None, high: int | None) -> str:
    if high is not None:
        return f"from {low} to {high}"
    return "" if low is None else f"from {low} up"


def _within(value: int, low: int | None, high: int | None) -> bool:
    return (low is None or value >= low) and (high is None or value <= high)


# --- rules over several fields ---


def at(params: Any, path: str) -> Any:
    """What stands at this dotted path; None where nothing does."""
    for name in path.split("."):
        params = params.get(name) if isinstance(params, Mapping) else None
    return params


def some_of(*names: str) -> Rule:
    def rule(params: Params) -> Problems:
        if not any(at(params, name) for name in names):
            yield FieldProblem(field=names[0], message=f"is missing; {' or '.join(names)} must be given, and not empty")

    return rule


def one_of(parent: str, *names: str) -> Rule:
    def rule(params: Params) -> Problems:
        given = [name for name in names if at(params, f"{parent}.{name}") is not None]
        if isinstance(at(params, parent), Mapping) and len(given) != 1:
            yield FieldProblem(field=parent, message=f"must hold exactly one of {' and '.join(names)}")

    return rule


def only_with(name: str, other: str, values: Collection[Any]) -> Rule:
    def rule(params: Params) -> Problems:
        if at(params, name) is not None and not _among(at(params, other), values):
            words = " or ".join(str(value) for value in values)
            yield FieldProblem(field=name, message=f"may be given only where {other} is {words}; leave it out")

    return rule


def needed_when(names: Collection[str], when: Callable[[Params], bool], words: str) -> Rule:
    def rule(params: Params) -> Problems:
        if when(params):
            yield from (
                FieldProblem(field=name, message=f"is missing; it must be given {words}")
                for name in names
                if at(params, name) is None
            )

    return rule


# --- the interpreter ---


def problems(shape: Shape, params: Any) -> list[FieldProblem]:
    """One problem per wrong field; none: the call may be made. Bears any JSON."""
    if not isinstance(params, Mapping):
        return [FieldProblem(field="params", message="must be an object")]
    found: dict[str, FieldProblem] = {}
    for problem in islice(_all(shape, params), PROBLEMS_LIMIT):
        found.setdefault(problem.field, problem)
    return list(found.values())


def _all(shape: Shape, params: Params) -> Problems:
    yield from _in_object(shape.fields, params, "", closed=True)
    for rule in shape.rules:
        yield from rule(params)
    yield from _unstorable(params)


def _in_object(fields: Mapping[str, Field], value: Params, path: str, *, closed: bool) -> Problems:
    names = {name.removesuffix("*"): one for name, one in fields.items()}
    for name, one in names.items():
        if name in value:
            yield from _in_field(one, value[name], f"{path}{name}")
        elif f"{name}*" in fields:
            yield FieldProblem(field=f"{path}{name}", message=f"is missing; it must be {one.right}")
    if closed:
        yield from (_unknown(name, path, names) for name in value if name not in names)


def _in_field(one: Field, value: Any, path: str) -> Problems:
    if not one.ok(value):
        yield FieldProblem(field=path, message=f"must be {one.right}")
    elif isinstance(value, Mapping):
        yield from _in_object(one.fields, value, f"{path}.", closed=one.closed)
    elif one.items is not None:
        for number, item in enumerate(value):
            yield from _in_field(one.items, item, f"{path}[{number}]")


def _unknown(name: Any, path: str, names: Collection[str]) -> FieldProblem:
    shown = _shown(str(name))
    meant = {known.lower(): known for known in names}
    close = closest_word(shown.lower(), meant)
    hint = f"; did you mean {path}{meant[close]}?" if close else ""
    return FieldProblem(field=f"{path}{shown}", message=f"is not a parameter of this call{hint}")


def _unstorable(params: Params) -> Problems:
    """What no database, no UTF-8 body and no JSON writer can bear, wherever it stands; names too."""
    rest: list[tuple[str, Any, int]] = [(str(name), value, 1) for name, value in params.items()]
    while rest:
        path, value, depth = rest.pop()
        if storable(path) != path or (isinstance(value, str) and storable(value) != value):
            yield FieldProblem(field=_shown(path), message="must not contain NUL characters or lone surrogates")
        elif depth > _DEPTH_LIMIT:
            yield FieldProblem(field=_shown(path), message=f"is nested deeper than {_DEPTH_LIMIT} levels")
        elif isinstance(value, Mapping):
            rest.extend((f"{path}.{name}", item, depth + 1) for name, item in value.items())
        elif isinstance(value, list):
            rest.extend((f"{path}[{number}]", item, depth + 1) for number, item in enumerate(value))


def _shown(path: str) -> str:
    return storable(path)[:_NAME_SHOWN]


def documented_in(fields: Mapping[str, Field], path: str = "") -> Iterator[str]:
    """Where values stand that the page names and that are no secrets, as paths of `secrets_in`."""
    for name, one in fields.items():
        here = path + name.removesuffix("*")
        inner = one
        while inner.items is not None:
            here, inner = f"{here}[]", inner.items
        if not (inner.secret or inner.keyed):
            yield here
            yield from documented_in(inner.fields, f"{here}.")


def secrets_in(fields: Mapping[str, Field], path: str = "") -> Iterator[SecretPath]:
    """Where secrets stand: those that nobody may see, and urls with stream keys."""
    for name, one in fields.items():
        here = path + name.removesuffix("*")
        inner = one
        while inner.items is not None:
            here, inner = f"{here}[]", inner.items
        if inner.secret or inner.keyed:
            yield SecretPath(path=here, in_url=inner.keyed)
        yield from secrets_in(inner.fields, f"{here}.")
