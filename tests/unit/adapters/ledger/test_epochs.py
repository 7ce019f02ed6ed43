"""A new epoch repeats no id that was assigned before, however far the lost ledger went."""

import pytest
from sqlalchemy import text

from adapters.ledger import Ledger, LedgerUnavailableError, effects, epochs, events, inbox, positions
from adapters.ledger.backup_command import begin_epoch
from adapters.ledger.effects import NewCall
from adapters.ledger.epochs import HighWaterMark
from adapters.ledger.events import SystemEvent
from adapters.ledger.inbox import Posting

NOW = 1_795_000_000_000


def note(version: int, at: int = NOW) -> SystemEvent:
    return SystemEvent(subject="s", version=version, type="tally.test", at=at, data={})


def test_a_ledger_that_was_never_restored_is_in_epoch_0(ledger: Ledger):
    with ledger.read() as connection:
        assert epochs.current(connection) == 0
        assert epochs.resume_position(connection, 10**15) == 10**15


def test_epochs_grow_with_the_time_and_fit_an_integer_of_cloudevents(ledger: Ledger):
    with ledger.write() as connection:
        first = epochs.begin(connection, NOW).number
        second = epochs.begin(connection, NOW + 5_000).number
        third = epochs.begin(connection, NOW + 30 * 86_400_000).number
    assert 0 < first < second < third < 2**31
    assert epochs_of_two_restores_of_one_backup(ledger, NOW + 40 * 86_400_000) == (20, 20)


def epochs_of_two_restores_of_one_backup(ledger: Ledger, at: int) -> tuple[int, int]:
    """Returns the difference of two epochs that begin five seconds apart."""
    found = []
    for later in (0, 5_000, 10_000):
        try:
            with ledger.write() as connection:
                found.append(epochs.begin(connection, at + later).number)
                raise _TakenBackError
        except _TakenBackError:
            pass
    return found[1] - found[0], found[2] - found[1]


class _TakenBackError(Exception):
    pass


def test_an_epoch_is_greater_even_after_the_clock_was_set_back(ledger: Ledger):
    with ledger.write() as connection:
        first = epochs.begin(connection, NOW).number
        assert epochs.begin(connection, 1_000_000).number == first + 1_000_000


def test_ids_of_the_replaced_ledger_count_too(ledger: Ledger):
    ahead = positions.first_position(NOW + 400 * 86_400_000)
    with ledger.write() as connection:
        begun = epochs.begin(connection, NOW, beyond=[HighWaterMark(epoch=2_000_000_000, position=ahead)])
        assert begun.number == 2_001_000_000
        assert positions.newest(connection) > ahead


def test_positions_continue_after_the_current_time_and_the_backup(ledger: Ledger):
    with ledger.write() as connection:
        events.append_system_events(connection, [note(1, at=NOW + 10_000)])
        before = positions.newest(connection)
        epochs.begin(connection, NOW)
        events.append_system_events(connection, [note(2)])
        assert positions.newest(connection) > before + (1 << 20)


def test_a_reader_that_is_ahead_continues_at_the_beginning_of_the_epoch(ledger: Ledger):
    with ledger.write() as connection:
        events.append_system_events(connection, [note(1)])
        old = positions.newest(connection)
        epochs.begin(connection, NOW)
        events.append_system_events(connection, [note(2), note(3)])
        newest = positions.newest(connection)
    with ledger.read() as connection:
        assert epochs.resume_position(connection, old) == old
        assert epochs.resume_position(connection, newest) == newest, "its own positions are its own"
        lost = positions.first_position(NOW + 400 * 86_400_000)
        behind = epochs.resume_position(connection, lost)
        assert [event.content.version for event in events.page(connection, after=behind, limit=9)][-2:] == [2, 3]


def test_ids_continue_far_after_those_of_the_backup(ledger: Ledger):
    with ledger.write() as connection:
        epochs.begin(connection, NOW)
        inserted = (
            "INSERT INTO rejections (at, vendor, status, reason, detail, size) VALUES (1, 'v', 401, 'r', 'd', 1) RETURNING id"
        )
        assert connection.scalar(text(inserted)) > positions.first_position(NOW)


def test_calls_are_deleted_and_waiting_requests_are_marked(ledger: Ledger):
    call = NewCall(
        task_id="t", serial=1, operation="start", vendor="tencent", app_id="1", family="~record", bucket="b", due_at=NOW - 50_000
    )
    with ledger.write() as connection:
        effects.add(connection, [call])
        for kind in (inbox.START, inbox.STOP, inbox.UPDATE, inbox.SUCCESSION, inbox.RETRY, inbox.DEADLINE, inbox.ANSWER):
            inbox.post_all(connection, kind, [Posting(key=("k",), payload={"task_id": "t"})], NOW)
        epochs.begin(connection, NOW)
        assert effects.backlog(connection) == (0, None)
        found = {row.kind: row.payload for row in inbox.unapplied(connection, 99)}
    marked = {"task_id": "t", "doubted": True}
    of_requests = dict.fromkeys((inbox.START, inbox.STOP, inbox.UPDATE, inbox.SUCCESSION), marked)
    assert found == {**of_requests, inbox.ANSWER: {"task_id": "t"}}


def test_the_command_begins_an_epoch_while_no_other_process_serves_the_ledger(ledger: Ledger, capsys: pytest.CaptureFixture[str]):
    ledger.close()
    again = Ledger(ledger.url)
    assert begin_epoch(again) == 0
    with again.read() as connection:
        assert f"epoch      {epochs.current(connection)}:" in capsys.readouterr().out
        if ledger.path is None:
            other = Ledger(ledger.url)
            with pytest.raises(LedgerUnavailableError, match="stop them all"):
                begin_epoch(other)
            other.close()
    again.close()
