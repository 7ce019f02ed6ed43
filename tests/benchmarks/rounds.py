"""Rounds: what is compared takes turns, so that whatever else the machine does slows down all of it. Medians count."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Self

from tests.benchmarks.load import Load, send
from tests.benchmarks.stack import Stack
from tests.benchmarks.stream import Stream


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How long it is measured: so many rounds, each of so many seconds of load."""

    rounds: int = 3
    seconds: float = 6.0
    #: Seconds of load before the first round; it does not count.
    warm_up_s: float = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Values of several rounds."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Self:
        return cls(median=median(values), least=min(values), most=max(values))

    @classmethod
    def ratio(cls, values: Sequence[float], base: Sequence[float]) -> Self:
        """Round by round: both of a round were measured under the same circumstances."""
        return cls.of([value / other for value, other in zip(values, base, strict=True)])


def send_to(stack: Stack, stream: Stream, *, seconds: float, close: bool = False) -> Load:
    """The next stretch of the stream, which this ledger was not sent yet."""
    load = send(stack.door, stream, stack.sent, seconds=seconds, close=close)
    stack.sent += load.sent
    stack.unacknowledged += load.sent - load.acked
    return load
