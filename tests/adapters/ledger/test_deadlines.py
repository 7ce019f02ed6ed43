"""Deadlines are found by when they are due."""

from adapters.ledger import Ledger, deadlines
from tests.adapters.ledger.making import T0


def _armed(ledger: Ledger) -> None:
    with ledger.write() as connection:
        deadlines.rearm(connection, {"a": {"silence": T0 + 2, "expiry": T0 + 9}})
        deadlines.rearm(connection, {"b": {"silence": T0 + 1}})


def test_what_is_due_comes_the_most_overdue_first(ledger: Ledger) -> None:
    _armed(ledger)
    with ledger.read() as connection:
        assert deadlines.due(connection, T0, 9) == []
        assert deadlines.due(connection, T0 + 2, 9) == [("b", "silence", T0 + 1), ("a", "silence", T0 + 2)]
        assert deadlines.due(connection, T0 + 9, 1) == [("b", "silence", T0 + 1)]


def test_what_is_overdue_is_counted_with_its_oldest(ledger: Ledger) -> None:
    _armed(ledger)
    with ledger.read() as connection:
        assert deadlines.overdue(connection, T0) == (0, None)
        assert deadlines.overdue(connection, T0 + 2) == (2, T0 + 1)


def test_rearming_replaces_a_tasks_deadlines_and_no_others(ledger: Ledger) -> None:
    _armed(ledger)
    with ledger.write() as connection:
        deadlines.rearm(connection, {"a": {"finish": T0}})
        assert deadlines.due(connection, T0 + 9, 9) == [("a", "finish", T0), ("b", "silence", T0 + 1)]
        deadlines.rearm(connection, {"a": {}})
        assert deadlines.due(connection, T0 + 9, 9) == [("b", "silence", T0 + 1)]
