"""Calls to a vendor, as the state machine knows them: what is wanted of the vendor, and what became of it.

A call that is wanted is a pursuit: it stays with its task until an answer settles it, however many attempts that takes. Each
attempt is an effect with a serial number of its own, so that its answer is known again, however late it comes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any

from statemachine.facts import Delivery, File, Output, file_from_doc, file_to_doc, outcome_from_doc, outcome_to_doc
from statemachine.facts import Outcome as Ending
from statemachine.states import Deadline, OutputState


class Operation(StrEnum):
    START = "start"
    UPDATE = "update"
    STOP = "stop"
    #: The vendor's query call: asks, and changes nothing.
    INSPECT = "inspect"


class Outcome(StrEnum):
    """What became of a call."""

    #: The vendor did it (a query: answered it).
    ACCEPTED = "accepted"
    #: START: the task runs already, which is as good.
    ALREADY_THERE = "already_there"
    #: STOP, UPDATE, INSPECT: the vendor knows no such task, or not any more.
    ALREADY_GONE = "already_gone"
    #: It did not happen; the same call may succeed later, signed anew.
    RETRY = "retry"
    #: The same, because of the vendor's rate limit.
    THROTTLED = "throttled"
    #: It did not happen and never will.
    REFUSED = "refused"
    #: START only: it may or may not have happened.
    AMBIGUOUS = "ambiguous"
    #: It was never sent: when its turn came, nothing wanted it any more.
    NOT_MADE = "not_made"


class Sign(StrEnum):
    """What a query says of a task."""

    #: It lives; the vendor says no more.
    ALIVE = "alive"
    #: Created; nothing runs yet.
    ACCEPTED = "accepted"
    #: It (re)connects to its target: `accepted` if it never ran, else `interrupted`.
    CONNECTING = "connecting"
    #: It lives, and nobody publishes.
    NO_MEDIA = "no_media"
    #: Media flows.
    RUNNING = "running"
    #: Capturing ended; `ending` says how it ended if no file ever comes (None: not told).
    CAPTURE_ENDED = "capture_ended"
    #: It ended; `ending` says how (None: not told).
    ENDED = "ended"
    #: The vendor does not know it: proves an end only inside the window in which it promises to know (`Rules.reach_s`).
    GONE = "gone"


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """What a query says of a task. It concerns a run only if `started_at`, where told, fits that run. Times in ms."""

    sign: Sign
    ending: Ending | None = None
    started_at: int | None = None
    ended_at: int | None = None
    files: tuple[File, ...] = ()
    #: OVER: the capture ended and there are no files.
    delivery: Delivery | None = None
    output: Output | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pursuit:
    """A call that is wanted of the vendor until an answer settles it. Times in ms."""

    #: Since when it is wanted.
    since: int
    #: The serial number of the attempt that is under way; None: none is.
    serial: int | None = None
    #: When the next attempt is due; None: one is under way, or it waits for something else (its id, the end of a start).
    retry_at: int | None = None
    #: Attempts that failed in a row.
    failures: int = 0
    #: Since when it fails, ms.
    failing_since: int | None = None
    #: Of START: the attempts that may have happened. Of INSPECT: those that it asks about, before their task has an id.
    ambiguous: tuple[int, ...] = ()
    #: Of START: when the newest of them was sent, ms.
    ambiguous_at: int | None = None
    #: Of START: since when nobody knows whether it was made, because a backup was restored that held it, ms (`restoring`).
    doubted_at: int | None = None
    #: Of INSPECT: the deadline that asks; None: a contradiction does.
    asks: Deadline | None = None
    #: Where not the usual call is to be made: which (the adapters' own data).
    step: Mapping[str, Any] | None = None
    #: Of UPDATE: the parameters.
    params: Mapping[str, Any] = field(default_factory=dict)
    #: Of UPDATE: what is to follow once this one is answered.
    queued: Mapping[str, Any] | None = None

    @property
    def under_way(self) -> bool:
        """An attempt is made, or waits for its turn."""
        return self.serial is not None


_PURSUIT_DEFAULTS = {f.name: f.default for f in fields(Pursuit)}


def pursuit_to_doc(pursuit: Pursuit) -> dict[str, Any]:
    """The pursuit as JSON-able data, defaults left out."""
    told = {name: value for name, default in _PURSUIT_DEFAULTS.items() if (value := getattr(pursuit, name)) != default}
    if not pursuit.params:
        del told["params"]
    return told | ({"ambiguous": list(pursuit.ambiguous)} if pursuit.ambiguous else {})


def pursuit_from_doc(doc: Mapping[str, Any]) -> Pursuit:
    """The pursuit that `pursuit_to_doc` wrote."""
    asks = Deadline(doc["asks"]) if doc.get("asks") else None
    return Pursuit(**{**doc, "ambiguous": tuple(doc.get("ambiguous", ())), "asks": asks})


def inspection_to_doc(inspection: Inspection) -> dict[str, Any]:
    """The inspection as JSON-able data."""
    output = inspection.output
    return {
        "sign": inspection.sign.value,
        "ending": outcome_to_doc(inspection.ending) if inspection.ending else None,
        "started_at": inspection.started_at,
        "ended_at": inspection.ended_at,
        "files": [file_to_doc(file) for file in inspection.files],
        "delivery": inspection.delivery.value if inspection.delivery else None,
        "output": {"url": output.url, "state": output.state.value} if output else None,
    }


def inspection_from_doc(doc: Mapping[str, Any]) -> Inspection:
    """The inspection that `inspection_to_doc` wrote."""
    output = doc["output"]
    return Inspection(
        sign=Sign(doc["sign"]),
        ending=outcome_from_doc(doc["ending"]) if doc["ending"] else None,
        started_at=doc["started_at"],
        ended_at=doc["ended_at"],
        files=tuple(file_from_doc(file) for file in doc["files"]),
        delivery=Delivery(doc["delivery"]) if doc["delivery"] else None,
        output=Output(url=output["url"], state=OutputState(output["state"])) if output else None,
    )
