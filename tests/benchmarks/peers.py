"""The peers: stacks that one would otherwise build this with, which do the same work in the same run.

They stand in a folder of their own, with a runner that starts each, fires callbacks at it and at a server that runs already, and
writes what it found as JSON. Where that folder is not given, the figures that were once measured elsewhere are quoted.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.benchmarks.audit import Findings
from tests.benchmarks.report import Figure, Ratio, Report
from tests.benchmarks.rounds import Spread
from tests.benchmarks.stack import Stack

#: Callbacks a second, the whole way, on two cores; measured elsewhere.
_QUOTED = {"Restate 1.7.12": 2_000, "Celery with PostgreSQL": 500, "DBOS": 250}
_PEERS = ("restate_send", "restate", "celery_postgres", "dbos", "bare")
_US = "tallylight"
#: What the runner's audit asks our ledger: one row for each application of a callback.
_APPLIED = """
SELECT said->>'TaskId' || '|' || event_type || '|' || (said->>'EventMsTs') FROM (
    SELECT event_type, convert_from(body, 'UTF8')::jsonb->'EventInfo' AS said
    FROM timeline JOIN inbox ON inbox.id = timeline.inbox_id WHERE inbox.kind = 'callback' AND timeline.entries LIKE '%"callback"%'
) AS applied
"""
#: It has limits of its own; this one is for the case that it hangs, s.
_PATIENCE_S = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What the runner found of us and of each peer, by its name; of which it found nothing, and why."""

    results: Mapping[str, Mapping[str, Any]]
    failed: Sequence[str] = ()


def measure(peers: Path, stack: Stack, *, names: Sequence[str] = _PEERS, seconds: float) -> Measured:
    """stack: on PostgreSQL, started, its ledger empty. The folder's own README says how it is made ready."""
    runner = _Runner(peers, stack.folder / "peers.json", seconds)
    if not runner.is_ready:
        return Measured(results={}, failed=[f"not made ready: run {peers / 'provision.sh'} with BENCH_DIR={runner.folder}"])
    results = {_US: runner.run(_US, *_about(stack))}
    for name in names:
        results[name] = runner.run(name) or runner.run(name)  # a server that is slow to start is given another chance
    failed = [f"the runner found nothing of {name}" for name, result in results.items() if result is None]
    return Measured(results={name: result for name, result in results.items() if result is not None}, failed=failed)


def _about(stack: Stack) -> list[str]:
    """Where we run, and how our ledger is asked."""
    pids = [part for program in stack.programs.values() for part in ("--pid", str(program.pid))]
    ours = ["--target", stack.door, "--done-url", f"{stack.origin}/v1/stats", *pids]
    return [*ours, "--applied-db", stack.ledger.url, "--applied-sql", " ".join(_APPLIED.split())]


class _Runner:
    """The peers' own runner, one stack at a time: if one fails, the others still count."""

    def __init__(self, peers: Path, found: Path, seconds: float) -> None:
        self.folder = Path(os.environ.get("BENCH_DIR", ".bench")).resolve()
        self._command = [str(self.folder / "venv" / "bin" / "python"), str(peers / "run.py")]
        self._found = found
        self._seconds = seconds

    @property
    def is_ready(self) -> bool:
        return Path(self._command[0]).exists()

    def run(self, name: str, *arguments: str) -> Mapping[str, Any] | None:
        """None: it failed."""
        self._found.unlink(missing_ok=True)
        asked = [name, "--seconds", str(self._seconds), "--json", str(self._found), *arguments]
        environment = os.environ | {"BENCH_DIR": str(self.folder)}
        try:
            subprocess.run([*self._command, *asked], env=environment, check=True, timeout=_PATIENCE_S, stdout=sys.stderr)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
            return None
        (found,) = json.loads(self._found.read_text())
        return dict(found)


def report(measured: Measured, into: Report) -> None:
    into.notes += [f"peers: {why}" for why in measured.failed]
    us = measured.results.get(_US)
    if us is not None:
        into.findings.append(_findings(us))
    for name, peer in measured.results.items():
        into.figures.append(_figure(name, peer))
        if us is not None and name != _US:
            into.ratios += _ratios(us, name, peer)


def _findings(us: Mapping[str, Any]) -> Findings:
    """What the runner's own audit says of us."""
    findings = Findings(name="b, by the peers' runner", sent=us["sent"], unacknowledged=us["not_acked"])
    findings.lost += ["missing in the ledger, by the peers' runner"] * us["lost"][1]
    findings.doubled += ["applied more than once, by the peers' runner"] * us["doubled"]
    return findings


def _ratios(us: Mapping[str, Any], name: str, peer: Mapping[str, Any]) -> list[Ratio]:
    found = []
    for key, about in (("applied_per_s", "the whole way"), ("acks_per_s", "acknowledged")):
        if us[key] and peer[key]:
            found.append(Ratio(question="b", name=f"ours ÷ {name}, {about}", value=Spread.of([us[key] / peer[key]])))
    return found


def _figure(name: str, peer: Mapping[str, Any]) -> Figure:
    applied, acked = peer["applied_per_s"], peer["acks_per_s"]
    more = f"{acked:,.0f} acks/s, lost {peer['lost']}, doubled {peer['doubled']}"
    value = Spread.of([applied if applied is not None else acked])
    unit = "callbacks/s" if applied is not None else "acks/s"
    return Figure(question="b", name=f"{name}, by the peers' runner", value=value, unit=unit, more=more)


def report_quoted(rates: Sequence[float], into: Report) -> None:
    """Our rates against figures that were measured elsewhere."""
    for name, quoted in _QUOTED.items():
        value = Spread.of([rate / quoted for rate in rates])
        into.ratios.append(Ratio(question="b", name=f"ours ÷ {name}, {quoted}/s", value=value, quoted=True))
