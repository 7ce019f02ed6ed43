"""Calls that are to be made: each is taken by one caller at a time, and stands here until its answer was applied.

An effect waits (no lease), is taken (a lease: it may be on the wire), and is forgotten once its answer was applied. Whoever takes
it keeps to the quota of its bucket, in the same transaction, so that the quota holds across all processes.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, RowMapping, delete, func, select, tuple_, update

from adapters.ledger import bulk, quotas
from adapters.ledger.documents import json_text
from adapters.ledger.schema import effects, tasks

#: (task id, serial number of the attempt)
CallId = tuple[str, int]
#: (vendor, app id, family)
AppFamily = tuple[str, str, str]

_CALL_ID = (effects.c.task_id, effects.c.serial)
_UNCLAIMED = effects.c.lease_until.is_(None)
_CLAIMED = effects.c.lease_until.is_not(None)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewCall:
    """A call to be made, not before `due_at` (ms). The task's vendor, app and family say whose it is."""

    task_id: str
    serial: int
    operation: str
    #: Where not the usual call is to be made: which.
    step: Mapping[str, Any] | None = None
    vendor: str
    app_id: str
    family: str
    #: Which quota it is under.
    bucket: str
    due_at: int
    shard: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedCall:
    """A call that was taken: until `lease_until` (ms) its answer is waited for."""

    id: int
    task_id: str
    serial: int
    operation: str
    step: Mapping[str, Any] | None
    vendor: str
    app_id: str
    family: str
    bucket: str
    lease_until: int
    shard: int


def add(connection: Connection, wanted: Sequence[NewCall]) -> None:
    """Adds calls, but none a second time."""
    bulk.insert_new(connection, effects, [_new_row(each) for each in wanted], key=("task_id", "serial"))


def _new_row(wanted: NewCall) -> dict[str, Any]:
    return {
        "task_id": wanted.task_id,
        "serial": wanted.serial,
        "operation": wanted.operation,
        "step": json_text(dict(wanted.step)) if wanted.step is not None else None,
        "vendor": wanted.vendor,
        "app_id": wanted.app_id,
        "family": wanted.family,
        "bucket": wanted.bucket,
        "due_at": wanted.due_at,
        "shard": wanted.shard,
    }


def cancel_unclaimed(connection: Connection, gone: Sequence[CallId]) -> set[CallId]:
    """Deletes those of these calls that were not taken; which they were."""
    if not gone:
        return set()
    of_tasks = effects.c.task_id.in_({task_id for task_id, _ in gone})  # only this leads SQLite to the index
    statement = delete(effects).where(of_tasks, tuple_(*_CALL_ID).in_(list(gone)), _UNCLAIMED).returning(*_CALL_ID)
    return {(task_id, serial) for task_id, serial in connection.execute(statement)}


def delete_calls(connection: Connection, answered: Sequence[CallId]) -> None:
    """Deletes these calls, taken or not."""
    bulk.delete(connection, effects, [{"task_id": task_id, "serial": serial} for task_id, serial in answered])


def drop_all(connection: Connection) -> None:
    """Forgets all calls, taken or not."""
    connection.execute(delete(effects))


def claimed(connection: Connection, task_ids: Sequence[str]) -> set[CallId]:
    """The calls of these tasks that were taken: they may be on the wire."""
    if not task_ids:
        return set()
    statement = select(*_CALL_ID).where(effects.c.task_id.in_(task_ids), _CLAIMED)
    return {(task_id, serial) for task_id, serial in connection.execute(statement)}


def starts_in_flight(connection: Connection, whose: Sequence[AppFamily]) -> set[AppFamily]:
    """Those of these apps and families of which a start was taken, and not answered yet."""
    if not whose:
        return set()
    columns = (effects.c.vendor, effects.c.app_id, effects.c.family)
    statement = select(*columns).where(_CLAIMED, effects.c.operation == "start", tuple_(*columns).in_(list(whose))).distinct()
    return {(vendor, app_id, family) for vendor, app_id, family in connection.execute(statement)}


def backlog(connection: Connection) -> tuple[int, int | None]:
    """(calls that were not taken yet, when the oldest of them was due; ms)"""
    count, oldest = connection.execute(select(func.count(), func.min(effects.c.due_at)).where(_UNCLAIMED)).one()
    return count, oldest


def any_due(connection: Connection, now: int) -> bool:
    """Whether there is a call to be taken, quota or not."""
    return any(_due_ids(connection, bucket, now, 1) for bucket in _waiting_buckets(connection))


def any_expired(connection: Connection, now: int) -> bool:
    return connection.execute(_select_expired(now, 1)).first() is not None


def claim(connection: Connection, now: int, limit: int, lease_ms: int, limits: Callable[[str], float]) -> list[ClaimedCall]:
    """Takes calls that are due, at most `limit` and as many as their quotas allow. limits: bucket -> calls/s.

    Of each bucket the oldest come first. Buckets share `limit` evenly; none waits for another one that has no quota left.
    """
    due = _due_by_bucket(connection, now, limit)
    quotas.lock(connection, list(due), limits, now)
    ids = _within_quotas(connection, due, limit, limits, now)
    if not ids:
        return []
    statement = update(effects).where(effects.c.id.in_(ids)).values(lease_until=now + lease_ms).returning(*effects.c)
    return sorted((_claimed_call(row) for row in connection.execute(statement).mappings()), key=lambda effect: effect.id)


def _due_by_bucket(connection: Connection, now: int, limit: int) -> dict[str, list[int]]:
    """bucket -> its oldest calls that are due; first the bucket whose oldest one is older than those of the others."""
    found = {bucket: ids for bucket in _waiting_buckets(connection) if (ids := _due_ids(connection, bucket, now, limit))}
    return dict(sorted(found.items(), key=lambda item: item[1][0]))


def _waiting_buckets(connection: Connection) -> Iterator[str]:
    """Those with calls that wait: one seek in the index for each, however many calls wait in them."""
    first = select(effects.c.bucket).where(_UNCLAIMED).order_by(effects.c.bucket).limit(1)
    bucket = connection.scalar(first)
    while bucket is not None:
        yield bucket
        bucket = connection.scalar(first.where(effects.c.bucket > bucket))


def _due_ids(connection: Connection, bucket: str, now: int, limit: int) -> list[int]:
    statement = select(effects.c.id).where(effects.c.bucket == bucket, _UNCLAIMED, effects.c.due_at <= now)
    locked = statement.order_by(effects.c.id).limit(limit).with_for_update(skip_locked=True)  # SQLite has but one writer
    return list(connection.scalars(locked))


def _within_quotas(
    connection: Connection, due: Mapping[str, Sequence[int]], limit: int, limits: Callable[[str], float], now: int
) -> list[int]:
    """Which of them may be taken. In rounds: what some buckets leave of their share goes to the others."""
    taken_ids: list[int] = []
    left = dict(due)
    while left and len(taken_ids) < limit:
        share = max(1, (limit - len(taken_ids)) // len(left))
        for bucket, ids in list(left.items()):
            wanted = min(share, len(ids), limit - len(taken_ids))
            granted = quotas.consume(connection, bucket, wanted, limits(bucket), now)
            taken_ids += ids[:granted]
            if granted < wanted or granted == len(ids):
                del left[bucket]
            else:
                left[bucket] = ids[granted:]
    return taken_ids


def expired(connection: Connection, now: int, limit: int) -> list[ClaimedCall]:
    """Calls whose lease is over: nobody brought an answer in time. To be written of in the same transaction."""
    found = connection.execute(_select_expired(now, limit, *effects.c).with_for_update(skip_locked=True))
    return [_claimed_call(row) for row in found.mappings()]


def extend_leases(connection: Connection, ids: Sequence[int], until: int) -> None:
    """These are waited for until then, ms: what was posted of them is not applied yet."""
    if ids:
        connection.execute(update(effects).where(effects.c.id.in_(ids)).values(lease_until=until))


def is_stop_in_flight(connection: Connection, task_id: str) -> bool:
    """Whether a stop of another run of this task's key was taken, and not answered yet."""
    lineage = select(tasks.c.lineage_id).where(tasks.c.id == task_id).scalar_subquery()
    others = select(effects.c.id).join(tasks, tasks.c.id == effects.c.task_id)
    stops = others.where(tasks.c.lineage_id == lineage, tasks.c.id != task_id, effects.c.operation == "stop", _CLAIMED)
    return connection.execute(stops.limit(1)).first() is not None


def _select_expired(now: int, limit: int, *columns: Column[Any]) -> Any:
    over: ColumnElement[bool] = effects.c.lease_until <= now
    return select(*(columns or (effects.c.id,))).where(_CLAIMED, over).order_by(effects.c.lease_until).limit(limit)


def _claimed_call(row: RowMapping) -> ClaimedCall:
    return ClaimedCall(
        id=row["id"],
        task_id=row["task_id"],
        serial=row["serial"],
        operation=row["operation"],
        step=json.loads(row["step"]) if row["step"] is not None else None,
        vendor=row["vendor"],
        app_id=row["app_id"],
        family=row["family"],
        bucket=row["bucket"],
        lease_until=row["lease_until"],
        shard=row["shard"],
    )
