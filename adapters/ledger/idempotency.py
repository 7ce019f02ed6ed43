"""Requests that name themselves: the same one is answered the same, for a day.

A name is taken in the transaction that does what was asked for. Of two that come at once the second waits for the first, finds the
name taken, and has nothing to do but to repeat the answer.
"""

import hashlib
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, delete, select
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from adapters.ledger.inbox import unique_key
from adapters.ledger.schema import idempotency

#: How long a name is kept, ms.
RETENTION_MS = 24 * 3600 * 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class IdempotentRequest:
    """A request that named itself. `who`: a token's name; `key`: what the request is called."""

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
    """What was answered; `answer` without anything that nobody may see."""

    body_hash: bytes
    status: int
    location: str | None
    answer: str = field(repr=False)


def find(connection: Connection, named: IdempotentRequest, now: int) -> StoredResponse | None:
    """What was answered to the request of this name. now: ms."""
    alive = idempotency.c.at > now - RETENTION_MS
    row = connection.execute(select(idempotency).where(idempotency.c.key_hash == named.key_hash, alive)).mappings().first()
    return None if row is None else StoredResponse(**{name: row[name] for name in StoredResponse.__slots__})


def store(connection: Connection, named: IdempotentRequest, kept: StoredResponse, now: int) -> bool:
    """Takes the name, with its answer; False: it is taken already. now: ms."""
    row = {name: getattr(kept, name) for name in StoredResponse.__slots__} | {"at": now}
    make: Any = sqlite_insert if connection.dialect.name == "sqlite" else postgresql_insert
    statement = make(idempotency).values(key_hash=named.key_hash, **row)
    over = idempotency.c.at <= now - RETENTION_MS
    statement = statement.on_conflict_do_update(index_elements=[idempotency.c.key_hash], set_=row, where=over)
    return connection.execute(statement.returning(idempotency.c.key_hash)).first() is not None


def delete_expired(connection: Connection, now: int, limit: int = 100) -> None:
    """Forgets names whose day is over, at most so many. now: ms."""
    old = select(idempotency.c.key_hash).where(idempotency.c.at <= now - RETENTION_MS).order_by(idempotency.c.at).limit(limit)
    # Two that tidy at once take different ones. PostgreSQL may run a plain subquery once for each row, with other rows each time.
    chosen = old.with_for_update(skip_locked=True).cte("old")
    connection.execute(delete(idempotency).where(idempotency.c.key_hash.in_(select(chosen.c.key_hash))))
