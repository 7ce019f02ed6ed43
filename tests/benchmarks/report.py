"""The table: ratios first, for they hold on any machine; then figures; then what the audit found."""

import os
import platform
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from tests.benchmarks.audit import Findings
from tests.benchmarks.rounds import Spread


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """least: what is promised; aim: what is hoped for. With `below`, smaller is better."""

    least: float
    aim: float | None = None
    below: bool = False

    def said(self, value: float) -> str:
        words = [self._said("target", self.least, value)]
        if self.aim is not None:
            words.append(self._said("aim", self.aim, value))
        return ", ".join(words)

    def _said(self, name: str, wanted: float, value: float) -> str:
        met = value < wanted if self.below else value >= wanted
        return f"{name} {_number(wanted)}: {'met' if met else 'missed'}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """One measured thing against another. quoted: the other was not measured here."""

    question: str
    name: str
    value: Spread
    target: Target | None = None
    quoted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    question: str
    name: str
    value: Spread
    unit: str
    target: Target | None = None
    more: str = ""


@dataclass(slots=True)
class Report:
    #: What was measured under which circumstances.
    notes: list[str] = field(default_factory=list)
    ratios: list[Ratio] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)
    findings: list[Findings] = field(default_factory=list)
    #: What processes logged as wrong.
    complaints: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        return all(findings.good for findings in self.findings)

    def text(self) -> str:
        return "\n".join(_lines(self)) + "\n"

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


def _lines(report: Report) -> Iterator[str]:
    yield from report.notes
    yield from table(("", "ratio", "median (range)", "target"), [_ratio_cells(ratio) for ratio in report.ratios])
    yield from table(("", "figure", "median (range)", "target", ""), [_figure_cells(figure) for figure in report.figures])
    yield from table(("audit", "sent", "not acknowledged", "lost", "doubled"), [_audit_cells(each) for each in report.findings])
    yield from (f"  {example}" for findings in report.findings for example in findings.examples())
    if report.complaints:
        yield f"\n{len(report.complaints)} complaints in the logs, of which the first:"
        yield from (f"  {line[:300]}" for line in report.complaints[:10])
    yield "\nnothing was lost, nothing doubled" if report.good else "\nTHE AUDIT FAILED"


def _ratio_cells(ratio: Ratio) -> tuple[str, ...]:
    name = f"{ratio.name} (quoted, not measured here)" if ratio.quoted else ratio.name
    value = ratio.value
    return (
        ratio.question,
        name,
        f"{value.median:.2f} ({value.least:.2f} to {value.most:.2f})",
        ratio.target.said(value.median) if ratio.target else "",
    )


def _figure_cells(figure: Figure) -> tuple[str, ...]:
    value = figure.value
    spread = "" if value.least == value.most else f" ({_number(value.least)} to {_number(value.most)})"
    said = figure.target.said(value.median) if figure.target else ""
    return (figure.question, figure.name, f"{_number(value.median)}{spread} {figure.unit}", said, figure.more)


def _audit_cells(findings: Findings) -> tuple[str, ...]:
    lost, least = len(findings.lost), findings.lost_at_least
    told = str(lost) if lost == least else f"{least} to {lost}"
    return (findings.name, str(findings.sent), str(findings.unacknowledged), told, str(len(findings.doubled)))


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Markdown, with columns that stand below each other; nothing, if there are no rows."""
    every = [heads, *rows]
    if len(every) == 1:
        return
    yield ""
    widths = [max(len(row[place]) for row in every) for place in range(len(heads))]
    for number, row in enumerate(every):
        yield "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        if not number:
            yield "|" + "|".join("-" * (width + 2) for width in widths) + "|"


def _number(value: float) -> str:
    if abs(value) >= 1_000:
        return f"{value:,.0f}"
    return f"{value:.0f}" if value == round(value) else f"{value:.3g}"


def circumstances() -> list[str]:
    """The machine, and what else it did at the time."""
    load = os.getloadavg()[0]
    note = f"{os.cpu_count()} cores, Python {platform.python_version()}, load average before the start {load:.2f}"
    return [note if load < _LOADED else f"{note}: THE MACHINE WAS BUSY, so only ratios mean anything"]


#: A machine that is left alone has less.
_LOADED = 0.5
