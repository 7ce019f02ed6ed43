"""Finds times in the ledger that lie further ahead than our own schedules can put them, and corrects them.

They were written while the clock was ahead, and the clock has been corrected since: without this, rows would wait until the clock
reaches those times again. The repair is idempotent and leaves correct times alone, so any number of processes may run it at any
time. Times from outside stay as they are: those that a vendor reported or a client requested, and deadlines that count from them.
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

#: Tolerated difference between the clocks of several machines, ms. A needless wait of this length does no harm.
SLACK_MS = 10_000
#: Maximum time by which a vendor's Retry-After hint postpones a call, ms. The hint is not stored; longer ones only block the quota.
_MAX_CALL_HINT_MS = 3_600_000
#: Our maximum pauses, ms: before a call is retried, and between two inspections of a task that may recover.
_MAX_CALL_PAUSE_MS, _MAX_RECOVERY_PAUSE_MS = 60_000, 300_000
#: Maximum pause of a replay that has just queued a second's worth of events, ms.
_MAX_REPLAY_PAUSE_MS = 2_000
#: Interval between inspections after a restore, ms (`epochs`).
_INSPECTION_INTERVAL_MS = 100
_ROWS_PER_READ = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class LongestWaits:
    """Maximum durations of the workers' own waits, ms."""

    delivery_lease: int
    call_lease: int
    deferral: int


def was_ahead(connection: Connection, now: int) -> bool:
    """Returns whether an event was written at a time in the future: the clock was ahead. now: ms."""
    return positions.newest(connection) >= positions.first_position(now + SLACK_MS)


# Deliveries.


def misdated_deliveries(connection: Connection, subscription_id: str, now: int, longest: LongestWaits) -> list[Delivery]:
    """Returns deliveries of a subscription that wait longer than their pause, and longer than their sink's Retry-After."""
    misdated: list[Delivery] = []
    after = (0, 0)
    while batch := _far_ahead(connection, subscription_id, now, longest, after):
        misdated += [delivery for delivery in batch if not _is_retry_after(delivery, now)]
        after = (batch[-1].due_at or 0, batch[-1].id)
    return misdated


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
    """Returns whether the sink's Retry-After can be the reason: its last answer came before now, at most a day before `due_at`."""
    if delivery.lease_until is not None or not delivery.attempts or delivery.due_at is None:
        return False
    answered_at = delivery.attempts[-1].get("at")
    return (
        answered_at is not None and answered_at <= now + SLACK_MS and delivery.due_at <= answered_at + MAX_RETRY_AFTER_MS + SLACK_MS
    )


def repair_deliveries(connection: Connection, misdated: Sequence[Delivery], now: int, longest: LongestWaits) -> int:
    """Makes deliveries wait no longer than their pause from now; returns their number. The subscription is locked.

    Deliveries that a worker has claimed since they were read are left alone.
    """
    groups: dict[tuple[bool, int, int], list[int]] = {}
    for delivery in misdated:
        group = (delivery.lease_until is not None, delivery.tries, longest_retry_delay_ms(len(delivery.attempts)))
        groups.setdefault(group, []).append(delivery.id)
    return sum(
        _repair_group(connection, ids, tries, now, now + (longest.delivery_lease if is_claimed else pause), is_claimed=is_claimed)
        for (is_claimed, tries, pause), ids in groups.items()
    )


def _repair_group(connection: Connection, ids: Sequence[int], tries: int, now: int, until: int, *, is_claimed: bool) -> int:
    first, lease = deliveries_table.c.first_tried_at, deliveries_table.c.lease_until
    values: dict[str, Any] = {"due_at": until, "first_tried_at": case((first > now, literal(now, BigInteger)), else_=first)}
    if is_claimed:
        values["lease_until"] = until
    same_claim = lease.is_not(None) if is_claimed else lease.is_(None)
    unchanged = (deliveries_table.c.tries == tries, deliveries_table.c.due_at > until, same_claim)
    return connection.execute(update(deliveries_table).where(deliveries_table.c.id.in_(ids), *unchanged).values(values)).rowcount


# Rows of other tables.


@dataclass(frozen=True, slots=True, kw_only=True)
class _MisdatedRows:
    """Rows whose time is too far ahead, and the corrected values."""

    table: Table
    where: ColumnElement[bool]
    values: dict[str, Any]


def any_misdated(connection: Connection, now: int, longest: LongestWaits) -> bool:
    """Returns whether rows wait longer than they can, other than deliveries and retries of calls."""
    misdated = _misdated_rows(connection, now, longest)
    return any(connection.execute(select(1).select_from(rows.table).where(rows.where).limit(1)).first() for rows in misdated)


def repair(connection: Connection, now: int, longest: LongestWaits) -> int:
    """Corrects the times of those rows; returns their number."""
    return sum(
        connection.execute(update(rows.table).where(rows.where).values(rows.values)).rowcount
        for rows in _misdated_rows(connection, now, longest)
    )


def _misdated_rows(connection: Connection, now: int, longest: LongestWaits) -> list[_MisdatedRows]:
    soon = now + SLACK_MS
    unclaimed, lease = effects.c.lease_until.is_(None), effects.c.lease_until
    failing, failed = subscriptions.c.failing_since, subscriptions.c.failed_at
    deferred = and_(inbox.c.held_until.is_not(None), inbox.c.applied_at.is_(None), inbox.c.held_until > soon + longest.deferral)
    misdated = [
        _MisdatedRows(table=effects, where=and_(unclaimed, effects.c.due_at > soon), values={"due_at": now}),
        _MisdatedRows(table=effects, where=lease > soon + longest.call_lease, values={"lease_until": now + longest.call_lease}),
        _MisdatedRows(table=replays, where=replays.c.next_at > soon + _MAX_REPLAY_PAUSE_MS, values={"next_at": now}),
        _MisdatedRows(table=subscriptions, where=failing > soon, values={"failing_since": now}),
        _MisdatedRows(table=subscriptions, where=failed > soon, values={"failed_at": now}),
        _MisdatedRows(table=inbox, where=and_(deferred, inbox.c.kind == CALLBACK), values={"held_until": now + longest.deferral}),
    ]
    return misdated + _misdated_turns(connection, now, longest)


def _misdated_turns(connection: Connection, now: int, longest: LongestWaits) -> list[_MisdatedRows]:
    """Returns the deferred inspections of a restore if the last one is further ahead than their number allows; all move equally."""
    turns = and_(inbox.c.held_until.is_not(None), inbox.c.applied_at.is_(None), inbox.c.kind != CALLBACK)
    number, last = connection.execute(select(func.count(), func.max(inbox.c.held_until)).where(turns)).one()
    until = now + SLACK_MS + longest.deferral + number * _INSPECTION_INTERVAL_MS
    if last is None or last <= until:
        return []
    moved = inbox.c.held_until - (last - until)
    return [_MisdatedRows(table=inbox, where=and_(turns, inbox.c.held_until > until), values={"held_until": moved})]


# Calls that are tried again.


def misdated_retries(connection: Connection, now: int, *, ahead: bool) -> list[tuple[str, int]]:
    """Returns (task id, shard) of tasks that wait longer than they can for their next call or inspection.

    ahead: whether the clock is known to have been ahead. If not, pauses that a vendor may have asked for are left alone.
    """
    soon = now + SLACK_MS
    calls = (Deadline.START_RETRY.value, Deadline.CALL_RETRY.value)
    until = soon + (_MAX_CALL_PAUSE_MS if ahead else _MAX_CALL_HINT_MS)
    # The condition that both have in common comes first: it uses the index.
    late = or_(
        and_(deadlines.c.kind.in_(calls), deadlines.c.due_at > until),
        and_(deadlines.c.kind == Deadline.RECOVERY.value, deadlines.c.due_at > soon + _MAX_RECOVERY_PAUSE_MS),
    )
    statement = select(deadlines.c.task_id, deadlines.c.shard).where(deadlines.c.due_at > soon, late).distinct()
    return [(row.task_id, row.shard) for row in connection.execute(statement.order_by(deadlines.c.task_id))]
