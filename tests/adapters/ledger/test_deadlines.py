"""Deadlines are found by when they are due."""

from adapters.ledger import Ledger, deadlines
from tests.adapters.ledger.making import T0, statements


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


def test_rearming_what_stands_already_writes_nothing(ledger: Ledger) -> None:
    """It follows each deadline that passed, and its rows are all over the file."""
    _armed(ledger)
    with ledger.write() as connection, statements(connection) as said:
        deadlines.rearm(connection, {"a": {"silence": T0 + 2, "expiry": T0 + 9}, "b": {"silence": T0 + 1}, "c": {}})
    assert [statement.split()[0] for statement in said] == ["SELECT"]
