"""Probabilities: of the ends of tasks (`Plan`), and of faults of calls and callbacks (`Faults`)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Cause(StrEnum):
    """The cause of a task's end."""

    #: A Stop call.
    STOPPED = "stopped"
    #: The source or the page came to its end.
    FINISHED = "finished"
    #: No publisher for its MaxIdleTime.
    IDLE = "idle"
    #: Its maximum lifetime was over.
    LIFETIME = "lifetime"
    #: An error of the vendor.
    CRASHED = "crashed"
    #: The start call was accepted, but the start failed.
    REFUSED = "refused"
    BAD_SOURCE = "bad_source"
    BAD_CODEC = "bad_codec"
    BAD_TOKEN = "bad_token"  # noqa: S105 - a word
    NO_PERMISSION = "no_permission"
    #: Its robot was removed from the room.
    REMOVED = "removed"
    #: The room was dismissed.
    DISMISSED = "dismissed"
    #: Another task entered the room with the same robot id.
    EVICTED = "evicted"
    #: The vendor lost the task: no callback, and queries do not find it.
    FORGOTTEN = "forgotten"


#: Causes of ends before any media.
START_FAILURES = frozenset({Cause.REFUSED, Cause.BAD_SOURCE, Cause.BAD_CODEC, Cause.BAD_TOKEN, Cause.NO_PERMISSION})

_END_PROBABILITIES = {
    Cause.FINISHED: 0.25,
    Cause.IDLE: 0.15,
    Cause.CRASHED: 0.06,
    Cause.REFUSED: 0.03,
    Cause.BAD_SOURCE: 0.03,
    Cause.BAD_CODEC: 0.01,
    Cause.BAD_TOKEN: 0.01,
    Cause.NO_PERMISSION: 0.01,
    Cause.REMOVED: 0.03,
    Cause.DISMISSED: 0.03,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The random events in the lives of tasks. Probabilities are per task."""

    #: Probability of each end. With the rest of 1 the task runs until it is stopped or its maximum lifetime is over; the same
    #: for ends that its family does not have.
    end_probabilities: Mapping[Cause, float] = field(default_factory=lambda: dict(_END_PROBABILITIES))
    #: Time with media of a task that has a planned end, s.
    shortest_s: int = 60
    longest_s: int = 7200
    #: Interruptions of the connection, or absences of the publisher, per task at most.
    interruptions: int = 3
    #: Probability that a task that ends idle never had a publisher.
    never_published: float = 0.3
    #: Probability that files are delivered late.
    late_files: float = 0.05


#: No random events: only calls and the maximum lifetime end tasks.
STEADY = Plan(end_probabilities={}, interruptions=0, late_files=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """The faults between a vendor and its customer. Probabilities, unless named otherwise; 0: never."""

    # Per callback.
    lose: float = 0.0
    double: float = 0.0
    delay: float = 0.0
    #: Longest delay of a delayed callback, or of the second delivery of a doubled one; delays also change the order.
    max_delay_s: float = 120.0

    # Per call with a valid signature.
    #: The call is done, and the connection dropped without an answer.
    ambiguous: float = 0.0
    #: The connection is dropped before the call is done; it looks the same to the caller.
    vanish: float = 0.0
    #: The call is done, and the answer comes `slow_s` later.
    slow: float = 0.0
    slow_s: float = 15.0
    #: The call is refused by the rate limit.
    throttle: float = 0.0
    #: A start call is refused permanently.
    refuse: float = 0.0
    #: The vendor forgets a started task at some time of its life.
    forget: float = 0.0
