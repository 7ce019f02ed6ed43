"""Checks continually whether the ledger can be read and has the schema that this version needs.

A thread of its own does it: a readiness probe gets the newest result at once, however long the ledger hangs.
"""

import threading

from adapters.ledger.engine import ConflictError, Ledger, LedgerUnavailableError
from adapters.ledger.errors import LedgerFileError
from adapters.ledger.migrate import SchemaError, require_current
from adapters.supervision import LEDGER, Health, SupervisedThread

#: Pause between two checks, s.
_INTERVAL_S = 1.0
#: Timeout after which the ledger counts as not answering, s.
_PATIENCE_S = 3.0


class LedgerCheck:
    """Reports three parts to `health`.

    `ledger`: a fault that all processes share, so it makes none of them unready; `schema`; `ledger_file` (SQLite: the file that
    this process opened is still the one of that name).
    """

    def __init__(self, ledger: Ledger, health: Health, *, patience_s: float = _PATIENCE_S) -> None:
        self._ledger = ledger
        self._state = health.part(LEDGER, patience_s=patience_s, vital=False)
        self._schema = health.part("schema")
        self._file = health.part("ledger_file")
        self._checked = threading.Event()
        self._stopping = threading.Event()
        self._thread = SupervisedThread(health, self._state, self._run, self._stopping)

    def start(self, wait_s: float = 1.0) -> None:
        """Starts the thread and waits for its first result, at most `wait_s`."""
        self._thread.start()
        self._checked.wait(wait_s)

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join(timeout=1)

    def check_once(self) -> None:
        """Runs one check and reports its result."""
        try:
            with self._state.at_work():
                self._check_schema()
            self._file.worked()
        except LedgerFileError as error:
            self._file.failed(str(error))
            self._state.failed("the ledger's file is not there any more")
        except (LedgerUnavailableError, ConflictError):
            self._state.failed("the ledger cannot be read")
        finally:
            self._checked.set()

    def _check_schema(self) -> None:
        try:
            require_current(self._ledger)
        except SchemaError as error:
            self._schema.failed(str(error))
        else:
            self._schema.worked()

    def _run(self) -> None:
        while not self._stopping.is_set():
            self.check_once()
            self._stopping.wait(_INTERVAL_S)
