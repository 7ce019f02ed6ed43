"""(a) How many callbacks a second are acknowledged, and how soon: with each ledger, against the same endpoint without a store.

The workers are stopped. The three processes take turns; each is sent callbacks over 64 connections as fast as it answers, once over
connections that are kept and once over a new one for each callback.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.audit import Findings, Marks, audit, marks
from tests.benchmarks.load import Load
from tests.benchmarks.report import Figure, Ratio, Report, Target
from tests.benchmarks.rounds import Plan, Spread, send_to
from tests.benchmarks.stack import Stack, Stores
from tests.benchmarks.stream import Stream

_STORELESS = "store-less"
_TARGET = Target(least=0.65, aim=0.85)
_PROFILES = {False: "", True: ", a connection each"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """By profile (a connection for each callback, or not) and name of the stack: the rounds."""

    loads: Mapping[tuple[bool, str], list[Load]]
    findings: list[Findings]


def measure(folder: Path, stores: Stores, stream: Stream, plan: Plan) -> Measured:
    stacks = [
        Stack(folder, _STORELESS, database=f"sqlite:///{folder}/nothing.db"),
        Stack(folder, "SQLite", database=f"sqlite:///{folder}/acks.db"),
        Stack(folder, "PostgreSQL", database=stores.database("acks")),
    ]
    try:
        return _measure(stacks, stream, plan)
    finally:
        for stack in stacks:
            stack.close()


def _measure(stacks: list[Stack], stream: Stream, plan: Plan) -> Measured:
    bare, *others = stacks
    bare.start_storeless()
    for stack in others:
        stack.start("web")
    before = {stack.name: marks(stack.ledger) for stack in others}
    loads: dict[tuple[bool, str], list[Load]] = {}
    for close in _PROFILES:
        for number in range(plan.rounds + 1):
            for stack in stacks:
                if stack is bare:
                    stack.sent = 0  # it has kept nothing
                load = send_to(stack, stream, seconds=plan.seconds if number else plan.warm_up_s, close=close)
                if number:
                    loads.setdefault((close, stack.name), []).append(load)
    for stack in others:
        stack.stop()
    return Measured(loads=loads, findings=[_audited(stack, stream, before[stack.name]) for stack in others])


def _audited(stack: Stack, stream: Stream, before: Marks) -> Findings:
    name = f"a, {stack.name}: acknowledged"
    bodies = stream.bodies(0, stack.sent)
    return audit(stack.ledger, bodies, before, name=name, unacknowledged=stack.unacknowledged, applied=False)


def report(measured: Measured, into: Report) -> None:
    for (close, name), loads in measured.loads.items():
        rates = [load.rate for load in loads]
        if name != _STORELESS:
            bare = [load.rate for load in measured.loads[close, _STORELESS]]
            target = None if close else _TARGET
            into.ratios.append(
                Ratio(question="a", name=f"{name} ÷ {_STORELESS}{_PROFILES[close]}", value=Spread.ratio(rates, bare), target=target)
            )
        into.figures.append(
            Figure(question="a", name=f"{name}{_PROFILES[close]}", value=Spread.of(rates), unit="acks/s", more=latency_of(loads))
        )
    into.findings += measured.findings


def latency_of(loads: list[Load]) -> str:
    p50, p99 = (Spread.of([getattr(load, name) for load in loads]).median for name in ("p50_ms", "p99_ms"))
    return f"p50 {p50:.1f} ms, p99 {p99:.1f} ms"
