"""The ledger: the truth. SQL stands in this package and nowhere else.

Functions take a connection first and are named by the question they answer; the guard stands in the WHERE. Who opens the
transaction decides what is atomic.
"""

from sqlalchemy import Connection

from adapters.ledger.engine import ConflictError, Ledger, LedgerUnavailableError

__all__ = ["ConflictError", "Connection", "Ledger", "LedgerUnavailableError"]
