"""Facts: vendor-neutral statements about a task, from a callback, a request, a call's answer or a passed deadline.

Times are whole milliseconds since the Unix epoch, UTC. A fact is a frozen value. The facts of one lineage form a set with `key` as
identity and one total order (`order`), so that the result of folding them does not depend on the order of arrival.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from statemachine.fast_dataclasses import fast_init, sparse_encoder
from statemachine.states import Deadline, FileState, Kind, OutputState, Reason, State


class FactKind(StrEnum):
    """The kinds of facts. Persisted."""

    #: We intend to start a task (an API request, a renewal, a restart).
    INTENT = "intent"
    #: The vendor accepted our start call.
    ACCEPTED = "accepted"
    #: The vendor reports that a task was created or stands by.
    START = "start"
    #: The task connects to its source or target.
    CONNECTING = "connecting"
    #: There is no publisher, or nothing is pushed yet.
    NO_MEDIA = "no_media"
    #: The task reconnects or retries.
    INTERRUPTED = "interrupted"
    #: Media flows.
    MEDIA = "media"
    #: The state of one of several output urls changed.
    OUTPUT = "output"
    #: The vendor reports that a stop failed.
    STOP_FAILED = "stop_failed"
    #: A remark for the timeline.
    NOTE = "note"
    #: The task was never started: the vendor rejected the start (the call, or after accepting it), we gave up, or it was stopped
    #: before.
    REFUSED = "refused"
    #: Capturing ended; files may follow.
    CAPTURE_END = "capture_end"
    #: The upload of files continues, stalls or is done.
    UPLOAD = "upload"
    #: The vendor named one or more files.
    FILES = "files"
    #: The task ended.
    END = "end"
    #: A stop was requested.
    STOP_ASKED = "stop_asked"
    #: The vendor accepted our stop call.
    STOP_ACCEPTED = "stop_accepted"
    #: A deadline or an operator inferred that the task ended; the vendor did not report it.
    INFERRED = "inferred"


#: Kinds of facts that show that a task lives.
LIFE_KINDS = frozenset(
    {
        FactKind.START,
        FactKind.CONNECTING,
        FactKind.NO_MEDIA,
        FactKind.INTERRUPTED,
        FactKind.MEDIA,
        FactKind.OUTPUT,
    }
)
#: Kinds of facts about files rather than about the stream; they are assigned to runs by rules of their own.
FILE_KINDS = frozenset({FactKind.UPLOAD, FactKind.FILES})
#: Kinds of facts that come from us and not from the vendor.
OWN_KINDS = frozenset({FactKind.INTENT, FactKind.ACCEPTED, FactKind.STOP_ASKED, FactKind.STOP_ACCEPTED, FactKind.INFERRED})

#: Order of facts with equal times: start < connecting < interrupted < running < capture end < upload and files < end.
_PRECEDENCE = {
    FactKind.INTENT: 0,
    FactKind.ACCEPTED: 1,
    FactKind.NOTE: 2,
    FactKind.REFUSED: 3,
    FactKind.START: 10,
    FactKind.CONNECTING: 11,
    FactKind.NO_MEDIA: 12,
    FactKind.INTERRUPTED: 13,
    FactKind.MEDIA: 14,
    FactKind.STOP_FAILED: 16,
    FactKind.CAPTURE_END: 20,
    FactKind.UPLOAD: 21,
    FactKind.FILES: 21,
    FactKind.STOP_ASKED: 22,
    FactKind.STOP_ACCEPTED: 23,
    FactKind.END: 30,
    FactKind.INFERRED: 40,
}
_OUTPUT_PRECEDENCE = {
    OutputState.CONNECTING: 11,
    OutputState.RECOVERING: 13,
    OutputState.RUNNING: 14,
    OutputState.FAILED: 15,
    OutputState.DISCONNECTING: 17,
    OutputState.ENDED: 18,
}


class FilesDelivered(StrEnum):
    """A fact's statement that the delivery of files is over, and on which condition. Persisted."""

    #: Without condition.
    OVER = "over"
    #: Once the capture's end is known.
    WITH_CAPTURE = "with_capture"
    #: If the capture's end is known and no newer than this fact.
    SINCE_CAPTURE = "since_capture"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """The final state and reason that a fact reports.

    `rank` decides between several ends of one run: the smallest counts, within a rank the earliest.
    """

    state: State
    reason: Reason
    rank: int = 4
    #: Counts as `stopped`, `stop_requested` if we requested a stop before.
    stop_wins: bool = False
    #: Counts as `expired`, `max_lifetime` if the maximum lifetime, less the rules' margin, had passed.
    life_wins: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """The state of one output url. `url` None: the task's only output, whatever its url."""

    url: str | None
    state: OutputState


@fast_init
@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """One file of a task. Identified by `name`, else by `file_id`; later facts fill in and overwrite fields."""

    #: The file's name or object key.
    name: str | None = None
    #: The vendor's id for it in a media library.
    file_id: str | None = None
    url: str | None = None
    state: FileState = FileState.KNOWN
    user_id: str | None = None
    #: audio, video, audio_video
    track: str | None = None
    #: main, aux, mix: which of a user's streams.
    media: str | None = None
    #: Start of the media (not of the upload), ms since the epoch.
    started_at: int | None = None
    ended_at: int | None = None
    duration_ms: int | None = None
    size_bytes: int | None = None
    #: The vendor's error text.
    message: str | None = None

    @property
    def identity(self) -> str:
        """The file's identity within its task."""
        return f"n:{self.name}" if self.name else f"i:{self.file_id}"


@fast_init
@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One statement about a task. Persisted as JSON under these field names."""

    kind: FactKind
    #: When it happened, ms: the vendor's own time if it reports a credible one, else the time of receipt. Of an inferred end: the
    #: newest time known when it was inferred (`evidence_at`), so that facts known then sort before it, and later ones after it.
    at: int
    #: When we received it, ms.
    received_at: int
    #: Identity of the fact within its lineage: a callback's dedupe key, or the id of what created the fact.
    key: str
    #: The inbox row it was read from; a replay of that row replaces its facts.
    source: str = ""

    # The life of the task.
    #: A start sign: if newer than a reported end, it begins a new run.
    opens: bool = False
    #: A start sign that occurs once per run.
    one_off: bool = False
    #: A START that also shows media.
    media: bool = False
    #: States or implies that there is no publisher.
    idle: bool = False
    #: Of END: how the task ended. Of CAPTURE_END: how it ended if no file ever arrives. Of INFERRED: the inferred end.
    outcome: Ending | None = None
    #: Of INFERRED: the deadline by which it was inferred; None: by an operator.
    deadline: Deadline | None = None
    #: The key of the fact that made the task in question; this fact stays with that fact's run, wherever runs are cut.
    about: str | None = None
    #: Of ACCEPTED: an earlier attempt may have happened too, and its results are not those of this attempt.
    again: bool = False
    #: Of INFERRED: capturing ended, and files may follow; the outcome holds if none arrives.
    finishing: bool = False
    #: Of INFERRED: the key of the capture's end that was known then; any other capture's end revokes this fact.
    knew: str | None = None
    delivery: FilesDelivered | None = None
    output: Output | None = None
    files: tuple[File, ...] = ()
    #: Of UPLOAD: the state of all files of the run.
    file_state: FileState | None = None
    #: Of FILES: they arrive while the task still records.
    recording: bool = False
    #: Of UPLOAD: for the timeline only; it does not imply that capturing ended.
    remark: bool = False
    #: Of UPLOAD: the uploaded share, in parts of 10,000.
    progress: int | None = None

    # Times that the vendor reports beside the event's own, ms.
    #: When the vendor created the task: decides the run, within the rules' tolerance.
    started_at: int | None = None
    #: A start planned for this time.
    scheduled_at: int | None = None
    ended_at: int | None = None

    # Identities and texts.
    room_id: str | None = None
    #: The user id under which the vendor itself enters the room.
    robot: str | None = None
    #: The kind of task this fact suggests, if the key alone does not determine it.
    kind_hint: Kind | None = None
    #: The vendor's own code and message.
    code: str | None = None
    message: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.at, int) or not isinstance(self.received_at, int):
            raise TypeError("a fact's times are whole milliseconds since the epoch")

    @property
    def order(self) -> tuple[int, int, str]:
        """The total order of facts: time, then the fixed precedence of equal times, then the key."""
        if self.kind is FactKind.OUTPUT and self.output is not None:
            return (self.at, _OUTPUT_PRECEDENCE[self.output.state], self.key)
        return (self.at, _PRECEDENCE[self.kind], self.key)

    @property
    def from_vendor(self) -> bool:
        """True if the vendor stated it, false if we did."""
        return self.kind not in OWN_KINDS

    @property
    def shows_life(self) -> bool:
        """True if it is a sign of life."""
        if self.kind is FactKind.OUTPUT and self.output is not None:
            return self.output.state not in (OutputState.DISCONNECTING, OutputState.ENDED)
        return self.kind in LIFE_KINDS


def sort_facts(facts: Iterable[Fact]) -> tuple[Fact, ...]:
    """Returns the facts in their total order."""
    return tuple(sorted(facts, key=lambda fact: fact.order))


#: Field -> value -> enum member. Looking a value up takes a fifth of the time of calling the enum.
_ENUM_MEMBERS: Mapping[str, Mapping[str, StrEnum]] = {
    "kind": {member.value: member for member in FactKind},
    "deadline": {member.value: member for member in Deadline},
    "delivery": {member.value: member for member in FilesDelivered},
    "file_state": {member.value: member for member in FileState},
    "kind_hint": {member.value: member for member in Kind},
}

_sparse_fact = sparse_encoder(Fact)
_sparse_output = sparse_encoder(Output)
file_to_doc = sparse_encoder(File)
ending_to_doc = sparse_encoder(Ending)


def fact_to_doc(fact: Fact) -> dict[str, Any]:
    """Returns the fact as JSON data without fields that have their default value."""
    doc = _sparse_fact(fact)
    if fact.outcome is not None:
        doc["outcome"] = ending_to_doc(fact.outcome)
    if fact.output is not None:
        doc["output"] = _sparse_output(fact.output)
    if fact.files:
        doc["files"] = [file_to_doc(file) for file in fact.files]
    return doc


def fact_from_doc(doc: Mapping[str, Any]) -> Fact:
    """Returns the fact from the JSON data of `fact_to_doc`."""
    values = dict(doc)
    for name, members in _ENUM_MEMBERS.items():
        if name in values:
            values[name] = members[values[name]]
    if "outcome" in values:
        values["outcome"] = ending_from_doc(values["outcome"])
    if "output" in values:
        values["output"] = Output(url=values["output"]["url"], state=OutputState(values["output"]["state"]))
    if "files" in values:
        values["files"] = tuple(file_from_doc(file) for file in values["files"])
    return Fact(**values)


def file_from_doc(doc: Mapping[str, Any]) -> File:
    return File(**{**doc, "state": FileState(doc.get("state", FileState.KNOWN))})


def ending_from_doc(doc: Mapping[str, Any]) -> Ending:
    return Ending(**{**doc, "state": State(doc["state"]), "reason": Reason(doc["reason"])})
