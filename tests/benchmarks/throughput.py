"""(b, c) How many callbacks a second go the whole way: from the POST until the task's move, its timeline and its domain event are
committed. Web, workers, PostgreSQL and Redis together; and the same on a ledger that is full.

A round sends for some seconds over 64 connections, as fast as they are answered, and ends when nothing waits any more. The rate is
that of acknowledged callbacks over the time from the first request to that end. An empty and a full ledger take turns.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.benchmarks.acks import latency_of
from tests.benchmarks.audit import Findings, Marks, audit, marks
from tests.benchmarks.load import Load
from tests.benchmarks.report import Figure, Ratio, Report, Target
from tests.benchmarks.rounds import Plan, Spread, send_to
from tests.benchmarks.stack import Stack
from tests.benchmarks.stream import Stream

_WHOLE_WAY = Target(least=4_000, aim=8_000)
_FULL = Target(least=0.9)


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """drain_s: from the end of the load until nothing waited."""

    load: Load
    drain_s: float

    @property
    def rate(self) -> float:
        return self.load.acked / (self.load.elapsed_s + self.drain_s)


@dataclass(slots=True)
class Course:
    """What was measured of a stack."""

    stack: Stack
    before: Marks
    rounds: list[Round] = field(default_factory=list)

    @property
    def rates(self) -> list[float]:
        return [each.rate for each in self.rounds]


def measure(stacks: Sequence[Stack], stream: Stream, plan: Plan) -> list[Course]:
    """All of them are started."""
    courses = [Course(stack=stack, before=marks(stack.ledger)) for stack in stacks]
    for number in range(plan.rounds + 1):
        for course in courses:
            load = send_to(course.stack, stream, seconds=plan.seconds if number else plan.warm_up_s)
            done = Round(load=load, drain_s=course.stack.drain())
            if number:
                course.rounds.append(done)
    return courses


def audited(course: Course, stream: Stream, question: str) -> Findings:
    """All that this stack was sent from the beginning of the measurement on, later loads too."""
    stack = course.stack
    name = f"{question}, {stack.name}: applied"
    bodies = stream.bodies(0, stack.sent)
    return audit(stack.ledger, bodies, course.before, name=name, unacknowledged=stack.unacknowledged, applied=True)


def report(course: Course, into: Report, *, question: str, against: Course | None = None, target: bool = True) -> None:
    if against is not None:
        ratio = Spread.ratio(course.rates, against.rates)
        into.ratios.append(Ratio(question=question, name=f"{course.stack.name} ÷ {against.stack.name}", value=ratio, target=_FULL))
    wanted = _WHOLE_WAY if target and against is None else None
    into.figures.append(
        Figure(
            question=question,
            name=course.stack.name,
            value=Spread.of(course.rates),
            unit="callbacks/s",
            target=wanted,
            more=_more(course.rounds),
        )
    )


def _more(rounds: Sequence[Round]) -> str:
    acks = Spread.of([each.load.rate for each in rounds]).median
    drain = Spread.of([each.drain_s for each in rounds]).median
    return f"{acks:,.0f} acks/s, {latency_of([each.load for each in rounds])}, drained {drain:.1f} s after"
