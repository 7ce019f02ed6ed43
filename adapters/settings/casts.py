"""Converts raw values to the model's types; resolves `env:NAME` and `file:PATH`."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, dataclass, replace
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_origin

from adapters.settings.problems import SettingsProblem
from adapters.settings.sources import RawValue, Report
from adapters.settings.values import Role, Secret


def _cast_text(raw: RawValue) -> str:
    if not isinstance(raw.value, str):
        raise ValueError
    # Lone surrogates (from bytes in the environment, or escapes in JSON) are rejected here; else they would fail much later.
    raw.value.encode()
    return raw.value


def _cast_integer(raw: RawValue) -> int:
    if raw.is_text and re.fullmatch(r"\s*[0-9]{1,18}\s*", raw.value):
        return int(raw.value)
    if not isinstance(raw.value, int) or isinstance(raw.value, bool):
        raise ValueError
    return raw.value


_BOOLEANS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


def _cast_boolean(raw: RawValue) -> bool:
    value = _BOOLEANS.get(raw.value.strip().lower()) if raw.is_text else raw.value
    if not isinstance(value, bool):
        raise ValueError
    return value


_CASTS: dict[Any, Callable[[RawValue], Any]] = {
    str: _cast_text,
    int: _cast_integer,
    bool: _cast_boolean,
    Secret: lambda raw: Secret(_cast_text(raw)),
    Role: lambda raw: Role(_cast_text(raw)),
}


def item_type(hint: Any) -> tuple[Any, bool]:
    """Returns the type of a value, or of a list's items, and whether it is a list: (Secret, True) for tuple[Secret, ...]."""
    arguments = [argument for argument in get_args(hint) if argument not in (NoneType, Ellipsis)]
    return (arguments[0] if arguments else hint), get_origin(hint) is tuple


@dataclass(frozen=True, slots=True, kw_only=True)
class Caster:
    """Converts raw values; reports those that are wrong."""

    environ: Mapping[str, str]
    #: The folder that `file:` paths are relative to.
    folder: Path
    report: Report

    def cast(self, key: str, raw: RawValue, hint: Any, spec: Field[Any]) -> Any:
        """Returns the value of a field; reports a wrong one and returns MISSING. hint: the field's type."""
        kind, is_list = item_type(hint)
        return self._cast_list(key, raw, kind, spec) if is_list else self._cast_value(key, raw, kind, spec)

    def _cast_value(self, key: str, raw: RawValue, kind: Any, spec: Field[Any], *, resolve: bool = True) -> Any:
        resolved = self._resolve_reference(key, raw) if resolve else raw
        if resolved is None:
            return MISSING
        try:
            value = _CASTS[kind](resolved)
        except ValueError:
            return self._report_wrong_value(key, resolved, spec)
        return value if spec.metadata["ok"](value) else self._report_wrong_value(key, resolved, spec)

    def _cast_list(self, key: str, raw: RawValue, kind: Any, spec: Field[Any]) -> Any:
        # "env:A,env:B" is a list of two references; "env:A" refers to the text of a list, whose items are not resolved again.
        is_reference = _is_reference(raw.value) and not (raw.is_text and "," in raw.value)
        resolved = self._resolve_reference(key, raw) if is_reference else raw
        if resolved is None:
            return MISSING
        items = _split_items(resolved)
        if items is None or len(items) < spec.metadata["min_items"]:
            return self._report_wrong_value(key, resolved, spec)
        raws = (replace(resolved, value=item, is_text=False) for item in items)
        values = tuple(self._cast_value(f"{key}[{i}]", item, kind, spec, resolve=not is_reference) for i, item in enumerate(raws))
        return MISSING if MISSING in values else values

    def _resolve_reference(self, key: str, raw: RawValue) -> RawValue | None:
        """Returns the raw value that `env:NAME` or `file:PATH` refers to, any other value unchanged; None after a report."""
        if not _is_reference(raw.value):
            return raw
        how, _, target = raw.value.partition(":")
        return self._from_environment(key, raw, target) if how == "env" else self._from_file(key, raw, target)

    def _from_environment(self, key: str, raw: RawValue, name: str) -> RawValue | None:
        if name not in self.environ:
            right = f"the environment variable {name} that it names must be set"
            self.report(SettingsProblem(key=key, place=raw.place, right=right))
            return None
        return RawValue(value=self.environ[name], place=f"{name}, named in {raw.place}", is_text=True)

    def _from_file(self, key: str, raw: RawValue, name: str) -> RawValue | None:
        path = self.folder / name
        try:
            text = path.read_bytes().decode()
        except (OSError, ValueError) as error:
            why = (isinstance(error, OSError) and error.strerror) or "not UTF-8 text"
            right = f"the file {path} that it names must be readable text: {why}"
            self.report(SettingsProblem(key=key, place=raw.place, right=right))
            return None
        stripped = text.removesuffix("\n").removesuffix("\r") if text.endswith("\n") else text
        return RawValue(value=stripped, place=f"{path}, named in {raw.place}", is_text=True)

    def _report_wrong_value(self, key: str, raw: RawValue, spec: Field[Any]) -> Any:
        self.report(SettingsProblem(key=key, place=raw.place, right=f"must be {spec.metadata['right']}"))
        return MISSING


def _is_reference(value: object) -> bool:
    return isinstance(value, str) and value.startswith(("env:", "file:"))


def _split_items(raw: RawValue) -> list[Any] | None:
    """Returns the items of a list, in text JSON or separated by commas; None for anything else."""
    if not raw.is_text:
        return raw.value if isinstance(raw.value, list) else None
    if not raw.value.lstrip().startswith("["):
        return [item.strip() for item in raw.value.split(",")] if raw.value.strip() else []
    try:
        items = json.loads(raw.value)
    except ValueError:
        return None
    return items if isinstance(items, list) else None
