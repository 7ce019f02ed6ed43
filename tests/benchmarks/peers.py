"""The peers: stacks that one would otherwise build this with, which do the same work in the same run.

They stand in a folder of their own, with a runner that starts each, fires callbacks at it and at a server that runs already, and
writes what it found as JSON. Where that folder is not given, the figures that were once measured elsewhere are quoted.
"""

import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
#: The runner has its own limits for each peer; this one is for the case that it hangs, s.
_PATIENCE_S = 1_800


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What the runner found of us and of each peer, by its name; `failed` says why there is nothing."""

    results: dict[str, dict[str, Any]]
    failed: str = ""


def measure(peers: Path, stack: Stack, *, names: Sequence[str] = _PEERS, seconds: float) -> Measured:
    """stack: on PostgreSQL, started, its ledger empty. The folder's own README says how it is made ready."""
    folder = Path(os.environ.get("BENCH_DIR", ".bench")).resolve()
    python, found = folder / "venv" / "bin" / "python", stack.folder / "peers.json"
    if not python.exists():
        return Measured(results={}, failed=f"{folder} is not made ready: run {peers / 'provision.sh'} with BENCH_DIR={folder}")
    pids = [part for program in stack.programs.values() for part in ("--pid", str(program.pid))]
    ours = ["--target", stack.door, "--done-url", f"{stack.origin}/v1/stats", *pids]
    asked = ["--applied-db", stack.ledger.url, "--applied-sql", " ".join(_APPLIED.split())]
    command = [str(python), str(peers / "run.py"), _US, *names, "--base", _US, "--seconds", str(seconds), "--json", str(found)]
    environment = os.environ | {"BENCH_DIR": str(folder)}
    try:
        done = subprocess.run([*command, *ours, *asked], env=environment, check=False, timeout=_PATIENCE_S)
    except subprocess.TimeoutExpired:
        return Measured(results={}, failed=f"the peers' runner was not done after {_PATIENCE_S} s")
    if done.returncode or not found.exists():
        return Measured(results={}, failed=f"the peers' runner ended with {done.returncode}")
    return Measured(results={each["peer"]: each for each in json.loads(found.read_text())})


def report(measured: Measured, into: Report) -> None:
    if measured.failed:
        into.notes.append(f"peers: {measured.failed}")
    us = measured.results.get(_US)
    for name, peer in measured.results.items():
        into.figures.append(_figure(name, peer))
        if us is not None and name != _US:
            into.ratios += _ratios(us, name, peer)


def _ratios(us: dict[str, Any], name: str, peer: dict[str, Any]) -> list[Ratio]:
    found = []
    for key, about in (("applied_per_s", "the whole way"), ("acks_per_s", "acknowledged")):
        if us[key] and peer[key]:
            found.append(Ratio(question="b", name=f"ours ÷ {name}, {about}", value=Spread.of([us[key] / peer[key]])))
    return found


def _figure(name: str, peer: dict[str, Any]) -> Figure:
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
