"""Proves that the ledger takes callbacks, without having one: whether it can be read, or begin a transaction, says nothing of that.

A full disk is found only by a commit that needs room, a read-only server only by a statement that writes.
"""

import secrets

from sqlalchemy import delete, insert

from adapters.ledger.engine import Ledger
from adapters.ledger.schema import idempotency

#: A request's name is 32 bytes that nobody can guess; what this row answers nobody asks, and it is gone before anybody can.
_KEY_BYTES = 32


def prove_writable(ledger: Ledger, size: int) -> None:
    """Commits a transaction that writes `size` bytes and takes them away again. Raises LedgerUnavailableError, ConflictError.

    size: as much as what was refused. A smaller row may find room that a failed transaction left behind, where that one found none.
    """
    key = secrets.token_bytes(_KEY_BYTES)
    row = {"key_hash": key, "body_hash": bytes(_KEY_BYTES), "at": 0, "status": 0, "answer": secrets.token_hex(size // 2)}
    with ledger.write() as connection:
        connection.execute(insert(idempotency), row)
        connection.execute(delete(idempotency).where(idempotency.c.key_hash == key))
