"""Where raw values come from: the TOML file, the environment, the command line. Each value remembers its place."""

import json
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapters.settings.problems import Problem

PREFIX = "TALLY_"
#: Looked for in the working directory when no file is named.
USUAL_FILE = Path("tally.toml")


@dataclass(frozen=True, slots=True, kw_only=True)
class Raw:
    """A value as found, before any cast."""

    value: Any
    place: str
    #: It came as text (environment, file, command line), which may stand for a number, a truth value or a list.
    is_text: bool = False


@dataclass(slots=True, kw_only=True)
class Table:
    """One `[section]`, or one entry of an array of tables."""

    #: As in `server` or `apps[1]`.
    key: str
    place: str
    entries: dict[str, Raw]


Tree = dict[str, Table | list[Table]]
Report = Callable[[Problem], None]


def the_file(path: Path | None, environ: Mapping[str, str]) -> tuple[Path | None, str]:
    """The file to read, or None, and who named it: `--config`, `TALLY_CONFIG` or the file itself."""
    if path is not None:
        return path, "--config"
    if environ.get("TALLY_CONFIG"):
        return Path(environ["TALLY_CONFIG"]), "TALLY_CONFIG"
    return (USUAL_FILE, str(USUAL_FILE)) if USUAL_FILE.is_file() else (None, "")


def read_file(path: Path, named_by: str, shape: Mapping[str, bool], report: Report) -> Tree:
    """The file's tables. shape: for each known section whether it is an array of tables."""
    try:
        document = tomllib.loads(text := path.read_bytes().decode("utf-8-sig"))
    except tomllib.TOMLDecodeError as error:
        end = f"at line {text.count(chr(10)) + 1}, the end of the file"
        report(Problem(key="", place=str(path), right="not TOML: " + str(error).replace("at end of document", end)))
    except UnicodeDecodeError:
        report(Problem(key="", place=str(path), right="must be UTF-8 text"))
    except OSError as error:
        report(Problem(key=named_by, place=str(path), right=f"must be a readable file: {error.strerror}"))
    else:
        return _tree(document, str(path), shape, report)
    return {}


def _tree(document: Mapping[str, Any], place: str, shape: Mapping[str, bool], report: Report) -> Tree:
    tree: Tree = {}
    for section, value in document.items():
        if section not in shape:
            tree[section] = Table(key=section, place=place, entries={})
        elif shape[section]:
            tree[section] = _tables(section, value, place, report)
        elif isinstance(value, dict):
            tree[section] = _table(section, value, place)
        else:
            report(Problem(key=section, place=place, right=f"must be a table, written as [{section}]"))
    return tree


def _tables(section: str, value: object, place: str, report: Report) -> list[Table]:
    if isinstance(value, list) and all(isinstance(entry, dict) for entry in value):
        return [_table(f"{section}[{index}]", entry, place) for index, entry in enumerate(value)]
    report(Problem(key=section, place=place, right=f"must be an array of tables, each written as [[{section}]]"))
    return []


def _table(key: str, entries: Mapping[str, Any], place: str) -> Table:
    raws = {name: Raw(value=value, place=place) for name, value in entries.items()}
    return Table(key=key, place=place, entries=raws)


def overlay_environment(tree: Tree, environ: Mapping[str, str], shape: Mapping[str, bool], report: Report) -> None:
    """Puts TALLY_SECTION__KEY, TALLY_SECTION__0__KEY and TALLY_SECTION (a JSON array) over the tree.

    Other TALLY_ names without a double underscore are not ours: Kubernetes gives every pod TALLY_PORT and the like as
    soon as a service is called tally.
    """
    for section in (section for section, is_array in shape.items() if is_array):
        if (name := PREFIX + section.upper()) in environ:
            tree[section] = _json_tables(section, environ[name], name, report)
    names = [name for name in environ if name.startswith(PREFIX) and "__" in name.removeprefix(PREFIX)]
    for name in sorted(names, key=_in_order_of_index):
        _override(tree, name, environ[name], shape, report)


def _in_order_of_index(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if re.fullmatch("[0-9]{1,4}", part) else (-1, part) for part in name.split("__")]


def _json_tables(section: str, text: str, name: str, report: Report) -> list[Table]:
    try:
        return _tables(section, json.loads(text), name, report)
    except ValueError:
        report(Problem(key=section, place=name, right="must be a JSON array of objects"))
        return []


def _override(tree: Tree, name: str, text: str, shape: Mapping[str, bool], report: Report) -> None:
    section, *rest = name.removeprefix(PREFIX).lower().split("__")
    if shape.get(section, False):
        table = _entry(tree, section, rest, name, report)
    elif section in shape and len(rest) != 1:
        report(Problem(key=section, place=name, right=f"must be named {PREFIX}{section.upper()}__KEY"))
        return
    else:
        found = tree.setdefault(section, Table(key=section, place=name, entries={}))
        table = found if isinstance(found, Table) else None
    if table is not None:
        table.entries[rest[-1]] = Raw(value=text, place=name, is_text=True)


def _entry(tree: Tree, section: str, rest: list[str], name: str, report: Report) -> Table | None:
    """The entry of an array of tables that a variable speaks of; the one after the last is added."""
    entries = tree.setdefault(section, [])
    assert isinstance(entries, list)
    if len(rest) != 2 or not re.fullmatch("[0-9]{1,4}", rest[0]):
        right = f"must be named {PREFIX}{section.upper()}__0__KEY, or {PREFIX}{section.upper()} as a JSON array"
        report(Problem(key=section, place=name, right=right))
        return None
    index = int(rest[0])
    if index > len(entries):
        right = f"there are {len(entries)} entries before it, so the next one is number {len(entries)}"
        report(Problem(key=f"{section}[{index}].{rest[1]}", place=name, right=right))
        return None
    if index == len(entries):
        entries.append(Table(key=f"{section}[{index}]", place=name, entries={}))
    return entries[index]


def overlay_flags(tree: Tree, flags: Mapping[str, str]) -> None:
    """Puts the command line's flags, as in {"server.port": "9000"}, over the tree."""
    for dotted, text in flags.items():
        section, name = dotted.split(".")
        flag = f"--{name.replace('_', '-')}"
        table = tree.setdefault(section, Table(key=section, place=flag, entries={}))
        if isinstance(table, Table):
            table.entries[name] = Raw(value=text, place=flag, is_text=True)
