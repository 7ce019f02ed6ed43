"""Reads raw values from the TOML file, the environment and the command line. Each value carries its place."""

import json
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapters.settings.problems import SettingsProblem

PREFIX = "TALLY_"
#: Read from the working directory if no file is named.
DEFAULT_FILE = Path("tally.toml")


@dataclass(frozen=True, slots=True, kw_only=True)
class RawValue:
    """A value before its conversion."""

    value: Any
    place: str
    #: The value is text (environment, file, command line) that may stand for a number, a boolean or a list.
    is_text: bool = False


@dataclass(slots=True, kw_only=True)
class RawTable:
    """One `[section]`, or one entry of an array of tables."""

    #: `server`, `apps[1]`.
    key: str
    place: str
    entries: dict[str, RawValue]


RawTree = dict[str, RawTable | list[RawTable]]
Report = Callable[[SettingsProblem], None]


def find_file(path: Path | None, environ: Mapping[str, str]) -> tuple[Path | None, str]:
    """Returns the file to read, or None, and what named it: `--config`, `TALLY_CONFIG` or the file itself."""
    if path is not None:
        return path, "--config"
    if environ.get("TALLY_CONFIG"):
        return Path(environ["TALLY_CONFIG"]), "TALLY_CONFIG"
    return (DEFAULT_FILE, str(DEFAULT_FILE)) if DEFAULT_FILE.is_file() else (None, "")


def read_file(path: Path, named_by: str, shape: Mapping[str, bool], report: Report) -> RawTree:
    """Returns the file's tables. shape: known section -> whether it is an array of tables."""
    try:
        document = tomllib.loads(text := path.read_bytes().decode("utf-8-sig"))
    except tomllib.TOMLDecodeError as error:
        end = f"at line {text.count(chr(10)) + 1}, the end of the file"
        report(SettingsProblem(key="", place=str(path), right="not TOML: " + str(error).replace("at end of document", end)))
    except UnicodeDecodeError:
        report(SettingsProblem(key="", place=str(path), right="must be UTF-8 text"))
    except OSError as error:
        report(SettingsProblem(key=named_by, place=str(path), right=f"must be a readable file: {error.strerror}"))
    else:
        return _read_tree(document, str(path), shape, report)
    return {}


def _read_tree(document: Mapping[str, Any], place: str, shape: Mapping[str, bool], report: Report) -> RawTree:
    tree: RawTree = {}
    for section, value in document.items():
        if section not in shape:
            tree[section] = RawTable(key=section, place=place, entries={})
        elif shape[section]:
            tree[section] = _read_tables(section, value, place, report)
        elif isinstance(value, dict):
            tree[section] = _read_table(section, value, place)
        else:
            report(SettingsProblem(key=section, place=place, right=f"must be a table, written as [{section}]"))
    return tree


def _read_tables(section: str, value: object, place: str, report: Report) -> list[RawTable]:
    if isinstance(value, list) and all(isinstance(entry, dict) for entry in value):
        return [_read_table(f"{section}[{index}]", entry, place) for index, entry in enumerate(value)]
    report(SettingsProblem(key=section, place=place, right=f"must be an array of tables, each written as [[{section}]]"))
    return []


def _read_table(key: str, entries: Mapping[str, Any], place: str) -> RawTable:
    raws = {name: RawValue(value=value, place=place) for name, value in entries.items()}
    return RawTable(key=key, place=place, entries=raws)


def overlay_environment(tree: RawTree, environ: Mapping[str, str], shape: Mapping[str, bool], report: Report) -> None:
    """Overrides the tree with TALLY_SECTION__KEY, TALLY_SECTION__0__KEY and TALLY_SECTION (a JSON array).

    Other TALLY_ names without a double underscore are ignored: Kubernetes gives every pod TALLY_PORT and the like as
    soon as a service is called tally.
    """
    for section in (section for section, is_array in shape.items() if is_array):
        if (name := PREFIX + section.upper()) in environ:
            tree[section] = _parse_json_tables(section, environ[name], name, report)
    names = [name for name in environ if name.startswith(PREFIX) and "__" in name.removeprefix(PREFIX)]
    for name in sorted(names, key=_index_order):
        _apply_variable(tree, name, environ[name], shape, report)


def _index_order(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if re.fullmatch("[0-9]{1,4}", part) else (-1, part) for part in name.split("__")]


def _parse_json_tables(section: str, text: str, name: str, report: Report) -> list[RawTable]:
    try:
        return _read_tables(section, json.loads(text), name, report)
    except ValueError:
        report(SettingsProblem(key=section, place=name, right="must be a JSON array of objects"))
        return []


def _apply_variable(tree: RawTree, name: str, text: str, shape: Mapping[str, bool], report: Report) -> None:
    section, *rest = name.removeprefix(PREFIX).lower().split("__")
    if shape.get(section, False):
        table = _array_entry(tree, section, rest, name, report)
    elif section in shape and len(rest) != 1:
        report(SettingsProblem(key=section, place=name, right=f"must be named {PREFIX}{section.upper()}__KEY"))
        return
    else:
        section_table = tree.setdefault(section, RawTable(key=section, place=name, entries={}))
        table = section_table if isinstance(section_table, RawTable) else None
    if table is not None:
        table.entries[rest[-1]] = RawValue(value=text, place=name, is_text=True)


def _array_entry(tree: RawTree, section: str, rest: list[str], name: str, report: Report) -> RawTable | None:
    """Returns the entry of an array of tables that a variable names; adds the one after the last. None after a report."""
    entries = tree.setdefault(section, [])
    assert isinstance(entries, list)
    if len(rest) != 2 or not re.fullmatch("[0-9]{1,4}", rest[0]):
        right = f"must be named {PREFIX}{section.upper()}__0__KEY, or {PREFIX}{section.upper()} as a JSON array"
        report(SettingsProblem(key=section, place=name, right=right))
        return None
    index = int(rest[0])
    if index > len(entries):
        right = f"there are {len(entries)} entries before it, so the next one is number {len(entries)}"
        report(SettingsProblem(key=f"{section}[{index}].{rest[1]}", place=name, right=right))
        return None
    if index == len(entries):
        entries.append(RawTable(key=f"{section}[{index}]", place=name, entries={}))
    return entries[index]


def overlay_flags(tree: RawTree, flags: Mapping[str, str]) -> None:
    """Overrides the tree with flags of the command line, as in {"server.port": "9000"}."""
    for dotted, text in flags.items():
        section, name = dotted.split(".")
        flag = f"--{name.replace('_', '-')}"
        table = tree.setdefault(section, RawTable(key=section, place=flag, entries={}))
        if isinstance(table, RawTable):
            table.entries[name] = RawValue(value=text, place=flag, is_text=True)
