"""The inbox: what is to be applied, in the order in which it came to be known."""

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
#: The clock was set back: what a task waits for may lie too far ahead.
CLOCK = "clock"

#: Into how many parts the work can be shared out.
SHARDS = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """A callback to be recorded. `received_at`: ms. `dedupe_key`: 64 hex digits, unique within the app."""

    vendor: str
    app_id: str
    event_type: str
    dedupe_key: str
    #: The task's id at the vendor, if it is told: callbacks of one task are applied by one worker.
    vendor_task_id: str = ""
    received_at: int
    headers: Mapping[str, str]
    body: bytes
    #: 44 hex digits, of a time and of its signature; empty: none.
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
    #: Rows of one task have one.
    shard: int


_ROW = tuple(inbox.c[each] for each in ("id", "kind", "vendor", "app_id", "dedupe_key", "received_at", "body", "payload", "shard"))


@dataclass(frozen=True, slots=True, kw_only=True)
class AppliedRow:
    """What became of an inbox row."""

    id: int
    applied_at: int
    event_at: int | None = None
    verdict: str | None = None
    reason: str | None = None
    task_id: str | None = None
    error: str | None = None


def unique_key(*parts: str) -> bytes:
    """A key over several texts that cannot be confused by where they are cut."""
    joined = "".join([f"{len(part)}:{part}" for part in parts])
    return hashlib.sha256(joined.encode("utf-8", "surrogatepass")).digest()


def record(connection: Connection, arrivals: Sequence[Arrival]) -> set[bytes]:
    """Records callbacks; which of them were new, as `recorded_key` names them. On PostgreSQL by one statement.

    A copy is what has the same dedupe key or the same signature; of copies the first counts. The signatures of copies are kept too:
    a vendor may sign a retry anew, and what changes that one's values is a copy as well.
    """
    rows, signatures = _without_copies(arrivals)
    if not rows:
        return set()
    # A sum for each process: doors that added to one would wait for each other's commits.
    counted = ("received", f"{arrivals[0].received_at // 1000}/{os.getpid()}")
    if signatures and not postgresql.is_postgresql(connection):
        rows = _without_signed(rows, _add_signatures(connection, signatures))
    return {row["dedupe_key"] for row, _ in rows} - _insert_new(connection, rows, signatures, counted)


#: A row to be inserted, and the key of its signature.
_SignedRow = tuple[Mapping[str, Any], bytes | None]


def _without_copies(arrivals: Sequence[Arrival]) -> tuple[list[_SignedRow], set[bytes]]:
    """(rows without those that are copies of ones before, the keys of all signatures)"""
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
    """Adds those that are not there yet; which ones were there."""
    old = bulk.existing(connection, inbox_signatures, "signature_key", list(signatures))
    bulk.insert(connection, inbox_signatures, [{"signature_key": each} for each in sorted(signatures - old)])
    return old


def recorded_key(arrival: Arrival) -> bytes:
    """Begins with the time that the vendor's key begins with: what comes at one time is written to few pages."""
    key = unique_key(CALLBACK, arrival.vendor, arrival.app_id, arrival.dedupe_key)
    return bytes.fromhex(arrival.dedupe_key[:12]) + key[:26]


def recorded_signature(arrival: Arrival) -> bytes | None:
    """Begins with a time too. The app is left out: it is one of the values that are signed, and may have changed places."""
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
    """What rows of one task have in common, for whoever shares out the work: 0 to 255."""
    return zlib.crc32(f"{app_id} {vendor_task_id}".encode("utf-8", "surrogatepass")) % SHARDS


@dataclass(frozen=True, slots=True, kw_only=True)
class Posting:
    """Something to be applied that is no callback; `key` tells it from others of its kind."""

    key: Sequence[str]
    payload: Mapping[str, Any]
    #: What it can be found by while it waits.
    vendor: str | None = None
    app_id: str | None = None
    task_id: str | None = None
    #: That of the task it is about.
    shard: int = 0
    #: It waits until then, ms.
    held_until: int | None = None


def post(connection: Connection, kind: str, key: Sequence[str], payload: Mapping[str, Any], now: int, *, shard: int = 0) -> bool:
    """Puts something that is no callback into the inbox, unless it waits there already; whether it was new."""
    return post_all(connection, kind, [Posting(key=key, payload=payload, shard=shard)], now) == 1


def post_all(connection: Connection, kind: str, postings: Sequence[Posting], now: int) -> int:
    """The same for many; how many were new."""
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
    by_key = {row["dedupe_key"]: row for row in reversed(rows)}  # of equal ones the first counts
    return len(by_key) - len(_insert_new(connection, [(row, None) for row in reversed(by_key.values())]))


def post_replays(connection: Connection, ids: Sequence[int], now: int) -> int:
    """Asks for these callbacks to be read again; for how many nobody had asked at this moment (ms)."""
    found = connection.execute(select(inbox.c.id, inbox.c.shard).where(inbox.c.id.in_(ids), inbox.c.kind == CALLBACK))
    shards = {row.id: row.shard for row in found}
    postings = [
        Posting(key=(str(each), str(now)), payload={"callback_id": each}, shard=shards[each]) for each in ids if each in shards
    ]
    return post_all(connection, REPLAY, postings, now)


def _insert_new(
    connection: Connection, signed: Sequence[_SignedRow], signatures: Collection[bytes] = (), counted: tuple[str, str] = ("", "")
) -> set[bytes]:
    """Inserts rows whose dedupe key is new, and adds their number to a sum (name, label); which keys were not new.

    signatures: PostgreSQL adds them in the same statement, and leaves out rows whose signature is not new.
    """
    rows = [row for row, _ in signed]
    if postgresql.is_postgresql(connection):
        each = [signature for _, signature in signed]
        return postgresql.insert_new_rows(connection, rows, counted=counted, signatures=each, every=sorted(signatures))
    newest = connection.scalar(select(func.max(inbox.c.id))) or 0
    new = bulk.insert_new(connection, inbox, rows, key=("dedupe_key",))
    name, label = counted
    if name and new:
        add(connection, name, {label: new})
    if new == len(rows):
        return set()
    return {row["dedupe_key"] for row in rows} - set(connection.scalars(select(inbox.c.dedupe_key).where(inbox.c.id > newest)))


def unapplied(connection: Connection, limit: int, now: int | None = None, shards: Collection[int] | None = None) -> list[InboxRow]:
    """The oldest rows that wait, at most `limit`. now: ms: without those that are held for longer. shards: only of these."""
    return [_inbox_row(*found) for found in connection.execute(_select_unapplied(_ROW, limit, now, shards))]


def places_behind(
    connection: Connection, limit: int, now: int, shards: Collection[int] | None, *, after: int, without: Collection[int]
) -> list[tuple[int, int]]:
    """(id, shard) of the oldest rows that wait and have a greater id than `after`, at most `limit`.

    now: ms: without those that are held for longer. shards: only of these. without: but of none of these.
    """
    behind = _select_unapplied((inbox.c.id, inbox.c.shard), limit, now, shards).where(
        inbox.c.id > after, inbox.c.shard.not_in(without)
    )
    return [(found.id, found.shard) for found in connection.execute(behind)]


def unapplied_of(connection: Connection, ids: Collection[int]) -> list[InboxRow]:
    """Those of these rows that wait, the oldest first."""
    statement = select(*_ROW).where(inbox.c.id.in_(ids), inbox.c.applied_at.is_(None)).order_by(inbox.c.id)
    return [_inbox_row(*found) for found in connection.execute(statement)] if ids else []


def _select_unapplied(columns: Sequence[Column[Any]], limit: int, now: int | None, shards: Collection[int] | None) -> Select[Any]:
    statement = select(*columns).where(inbox.c.applied_at.is_(None)).order_by(inbox.c.id).limit(limit)
    if shards is not None:
        statement = statement.where(inbox.c.shard.in_(shards))
    if now is not None:
        statement = statement.where(or_(inbox.c.held_until.is_(None), inbox.c.held_until <= now))
    return statement


def still_waiting(connection: Connection, ids: Sequence[int]) -> set[int]:
    """Those of these rows that nobody has applied."""
    return set(connection.scalars(select(inbox.c.id).where(inbox.c.id.in_(ids), inbox.c.applied_at.is_(None))))


def callback_rows(connection: Connection, ids: Sequence[int]) -> dict[int, InboxRow]:
    """Callbacks by id, applied or not."""
    statement = select(*_ROW).where(inbox.c.id.in_(ids), inbox.c.kind == CALLBACK)
    return {row.id: row for row in (_inbox_row(*found) for found in connection.execute(statement))}


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


def write_results(connection: Connection, settled: Sequence[AppliedRow]) -> None:
    """Marks rows as applied, or as set aside where there is an error."""
    bulk.update(connection, inbox, _result_rows(settled), key=("id",))


def mark_applied(connection: Connection, settled: Sequence[AppliedRow], done: Sequence[int]) -> None:
    """Marks callbacks as applied, and drops rows that are no callbacks: what they did stands in the timeline.

    Raises ConflictError where somebody else has applied one of them.
    """
    applied = bulk.update(connection, inbox, _result_rows(settled), key=("id",), empty="applied_at")
    dropped = _delete_rows(connection, done) if done else 0
    if applied + dropped != len(settled) + len(done):
        raise ConflictError


def _result_rows(settled: Sequence[AppliedRow]) -> list[dict[str, Any]]:
    return [
        {
            "id": each.id,
            "applied_at": each.applied_at,
            "event_at": each.event_at,
            "verdict": each.verdict or "",
            "reason": each.reason,
            "task_id": each.task_id,
            "error": each.error,
        }
        for each in settled
    ]


def backlog(connection: Connection) -> tuple[int, int | None]:
    """(callbacks that wait to be applied, when the oldest of them was received; ms)"""
    statement = select(func.count(), func.min(inbox.c.received_at)).where(inbox.c.applied_at.is_(None), inbox.c.kind == CALLBACK)
    count, oldest = connection.execute(statement).one()
    return count, oldest


def drop_set_aside(connection: Connection, kind: str, key: Sequence[str]) -> None:
    """Drops the row of this key if no worker will come back to it, so that it does not stand in the way for ever."""
    dedupe_key = unique_key(kind, *key)
    if postgresql.is_postgresql(connection):
        postgresql.drop_orphaned_key(connection, dedupe_key)
        same = inbox.c.id == postgresql.id_of_key(connection, dedupe_key)
    else:
        same = inbox.c.dedupe_key == dedupe_key
    _delete_rows(connection, list(connection.scalars(select(inbox.c.id).where(same, inbox.c.applied_at.is_not(None)))))


def drop(connection: Connection, ids: Sequence[int]) -> int:
    """Drops rows that are no callbacks; how many."""
    return sum(_delete_rows(connection, ids[start : start + 500]) for start in range(0, len(ids), 500))


def _delete_rows(connection: Connection, ids: Sequence[int]) -> int:
    """Drops rows that are no callbacks; how many."""
    if postgresql.is_postgresql(connection):
        return postgresql.delete_rows(connection, ids)
    return connection.execute(delete(inbox).where(inbox.c.id.in_(ids), inbox.c.kind != CALLBACK)).rowcount


def any_waiting(connection: Connection) -> bool:
    return connection.execute(select(inbox.c.id).where(inbox.c.applied_at.is_(None)).limit(1)).first() is not None


def defer(connection: Connection, ids: Sequence[int], until: int) -> None:
    """These rows wait until then, ms, or until they are released."""
    if ids:
        connection.execute(update(inbox).where(inbox.c.id.in_(ids)).values(held_until=until))


def release_deferred(connection: Connection, vendor: str, app_id: str) -> None:
    """What was held of this app can be applied: an answer came."""
    held = inbox.c.held_until.is_not(None) & inbox.c.applied_at.is_(None)
    statement = update(inbox).where(held, inbox.c.vendor == vendor, inbox.c.app_id == app_id)
    connection.execute(statement.values(held_until=None))
