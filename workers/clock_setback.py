"""Repairs stored times that lie too far ahead, because the clock was set back after they were written."""

from adapters.ledger import Ledger, clock_repair, inbox, subscriptions
from adapters.ledger.clock_repair import LongestWaits
from adapters.ledger.inbox import Posting
from adapters.logs import logger
from workers.apply.adoption import MAX_DEFERRAL_MS
from workers.call.call_attempt import LEASE_MS as CALL_LEASE_MS
from workers.deliver.delivery_round import LEASE_MS as DELIVERY_LEASE_MS

#: Interval between two checks while the clock runs as it should, ms: the clock of another machine may be wrong too.
_CHECK_INTERVAL_MS = 600_000
#: The longest times that a worker's own rows can lie ahead.
_LONGEST_WAITS = LongestWaits(delivery_lease=DELIVERY_LEASE_MS, call_lease=CALL_LEASE_MS, deferral=MAX_DEFERRAL_MS)
#: Rows repaired per transaction at most.
_ROWS_PER_TRANSACTION = 500

log = logger(__name__)


class ClockRepairer:
    """Finds and repairs misdated rows. Used by one thread."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._checked_at: int | None = None
        self._repaired_at = 0
        #: True from when the clock is seen to be set back until a repair has succeeded.
        self._set_back = False

    def repair_if_due(self, now: int) -> int:
        """Repairs at the first call, when the clock was set back since the last call, and once per interval.

        Returns how many rows were repaired. now: ms. To be called every second or so. Raises LedgerUnavailableError, ConflictError.
        """
        before, self._checked_at = self._checked_at, now
        self._set_back = self._set_back or (before is not None and now < before - clock_repair.SLACK_MS)
        if before is not None and not self._set_back and 0 <= now - self._repaired_at < _CHECK_INTERVAL_MS:
            return 0
        repaired = self._repair_all(now)
        self._set_back, self._repaired_at = False, now
        return repaired

    def _repair_all(self, now: int) -> int:
        counts = {
            "deliveries": self._repair_deliveries(now),
            "others": self._repair_other_times(now),
            "calls": self._recheck_retries(now),
        }
        repaired = sum(counts.values())
        if repaired:
            log.warning("clock.times_mended", **counts)
        return repaired

    def _repair_deliveries(self, now: int) -> int:
        with self._ledger.read() as connection:
            ids = subscriptions.all_ids(connection)
        return sum(self._repair_subscription(id_, now) for id_ in ids)

    def _repair_subscription(self, id_: str, now: int) -> int:
        with self._ledger.read() as connection:
            wrong = clock_repair.misdated_deliveries(connection, id_, now, _LONGEST_WAITS)
        repaired = 0
        for begin in range(0, len(wrong), _ROWS_PER_TRANSACTION):
            some = wrong[begin : begin + _ROWS_PER_TRANSACTION]
            with self._ledger.write() as connection:
                subscriptions.lock(connection, [id_])
                repaired += clock_repair.repair_deliveries(connection, some, now, _LONGEST_WAITS)
        return repaired

    def _repair_other_times(self, now: int) -> int:
        with self._ledger.read() as connection:
            if not clock_repair.any_misdated(connection, now, _LONGEST_WAITS):
                return 0
        with self._ledger.write() as connection:
            return clock_repair.repair(connection, now, _LONGEST_WAITS)

    def _recheck_retries(self, now: int) -> int:
        """Makes the state machine check the tasks whose next call is too far ahead; returns how many."""
        with self._ledger.read() as connection:
            ahead = self._set_back or clock_repair.was_ahead(connection, now)
            late = clock_repair.misdated_retries(connection, now, ahead=ahead)
        posted = 0
        for begin in range(0, len(late), _ROWS_PER_TRANSACTION):
            some = late[begin : begin + _ROWS_PER_TRANSACTION]
            postings = [Posting(key=(task_id,), payload={"task_id": task_id}, shard=shard) for task_id, shard in some]
            with self._ledger.write() as connection:
                posted += inbox.post_all(connection, inbox.CLOCK, postings, now)
        return posted
