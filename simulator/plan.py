"""What may befall tasks (`Plan`), and what may befall calls and callbacks (`Faults`)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Cause(StrEnum):
    """Why a task ended."""

    #: The vendor's Stop call.
    STOPPED = "stopped"
    #: What it plays, or the page it shows, came to its end.
    FINISHED = "finished"
    #: Nobody published for its MaxIdleTime.
    IDLE = "idle"
    #: Its allowed life was over.
    LIFETIME = "lifetime"
    #: It broke.
    CRASHED = "crashed"
    #: The start call was accepted, and the start failed all the same.
    REFUSED = "refused"
    BAD_SOURCE = "bad_source"
    BAD_CODEC = "bad_codec"
    BAD_TOKEN = "bad_token"  # noqa: S105 - a word
    NO_PERMISSION = "no_permission"
    #: Its robot was removed from the room.
    REMOVED = "removed"
    #: The room was dismissed.
    DISMISSED = "dismissed"
    #: Another task came into the room under the same robot id.
    EVICTED = "evicted"
    #: The vendor lost it: no callback, and no query knows it any more.
    FORGOTTEN = "forgotten"


#: Ends of a task that never showed media.
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
    """How tasks fare. Probabilities are per task."""

    #: Of each end; what is left of 1: it runs until it is stopped or its allowed life is over. Ends that a family does not
    #: have count as that too.
    end_probabilities: Mapping[Cause, float] = field(default_factory=lambda: dict(_END_PROBABILITIES))
    #: How long a task with a fate shows media, s.
    shortest_s: int = 60
    longest_s: int = 7200
    #: At most so many times the connection or the publisher goes away and comes back.
    interruptions: int = 3
    #: Of a task that ends idle: nobody ever published.
    never_published: float = 0.3
    #: Files that stay behind at first and are told as delivered later.
    late_files: float = 0.05


#: Nothing ever happens to a task but what callers do to it, and the end of its allowed life.
STEADY = Plan(end_probabilities={}, interruptions=0, late_files=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """What goes wrong between the vendor and its customer. Probabilities, unless named otherwise; 0: never."""

    # Of each callback.
    lose: float = 0.0
    double: float = 0.0
    delay: float = 0.0
    #: How late a delayed callback, or a doubled one's second delivery, can be: what comes late comes in another order, too.
    max_delay_s: float = 120.0

    # Of each call that is signed rightly.
    #: It is done, and the connection dropped without an answer.
    ambiguous: float = 0.0
    #: The connection is dropped before it is done: to the caller that looks the same.
    vanish: float = 0.0
    #: It is done, and the answer comes `slow_s` later.
    slow: float = 0.0
    slow_s: float = 15.0
    #: It is not done; the vendor says that there are too many.
    throttle: float = 0.0
    #: Of start calls: refused for good.
    refuse: float = 0.0
    #: Of accepted starts: at some time of its life the vendor forgets the task.
    forget: float = 0.0
