"""Checks that need several values: references, uniqueness, and settings that exclude each other."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from adapters.settings.problems import SettingsProblem, did_you_mean
from adapters.settings.sources import Report
from adapters.settings.values import is_loopback


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedTable:
    """A table whose values were converted; wrong ones are absent."""

    key: str
    values: Mapping[str, Any]
    #: Field -> the place that its value came from.
    places: Mapping[str, str]

    def problem(self, name: str, right: str) -> SettingsProblem:
        return SettingsProblem(key=f"{self.key}.{name}", place=self.places[name], right=right)


Arrays = Mapping[str, Sequence[CheckedTable]]


def check_together(server: CheckedTable, arrays: Arrays, vendors: Collection[str], report: Report) -> None:
    """Reports the problems of values that do not fit each other. vendors: the names that `vendor` may have."""
    accounts, apps, tokens = arrays["accounts"], arrays["apps"], arrays["tokens"]
    for table in (*accounts, *apps):
        _check_vendor(table, vendors, report)
    _check_unique(accounts, ("name",), "must be unique among [[accounts]]", report)
    _check_unique(apps, ("vendor", "app_id"), "must be unique among the vendor's [[apps]]", report)
    _check_unique(tokens, ("name",), "must be unique among [[tokens]]", report)
    _check_unique(tokens, ("token",), "must be unique among [[tokens]]", report)
    for app in apps:
        _check_account(app, accounts, report)
    if not tokens and not is_loopback(server.values.get("host", "localhost")):
        report(server.problem("host", "is not a loopback address, so add [[tokens]], or set it to 127.0.0.1"))
    if server.values.get("open_desk"):
        _check_open_desk(server, tokens, report)


def _check_open_desk(server: CheckedTable, tokens: Sequence[CheckedTable], report: Report) -> None:
    if tokens:
        report(server.problem("open_desk", "must be false if there are [[tokens]]: their roles say what is allowed"))
    elif not is_loopback(server.values.get("host", "localhost")):
        report(server.problem("open_desk", "must be false unless server.host is a loopback address, such as 127.0.0.1"))


def _check_vendor(table: CheckedTable, vendors: Collection[str], report: Report) -> None:
    vendor = table.values.get("vendor")
    if vendor is not None and vendor not in vendors:
        report(table.problem("vendor", "must be a vendor's name" + did_you_mean(vendor, vendors)))


def _check_unique(tables: Sequence[CheckedTable], names: tuple[str, ...], right: str, report: Report) -> None:
    firsts: dict[tuple[Any, ...], list[CheckedTable]] = defaultdict(list)
    for table in tables:
        if all(name in table.values for name in names):
            firsts[tuple(table.values[name] for name in names)].append(table)
    for first, *others in firsts.values():
        for other in others:
            report(other.problem(names[-1], f"{right}; {first.key} has the same"))


def _check_account(app: CheckedTable, accounts: Sequence[CheckedTable], report: Report) -> None:
    name, vendor = app.values.get("account"), app.values.get("vendor")
    if name is None:
        return
    by_name = {account.values["name"]: account for account in accounts if "name" in account.values}
    if name not in by_name:
        report(app.problem("account", "must be the name of one of the [[accounts]]" + did_you_mean(name, by_name)))
    elif vendor is not None and by_name[name].values.get("vendor", vendor) != vendor:
        report(app.problem("account", f"must be an account of the app's own vendor; {by_name[name].key} is not"))
