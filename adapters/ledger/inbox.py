"""The inbox: callbacks, requests, deadlines and answers that wait to be applied, in the order in which they arrived."""

import hashlib
import json
import os
import zlib
from collections.abc import Collection, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, Connection, Select, delete, func, or_, select, update

from adapters.ledger import bulk, postgresql
from adapters.ledger.counters import add
from adapters.ledger.engine import ConflictError
from adapters.ledger.schema import inbox, inbox_signatures

CALLBACK, REPLAY, DEADLINE, MARK = "callback", "replay", "deadline", "mark"
START, STOP, UPDATE, RETRY = "start", "stop", "update", "retry"
ANSWER, SUCCESSION = "answer", "succession"
RESTORED = "restored"
#: The clock was set back: the times that a task waits for may lie too far ahead.
CLOCK = "clock"

#: Number of parts into which the work can be divided among workers.
SHARDS = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """A callback to be recorded. `received_at`: ms. `dedupe_key`: 64 hex digits, unique within the app."""

    vendor: str
    app_id: str
    event_type: str
    dedupe_key: str
    #: The task's id at the vendor, if the callback has it: callbacks of one task are applied by one worker.
    vendor_task_id: str = ""
    received_at: int
    headers: Mapping[str, str]
    body: bytes
    #: 44 hex digits, made of the event's time and the signature; empty: none.
    signature_key: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class InboxRow:
    """An inbox row that waits to be applied."""

    id: int
    kind: str
    vendor: str
    app_id: str
    dedupe_key: str
    received_at: int
    body: bytes
    payload: Mapping[str, Any]
    #: All rows of one task have the same shard.
    shard: int


_ROW = tuple(inbox.c[name] for name in ("id", "kind", "vendor", "app_id", "dedupe_key", "received_at", "body", "payload", "shard"))


@dataclass(frozen=True, slots=True, kw_only=True)
class AppliedRow:
    """The result of applying an inbox row."""

    id: int
    applied_at: int
    event_at: int | None = None
    verdict: str | None = None
    reason: str | None = None
    task_id: str | None = None
    error: str | None = None


def unique_key(*parts: str) -> bytes:
    """Returns a sha256 over the texts with their lengths, so that different divisions of one text give different keys."""
    joined = "".join([f"{len(part)}:{part}" for part in parts])
    return hashlib.sha256(joined.encode("utf-8", "surrogatepass")).digest()


def record(connection: Connection, arrivals: Sequence[Arrival]) -> set[bytes]:
    """Records callbacks; returns the keys (`recorded_key`) of the new ones. On PostgreSQL by one statement.

    A callback with the dedupe key or the signature of an earlier one is a copy; only the first is recorded. The signatures of
    copies are kept too: a vendor may sign a retry anew, and a callback that reuses the retry's signature with other values is a
    copy as well.
    """
    rows, signatures = _without_copies(arrivals)
    if not rows:
        return set()
    # One sum per process: doors that add to the same sum would wait for each other's commits.
    counted = ("received", f"{arrivals[0].received_at // 1000}/{os.getpid()}")
    if signatures and not postgresql.is_postgresql(connection):
        rows = _without_signed(rows, _add_signatures(connection, signatures))
    return {row["dedupe_key"] for row, _ in rows} - _insert_new(connection, rows, signatures, counted)


#: A row to be inserted, and the key of its signature.
_SignedRow = tuple[Mapping[str, Any], bytes | None]


def _without_copies(arrivals: Sequence[Arrival]) -> tuple[list[_SignedRow], set[bytes]]:
    """Returns (rows without copies of earlier ones, the keys of all signatures)."""
    rows: list[_SignedRow] = []
    keys: set[bytes] = set()
    signatures: set[bytes] = set()
    for arrival in arrivals:
        key, signature = recorded_key(arrival), recorded_signature(arrival)
        if key not in keys and signature not in signatures:
            keys.add(key)
            rows.append((_callback_row(arrival, key), signature))
        if signature is not None:
            signatures.add(signature)
    return rows, signatures


def _without_signed(rows: Sequence[_SignedRow], old: Set[bytes]) -> list[_SignedRow]:
    return [(row, signature) for row, signature in rows if signature not in old]


def _add_signatures(connection: Connection, signatures: Set[bytes]) -> set[bytes]:
    """Adds the new signatures; returns those that existed before."""
    old = bulk.existing(connection, inbox_signatures, "signature_key", list(signatures))
    bulk.insert(connection, inbox_signatures, [{"signature_key": key} for key in sorted(signatures - old)])
    return old


def recorded_key(arrival: Arrival) -> bytes:
    """Returns the row's dedupe key. It begins with the time in the vendor's key, so that callbacks of one time share few pages."""
    key = unique_key(CALLBACK, arrival.vendor, arrival.app_id, arrival.dedupe_key)
    return bytes.fromhex(arrival.dedupe_key[:12]) + key[:26]


def recorded_signature(arrival: Arrival) -> bytes | None:
    """Returns the key of the signature, which begins with a time too; None: there is none.

    The app is not part of it: it is one of the signed values, and may have changed places with another one.
    """
    return bytes.fromhex(arrival.signature_key) if arrival.signature_key else None


def _callback_row(arrival: Arrival, key: bytes) -> dict[str, Any]:
    return {
        "kind": CALLBACK,
        "dedupe_key": key,
        "vendor": arrival.vendor,
        "app_id": arrival.app_id,
        "event_type": arrival.event_type,
        "received_at": arrival.received_at,
        "headers": json.dumps(dict(arrival.headers)),
        "body": arrival.body,
        "shard": shard_of(arrival.app_id, arrival.vendor_task_id),
    }


def shard_of(app_id: str, vendor_task_id: str) -> int:
    """Returns the shard of a task's rows, 0 to 255: by it the work is divided among workers."""
    return zlib.crc32(f"{app_id} {vendor_task_id}".encode("utf-8", "surrogatepass")) % SHARDS


@dataclass(frozen=True, slots=True, kw_only=True)
class Posting:
    """An inbox row to be added that is not a callback; `key` distinguishes it from others of its kind."""

    key: Sequence[str]
    payload: Mapping[str, Any]
    #: Columns by which a waiting row can be found.
    vendor: str | None = None
    app_id: str | None = None
    task_id: str | None = None
    #: The shard of the task that the row concerns.
    shard: int = 0
    #: Time before which it is not applied, ms.
    held_until: int | None = None


def post(connection: Connection, kind: str, key: Sequence[str], payload: Mapping[str, Any], now: int, *, shard: int = 0) -> bool:
    """Adds a row that is not a callback, unless the same one waits already; returns whether it was new."""
    return post_all(connection, kind, [Posting(key=key, payload=payload, shard=shard)], now) == 1


def post_all(connection: Connection, kind: str, postings: Sequence[Posting], now: int) -> int:
    """Does the same for many rows; returns the number of new ones."""
    rows = [
        {
            "kind": kind,
            "dedupe_key": unique_key(kind, *posting.key),
            "received_at": now,
            "payload": json.dumps(dict(posting.payload)),
            "vendor": posting.vendor,
            "app_id": posting.app_id,
            "task_id": posting.task_id,
            "shard": posting.shard,
            "held_until": posting.held_until,
        }
        for posting in postings
    ]
    if not rows:
        return 0
    by_key = {row["dedupe_key"]: row for row in reversed(rows)}  # the first of equal ones stays
    return len(by_key) - len(_insert_new(connection, [(row, None) for row in reversed(by_key.values())]))


def post_replays(connection: Connection, ids: Sequence[int], now: int) -> int:
    """Posts replays of these callbacks; returns the number of those not yet posted for this moment (`now`, ms)."""
    rows = connection.execute(select(inbox.c.id, inbox.c.shard).where(inbox.c.id.in_(ids), inbox.c.kind == CALLBACK))
    shards = {row.id: row.shard for row in rows}
    postings = [Posting(key=(str(id_), str(now)), payload={"callback_id": id_}, shard=shards[id_]) for id_ in ids if id_ in shards]
    return post_all(connection, REPLAY, postings, now)


def _insert_new(
    connection: Connection, signed: Sequence[_SignedRow], signatures: Collection[bytes] = (), counted: tuple[str, str] = ("", "")
) -> set[bytes]:
    """Inserts rows with new dedupe keys and adds their number to a sum (name, label); returns the keys that were not new.

    signatures: PostgreSQL adds them in the same statement, and leaves out rows whose signature is not new.
    """
    rows = [row for row, _ in signed]
    if postgresql.is_postgresql(connection):
        of_rows = [signature for _, signature in signed]
        return postgresql.insert_new_rows(connection, rows, counted=counted, signatures=of_rows, every=sorted(signatures))
    newest = connection.scalar(select(func.max(inbox.c.id))) or 0
    new = bulk.insert_new(connection, inbox, rows, key=("dedupe_key",))
    name, label = counted
    if name and new:
        add(connection, name, {label: new})
    if new == len(rows):
        return set()
    return {row["dedupe_key"] for row in rows} - set(connection.scalars(select(inbox.c.dedupe_key).where(inbox.c.id > newest)))


def unapplied(connection: Connection, limit: int, now: int | None = None, shards: Collection[int] | None = None) -> list[InboxRow]:
    """Returns the oldest waiting rows, at most `limit`.

    now: if given (ms), rows that are deferred beyond it are left out. shards: only rows of these.
    """
    return [_inbox_row(*row) for row in connection.execute(_select_unapplied(_ROW, limit, now, shards))]


def places_behind(
    connection: Connection, limit: int, now: int, shards: Collection[int] | None, *, after: int, without: Collection[int]
) -> list[tuple[int, int]]:
    """Returns (id, shard) of the oldest waiting rows with an id above `after`, at most `limit`.

    now: rows that are deferred beyond it (ms) are left out. shards: only rows of these. without: no rows of these shards.
    """
    behind = _select_unapplied((inbox.c.id, inbox.c.shard), limit, now, shards).where(
        inbox.c.id > after, inbox.c.shard.not_in(without)
    )
    return [(row.id, row.shard) for row in connection.execute(behind)]


def unapplied_of(connection: Connection, ids: Collection[int]) -> list[InboxRow]:
    """Returns those of these rows that wait, the oldest first."""
    statement = select(*_ROW).where(inbox.c.id.in_(ids), inbox.c.applied_at.is_(None)).order_by(inbox.c.id)
    return [_inbox_row(*row) for row in connection.execute(statement)] if ids else []


def _select_unapplied(columns: Sequence[Column[Any]], limit: int, now: int | None, shards: Collection[int] | None) -> Select[Any]:
    statement = select(*columns).where(inbox.c.applied_at.is_(None)).order_by(inbox.c.id).limit(limit)
    if shards is not None:
        statement = statement.where(inbox.c.shard.in_(shards))
    if now is not None:
        statement = statement.where(or_(inbox.c.held_until.is_(None), inbox.c.held_until <= now))
    return statement


def still_waiting(connection: Connection, ids: Sequence[int]) -> set[int]:
    """Returns the ids of those of these rows that have not been applied."""
    return set(connection.scalars(select(inbox.c.id).where(inbox.c.id.in_(ids), inbox.c.applied_at.is_(None))))


def callback_rows(connection: Connection, ids: Sequence[int]) -> dict[int, InboxRow]:
    """Returns callbacks by id, applied or not."""
    statement = select(*_ROW).where(inbox.c.id.in_(ids), inbox.c.kind == CALLBACK)
    return {row.id: row for row in (_inbox_row(*values) for values in connection.execute(statement))}


def _inbox_row(
    id_: int,
    kind: str,
    vendor: str | None,
    app_id: str | None,
    key: bytes,
    at: int,
    body: bytes | None,
    payload: str | None,
    shard: int,
) -> InboxRow:
    return InboxRow(
        id=id_,
        kind=kind,
        vendor=vendor or "",
        app_id=app_id or "",
        dedupe_key=key.hex(),
        received_at=at,
        body=body or b"",
        payload=json.loads(payload) if payload else {},
        shard=shard,
    )


def write_results(connection: Connection, results: Sequence[AppliedRow]) -> None:
    """Marks rows as applied, or as set aside where there is an error; overwrites earlier results."""
    bulk.update(connection, inbox, _result_rows(results), key=("id",))


def mark_applied(connection: Connection, results: Sequence[AppliedRow], done: Sequence[int]) -> None:
    """Marks callbacks as applied and deletes rows that are not callbacks (`done`): the timeline keeps what they changed.

    Raises ConflictError if another worker has applied one of them.
    """
    applied = bulk.update(connection, inbox, _result_rows(results), key=("id",), empty="applied_at")
    dropped = _delete_rows(connection, done) if done else 0
    if applied + dropped != len(results) + len(done):
        raise ConflictError


def _result_rows(results: Sequence[AppliedRow]) -> list[dict[str, Any]]:
    return [
        {
            "id": result.id,
            "applied_at": result.applied_at,
            "event_at": result.event_at,
            "verdict": result.verdict or "",
            "reason": result.reason,
            "task_id": result.task_id,
            "error": result.error,
        }
        for result in results
    ]


def backlog(connection: Connection) -> tuple[int, int | None]:
    """Returns (number of callbacks that wait to be applied, when the oldest of them was received, ms)."""
    statement = select(func.count(), func.min(inbox.c.received_at)).where(inbox.c.applied_at.is_(None), inbox.c.kind == CALLBACK)
    count, oldest = connection.execute(statement).one()
    return count, oldest


def drop_set_aside(connection: Connection, kind: str, key: Sequence[str]) -> None:
    """Deletes the row of this key if it was set aside: no worker will take it again, and it would block its key for ever."""
    dedupe_key = unique_key(kind, *key)
    if postgresql.is_postgresql(connection):
        postgresql.drop_orphaned_key(connection, dedupe_key)
        same = inbox.c.id == postgresql.id_of_key(connection, dedupe_key)
    else:
        same = inbox.c.dedupe_key == dedupe_key
    _delete_rows(connection, list(connection.scalars(select(inbox.c.id).where(same, inbox.c.applied_at.is_not(None)))))


def drop(connection: Connection, ids: Sequence[int]) -> int:
    """Deletes rows that are not callbacks, 500 per statement; returns their number."""
    return sum(_delete_rows(connection, ids[start : start + 500]) for start in range(0, len(ids), 500))


def _delete_rows(connection: Connection, ids: Sequence[int]) -> int:
    """Deletes rows that are not callbacks; returns their number."""
    if postgresql.is_postgresql(connection):
        return postgresql.delete_rows(connection, ids)
    return connection.execute(delete(inbox).where(inbox.c.id.in_(ids), inbox.c.kind != CALLBACK)).rowcount


def any_waiting(connection: Connection) -> bool:
    return connection.execute(select(inbox.c.id).where(inbox.c.applied_at.is_(None)).limit(1)).first() is not None


def defer(connection: Connection, ids: Sequence[int], until: int) -> None:
    """Defers rows until a time (ms), or until `release_deferred`."""
    if ids:
        connection.execute(update(inbox).where(inbox.c.id.in_(ids)).values(held_until=until))


def release_deferred(connection: Connection, vendor: str, app_id: str) -> None:
    """Makes deferred rows of an app applicable again: an answer to a call of that app has arrived."""
    deferred = inbox.c.held_until.is_not(None) & inbox.c.applied_at.is_(None)
    statement = update(inbox).where(deferred, inbox.c.vendor == vendor, inbox.c.app_id == app_id)
    connection.execute(statement.values(held_until=None))
