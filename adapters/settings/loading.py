"""`load`: sources, casts and checks put together."""

from collections.abc import Collection, Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any, get_type_hints

from adapters.settings.casts import Caster, item_type
from adapters.settings.checks import Checked, check_together
from adapters.settings.model import Settings
from adapters.settings.problems import Problem, SettingsError, did_you_mean
from adapters.settings.sources import Report, Table, Tree, overlay_environment, overlay_flags, read_file, the_file

#: For each section its dataclass and whether it is an array of tables.
SECTIONS: Mapping[str, tuple[Any, bool]] = {name: item_type(hint) for name, hint in get_type_hints(Settings).items()}
_SHAPE = {name: is_array for name, (_, is_array) in SECTIONS.items()}


def load(
    path: Path | None,
    environ: Mapping[str, str],
    *,
    vendors: Collection[str],
    flags: Mapping[str, str] = MappingProxyType({}),
) -> Settings:
    """The settings that a file, the environment and the command line give.

    path: the file that `--config` named, or None. flags: what the command line sets, by dotted key and as text:
    {"server.host": ..., "server.port": ...}. vendors: the names that `vendor` may have.
    Raises SettingsError with everything that is wrong.
    """
    problems: list[Problem] = []
    report = problems.append
    file, named_by = the_file(path, environ)
    tree = read_file(file, named_by, _SHAPE, report) if file else {}
    if problems and not tree:
        raise SettingsError(problems)
    overlay_environment(tree, environ, _SHAPE, report)
    overlay_flags(tree, flags)
    caster = Caster(environ=environ, folder=file.parent if file else Path(), report=report)
    checked = _checked(tree, caster, report)
    arrays = {name: tables for name, tables in checked.items() if isinstance(tables, list)}
    server = checked["server"]
    assert isinstance(server, Checked)
    check_together(server, arrays, vendors, report)
    if problems:
        raise SettingsError(problems)
    return _settings(checked)


def _checked(tree: Tree, caster: Caster, report: Report) -> dict[str, Checked | list[Checked]]:
    for section, found in tree.items():
        if section not in SECTIONS and isinstance(found, Table):
            report(Problem(key=section, place=found.place, right="no such section" + did_you_mean(section, SECTIONS)))
    checked: dict[str, Checked | list[Checked]] = {}
    for section, (model, is_array) in SECTIONS.items():
        found = tree.get(section, [] if is_array else Table(key=section, place="default", entries={}))
        if isinstance(found, list):
            checked[section] = [_checked_table(table, model, caster, report) for table in found]
        else:
            checked[section] = _checked_table(found, model, caster, report)
    return checked


def _checked_table(table: Table, model: Any, caster: Caster, report: Report) -> Checked:
    """The table's values, cast. What is absent gets its default; what has none is reported, as is what is not known."""
    hints = get_type_hints(model)
    for name in sorted(table.entries.keys() - hints.keys()):
        place = table.entries[name].place
        report(Problem(key=f"{table.key}.{name}", place=place, right="no such key" + did_you_mean(name, hints)))
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
            report(Problem(key=f"{table.key}.{spec.name}", place=table.place, right=right))
    good = {name: value for name, value in values.items() if value is not MISSING}
    return Checked(key=table.key, values=good, places=places)


def _settings(checked: Mapping[str, Checked | list[Checked]]) -> Settings:
    made: dict[str, Any] = {}
    for section, found in checked.items():
        model, _ = SECTIONS[section]
        if isinstance(found, list):
            made[section] = tuple(model(**table.values) for table in found)
        else:
            made[section] = model(**found.values)
    return Settings(**made)
