"""The outbox of vendor calls (table `effects`): each is claimed by one caller at a time, and stays until its answer was applied.

A call waits (no lease), is claimed (a lease: it may be in flight), and is deleted once its answer was applied. The transaction that
claims it also takes from the quota of its bucket, so that the quota holds across all processes.
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
    """A call to be made, not before `due_at` (ms). vendor, app_id and family are those of its task."""

    task_id: str
    serial: int
    operation: str
    #: Describes the call if it is not the usual one of its operation.
    step: Mapping[str, Any] | None = None
    vendor: str
    app_id: str
    family: str
    #: The quota bucket that it takes from.
    bucket: str
    due_at: int
    shard: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedCall:
    """A call that a caller has claimed until `lease_until` (ms)."""

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


def add(connection: Connection, calls: Sequence[NewCall]) -> None:
    """Adds calls, without those that are there already."""
    bulk.insert_new(connection, effects, [_new_row(call) for call in calls], key=("task_id", "serial"))


def _new_row(call: NewCall) -> dict[str, Any]:
    return {
        "task_id": call.task_id,
        "serial": call.serial,
        "operation": call.operation,
        "step": json_text(dict(call.step)) if call.step is not None else None,
        "vendor": call.vendor,
        "app_id": call.app_id,
        "family": call.family,
        "bucket": call.bucket,
        "due_at": call.due_at,
        "shard": call.shard,
    }


def cancel_unclaimed(connection: Connection, gone: Sequence[CallId]) -> set[CallId]:
    """Deletes those of these calls that are not claimed; returns them."""
    if not gone:
        return set()
    of_tasks = effects.c.task_id.in_({task_id for task_id, _ in gone})  # without this SQLite does not use the index
    statement = delete(effects).where(of_tasks, tuple_(*_CALL_ID).in_(list(gone)), _UNCLAIMED).returning(*_CALL_ID)
    return {(task_id, serial) for task_id, serial in connection.execute(statement)}


def delete_calls(connection: Connection, answered: Sequence[CallId]) -> None:
    """Deletes these calls, claimed or not."""
    bulk.delete(connection, effects, [{"task_id": task_id, "serial": serial} for task_id, serial in answered])


def drop_all(connection: Connection) -> None:
    """Deletes all calls, claimed or not."""
    connection.execute(delete(effects))


def claimed(connection: Connection, task_ids: Sequence[str]) -> set[CallId]:
    """Returns the claimed calls of these tasks: they may be in flight."""
    if not task_ids:
        return set()
    statement = select(*_CALL_ID).where(effects.c.task_id.in_(task_ids), _CLAIMED)
    return {(task_id, serial) for task_id, serial in connection.execute(statement)}


def starts_in_flight(connection: Connection, apps: Sequence[AppFamily]) -> set[AppFamily]:
    """Returns those of these apps and families that have a claimed start whose answer was not applied yet."""
    if not apps:
        return set()
    columns = (effects.c.vendor, effects.c.app_id, effects.c.family)
    statement = select(*columns).where(_CLAIMED, effects.c.operation == "start", tuple_(*columns).in_(list(apps))).distinct()
    return {(vendor, app_id, family) for vendor, app_id, family in connection.execute(statement)}


def backlog(connection: Connection) -> tuple[int, int | None]:
    """Returns (number of calls that are not claimed, when the oldest of them was due, ms)."""
    count, oldest = connection.execute(select(func.count(), func.min(effects.c.due_at)).where(_UNCLAIMED)).one()
    return count, oldest


def any_due(connection: Connection, now: int) -> bool:
    """Returns whether a call is due, whatever its quota."""
    return any(_due_ids(connection, bucket, now, 1) for bucket in _waiting_buckets(connection))


def any_expired(connection: Connection, now: int) -> bool:
    return connection.execute(_select_expired(now, 1)).first() is not None


def claim(connection: Connection, now: int, limit: int, lease_ms: int, limits: Callable[[str], float]) -> list[ClaimedCall]:
    """Claims due calls, at most `limit` and as many as their quotas allow. limits: bucket -> calls/s.

    The oldest calls of each bucket come first. Buckets share `limit` evenly; none waits for another one that has no quota left.
    """
    due = _due_by_bucket(connection, now, limit)
    quotas.lock(connection, list(due), limits, now)
    ids = _within_quotas(connection, due, limit, limits, now)
    if not ids:
        return []
    statement = update(effects).where(effects.c.id.in_(ids)).values(lease_until=now + lease_ms).returning(*effects.c)
    return sorted((_claimed_call(row) for row in connection.execute(statement).mappings()), key=lambda effect: effect.id)


def _due_by_bucket(connection: Connection, now: int, limit: int) -> dict[str, list[int]]:
    """Returns bucket -> ids of its oldest due calls; the bucket with the oldest call comes first."""
    by_bucket = {bucket: ids for bucket in _waiting_buckets(connection) if (ids := _due_ids(connection, bucket, now, limit))}
    return dict(sorted(by_bucket.items(), key=lambda item: item[1][0]))


def _waiting_buckets(connection: Connection) -> Iterator[str]:
    """Yields the buckets with waiting calls: one index seek per bucket, however many calls wait in it."""
    first = select(effects.c.bucket).where(_UNCLAIMED).order_by(effects.c.bucket).limit(1)
    bucket = connection.scalar(first)
    while bucket is not None:
        yield bucket
        bucket = connection.scalar(first.where(effects.c.bucket > bucket))


def _due_ids(connection: Connection, bucket: str, now: int, limit: int) -> list[int]:
    statement = select(effects.c.id).where(effects.c.bucket == bucket, _UNCLAIMED, effects.c.due_at <= now)
    locked = statement.order_by(effects.c.id).limit(limit).with_for_update(skip_locked=True)  # SQLite has only one writer
    return list(connection.scalars(locked))


def _within_quotas(
    connection: Connection, due: Mapping[str, Sequence[int]], limit: int, limits: Callable[[str], float], now: int
) -> list[int]:
    """Returns the ids of the calls that the quotas allow, in rounds: the unused share of a bucket goes to the others."""
    allowed: list[int] = []
    left = dict(due)
    while left and len(allowed) < limit:
        share = max(1, (limit - len(allowed)) // len(left))
        for bucket, ids in list(left.items()):
            requested = min(share, len(ids), limit - len(allowed))
            granted = quotas.consume(connection, bucket, requested, limits(bucket), now)
            allowed += ids[:granted]
            if granted < requested or granted == len(ids):
                del left[bucket]
            else:
                left[bucket] = ids[granted:]
    return allowed


def expired(connection: Connection, now: int, limit: int) -> list[ClaimedCall]:
    """Returns and locks calls whose lease expired without an answer; the caller must post their answers in the same transaction."""
    rows = connection.execute(_select_expired(now, limit, *effects.c).with_for_update(skip_locked=True))
    return [_claimed_call(row) for row in rows.mappings()]


def extend_leases(connection: Connection, ids: Sequence[int], until: int) -> None:
    """Extends leases until a time, ms: the answers to these calls are posted and not applied yet."""
    if ids:
        connection.execute(update(effects).where(effects.c.id.in_(ids)).values(lease_until=until))


def is_stop_in_flight(connection: Connection, task_id: str) -> bool:
    """Returns whether a stop of another run of this task's key is claimed and its answer not applied yet."""
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
