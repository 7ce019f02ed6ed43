"""Calls to a vendor, as the state machine sees them: pending calls, outcomes of attempts, and the results of queries.

A pending call stays with its task until an answer completes it, however many attempts that takes. Each attempt has its own serial
number, so that its answer can be matched, however late it arrives.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any

from statemachine.facts import Ending, File, FilesDelivered, Output, ending_from_doc, ending_to_doc, file_from_doc, file_to_doc
from statemachine.states import Deadline, OutputState


class Operation(StrEnum):
    """The operations on a task at its vendor."""

    START = "start"
    UPDATE = "update"
    STOP = "stop"
    #: The vendor's query call; it changes nothing.
    INSPECT = "inspect"


class CallOutcome(StrEnum):
    """The outcome of one attempt of a call."""

    #: The vendor did it (a query: answered it).
    ACCEPTED = "accepted"
    #: START: the task runs already, which counts as success.
    ALREADY_THERE = "already_there"
    #: STOP, UPDATE, INSPECT: the vendor knows no such task, or not any more.
    ALREADY_GONE = "already_gone"
    #: It did not happen; the same call may succeed later, signed anew.
    RETRY = "retry"
    #: As RETRY, because of the vendor's rate limit.
    THROTTLED = "throttled"
    #: It did not happen and never will.
    REFUSED = "refused"
    #: START only: it may or may not have happened.
    AMBIGUOUS = "ambiguous"
    #: It was never sent: when its turn came, the task no longer needed it.
    NOT_MADE = "not_made"


class Sign(StrEnum):
    """The state of a task as reported by a query."""

    #: It lives; the vendor reports no more.
    ALIVE = "alive"
    #: Created; nothing runs yet.
    ACCEPTED = "accepted"
    #: It (re)connects to its target: `accepted` if it never ran, else `interrupted`.
    CONNECTING = "connecting"
    #: It lives, and there is no publisher.
    NO_MEDIA = "no_media"
    #: Media flows.
    RUNNING = "running"
    #: Capturing ended; `ending`: how the task ended if no file ever arrives (None: not reported).
    CAPTURE_ENDED = "capture_ended"
    #: It ended; `ending`: how (None: not reported).
    ENDED = "ended"
    #: The vendor does not know it; proves an end only within the window in which the vendor keeps tasks (`Rules.reach_s`).
    GONE = "gone"


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """The result of a query about a task. It concerns a run only if `started_at`, if reported, fits that run. Times in ms."""

    sign: Sign
    ending: Ending | None = None
    started_at: int | None = None
    ended_at: int | None = None
    files: tuple[File, ...] = ()
    #: OVER: the capture ended and there are no files.
    delivery: FilesDelivered | None = None
    output: Output | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingCall:
    """A call to the vendor that a task needs until an answer completes it. Times in ms. Persisted under these field names."""

    #: When the task began to need it.
    since: int
    #: Serial number of the attempt in progress; None: there is none.
    serial: int | None = None
    #: When the next attempt is due; None: one is in progress, or the call waits for something else (the vendor's id, the answer to
    #: a start).
    retry_at: int | None = None
    #: Number of failed attempts in a row.
    failures: int = 0
    #: When the first of them failed.
    failing_since: int | None = None
    #: Of START: the attempts that may have happened. Of INSPECT: the attempts in question, before their task has an id.
    ambiguous: tuple[int, ...] = ()
    #: Of START: when the newest of them was sent.
    ambiguous_at: int | None = None
    #: Of START: when a backup was restored that contained this call, so that it is unknown whether the call was made since
    #: (`on_restore`).
    doubted_at: int | None = None
    #: Of INSPECT: the deadline that caused the query; None: a contradiction did.
    asks: Deadline | None = None
    #: Identifies a call other than the usual one, such as the next page of a query (the adapters' own data).
    step: Mapping[str, Any] | None = None
    #: Of UPDATE: the parameters.
    params: Mapping[str, Any] = field(default_factory=dict)
    #: Of UPDATE: parameters of the update that follows once this one is answered.
    queued: Mapping[str, Any] | None = None

    @property
    def is_under_way(self) -> bool:
        """True if an attempt is in progress, or waits for its turn."""
        return self.serial is not None


_PENDING_CALL_DEFAULTS = {f.name: f.default for f in fields(PendingCall)}


def pending_call_to_doc(call: PendingCall) -> dict[str, Any]:
    """Returns the pending call as JSON data without fields that have their default value."""
    doc = {name: value for name, default in _PENDING_CALL_DEFAULTS.items() if (value := getattr(call, name)) != default}
    if not call.params:
        del doc["params"]
    return doc | ({"ambiguous": list(call.ambiguous)} if call.ambiguous else {})


def pending_call_from_doc(doc: Mapping[str, Any]) -> PendingCall:
    """Returns the pending call from the JSON data of `pending_call_to_doc`."""
    asks = Deadline(doc["asks"]) if doc.get("asks") else None
    return PendingCall(**{**doc, "ambiguous": tuple(doc.get("ambiguous", ())), "asks": asks})


def inspection_to_doc(inspection: Inspection) -> dict[str, Any]:
    """Returns the inspection as JSON data."""
    output = inspection.output
    return {
        "sign": inspection.sign.value,
        "ending": ending_to_doc(inspection.ending) if inspection.ending else None,
        "started_at": inspection.started_at,
        "ended_at": inspection.ended_at,
        "files": [file_to_doc(file) for file in inspection.files],
        "delivery": inspection.delivery.value if inspection.delivery else None,
        "output": {"url": output.url, "state": output.state.value} if output else None,
    }


def inspection_from_doc(doc: Mapping[str, Any]) -> Inspection:
    """Returns the inspection from the JSON data of `inspection_to_doc`."""
    output = doc["output"]
    return Inspection(
        sign=Sign(doc["sign"]),
        ending=ending_from_doc(doc["ending"]) if doc["ending"] else None,
        started_at=doc["started_at"],
        ended_at=doc["ended_at"],
        files=tuple(file_from_doc(file) for file in doc["files"]),
        delivery=FilesDelivered(doc["delivery"]) if doc["delivery"] else None,
        output=Output(url=output["url"], state=OutputState(output["state"])) if output else None,
    )
