"""Says how far a migration is: a long one is otherwise taken for one that hangs, and killed."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise

from alembic import context

from adapters.clock import monotonic_s
from adapters.logs import logger

log = logger(__name__)

#: How often it is said, s.
_INTERVAL_S = 5.0


class MigrationProgress:
    """What is under way, told by a thread of its own: the one that migrates is in a statement. Thread-safe."""

    def __init__(self, missing: Sequence[str | None], *, every_s: float = _INTERVAL_S) -> None:
        """missing: the revision that is there, and those that are to come."""
        self._steps = list(pairwise(missing))
        self._is_new = missing[0] is None  # then there is nothing to wait for, and nothing to say of each step
        self._every_s = every_s
        self._began = monotonic_s()
        self._rows: tuple[int, int] | None = None
        self._ended = threading.Event()

    @contextmanager
    def reporting(self) -> Iterator[None]:
        """Tells of it while the block runs."""
        teller = threading.Thread(target=self._log_periodically, name="migration-progress", daemon=True)
        self._log_step()
        teller.start()
        try:
            yield
        finally:
            self._ended.set()
            teller.join()

    def set_rows(self, done: int, total: int) -> None:
        """So many rows of a long copy are done."""
        self._rows = (done, total)

    def step_done(self) -> None:
        """One revision is reached and committed with this; the next one begins."""
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
    """For a migration that copies many rows: so many of so many are done. Says nothing where no upgrade runs."""
    config = getattr(context, "config", None)
    if config is not None and (progress := config.attributes.get("progress")) is not None:
        progress.rows(done, total)
