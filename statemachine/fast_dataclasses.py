"""Fast constructors, copies and sparse dumps for frozen dataclasses with many fields.

Every callback constructs, copies and encodes a few values of about thirty fields each, so the work per field matters. For each of
these classes functions are generated that name every field, as `dataclasses` does too, but with less work per field.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import MISSING, Field, fields
from typing import Any, TypeVar

T = TypeVar("T")

#: The interpreter assigns to slots without any call only if both of these methods are those of `object`.
_SETTERS = ("__setattr__", "__delattr__")
_COPIERS: dict[type, Callable[[Any, Mapping[str, Any]], Any]] = {}


def fast_init(kind: type[T]) -> type[T]:
    """Gives a frozen dataclass with slots an `__init__` that takes a third of the time (33 fields: 2.7 us -> 0.9 us).

    The `__init__` of a frozen dataclass calls `object.__setattr__` for each field. This one assigns to the slots of an instance of
    a subclass that is not frozen, and sets its class to the frozen one once all fields are assigned. Values stay frozen.
    """
    all_fields: tuple[Field[Any], ...] = fields(kind)  # type: ignore[arg-type]
    thawed = type(kind.__name__, (kind,), {"__slots__": (), **{name: getattr(object, name) for name in _SETTERS}})
    names = {"new": object.__new__, "thaw": object.__setattr__, "thawed": thawed, "frozen": kind}
    finish = ["self.__class__ = frozen", *(["self.__post_init__()"] if hasattr(kind, "__post_init__") else [])]
    init = _compile_function(
        f"init(self, *, {', '.join(map(_parameter_declaration, all_fields))})",
        [
            "thaw(self, '__class__', thawed)",
            *(f"self.{field.name} = {_argument_expression(field)}" for field in all_fields),
            *finish,
        ],
        names | {f"default_of_{field.name}": _default_of(field) for field in all_fields},
    )
    setattr(kind, "__init__", init)  # noqa: B010 - a type checker knows the one of dataclasses
    _COPIERS[kind] = _compile_function(
        "copy(value, changes)",
        [
            "self = new(thawed)",
            *(f"self.{field.name} = value.{field.name}" for field in all_fields),
            "for name, item in changes.items():",
            "    thaw(self, name, item)",
            *finish,
            "return self",
        ],
        names,
    )
    return kind


def fast_replace(value: T, **changes: Any) -> T:
    """Returns a copy with these fields changed, of a `fast_init` class (`dataclasses.replace`: 8 us for a Task; this: 1 us)."""
    copy: T = _COPIERS[type(value)](value, changes)
    return copy


def sparse_encoder(kind: type, *, without: Collection[str] = ()) -> Callable[[Any], dict[str, Any]]:
    """Returns a function: value -> {field: value} of the fields that differ from their defaults (Fact: 2.1 us -> 0.8 us).

    without: fields that are left out.
    """
    included = [field for field in fields(kind) if field.name not in without]
    lines = ["doc = {}"]
    for field in included:
        default = f"default_of_{field.name}"
        lines += [f"item = value.{field.name}", f"if item is not {default} and item != {default}: doc['{field.name}'] = item"]
    defaults = {f"default_of_{f.name}": f.default if f.default_factory is MISSING else f.default_factory() for f in included}
    return _compile_function("encode(value)", [*lines, "return doc"], defaults)


def _compile_function(signature: str, lines: Iterable[str], names: Mapping[str, Any]) -> Callable[..., Any]:
    """Returns the function with this signature and body. names: its global names."""
    namespace = dict(names)
    exec("\n    ".join([f"def {signature}:", *lines]), namespace)  # noqa: S102 - only names of fields are put into it
    function: Callable[..., Any] = namespace[signature.partition("(")[0]]
    return function


def _default_of(field: "Field[Any]") -> Any:
    return field.default if field.default_factory is MISSING else field.default_factory


def _parameter_declaration(field: "Field[Any]") -> str:
    return field.name if _default_of(field) is MISSING else f"{field.name}=default_of_{field.name}"


def _argument_expression(field: "Field[Any]") -> str:
    if field.default_factory is MISSING:
        return field.name
    return f"{field.name} if {field.name} is not default_of_{field.name} else default_of_{field.name}()"
