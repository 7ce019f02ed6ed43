"""`load`: puts sources, casts and checks together."""

from collections.abc import Collection, Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any, get_type_hints

from adapters.settings.casts import Caster, item_type
from adapters.settings.checks import CheckedTable, check_together
from adapters.settings.model import Settings
from adapters.settings.problems import SettingsError, SettingsProblem, did_you_mean
from adapters.settings.sources import RawTable, RawTree, Report, find_file, overlay_environment, overlay_flags, read_file

#: Section -> its dataclass, and whether it is an array of tables.
SECTIONS: Mapping[str, tuple[Any, bool]] = {name: item_type(hint) for name, hint in get_type_hints(Settings).items()}
_SHAPE = {name: is_array for name, (_, is_array) in SECTIONS.items()}


def load(
    path: Path | None,
    environ: Mapping[str, str],
    *,
    vendors: Collection[str],
    flags: Mapping[str, str] = MappingProxyType({}),
) -> Settings:
    """Returns the settings from file, environment and command line.

    path: the file that `--config` named, or None. flags: the values from the command line as text, by dotted key:
    {"server.host": ..., "server.port": ...}. vendors: the names that `vendor` may have.
    Raises SettingsError with all problems.
    """
    problems: list[SettingsProblem] = []
    report = problems.append
    file, named_by = find_file(path, environ)
    tree = read_file(file, named_by, _SHAPE, report) if file else {}
    if problems and not tree:
        raise SettingsError(problems)
    overlay_environment(tree, environ, _SHAPE, report)
    overlay_flags(tree, flags)
    caster = Caster(environ=environ, folder=file.parent if file else Path(), report=report)
    checked = _check_sections(tree, caster, report)
    arrays = {name: tables for name, tables in checked.items() if isinstance(tables, list)}
    server = checked["server"]
    assert isinstance(server, CheckedTable)
    check_together(server, arrays, vendors, report)
    if problems:
        raise SettingsError(problems)
    return _build_settings(checked)


def _check_sections(tree: RawTree, caster: Caster, report: Report) -> dict[str, CheckedTable | list[CheckedTable]]:
    for section, table in tree.items():
        if section not in SECTIONS and isinstance(table, RawTable):
            report(SettingsProblem(key=section, place=table.place, right="no such section" + did_you_mean(section, SECTIONS)))
    checked: dict[str, CheckedTable | list[CheckedTable]] = {}
    for section, (model, is_array) in SECTIONS.items():
        tables = tree.get(section, [] if is_array else RawTable(key=section, place="default", entries={}))
        if isinstance(tables, list):
            checked[section] = [_check_table(table, model, caster, report) for table in tables]
        else:
            checked[section] = _check_table(tables, model, caster, report)
    return checked


def _check_table(table: RawTable, model: Any, caster: Caster, report: Report) -> CheckedTable:
    """Returns the table with converted values and defaults. Reports unknown keys, and missing keys that have no default."""
    hints = get_type_hints(model)
    for name in sorted(table.entries.keys() - hints.keys()):
        place = table.entries[name].place
        report(SettingsProblem(key=f"{table.key}.{name}", place=place, right="no such key" + did_you_mean(name, hints)))
    values: dict[str, Any] = {}
    places = dict.fromkeys(hints, table.place)
    for spec in fields(model):
        if (raw := table.entries.get(spec.name)) is not None:
            values[spec.name] = caster.cast(f"{table.key}.{spec.name}", raw, hints[spec.name], spec)
            places[spec.name] = raw.place
        elif spec.default is not MISSING:
            values[spec.name] = spec.default
        else:
            right = f"is missing; must be {spec.metadata['right']}"
            report(SettingsProblem(key=f"{table.key}.{spec.name}", place=table.place, right=right))
    good = {name: value for name, value in values.items() if value is not MISSING}
    return CheckedTable(key=table.key, values=good, places=places)


def _build_settings(checked: Mapping[str, CheckedTable | list[CheckedTable]]) -> Settings:
    sections: dict[str, Any] = {}
    for section, tables in checked.items():
        model, _ = SECTIONS[section]
        if isinstance(tables, list):
            sections[section] = tuple(model(**table.values) for table in tables)
        else:
            sections[section] = model(**tables.values)
    return Settings(**sections)
