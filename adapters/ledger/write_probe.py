"""Proves without a callback that the ledger takes callbacks: a successful read, or the start of a transaction, does not prove it.

A full disk shows only in a commit that needs room, a read-only server only in a statement that writes.
"""

import secrets

from sqlalchemy import delete, insert

from adapters.ledger.engine import Ledger
from adapters.ledger.schema import idempotency

#: Bytes of the probe row's random key: no client can guess it, and the row is deleted in the same transaction.
_KEY_BYTES = 32


def prove_writable(ledger: Ledger, size: int) -> None:
    """Commits a transaction that writes `size` bytes and deletes them again. Raises LedgerUnavailableError, ConflictError.

    size: as large as the callback that failed. A smaller row may fit into room that a failed transaction left, where the callback
    does not.
    """
    key = secrets.token_bytes(_KEY_BYTES)
    row = {"key_hash": key, "body_hash": bytes(_KEY_BYTES), "at": 0, "status": 0, "answer": secrets.token_hex(size // 2)}
    with ledger.write() as connection:
        connection.execute(insert(idempotency), row)
        connection.execute(delete(idempotency).where(idempotency.c.key_hash == key))
