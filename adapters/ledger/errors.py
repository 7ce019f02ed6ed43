"""Classifies database errors by their cause: the ledger itself, a conflicting transaction, or the statement and its row."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from adapters.ledger.ledger_url import without_password

#: Two transactions conflicted; the one that was rolled back can be retried (SQLSTATE class 40).
_CONTENTION_CLASS = "40"
#: SQLSTATE classes that are not the statement's fault: connection, resources, operator intervention, system, internal error.
_LEDGER_FAULT_CLASSES = ("08", "53", "55", "57", "58", "XX")
#: Single SQLSTATEs of other classes that are not the statement's fault either: a standby that took over an address and takes no
#: writes (yet); a session that the server ended because its transaction was idle or took too long; tables, columns or functions
#: that do not exist (yet), as before an upgrade; a missing privilege.
_LEDGER_FAULT_STATES = ("25006", "25P03", "25P04", "42P01", "42703", "42883", "42501")
#: The server, or the address it is reached by, is unusable for every connection: it shuts down, crashed, starts up or lost the
#: database (57P0x), takes no writes any more (25006), or the connection broke (08xxx; PostgreSQL Appendix A, "Error Codes").
_UNUSABLE_CLASSES = ("08", "57P0")
_UNUSABLE_STATES = ("25006",)


class LedgerUnavailableError(Exception):
    """The ledger cannot be opened or reached."""


class LedgerFileError(LedgerUnavailableError):
    """The ledger's file is not the one that this process opened: it was deleted, moved away or replaced."""


class ConflictError(Exception):
    """Another transaction has changed what was read; the caller must read it again and decide again."""


@contextmanager
def translated_errors(url: str) -> Iterator[None]:
    """Translates database errors in the block to LedgerUnavailableError or ConflictError; errors of one row pass unchanged."""
    try:
        yield
    except PoolTimeoutError as error:
        raise LedgerUnavailableError("all connections to the ledger are busy") from error
    except (DBAPIError, sqlite3.Error, psycopg.Error) as error:
        cause = error.orig if isinstance(error, DBAPIError) else error
        if is_contention(cause):
            raise ConflictError from error
        if not is_ledger_fault(cause):
            _hide_row_values(error, cause)
            raise  # the error concerns one row; the ledger itself works
        reason = " ".join(str(cause).split())  # a driver's error may have several lines
        raise LedgerUnavailableError(f"{reason} ({without_password(url)})") from error


def _hide_row_values(error: BaseException, cause: BaseException | None) -> None:
    """Removes the row's values from the error text: PostgreSQL quotes them, they may be secret, and error texts are logged."""
    detail = cause.diag.message_detail if isinstance(cause, psycopg.Error) else None
    for shown in (error, cause):
        if detail and shown is not None:
            shown.args = tuple(str(text).replace(detail, "(hidden)") for text in shown.args)


def is_contention(error: BaseException | None) -> bool:
    """Returns whether the error says that two transactions conflicted."""
    return isinstance(error, psycopg.Error) and (error.sqlstate or "").startswith(_CONTENTION_CLASS)


def is_ledger_fault(error: BaseException | None) -> bool:
    """Returns whether the ledger caused the error, and not the statement."""
    if isinstance(error, psycopg.Error):
        state = error.sqlstate
        return _is_connection_lost(error) or (
            state is not None and (state.startswith(_LEDGER_FAULT_CLASSES) or state in _LEDGER_FAULT_STATES)
        )
    return isinstance(error, sqlite3.OperationalError | sqlite3.InterfaceError) or type(error) is sqlite3.DatabaseError


def is_server_unusable(error: BaseException | None) -> bool:
    """Returns whether the error says that the PostgreSQL server is unusable, so that all connections to it must be replaced."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    if not isinstance(cause, psycopg.Error):
        return False
    state = cause.sqlstate
    return _is_connection_lost(cause) or (state is not None and (state.startswith(_UNUSABLE_CLASSES) or state in _UNUSABLE_STATES))


def _is_connection_lost(error: psycopg.Error) -> bool:
    return error.sqlstate is None and isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
