"""The circuit breaker between the door and the ledger: while it is open, callbacks go to the spool at once."""

import threading

from adapters.logs import logger
from adapters.metrics import Metrics

log = logger(__name__)


class CircuitBreaker:
    """Thread-safe."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._lock = threading.Lock()
        #: Set by one assignment, so that a reader needs no lock.
        self.is_open = False

    def trip(self, error: Exception) -> None:
        """Opens it: the ledger did not take callbacks."""
        with self._lock:
            was_open, self.is_open = self.is_open, True
        if not was_open:
            self._metrics.ledger_away.set(1)
            log.warning("breaker.opened", error=str(error))

    def reset(self) -> None:
        """Closes it: the ledger takes callbacks again."""
        with self._lock:
            was_open, self.is_open = self.is_open, False
        if was_open:
            self._metrics.ledger_away.set(0)
            log.info("breaker.closed")
