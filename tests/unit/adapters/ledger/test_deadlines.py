"""Deadlines are found by when they are due."""

from adapters.ledger import Ledger, deadlines
from adapters.ledger.deadlines import DueDeadline
from tests.support.ledger_rows import statements
from tests.support.times import T0


def _armed(ledger: Ledger) -> None:
    with ledger.write() as connection:
        deadlines.rearm(connection, {"a": {"silence": (T0 + 2, 7), "expiry": (T0 + 9, 7)}})
        deadlines.rearm(connection, {"b": {"silence": (T0 + 1, 8)}})


def _due(task_id: str, kind: str, due_at: int, shard: int) -> DueDeadline:
    return DueDeadline(task_id=task_id, kind=kind, due_at=due_at, shard=shard)


def test_due_deadlines_come_the_most_overdue_first(ledger: Ledger) -> None:
    _armed(ledger)
    with ledger.read() as connection:
        assert deadlines.due(connection, T0, 9) == []
        assert deadlines.due(connection, T0 + 2, 9) == [_due("b", "silence", T0 + 1, 8), _due("a", "silence", T0 + 2, 7)]
        assert deadlines.due(connection, T0 + 9, 1) == [_due("b", "silence", T0 + 1, 8)]


def test_due_deadlines_can_be_read_by_shard(ledger: Ledger) -> None:
    _armed(ledger)
    with ledger.read() as connection:
        assert deadlines.due(connection, T0 + 2, 9, shards={7, 9}) == [_due("a", "silence", T0 + 2, 7)]
        assert deadlines.due(connection, T0 + 9, 9, shards=[]) == []


def test_overdue_deadlines_are_counted_with_the_oldest(ledger: Ledger) -> None:
    _armed(ledger)
    with ledger.read() as connection:
        assert deadlines.overdue(connection, T0) == (0, None)
        assert deadlines.overdue(connection, T0 + 2) == (2, T0 + 1)


def test_rearming_replaces_a_tasks_deadlines_and_no_others(ledger: Ledger) -> None:
    _armed(ledger)
    with ledger.write() as connection:
        deadlines.rearm(connection, {"a": {"finish": (T0, 7)}})
        assert deadlines.due(connection, T0 + 9, 9) == [_due("a", "finish", T0, 7), _due("b", "silence", T0 + 1, 8)]
        deadlines.rearm(connection, {"a": {}})
        assert deadlines.due(connection, T0 + 9, 9) == [_due("b", "silence", T0 + 1, 8)]


def test_rearming_corrects_rows_of_another_time_or_shard(ledger: Ledger) -> None:
    _armed(ledger)
    with ledger.write() as connection:
        deadlines.rearm(connection, {"a": {"silence": (T0 + 3, 7), "expiry": (T0 + 9, 5)}})
        assert deadlines.due(connection, T0 + 9, 9)[1:] == [_due("a", "silence", T0 + 3, 7), _due("a", "expiry", T0 + 9, 5)]


def test_rearming_equal_deadlines_writes_nothing(ledger: Ledger) -> None:
    """A rearm follows each passed deadline, and its rows are all over the file."""
    _armed(ledger)
    with ledger.write() as connection, statements(connection) as said:
        deadlines.rearm(connection, {"a": {"silence": (T0 + 2, 7), "expiry": (T0 + 9, 7)}, "b": {"silence": (T0 + 1, 8)}, "c": {}})
    assert [statement.split()[0] for statement in said] == ["SELECT"]
