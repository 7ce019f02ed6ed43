"""Judges again what waits for its time, for the clock may have been set back since the time was written down."""

from adapters.ledger import Ledger, clock_repair, inbox, subscriptions
from adapters.ledger.clock_repair import Longest
from adapters.ledger.inbox import Posting
from adapters.logs import logger
from workers.apply.adoption import HELD_MS
from workers.call.call_attempt import LEASE_MS as CALL_LEASE_MS
from workers.deliver.delivery_round import LEASE_MS as DELIVERY_LEASE_MS

#: Between two judgements while the clock goes on as it should, ms: another machine's clock may be wrong too.
_EVERY_MS = 600_000
_LONGEST = Longest(delivery_lease=DELIVERY_LEASE_MS, call_lease=CALL_LEASE_MS, held=HELD_MS)
_AT_ONCE = 500

log = logger(__name__)


class Judge:
    """Used by one thread."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._seen_at: int | None = None
        self._judged_at = 0
        #: Whether the clock was set back while somebody looked, and what that left was not judged to the end.
        self._set_back = False

    def judge_if_due(self, now: int) -> int:
        """Judges at the first call, when the clock was set back since the last one, and once in a while; how much was mended.

        now: ms. To be called every second or so. Raises LedgerUnavailableError, ConflictError.
        """
        before, self._seen_at = self._seen_at, now
        self._set_back = self._set_back or (before is not None and now < before - clock_repair.SLACK_MS)
        if before is not None and not self._set_back and 0 <= now - self._judged_at < _EVERY_MS:
            return 0
        mended = self._judge(now)
        self._set_back, self._judged_at = False, now
        return mended

    def _judge(self, now: int) -> int:
        counts = {"deliveries": self._deliveries(now), "others": self._others(now), "calls": self._retries(now)}
        mended = sum(counts.values())
        if mended:
            log.warning("clock.times_mended", **counts)
        return mended

    def _deliveries(self, now: int) -> int:
        with self._ledger.read() as connection:
            ids = subscriptions.ids(connection)
        return sum(self._of_subscription(id_, now) for id_ in ids)

    def _of_subscription(self, id_: str, now: int) -> int:
        with self._ledger.read() as connection:
            wrong = clock_repair.misdated_deliveries(connection, id_, now, _LONGEST)
        mended = 0
        for begin in range(0, len(wrong), _AT_ONCE):
            with self._ledger.write() as connection:
                subscriptions.lock(connection, [id_])
                mended += clock_repair.mend_deliveries(connection, wrong[begin : begin + _AT_ONCE], now, _LONGEST)
        return mended

    def _others(self, now: int) -> int:
        with self._ledger.read() as connection:
            if not clock_repair.any_misdated(connection, now, _LONGEST):
                return 0
        with self._ledger.write() as connection:
            return clock_repair.mend(connection, now, _LONGEST)

    def _retries(self, now: int) -> int:
        """Has the state machine look at tasks whose next call is too far ahead; how many."""
        with self._ledger.read() as connection:
            ahead = self._set_back or clock_repair.was_ahead(connection, now)
            late = clock_repair.misdated_retries(connection, now, ahead=ahead)
        posted = 0
        for begin in range(0, len(late), _AT_ONCE):
            some = late[begin : begin + _AT_ONCE]
            postings = [Posting(key=(task_id,), payload={"task_id": task_id}, shard=shard) for task_id, shard in some]
            with self._ledger.write() as connection:
                posted += inbox.post_all(connection, inbox.CLOCK, postings, now)
        return posted
