"""Saves the newest rejected callbacks, a share of each kind, and counts unrecorded callbacks and wrong tokens.

A flood of forged callbacks must cost little: rejections are saved once a second, and only some of them get a line in the log.
"""

import threading
from collections import Counter
from collections.abc import Mapping

from adapters.ledger import ConflictError, Ledger, LedgerUnavailableError
from adapters.ledger.rejections import KEPT, RejectedCallback, keep, surplus
from adapters.ledger.stats import add_unrecorded, count_rejected
from adapters.logs import logger
from adapters.metrics import Metrics
from adapters.supervision import Health, SupervisedThread

#: Interval of the writes to the ledger, s.
_FLUSH_INTERVAL_S = 1.0
#: Log lines of each event per interval at most; one further line tells how many were left out.
_MAX_LINES = 20

log = logger(__name__)


class Rejections:
    """Thread-safe."""

    def __init__(self, ledger: Ledger, metrics: Metrics, health: Health | None = None) -> None:
        self._ledger = ledger
        self._metrics = metrics
        self._lock = threading.Lock()
        self._unsaved: list[RejectedCallback] = []
        self._counts: Counter[tuple[str, str]] = Counter()
        #: By vendor: callbacks that could not be made durable and are not saved yet, and when the last of them came, ms.
        self._unrecorded: Counter[str] = Counter()
        self._unrecorded_at: dict[str, int] = {}
        self._line_counts: Counter[str] = Counter()
        self._stop = threading.Event()
        health = health or Health()
        self._part = health.part("refusals")
        self._thread = SupervisedThread(health, self._part, self._run, self._stop)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Saves what is not saved yet, then ends."""
        self._stop.set()
        self._thread.join(timeout=5)

    def add(self, refused: RejectedCallback) -> None:
        """Adds a rejected callback."""
        with self._lock:
            self._unsaved.append(refused)
            self._drop_surplus(2 * KEPT)
            self._counts[refused.vendor, refused.reason] += 1
        self._metrics.rejections.labels(refused.vendor, refused.reason).inc()
        if self._may_log("callback.rejected"):
            log.warning(
                "callback.rejected", vendor=refused.vendor, reason=refused.reason, detail=refused.detail, remote=refused.remote
            )

    def _drop_surplus(self, most: int) -> None:
        """Drops rejections if there are more than `most`; not at each new one, since it looks at all of them."""
        if len(self._unsaved) <= most:
            return
        gone = set(surplus([refused.kind for refused in self._unsaved]))
        self._unsaved = [refused for index, refused in enumerate(self._unsaved) if index not in gone]

    def report_unrecorded(self, vendor: str, app_id: str, why: str, at: int) -> None:
        """Counts and logs a verified callback that could not be made durable. at: ms."""
        self.count_unrecorded(vendor, at)
        if self._may_log("callback.unrecorded"):
            log.error("callback.unrecorded", vendor=vendor, app_id=app_id, error=why)

    def count_unrecorded(self, vendor: str, at: int) -> None:
        """Counts a callback that may be lost; the count is saved when the ledger takes it. at: ms."""
        self._metrics.unrecorded.labels(vendor).inc()
        with self._lock:
            self._unrecorded[vendor] += 1
            self._unrecorded_at[vendor] = at

    def unsaved_unrecorded(self) -> tuple[int, int | None]:
        """Returns how many unrecorded callbacks the ledger does not know of yet, and when the last of them came, ms."""
        with self._lock:
            if not self._unrecorded:
                return 0, None
            return self._unrecorded.total(), max(self._unrecorded_at[vendor] for vendor in self._unrecorded)

    def report_wrong_token(self, remote: str | None, why: str) -> None:
        """Counts and logs a request to the desk with a wrong token or login code."""
        self._metrics.wrong_tokens.inc()
        if self._may_log("token.refused"):
            log.warning("token.refused", remote=remote, reason=why)

    def _may_log(self, event: str) -> bool:
        with self._lock:
            self._line_counts[event] += 1
            return self._line_counts[event] <= _MAX_LINES

    def flush(self) -> None:
        """Saves what is not saved yet. While the ledger is away the newest of it is kept in memory."""
        with self._lock:
            self._drop_surplus(KEPT)
            rejected, counts, lines = self._unsaved, self._counts, self._line_counts
            self._unsaved = []
            self._counts, self._line_counts = Counter(), Counter()
            unrecorded, last = self._unrecorded.copy(), dict(self._unrecorded_at)
        for event, number in lines.items():
            if number > _MAX_LINES:
                log.warning("callback.lines_left_out", of=event, lines=number - _MAX_LINES)
        if rejected or unrecorded:
            self._write(rejected, counts, unrecorded, last)

    def _write(
        self, rejected: list[RejectedCallback], counts: Counter[tuple[str, str]], unrecorded: Counter[str], last: Mapping[str, int]
    ) -> None:
        try:
            with self._ledger.write() as connection:
                keep(connection, rejected)
                count_rejected(connection, {f"{vendor}/{reason}": count for (vendor, reason), count in counts.items()})
                add_unrecorded(connection, unrecorded, last)
        except (LedgerUnavailableError, ConflictError):
            with self._lock:
                self._unsaved[:0] = rejected
                self._drop_surplus(KEPT)
                self._counts.update(counts)
        else:
            with self._lock:
                self._unrecorded -= unrecorded

    def _run(self) -> None:
        stopping = False
        while not stopping:
            stopping = self._stop.wait(_FLUSH_INTERVAL_S)
            try:
                with self._part.at_work():
                    self.flush()
            except Exception as error:
                self._part.failed_with(error)
                log.exception("recorder.failed", error=str(error))
