"""Keeps the newest refused callbacks. A flood of forged ones must not cost a commit each: they are written once a second."""

import threading
from collections import Counter, deque

from adapters.ledger import Ledger, LedgerUnavailableError
from adapters.ledger.rejections import KEPT, Refused, keep
from adapters.ledger.stats import count_rejected

_EVERY_S = 1.0


class Refusals:
    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._lock = threading.Lock()
        self._noted: deque[Refused] = deque(maxlen=KEPT)
        self._counts: Counter[str] = Counter()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="refusals", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Writes what is noted, then ends."""
        self._stop.set()
        self._thread.join(timeout=5)

    def note(self, refused: Refused) -> None:
        with self._lock:
            self._noted.append(refused)
            self._counts[f"{refused.vendor}/{refused.reason}"] += 1

    def flush(self) -> None:
        """Writes what is noted. When the ledger is away it stays noted, the newest of it."""
        with self._lock:
            noted, counts = list(self._noted), self._counts
            self._noted.clear()
            self._counts = Counter()
        if not noted:
            return
        try:
            with self._ledger.write() as connection:
                keep(connection, noted)
                count_rejected(connection, dict(counts))
        except LedgerUnavailableError:
            with self._lock:
                self._noted.extendleft(reversed(noted[len(self._noted) :]))
                self._counts.update(counts)

    def _run(self) -> None:
        while not self._stop.wait(_EVERY_S):
            self.flush()
        self.flush()
