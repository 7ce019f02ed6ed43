"""Finds times in the ledger that lie further ahead than our own schedules can put them, and mends them.

They were written while the clock was ahead, which was set right since: without this, what waits for them would wait until the clock
is there again. Mending is idempotent, and leaves alone what is right, so any number of processes may do it at any time. Times of
others stay as they are: what a vendor told, what somebody asked for, and deadlines that count from those.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Connection, Table, and_, case, func, literal, or_, select, update

from adapters.ledger import deliveries, positions
from adapters.ledger.deliveries import Delivery
from adapters.ledger.inbox import CALLBACK
from adapters.ledger.schema import deadlines, effects, inbox, replays, subscriptions
from adapters.ledger.schema import deliveries as deliveries_table
from statemachine.delivery_policy import MAX_RETRY_AFTER_MS, RETRY_DELAYS_MS, longest_retry_delay_ms
from statemachine.states import Deadline

#: Clocks of several machines differ by so much without one of them being wrong, ms. Who waits so long in vain waits not long.
SLACK_MS = 10_000
#: The longest that a vendor's hint, which nothing keeps, can put off a call, ms: longer ones hold back the quota alone.
_MAX_CALL_HINT_MS = 3_600_000
#: The longest pause of ours before a call is tried again, and between two looks whether a task recovers, ms.
_MAX_CALL_PAUSE_MS, _MAX_RECOVERY_PAUSE_MS = 60_000, 300_000
#: So much later may a replay go on that has just queued as much as it may in a second, ms.
_MAX_REPLAY_PAUSE_MS = 2_000
#: What waits for its turn after a restore has a turn each so many ms (`epochs`).
_INSPECTION_INTERVAL_MS = 100
_ROWS_PER_READ = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class LongestWaits:
    """How long the workers' own waits last, ms."""

    delivery_lease: int
    call_lease: int
    held: int


def was_ahead(connection: Connection, now: int) -> bool:
    """Whether an event was written at a time that is yet to come: the clock was ahead. now: ms."""
    return positions.newest(connection) >= positions.first_position(now + SLACK_MS)


# Deliveries.


def misdated_deliveries(connection: Connection, subscription_id: str, now: int, longest: LongestWaits) -> list[Delivery]:
    """Deliveries of a subscription that wait for longer than their pause, and for longer than their target asked for."""
    wrong: list[Delivery] = []
    after = (0, 0)
    while found := _far_ahead(connection, subscription_id, now, longest, after):
        wrong += [each for each in found if not _is_retry_after(each, now)]
        after = (found[-1].due_at or 0, found[-1].id)
    return wrong


def _far_ahead(
    connection: Connection, subscription_id: str, now: int, longest: LongestWaits, after: tuple[int, int]
) -> list[Delivery]:
    due_at, tries = deliveries_table.c.due_at, deliveries_table.c.tries
    pauses = {number: longest_retry_delay_ms(number) for number in range(1, len(RETRY_DELAYS_MS))}
    pause = case(
        (deliveries_table.c.lease_until.is_not(None), longest.delivery_lease), *_pause_cases(tries, pauses), else_=_LAST_PAUSE_MS
    )
    behind = or_(due_at > after[0], and_(due_at == after[0], deliveries_table.c.id > after[1]))
    far = (due_at > now + SLACK_MS, due_at - pause > now + SLACK_MS, behind)
    statement = select(deliveries_table).where(deliveries_table.c.subscription_id == subscription_id, *far)
    ordered = statement.order_by(due_at, deliveries_table.c.id).limit(_ROWS_PER_READ)
    return [deliveries.delivery_of(row) for row in connection.execute(ordered).mappings()]


_LAST_PAUSE_MS = longest_retry_delay_ms(len(RETRY_DELAYS_MS))


def _pause_cases(tries: ColumnElement[int], pauses: dict[int, int]) -> list[tuple[ColumnElement[bool], int]]:
    return [(tries <= 0, 0), *((tries == number, pause) for number, pause in pauses.items())]


def _is_retry_after(delivery: Delivery, now: int) -> bool:
    """Whether the target's own Retry-After can have put it off: the last answer came before now, and at most a day before."""
    if delivery.lease_until is not None or not delivery.attempts or delivery.due_at is None:
        return False
    answered_at = delivery.attempts[-1].get("at")
    return (
        answered_at is not None and answered_at <= now + SLACK_MS and delivery.due_at <= answered_at + MAX_RETRY_AFTER_MS + SLACK_MS
    )


def repair_deliveries(connection: Connection, wrong: Sequence[Delivery], now: int, longest: LongestWaits) -> int:
    """Has these wait no longer than their pause from now; how many. The subscription is locked.

    Those that somebody took since they were read are left alone.
    """
    alike: dict[tuple[bool, int, int], list[int]] = {}
    for each in wrong:
        alike.setdefault((each.lease_until is not None, each.tries, longest_retry_delay_ms(len(each.attempts))), []).append(each.id)
    return sum(
        _repair_group(connection, ids, tries, now, now + (longest.delivery_lease if is_taken else pause), is_taken=is_taken)
        for (is_taken, tries, pause), ids in alike.items()
    )


def _repair_group(connection: Connection, ids: Sequence[int], tries: int, now: int, until: int, *, is_taken: bool) -> int:
    first, lease = deliveries_table.c.first_tried_at, deliveries_table.c.lease_until
    values: dict[str, Any] = {"due_at": until, "first_tried_at": case((first > now, literal(now, BigInteger)), else_=first)}
    if is_taken:
        values["lease_until"] = until
    taken = lease.is_not(None) if is_taken else lease.is_(None)
    as_found = (deliveries_table.c.tries == tries, deliveries_table.c.due_at > until, taken)
    return connection.execute(update(deliveries_table).where(deliveries_table.c.id.in_(ids), *as_found).values(values)).rowcount


# What waits elsewhere.


@dataclass(frozen=True, slots=True, kw_only=True)
class _MisdatedRows:
    """Rows whose time is too far ahead, and what it is to be."""

    table: Table
    where: ColumnElement[bool]
    values: dict[str, Any]


def any_misdated(connection: Connection, now: int, longest: LongestWaits) -> bool:
    """Whether anything but deliveries and retries of calls waits for longer than it can."""
    wrong = _misdated_rows(connection, now, longest)
    return any(connection.execute(select(1).select_from(each.table).where(each.where).limit(1)).first() for each in wrong)


def repair(connection: Connection, now: int, longest: LongestWaits) -> int:
    """Has that wait no longer than it can from now; how much."""
    return sum(
        connection.execute(update(each.table).where(each.where).values(each.values)).rowcount
        for each in _misdated_rows(connection, now, longest)
    )


def _misdated_rows(connection: Connection, now: int, longest: LongestWaits) -> list[_MisdatedRows]:
    soon = now + SLACK_MS
    untaken, lease = effects.c.lease_until.is_(None), effects.c.lease_until
    failing, failed = subscriptions.c.failing_since, subscriptions.c.failed_at
    held = and_(inbox.c.held_until.is_not(None), inbox.c.applied_at.is_(None), inbox.c.held_until > soon + longest.held)
    wrong = [
        _MisdatedRows(table=effects, where=and_(untaken, effects.c.due_at > soon), values={"due_at": now}),
        _MisdatedRows(table=effects, where=lease > soon + longest.call_lease, values={"lease_until": now + longest.call_lease}),
        _MisdatedRows(table=replays, where=replays.c.next_at > soon + _MAX_REPLAY_PAUSE_MS, values={"next_at": now}),
        _MisdatedRows(table=subscriptions, where=failing > soon, values={"failing_since": now}),
        _MisdatedRows(table=subscriptions, where=failed > soon, values={"failed_at": now}),
        _MisdatedRows(table=inbox, where=and_(held, inbox.c.kind == CALLBACK), values={"held_until": now + longest.held}),
    ]
    return wrong + _misdated_turns(connection, now, longest)


def _misdated_turns(connection: Connection, now: int, longest: LongestWaits) -> list[_MisdatedRows]:
    """What has a turn each: the last turn is no further ahead than there are turns. All move by as much."""
    turns = and_(inbox.c.held_until.is_not(None), inbox.c.applied_at.is_(None), inbox.c.kind != CALLBACK)
    number, last = connection.execute(select(func.count(), func.max(inbox.c.held_until)).where(turns)).one()
    until = now + SLACK_MS + longest.held + number * _INSPECTION_INTERVAL_MS
    if last is None or last <= until:
        return []
    moved = inbox.c.held_until - (last - until)
    return [_MisdatedRows(table=inbox, where=and_(turns, inbox.c.held_until > until), values={"held_until": moved})]


# Calls that are tried again.


def misdated_retries(connection: Connection, now: int, *, ahead: bool) -> list[tuple[str, int]]:
    """(task id, shard) of tasks that wait for their next call, or look, for longer than they can.

    ahead: whether the clock is known to have been ahead. Else what a vendor may have asked for is left alone.
    """
    soon = now + SLACK_MS
    calls = (Deadline.START_RETRY.value, Deadline.CALL_RETRY.value)
    until = soon + (_MAX_CALL_PAUSE_MS if ahead else _MAX_CALL_HINT_MS)
    # First what both have in common: it leads to the index.
    late = or_(
        and_(deadlines.c.kind.in_(calls), deadlines.c.due_at > until),
        and_(deadlines.c.kind == Deadline.RECOVERY.value, deadlines.c.due_at > soon + _MAX_RECOVERY_PAUSE_MS),
    )
    statement = select(deadlines.c.task_id, deadlines.c.shard).where(deadlines.c.due_at > soon, late).distinct()
    return [(row.task_id, row.shard) for row in connection.execute(statement.order_by(deadlines.c.task_id))]
