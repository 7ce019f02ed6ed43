"""What no single value shows: whether the values fit each other."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from adapters.settings.problems import Problem, did_you_mean
from adapters.settings.sources import Report
from adapters.settings.values import is_loopback


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """A table whose values were cast; those that were wrong are absent."""

    key: str
    values: Mapping[str, Any]
    #: For each field, where its value came from.
    places: Mapping[str, str]

    def problem(self, name: str, right: str) -> Problem:
        return Problem(key=f"{self.key}.{name}", place=self.places[name], right=right)


Arrays = Mapping[str, Sequence[Checked]]


def check_together(server: Checked, arrays: Arrays, vendors: Collection[str], report: Report) -> None:
    accounts, apps, tokens = arrays["accounts"], arrays["apps"], arrays["tokens"]
    for table in (*accounts, *apps):
        _known_vendor(table, vendors, report)
    _unique(accounts, ("name",), "must be unique among [[accounts]]", report)
    _unique(apps, ("vendor", "app_id"), "must be unique among the vendor's [[apps]]", report)
    _unique(tokens, ("name",), "must be unique among [[tokens]]", report)
    _unique(tokens, ("token",), "must be unique among [[tokens]]", report)
    for app in apps:
        _fitting_account(app, accounts, report)
    if not tokens and not is_loopback(server.values.get("host", "localhost")):
        report(server.problem("host", "is not a loopback address, so add [[tokens]], or set it to 127.0.0.1"))
    if server.values.get("open_desk"):
        _fitting_open_desk(server, tokens, report)


def _fitting_open_desk(server: Checked, tokens: Sequence[Checked], report: Report) -> None:
    if tokens:
        report(server.problem("open_desk", "must be false where there are [[tokens]]: they say who may do what"))
    elif not is_loopback(server.values.get("host", "localhost")):
        report(server.problem("open_desk", "must be false unless server.host is a loopback address, such as 127.0.0.1"))


def _known_vendor(table: Checked, vendors: Collection[str], report: Report) -> None:
    vendor = table.values.get("vendor")
    if vendor is not None and vendor not in vendors:
        report(table.problem("vendor", "must be a vendor's name" + did_you_mean(vendor, vendors)))


def _unique(tables: Sequence[Checked], names: tuple[str, ...], right: str, report: Report) -> None:
    firsts: dict[tuple[Any, ...], list[Checked]] = defaultdict(list)
    for table in tables:
        if all(name in table.values for name in names):
            firsts[tuple(table.values[name] for name in names)].append(table)
    for first, *others in firsts.values():
        for other in others:
            report(other.problem(names[-1], f"{right}; {first.key} has the same"))


def _fitting_account(app: Checked, accounts: Sequence[Checked], report: Report) -> None:
    wanted, vendor = app.values.get("account"), app.values.get("vendor")
    if wanted is None:
        return
    by_name = {account.values["name"]: account for account in accounts if "name" in account.values}
    if wanted not in by_name:
        report(app.problem("account", "must be the name of one of the [[accounts]]" + did_you_mean(wanted, by_name)))
    elif vendor is not None and by_name[wanted].values.get("vendor", vendor) != vendor:
        report(app.problem("account", f"must be an account of the app's own vendor; {by_name[wanted].key} is not"))
