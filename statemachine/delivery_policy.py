"""What becomes of an event that is told to somebody, and of who does not hear it. Pure: `now` and the dice are arguments.

Each event is told until it was heard, for three days from its first try at the most; then it is dead, and waits for a person to ask
for it again. What is told of one subject is told in order: the next one waits until this one was heard or is dead.
"""

from enum import StrEnum


class DeliveryState(StrEnum):
    """Where an event stands on its way to one subscription."""

    #: It is to be sent, is being sent, or waits for what is before it in its subject. A worker moves it on.
    WAITING = "waiting"
    #: The subscriber took it.
    DELIVERED = "delivered"
    #: It was tried for three days. It stays so until somebody asks for it again.
    DEAD = "dead"
    #: It was dead, and is on its way again as another delivery.
    REQUEUED = "requeued"


class SubscriptionState(StrEnum):
    """Whether a subscription is served."""

    #: Events are queued for it and sent.
    ACTIVE = "active"
    #: Somebody paused it; it goes on where it was once it is resumed.
    PAUSED = "paused"
    #: It answered 410, or nothing could be delivered for five days. It goes on where it was once it is resumed.
    DISABLED = "disabled"
    #: Nobody sees it any more; what is left of it is cleared away.
    DELETED = "deleted"


#: The target says that it wants no more (410).
GONE = "gone"
#: Nothing could be delivered for five days.
FAILING = "failing"

#: Pauses between the tries of an event, ms; after the last of these the last one again.
PAUSES_MS = (1_000, 5_000, 30_000, 120_000, 600_000, 3_600_000, 21_600_000)
#: From the first try to the last one, ms.
LIFE_MS = 3 * 24 * 3_600_000
#: A subscription that fails for so long is disabled, ms.
FAILING_MS = 5 * 24 * 3_600_000
#: A failure is not part of those after it if nothing failed for so long, ms: twice the longest pause.
_FORGOTTEN_MS = 2 * PAUSES_MS[-1]
#: The longest that a target can put off its next try (Retry-After), ms.
LONGEST_HINT_MS = 24 * 3_600_000
#: Pauses are made longer by up to this part of them, so that not all come back at the same moment.
_JITTER = 0.2


def next_try(tries: int, first_tried_at: int, now: int, dice: float, retry_after_s: float | None = None) -> int | None:
    """When an event that could not be delivered is tried again, ms; None: it is dead.

    tries: how many failed, this one too. dice: 0 to 1. retry_after_s: what the target asked for. The last try is at the end of the
    three days, so that a target that is back by then gets it.
    """
    end = first_tried_at + LIFE_MS
    if now >= end:
        return None
    pause_ms = PAUSES_MS[min(tries, len(PAUSES_MS)) - 1] * (1 + _JITTER * dice)
    return round(min(end, now + max(pause_ms, (retry_after_s or 0) * 1_000)))


def longest_pause(tries: int) -> int:
    """The longest pause that follows so many failed tries by our own schedule, ms; 0: none failed yet."""
    return round(PAUSES_MS[min(tries, len(PAUSES_MS)) - 1] * (1 + _JITTER)) if tries else 0


def failing_from(failing_since: int | None, failed_at: int | None, now: int) -> int:
    """Since when a subscription fails that fails now. failed_at: when it did last. Times in ms.

    What failed a while ago, and then nobody tried, says nothing of the time in between: who really fails is tried more often.
    """
    is_new = failing_since is None or failed_at is None or now - failed_at > _FORGOTTEN_MS
    return now if is_new or failing_since is None else failing_since


def is_failing(failing_since: int | None, now: int) -> bool:
    """Whether a subscription has failed for so long that it is to be disabled. Times in ms."""
    return failing_since is not None and now - failing_since >= FAILING_MS
