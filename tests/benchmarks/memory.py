"""(e) What an idle system takes, and what each live task adds: memory of the processes, and bytes on disk.

Memory is the proportional set size: what processes share is counted once. The servers have been used a little before it is read the
first time, so that what they keep for any work is not charged to the tasks.
"""

import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import text

from tests.benchmarks.audit import Findings, audit, marks
from tests.benchmarks.report import Figure, Report
from tests.benchmarks.rounds import Spread, send_to
from tests.benchmarks.stack import Stack
from tests.benchmarks.stream import Stream

_MB = 1024 * 1024
#: Nothing happens for so long before memory is read, s.
_QUIET_S = 4.0
#: So long a load lasts at most, s; it ends when the stream does.
_PATIENCE_S = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Weight:
    """Bytes, by name of the process; and of the ledger's files."""

    processes: Mapping[str, int]
    disk: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    name: str
    idle: Weight
    full: Weight
    #: Live tasks that were added in between.
    added: int
    findings: Findings


def measure(stack: Stack, *, warm_up: Stream, stream: Stream, others: Mapping[str, int]) -> Measured:
    """warm_up: a few callbacks. stream: starts of tasks, all of which live on. others: pids of servers by name."""
    before = marks(stack.ledger)
    _take(stack, warm_up)
    idle = _weight(stack, others)
    stack.sent = 0
    _take(stack, stream)
    full = _weight(stack, others)
    bodies = [*warm_up.bodies(0, len(warm_up)), *stream.bodies(0, len(stream))]
    name = f"e, {stack.name}: live tasks"
    findings = audit(stack.ledger, bodies, before, name=name, unacknowledged=stack.unacknowledged, applied=True)
    return Measured(name=stack.name, idle=idle, full=full, added=len(stream), findings=findings)


def _take(stack: Stack, stream: Stream) -> None:
    while stack.sent < len(stream):
        send_to(stack, stream, seconds=_PATIENCE_S)
    stack.drain()
    time.sleep(_QUIET_S)


def _weight(stack: Stack, others: Mapping[str, int]) -> Weight:
    pids = {name: program.pid for name, program in stack.programs.items()} | dict(others)
    return Weight(processes={name: sum(map(_pss, _family(pid))) for name, pid in pids.items()}, disk=_disk(stack))


def _pss(pid: int) -> int:
    """Bytes; 0 of a process that has just ended."""
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    found = re.search(r"^Pss:\s+([0-9]+) kB", rollup, re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


def _family(pid: int) -> Iterator[int]:
    """A process and all that it started."""
    yield pid
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in children.read_text().split():
            yield from _family(int(child))


def _disk(stack: Stack) -> int:
    path = stack.ledger.path
    if path is not None:
        return sum(file.stat().st_size for file in path.parent.glob(f"{path.name}*"))
    with stack.ledger.read() as connection:
        return int(connection.scalar(text("SELECT pg_database_size(current_database())")) or 0)


def report(measured: Measured, into: Report) -> None:
    idle, full = measured.idle, measured.full
    shares = ", ".join(f"{name} {size / _MB:.0f}" for name, size in idle.processes.items())
    into.figures.append(_figure(f"{measured.name}: idle", sum(idle.processes.values()) / _MB, "MB", shares))
    grown = {name: (size - idle.processes[name]) / measured.added for name, size in full.processes.items()}
    each = ", ".join(f"{name} {size:,.0f}" for name, size in grown.items())
    more = f"{each}; at {measured.added:,} tasks. A database's share is what it keeps of its files in memory"
    into.figures.append(_figure(f"{measured.name}: memory for each live task", sum(grown.values()), "bytes", more))
    into.figures.append(_figure(f"{measured.name}: disk for each live task", (full.disk - idle.disk) / measured.added, "bytes"))
    into.findings.append(measured.findings)


def _figure(name: str, value: float, unit: str, more: str = "") -> Figure:
    return Figure(question="e", name=name, value=Spread.of([value]), unit=unit, more=more)
