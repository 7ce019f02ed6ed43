"""A process that fails while it starts stops what it has started; tests/processes tests the whole of it."""

from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from serving import start_part


@dataclass
class Part:
    name: str
    calls: list[str]
    fails: bool = False

    def start(self) -> None:
        self.calls.append(f"start {self.name}")
        if self.fails:
            raise RuntimeError(self.name)

    def stop(self) -> None:
        self.calls.append(f"stop {self.name}")


def start_all(parts: list[Part]) -> None:
    with ExitStack() as running:
        for part in parts:
            start_part(part, running)


def test_an_exception_between_two_starts_stops_what_was_started_in_reverse_order():
    calls: list[str] = []
    parts = [Part("first", calls), Part("second", calls), Part("third", calls, fails=True), Part("fourth", calls)]
    with pytest.raises(RuntimeError, match="third"):
        start_all(parts)
    assert calls == ["start first", "start second", "start third", "stop third", "stop second", "stop first"]


def test_parts_are_stopped_before_what_they_use_is_closed():
    calls: list[str] = []
    with ExitStack() as running:
        running.callback(calls.append, "close the ledger")
        start_part(Part("workers", calls), running)
    assert calls == ["start workers", "stop workers", "close the ledger"]
