"""Keeps the newest refused callbacks, of each kind its share, and counts wrong tokens.

A flood of forged ones must cost little: they are written once a second, and not each of them is worth a line in the log.
"""

import threading
from collections import Counter
from collections.abc import Mapping

from adapters.ledger import ConflictError, Ledger, LedgerUnavailableError
from adapters.ledger.rejections import KEPT, Refused, keep, surplus
from adapters.ledger.stats import add_unrecorded, count_rejected
from adapters.logs import logger
from adapters.metrics import Metrics
from adapters.supervision import Health, SupervisedThread

_EVERY_S = 1.0
#: Log lines in that time, of each kind; how many more there would have been is told in one.
_LINES = 20

log = logger(__name__)


class Rejections:
    def __init__(self, ledger: Ledger, metrics: Metrics, health: Health | None = None) -> None:
        self._ledger = ledger
        self._metrics = metrics
        self._lock = threading.Lock()
        self._noted: list[Refused] = []
        self._counts: Counter[tuple[str, str]] = Counter()
        #: By vendor: how many could not be made durable, and when the last of them came, ms.
        self._unrecorded: Counter[str] = Counter()
        self._unrecorded_at: dict[str, int] = {}
        self._lines: Counter[str] = Counter()
        self._stop = threading.Event()
        health = health or Health()
        self._part = health.part("refusals")
        self._thread = SupervisedThread(health, self._part, self._run, self._stop)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Writes what is noted, then ends."""
        self._stop.set()
        self._thread.join(timeout=5)

    def add(self, refused: Refused) -> None:
        """A callback was not believed."""
        with self._lock:
            self._noted.append(refused)
            self._drop_surplus(2 * KEPT)
            self._counts[refused.vendor, refused.reason] += 1
        self._metrics.rejections.labels(refused.vendor, refused.reason).inc()
        if self._may_log("callback.rejected"):
            log.warning(
                "callback.rejected", vendor=refused.vendor, reason=refused.reason, detail=refused.detail, remote=refused.remote
            )

    def _drop_surplus(self, most: int) -> None:
        """Where there are more than so many: not at each one, since it looks at all."""
        if len(self._noted) <= most:
            return
        gone = set(surplus([refused.kind for refused in self._noted]))
        self._noted = [refused for index, refused in enumerate(self._noted) if index not in gone]

    def report_unrecorded(self, vendor: str, app_id: str, why: str, at: int) -> None:
        """A callback was believed, and could not be made durable. at: ms."""
        self.count_unrecorded(vendor, at)
        if self._may_log("callback.unrecorded"):
            log.error("callback.unrecorded", vendor=vendor, app_id=app_id, error=why)

    def count_unrecorded(self, vendor: str, at: int) -> None:
        """Counts a callback that may be lost; the ledger is told of it once it takes something. at: ms."""
        self._metrics.unrecorded.labels(vendor).inc()
        with self._lock:
            self._unrecorded[vendor] += 1
            self._unrecorded_at[vendor] = at

    def unsaved_unrecorded(self) -> tuple[int, int | None]:
        """How many could not be made durable and are not told to the ledger yet, and when the last of them came, ms."""
        with self._lock:
            if not self._unrecorded:
                return 0, None
            return self._unrecorded.total(), max(self._unrecorded_at[vendor] for vendor in self._unrecorded)

    def report_wrong_token(self, remote: str | None, why: str) -> None:
        """A request to the desk came with a token or login code that is not right."""
        self._metrics.wrong_tokens.inc()
        if self._may_log("token.refused"):
            log.warning("token.refused", remote=remote, reason=why)

    def _may_log(self, event: str) -> bool:
        with self._lock:
            self._lines[event] += 1
            return self._lines[event] <= _LINES

    def flush(self) -> None:
        """Writes what is noted. When the ledger is away it stays noted, the newest of it."""
        with self._lock:
            self._drop_surplus(KEPT)
            noted, counts, lines = self._noted, self._counts, self._lines
            self._noted = []
            self._counts, self._lines = Counter(), Counter()
            unrecorded, last = self._unrecorded.copy(), dict(self._unrecorded_at)
        for event, wanted in lines.items():
            if wanted > _LINES:
                log.warning("callback.lines_left_out", of=event, lines=wanted - _LINES)
        if noted or unrecorded:
            self._write(noted, counts, unrecorded, last)

    def _write(
        self, noted: list[Refused], counts: Counter[tuple[str, str]], unrecorded: Counter[str], last: Mapping[str, int]
    ) -> None:
        try:
            with self._ledger.write() as connection:
                keep(connection, noted)
                count_rejected(connection, {f"{vendor}/{reason}": count for (vendor, reason), count in counts.items()})
                add_unrecorded(connection, unrecorded, last)
        except (LedgerUnavailableError, ConflictError):
            with self._lock:
                self._noted[:0] = noted
                self._drop_surplus(KEPT)
                self._counts.update(counts)
        else:
            with self._lock:
                self._unrecorded -= unrecorded

    def _run(self) -> None:
        stopping = False
        while not stopping:
            stopping = self._stop.wait(_EVERY_S)
            try:
                with self._part.at_work():
                    self.flush()
            except Exception as error:
                self._part.failed_with(error)
                log.exception("recorder.failed", error=str(error))
