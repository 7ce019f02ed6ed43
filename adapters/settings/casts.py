"""From raw values to the model's types, with `env:NAME` and `file:PATH` followed."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, dataclass, replace
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_origin

from adapters.settings.problems import Problem
from adapters.settings.sources import Raw, Report
from adapters.settings.values import Role, Secret


def _text(raw: Raw) -> str:
    if not isinstance(raw.value, str):
        raise ValueError
    # A lone surrogate, from bytes in the environment or an escape in JSON, would fail much later; this ValueError is now.
    raw.value.encode()
    return raw.value


def _whole_number(raw: Raw) -> int:
    if raw.is_text and re.fullmatch(r"\s*[0-9]{1,18}\s*", raw.value):
        return int(raw.value)
    if not isinstance(raw.value, int) or isinstance(raw.value, bool):
        raise ValueError
    return raw.value


_TRUTH = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


def _truth(raw: Raw) -> bool:
    value = _TRUTH.get(raw.value.strip().lower()) if raw.is_text else raw.value
    if not isinstance(value, bool):
        raise ValueError
    return value


_CASTS: dict[Any, Callable[[Raw], Any]] = {
    str: _text,
    int: _whole_number,
    bool: _truth,
    Secret: lambda raw: Secret(_text(raw)),
    Role: lambda raw: Role(_text(raw)),
}


def item_type(hint: Any) -> tuple[Any, bool]:
    """The type of a value, or of a list's items, and whether it is a list: (Secret, True) for tuple[Secret, ...]."""
    arguments = [argument for argument in get_args(hint) if argument not in (NoneType, Ellipsis)]
    return (arguments[0] if arguments else hint), get_origin(hint) is tuple


@dataclass(frozen=True, slots=True, kw_only=True)
class Caster:
    environ: Mapping[str, str]
    #: From where relative `file:` paths count.
    folder: Path
    report: Report

    def cast(self, key: str, raw: Raw, hint: Any, spec: Field[Any]) -> Any:
        """The value of a field, or MISSING after a report. hint: the field's type."""
        kind, is_list = item_type(hint)
        return self._list(key, raw, kind, spec) if is_list else self._one(key, raw, kind, spec)

    def _one(self, key: str, raw: Raw, kind: Any, spec: Field[Any], *, follow: bool = True) -> Any:
        found = self._followed(key, raw) if follow else raw
        if found is None:
            return MISSING
        try:
            value = _CASTS[kind](found)
        except ValueError:
            return self._wrong(key, found, spec)
        return value if spec.metadata["ok"](value) else self._wrong(key, found, spec)

    def _list(self, key: str, raw: Raw, kind: Any, spec: Field[Any]) -> Any:
        # "env:A,env:B" is a list of two references, "env:A" one to the text of a list; such items are not followed.
        is_reference = _is_reference(raw.value) and not (raw.is_text and "," in raw.value)
        found = self._followed(key, raw) if is_reference else raw
        if found is None:
            return MISSING
        items = _items(found)
        if items is None or len(items) < spec.metadata["least"]:
            return self._wrong(key, found, spec)
        raws = (replace(found, value=item, is_text=False) for item in items)
        values = tuple(self._one(f"{key}[{i}]", item, kind, spec, follow=not is_reference) for i, item in enumerate(raws))
        return MISSING if MISSING in values else values

    def _followed(self, key: str, raw: Raw) -> Raw | None:
        """The raw value that `env:NAME` or `file:PATH` stands for; any other raw value itself; None after a report."""
        if not _is_reference(raw.value):
            return raw
        how, _, target = raw.value.partition(":")
        return self._from_environment(key, raw, target) if how == "env" else self._from_file(key, raw, target)

    def _from_environment(self, key: str, raw: Raw, name: str) -> Raw | None:
        if name not in self.environ:
            right = f"the environment variable {name} that it names must be set"
            self.report(Problem(key=key, place=raw.place, right=right))
            return None
        return Raw(value=self.environ[name], place=f"{name}, named in {raw.place}", is_text=True)

    def _from_file(self, key: str, raw: Raw, name: str) -> Raw | None:
        path = self.folder / name
        try:
            text = path.read_bytes().decode()
        except (OSError, ValueError) as error:
            why = (isinstance(error, OSError) and error.strerror) or "not UTF-8 text"
            right = f"the file {path} that it names must be readable text: {why}"
            self.report(Problem(key=key, place=raw.place, right=right))
            return None
        stripped = text.removesuffix("\n").removesuffix("\r") if text.endswith("\n") else text
        return Raw(value=stripped, place=f"{path}, named in {raw.place}", is_text=True)

    def _wrong(self, key: str, raw: Raw, spec: Field[Any]) -> Any:
        self.report(Problem(key=key, place=raw.place, right=f"must be {spec.metadata['right']}"))
        return MISSING


def _is_reference(value: object) -> bool:
    return isinstance(value, str) and value.startswith(("env:", "file:"))


def _items(raw: Raw) -> list[Any] | None:
    """The items of a list, which text gives as JSON or separated by commas; None for anything else."""
    if not raw.is_text:
        return raw.value if isinstance(raw.value, list) else None
    if not raw.value.lstrip().startswith("["):
        return [item.strip() for item in raw.value.split(",")] if raw.value.strip() else []
    try:
        items = json.loads(raw.value)
    except ValueError:
        return None
    return items if isinstance(items, list) else None
