"""A timeline has the changes of a task in the order in which they were applied."""

from adapters.ledger import Ledger, timeline
from adapters.ledger.timeline import TimelineRow
from tests.support.times import T0


def _timeline_row(task_id: str, number: int) -> TimelineRow:
    return TimelineRow(task_id=task_id, at=T0 - number, inbox_id=number, entries=[{"kind": "move", "to": f"{number}é"}])


def test_pages_follow_each_other_while_rows_arrive(ledger: Ledger) -> None:
    lines = [_timeline_row("a", number) for number in range(5)]
    with ledger.write() as connection:
        timeline.append(connection, [*lines[:2], _timeline_row("b", 9), lines[2]])
        first = timeline.page(connection, "a", after=0, limit=2)
        timeline.append(connection, lines[3:])
        rest = timeline.page(connection, "a", after=first[-1][0], limit=9)
        assert [line for _, line in first + rest] == lines
        assert timeline.page(connection, "a", after=rest[-1][0], limit=9) == []


def test_an_inbox_row_without_changes_gets_no_timeline_row(ledger: Ledger) -> None:
    with ledger.write() as connection:
        timeline.append(connection, [TimelineRow(task_id="a", at=T0, inbox_id=1, entries=[])])
        assert timeline.page(connection, "a", after=0, limit=9) == []


def test_text_that_no_column_can_store_is_read_back(ledger: Ledger) -> None:
    line = TimelineRow(task_id="a", at=T0, inbox_id=2**63 - 1, entries=[{"\x00": "\ud800"}])
    with ledger.write() as connection:
        timeline.append(connection, [line])
        assert [found for _, found in timeline.page(connection, "a", after=0, limit=9)] == [line]
