"""Idempotency keys: a request that is sent again with its key gets the same response, for a day.

The key is stored in the transaction that executes the request. Of two concurrent requests with one key the second waits for the
first, finds the key stored, and only repeats the response.
"""

import hashlib
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, delete, select
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from adapters.ledger.inbox import unique_key
from adapters.ledger.schema import idempotency

#: How long a key is kept, ms.
RETENTION_MS = 24 * 3600 * 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class IdempotentRequest:
    """A request with an idempotency key. Keys of different tokens are independent."""

    token_name: str
    key: str
    body: bytes = field(repr=False)

    @property
    def key_hash(self) -> bytes:
        return unique_key(self.token_name, self.key)

    @property
    def body_hash(self) -> bytes:
        return hashlib.sha256(self.body).digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredResponse:
    """The response to a request; `answer`: its body, without secrets."""

    body_hash: bytes
    status: int
    location: str | None
    answer: str = field(repr=False)


def find(connection: Connection, request: IdempotentRequest, now: int) -> StoredResponse | None:
    """Returns the stored response to a request with this key. now: ms."""
    alive = idempotency.c.at > now - RETENTION_MS
    row = connection.execute(select(idempotency).where(idempotency.c.key_hash == request.key_hash, alive)).mappings().first()
    return None if row is None else StoredResponse(**{name: row[name] for name in StoredResponse.__slots__})


def store(connection: Connection, request: IdempotentRequest, response: StoredResponse, now: int) -> bool:
    """Stores a key with its response; returns False if the key is stored already. now: ms."""
    row = {name: getattr(response, name) for name in StoredResponse.__slots__} | {"at": now}
    make: Any = sqlite_insert if connection.dialect.name == "sqlite" else postgresql_insert
    statement = make(idempotency).values(key_hash=request.key_hash, **row)
    over = idempotency.c.at <= now - RETENTION_MS
    statement = statement.on_conflict_do_update(index_elements=[idempotency.c.key_hash], set_=row, where=over)
    return connection.execute(statement.returning(idempotency.c.key_hash)).first() is not None


def delete_expired(connection: Connection, now: int, limit: int = 100) -> None:
    """Deletes expired keys, at most `limit`. now: ms."""
    old = select(idempotency.c.key_hash).where(idempotency.c.at <= now - RETENTION_MS).order_by(idempotency.c.at).limit(limit)
    # Concurrent deletions choose different rows. PostgreSQL may run a plain subquery once per row, with other rows each time.
    chosen = old.with_for_update(skip_locked=True).cte("old")
    connection.execute(delete(idempotency).where(idempotency.c.key_hash.in_(select(chosen.c.key_hash))))
