"""Sorts errors of the database by whose fault they are: the ledger's, another transaction's, or that of what was asked."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from adapters.ledger.ledger_url import without_password

#: Two transactions stood in each other's way: the one that was ended can be tried again (SQLSTATE class 40).
_CONTENTION_CLASS = "40"
#: It is not the statement's fault: connection, resources, an operator, the system, an internal error (SQLSTATE classes).
_LEDGER_FAULT_CLASSES = ("08", "53", "55", "57", "58", "XX")
#: The same, of classes that say something else too: a standby that took over an address and takes no writes (yet); a session that
#: the server ended because a transaction said nothing, or took too long; tables, columns or functions that are not there, or not
#: yet, as before an upgrade; a right that is missing.
_LEDGER_FAULT_STATES = ("25006", "25P03", "25P04", "42P01", "42703", "42883", "42501")
#: The server, or the address it is reached by, is of no use to any connection: it shuts down, crashed, starts up or lost the
#: database (57P0x), takes no writes any more (25006), or the connection broke (08xxx; PostgreSQL Appendix A, "Error Codes").
_UNUSABLE_CLASSES = ("08", "57P0")
_UNUSABLE_STATES = ("25006",)


class LedgerUnavailableError(Exception):
    """The ledger cannot be opened or reached."""


class LedgerFileError(LedgerUnavailableError):
    """The ledger's file is not the one that this process opened: it was deleted, moved away or replaced."""


class ConflictError(Exception):
    """Somebody else has saved what was read meanwhile: read it again and decide again."""


@contextmanager
def translated_errors(url: str) -> Iterator[None]:
    """Raises what goes wrong inside by whose fault it is: LedgerUnavailableError, ConflictError; what a row did wrong as it is."""
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
            raise  # what one row did wrong; the ledger is well
        said = " ".join(str(cause).split())  # a driver's error may have several lines
        raise LedgerUnavailableError(f"{said} ({without_password(url)})") from error


def _hide_row_values(error: BaseException, cause: BaseException | None) -> None:
    """PostgreSQL tells what the row held; that may be a secret, and the text of an error comes into the log."""
    detail = cause.diag.message_detail if isinstance(cause, psycopg.Error) else None
    for each in (error, cause):
        if detail and each is not None:
            each.args = tuple(str(text).replace(detail, "(hidden)") for text in each.args)


def is_contention(error: BaseException | None) -> bool:
    return isinstance(error, psycopg.Error) and (error.sqlstate or "").startswith(_CONTENTION_CLASS)


def is_ledger_fault(error: BaseException | None) -> bool:
    """Whether the ledger is, and not what was asked of it."""
    if isinstance(error, psycopg.Error):
        state = error.sqlstate
        return _is_connection_lost(error) or (
            state is not None and (state.startswith(_LEDGER_FAULT_CLASSES) or state in _LEDGER_FAULT_STATES)
        )
    return isinstance(error, sqlite3.OperationalError | sqlite3.InterfaceError) or type(error) is sqlite3.DatabaseError


def is_server_unusable(error: BaseException | None) -> bool:
    """Whether this error says that the PostgreSQL server at the other end is of no use, so that all connections to it must go."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    if not isinstance(cause, psycopg.Error):
        return False
    state = cause.sqlstate
    return _is_connection_lost(cause) or (state is not None and (state.startswith(_UNUSABLE_CLASSES) or state in _UNUSABLE_STATES))


def _is_connection_lost(error: psycopg.Error) -> bool:
    return error.sqlstate is None and isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
