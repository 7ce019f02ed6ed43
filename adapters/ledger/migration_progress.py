"""Logs the progress of a migration: an operator could otherwise take a long one for a hanging one, and kill it."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise

from alembic import context

from adapters.clock import monotonic_s
from adapters.logs import logger

log = logger(__name__)

#: Interval between two log lines, s.
_INTERVAL_S = 5.0


class MigrationProgress:
    """The progress of an upgrade, logged by a thread of its own, because the migrating thread is in a statement. Thread-safe."""

    def __init__(self, missing: Sequence[str | None], *, every_s: float = _INTERVAL_S) -> None:
        """missing: the current revision, then those to be reached."""
        self._steps = list(pairwise(missing))
        self._is_new = missing[0] is None  # a new ledger takes no time, so its steps are not logged
        self._every_s = every_s
        self._began = monotonic_s()
        self._rows: tuple[int, int] | None = None
        self._ended = threading.Event()

    @contextmanager
    def reporting(self) -> Iterator[None]:
        """Logs the progress while the block runs."""
        reporter = threading.Thread(target=self._log_periodically, name="migration-progress", daemon=True)
        self._log_step()
        reporter.start()
        try:
            yield
        finally:
            self._ended.set()
            reporter.join()

    def set_rows(self, done: int, total: int) -> None:
        """Sets the progress of a long copy."""
        self._rows = (done, total)

    def step_done(self) -> None:
        """Moves on to the next revision; called when one is reached, in its transaction."""
        self._steps, self._rows, self._began = self._steps[1:], None, monotonic_s()
        self._log_step()

    def _log_step(self) -> None:
        if self._steps and not self._is_new:
            before, after = self._steps[0]
            log.info("db.migrating", **{"from": before, "to": after})

    def _log_periodically(self) -> None:
        while not self._ended.wait(self._every_s):
            if steps := self._steps:
                before, after = steps[0]
                rows = {} if self._rows is None else {"rows": self._rows[0], "total": self._rows[1]}
                log.info("db.migrating", **{"from": before, "to": after, "running_s": round(monotonic_s() - self._began)}, **rows)


def report_rows(done: int, total: int) -> None:
    """Reports the progress of a migration that copies many rows. Does nothing outside an upgrade."""
    config = getattr(context, "config", None)
    if config is not None and (progress := config.attributes.get("progress")) is not None:
        progress.set_rows(done, total)
