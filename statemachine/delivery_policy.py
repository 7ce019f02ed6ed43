"""Retry policy of webhook deliveries, and the states of deliveries and subscriptions. Pure: time and randomness are arguments.

A delivery is retried until the subscriber takes it, for at most three days from its first attempt; then it is dead, and waits for
an operator to replay it. Events of one subject are delivered in order: the next one waits until this one is delivered or dead.
"""

from enum import StrEnum


class DeliveryState(StrEnum):
    """The state of the delivery of one event to one subscription."""

    #: It is due, is being sent, or waits for an earlier event of its subject. A worker moves it on.
    WAITING = "waiting"
    #: The subscriber accepted it.
    DELIVERED = "delivered"
    #: Dead letter: all attempts of three days failed. It stays so until an operator replays it.
    DEAD = "dead"
    #: It was dead, and is being delivered again as another delivery.
    REQUEUED = "requeued"


class SubscriptionState(StrEnum):
    """The state of a subscription."""

    #: Events are queued for it and sent.
    ACTIVE = "active"
    #: An operator paused it; it continues at the same position once it is resumed.
    PAUSED = "paused"
    #: The target answered 410, or nothing could be delivered for five days. It continues at the same position once it is resumed.
    DISABLED = "disabled"
    #: It is hidden from the API; its remaining rows are being deleted.
    DELETED = "deleted"


#: Reason of a disabled subscription: the target wants no more events (it answered 410).
GONE_REASON = "gone"
#: Reason of a disabled subscription: nothing could be delivered for five days.
FAILING_REASON = "failing"

#: Delays between the attempts of a delivery, ms; the last one repeats.
RETRY_DELAYS_MS = (1_000, 5_000, 30_000, 120_000, 600_000, 3_600_000, 21_600_000)
#: Time from the first attempt to the last one, ms.
MAX_AGE_MS = 3 * 24 * 3_600_000
#: Time of continuous failure after which a subscription is disabled, ms.
DISABLE_AFTER_MS = 5 * 24 * 3_600_000
#: Time between two failures above which they count as separate failures, ms: twice the longest delay.
_MAX_FAILURE_GAP_MS = 2 * RETRY_DELAYS_MS[-1]
#: Longest Retry-After of a target that is honoured, ms.
MAX_RETRY_AFTER_MS = 24 * 3_600_000
#: Delays are extended by a random share of up to this, so that not all deliveries are retried at the same moment.
_JITTER = 0.2


def next_attempt_at(
    failures: int, first_attempt_at: int, now: int, jitter: float, retry_after_s: float | None = None
) -> int | None:
    """Returns when a failed delivery is attempted again, ms; None: it is dead.

    failures: number of failed attempts, including this one. jitter: from 0 to 1. retry_after_s: the target's Retry-After.
    The last attempt is at the end of the three days, so that a target that is back by then still gets the event.
    """
    end = first_attempt_at + MAX_AGE_MS
    if now >= end:
        return None
    delay_ms = RETRY_DELAYS_MS[min(failures, len(RETRY_DELAYS_MS)) - 1] * (1 + _JITTER * jitter)
    return round(min(end, now + max(delay_ms, (retry_after_s or 0) * 1_000)))


def longest_retry_delay_ms(failures: int) -> int:
    """Returns the longest delay of our own schedule after this number of failed attempts, ms; 0 if none failed yet."""
    return round(RETRY_DELAYS_MS[min(failures, len(RETRY_DELAYS_MS)) - 1] * (1 + _JITTER)) if failures else 0


def failing_since_after_failure(failing_since: int | None, failed_at: int | None, now: int) -> int:
    """Returns since when a subscription has been failing, given that it fails now. failed_at: its last failure. Times in ms.

    A failure long ago, without attempts since, says nothing about the time in between: a target that keeps failing is attempted
    more often than that.
    """
    is_new = failing_since is None or failed_at is None or now - failed_at > _MAX_FAILURE_GAP_MS
    return now if is_new or failing_since is None else failing_since


def is_failing(failing_since: int | None, now: int) -> bool:
    """Returns whether a subscription has been failing long enough to be disabled. Times in ms."""
    return failing_since is not None and now - failing_since >= DISABLE_AFTER_MS
