"""Keeps the newest refused callbacks.

A flood of forged ones must cost little: they are written once a second, and not each of them is worth a line in the log.
"""

import threading
from collections import Counter, deque

from adapters.ledger import ConflictError, Ledger, LedgerUnavailableError
from adapters.ledger.rejections import KEPT, Refused, keep
from adapters.ledger.stats import count_rejected
from adapters.logs import logger
from adapters.metrics import Metrics

_EVERY_S = 1.0
#: Log lines in that time, of each kind; how many more there would have been is told in one.
_LINES = 20

log = logger(__name__)


class Refusals:
    def __init__(self, ledger: Ledger, metrics: Metrics) -> None:
        self._ledger = ledger
        self._metrics = metrics
        self._lock = threading.Lock()
        self._noted: deque[Refused] = deque(maxlen=KEPT)
        self._counts: Counter[tuple[str, str]] = Counter()
        self._lines: Counter[str] = Counter()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="refusals", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Writes what is noted, then ends."""
        self._stop.set()
        self._thread.join(timeout=5)

    def note(self, refused: Refused) -> None:
        """A callback was not believed."""
        with self._lock:
            self._noted.append(refused)
            self._counts[refused.vendor, refused.reason] += 1
        self._metrics.rejections.labels(refused.vendor, refused.reason).inc()
        if self._may_log("callback.rejected"):
            log.warning(
                "callback.rejected", vendor=refused.vendor, reason=refused.reason, detail=refused.detail, remote=refused.remote
            )

    def unrecorded(self, vendor: str, app_id: str, why: str) -> None:
        """A callback was believed, and could not be made durable: there is nothing to note it in."""
        if self._may_log("callback.unrecorded"):
            log.error("callback.unrecorded", vendor=vendor, app_id=app_id, error=why)

    def _may_log(self, event: str) -> bool:
        with self._lock:
            self._lines[event] += 1
            return self._lines[event] <= _LINES

    def flush(self) -> None:
        """Writes what is noted. When the ledger is away it stays noted, the newest of it."""
        with self._lock:
            noted, counts, lines = list(self._noted), self._counts, self._lines
            self._noted.clear()
            self._counts, self._lines = Counter(), Counter()
        for event, wanted in lines.items():
            if wanted > _LINES:
                log.warning("callback.lines_left_out", of=event, lines=wanted - _LINES)
        if noted:
            self._write(noted, counts)

    def _write(self, noted: list[Refused], counts: Counter[tuple[str, str]]) -> None:
        try:
            with self._ledger.write() as connection:
                keep(connection, noted)
                count_rejected(connection, {f"{vendor}/{reason}": count for (vendor, reason), count in counts.items()})
        except (LedgerUnavailableError, ConflictError):
            with self._lock:
                self._noted.extendleft(reversed(noted[len(self._noted) :]))
                self._counts.update(counts)

    def _run(self) -> None:
        stopping = False
        while not stopping:
            stopping = self._stop.wait(_EVERY_S)
            try:
                self.flush()
            except Exception as error:
                log.exception("recorder.failed", error=str(error))
