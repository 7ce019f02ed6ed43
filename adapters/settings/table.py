"""Prints the model as the README's table of settings."""

from collections.abc import Collection
from dataclasses import MISSING, Field, fields
from typing import Any, get_type_hints

from adapters.settings.casts import item_type
from adapters.settings.loading import SECTIONS
from adapters.settings.values import Role, Secret

_TYPES = {str: "text", int: "whole number", bool: "true or false", Secret: "secret"}


def settings_table(vendors: Collection[str]) -> str:
    """Returns key, type, default and meaning of every setting as a Markdown table.

    vendors: the names that `vendor` may have.
    """
    names = sorted(vendors)
    rows = ["| key | type | default | meaning |", "|---|---|---|---|"]
    for section, (model, is_array) in SECTIONS.items():
        hints = get_type_hints(model)
        for spec in fields(model):
            key = f"{section}[].{spec.name}" if is_array else f"{section}.{spec.name}"
            shown = _type_words(spec, hints[spec.name], names)
            rows.append(f"| `{key}` | {shown} | {_default_words(spec)} | {spec.metadata['meaning']} |")
    return "\n".join(rows) + "\n"


def _type_words(spec: Field[Any], hint: Any, vendors: list[str]) -> str:
    kind, is_list = item_type(hint)
    if spec.name == "vendor":
        return " or ".join(f"`{name}`" for name in vendors)
    if kind is Role:
        return " or ".join(f"`{role}`" for role in Role)
    return f"list of {_TYPES[kind]}s".replace("texts", "text") if is_list else _TYPES[kind]


def _default_words(spec: Field[Any]) -> str:
    if spec.default is MISSING:
        return "required"
    if spec.default is None:
        return "none"
    if isinstance(spec.default, bool):
        return f"`{str(spec.default).lower()}`"
    return f"`{spec.default}`" if spec.default or spec.default == 0 else "empty"
