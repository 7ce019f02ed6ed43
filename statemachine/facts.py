"""Facts: what a callback, a request, an answer or a passed deadline says about a task, in no vendor's words.

Times are whole milliseconds since the Unix epoch, UTC. A fact is a frozen value; facts of one lineage form a set, told apart by
`key`, with one total order (`order`), so that whatever is folded over them does not depend on the order of arrival.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from statemachine.fast_dataclasses import quickly_made, sparse
from statemachine.states import Deadline, FileState, Kind, OutputState, Reason, State


class FactKind(StrEnum):
    #: We mean to start a task (an API request, a renewal, a restart).
    INTENT = "intent"
    #: The vendor accepted our start call.
    ACCEPTED = "accepted"
    #: The vendor says that a task was created or stands by.
    START = "start"
    #: It connects to its source or target.
    CONNECTING = "connecting"
    #: Nobody publishes, or nothing is pushed yet.
    NO_MEDIA = "no_media"
    #: It reconnects or retries.
    INTERRUPTED = "interrupted"
    #: Media flows.
    MEDIA = "media"
    #: One output url of several changed.
    OUTPUT = "output"
    #: The vendor says that a stop failed.
    STOP_FAILED = "stop_failed"
    #: Something worth a line in the timeline.
    NOTE = "note"
    #: It was never started: the vendor refused (the call, or after accepting it), we gave up, or it was stopped before.
    REFUSED = "refused"
    #: Capturing ended; files may follow.
    CAPTURE_END = "capture_end"
    #: The upload of files goes on, stalls or is done.
    UPLOAD = "upload"
    #: One or more files are known.
    FILES = "files"
    #: The task ended.
    END = "end"
    #: We want it stopped.
    STOP_ASKED = "stop_asked"
    #: The vendor accepted our stop call.
    STOP_ACCEPTED = "stop_accepted"
    #: A deadline or an operator concluded that it ended; no word of the vendor said so.
    INFERRED = "inferred"


#: Signs that a task lives.
LIFE = frozenset(
    {
        FactKind.START,
        FactKind.CONNECTING,
        FactKind.NO_MEDIA,
        FactKind.INTERRUPTED,
        FactKind.MEDIA,
        FactKind.OUTPUT,
    }
)
#: Facts about files rather than about the stream; they are assigned to runs by rules of their own.
DELIVERIES = frozenset({FactKind.UPLOAD, FactKind.FILES})
#: Facts that come from us and not from the vendor.
OURS = frozenset({FactKind.INTENT, FactKind.ACCEPTED, FactKind.STOP_ASKED, FactKind.STOP_ACCEPTED, FactKind.INFERRED})

# Equal times: start < connecting < interrupted < running < capture end < upload and files < end (mapping.md, "Times").
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


class Delivery(StrEnum):
    """How a fact tells that delivery of files is over."""

    #: Over, whatever else is known.
    OVER = "over"
    #: Over once the capture's end is known.
    WITH_CAPTURE = "with_capture"
    #: Over if the capture's end is known and no newer than this.
    SINCE_CAPTURE = "since_capture"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a task ended, or would be said to have ended.

    `rank` merges several ends of one run: the smallest counts, within a rank the earliest.
    """

    state: State
    reason: Reason
    rank: int = 4
    #: Reads as `stopped`, `stop_requested` where a stop of ours stands before it.
    stop_wins: bool = False
    #: Reads as `expired`, `max_lifetime` where the allowed life, less the rules' margin, has passed.
    life_wins: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """One output url. `url` None: the task's only output, whatever its url."""

    url: str | None
    state: OutputState


@quickly_made
@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """One file. Known again by `name`, else by `file_id`; later facts fill in and overwrite."""

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
    #: ms since the epoch: of the media, not of the upload.
    started_at: int | None = None
    ended_at: int | None = None
    duration_ms: int | None = None
    size_bytes: int | None = None
    #: The vendor's error text.
    message: str | None = None

    @property
    def identity(self) -> str:
        return f"n:{self.name}" if self.name else f"i:{self.file_id}"


@quickly_made
@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    kind: FactKind
    #: ms; the vendor's own time where it tells one that can be believed, else that of receipt. Of an inferred end: the newest
    #: time known when it was inferred (`evidence_at`), so that what was known sorts before it and what is news after it.
    at: int
    #: ms; when we came to know it.
    received_at: int
    #: Tells this fact from every other one of the lineage: a callback's dedupe key, or the id of what made it.
    key: str
    #: The inbox row that gave it; a replay of that row replaces its facts.
    source: str = ""

    # What it says about the course of the task.
    #: A start sign: newer than a told end it opens a new run.
    opens: bool = False
    #: A start sign that a run has once.
    one_off: bool = False
    #: A START that also shows media.
    media: bool = False
    #: Says or implies that nobody publishes.
    idle: bool = False
    #: Of END: how it ended. Of CAPTURE_END: how it ended if no file ever comes. Of INFERRED: what was concluded.
    outcome: Outcome | None = None
    #: Of INFERRED: the deadline that concluded it; None: an operator's own word.
    deadline: Deadline | None = None
    #: The key of the fact that made the task it is about; it stays with that fact's run, wherever runs are cut.
    about: str | None = None
    #: Of ACCEPTED: an attempt before it may have happened too, so that what came of that one is not what came of this.
    again: bool = False
    #: Of INFERRED: capturing ended, and files may follow; the outcome holds if none comes.
    finishing: bool = False
    #: Of INFERRED: the key of the capture's end that was known then; any other one takes it back.
    knew: str | None = None
    delivery: Delivery | None = None
    output: Output | None = None
    files: tuple[File, ...] = ()
    #: Of UPLOAD: what it says of all files of the run.
    file_state: FileState | None = None
    #: Of FILES: they come while it still records.
    recording: bool = False
    #: Of UPLOAD: a line for the timeline only; it does not say that capturing ended.
    remark: bool = False
    #: Of UPLOAD: how much is uploaded, in parts of 10,000.
    progress: int | None = None

    # Times that the vendor tells beside the event's own, ms.
    #: When the vendor created the task: decides the run, within the rules' tolerance.
    started_at: int | None = None
    #: A start planned for later.
    scheduled_at: int | None = None
    ended_at: int | None = None

    # What it says about who and what.
    room_id: str | None = None
    #: The user id under which the vendor itself enters the room.
    robot: str | None = None
    #: Which kind of task this speaks for, where the key alone does not say.
    kind_hint: Kind | None = None
    #: The vendor's own code and text.
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
        return self.kind not in OURS

    @property
    def shows_life(self) -> bool:
        if self.kind is FactKind.OUTPUT and self.output is not None:
            return self.output.state not in (OutputState.DISCONNECTING, OutputState.ENDED)
        return self.kind in LIFE


def in_order(facts: Iterable[Fact]) -> tuple[Fact, ...]:
    return tuple(sorted(facts, key=lambda fact: fact.order))


#: field -> word -> member: to look a word up takes a fifth of what it takes to call the enum with it.
_WORDS: Mapping[str, Mapping[str, StrEnum]] = {
    "kind": {word.value: word for word in FactKind},
    "deadline": {word.value: word for word in Deadline},
    "delivery": {word.value: word for word in Delivery},
    "file_state": {word.value: word for word in FileState},
    "kind_hint": {word.value: word for word in Kind},
}

_fact_to_doc, _output_to_doc = sparse(Fact), sparse(Output)
file_to_doc, outcome_to_doc = sparse(File), sparse(Outcome)


def to_doc(fact: Fact) -> dict[str, Any]:
    """The fact as JSON-able data, defaults left out."""
    doc = _fact_to_doc(fact)
    if fact.outcome is not None:
        doc["outcome"] = outcome_to_doc(fact.outcome)
    if fact.output is not None:
        doc["output"] = _output_to_doc(fact.output)
    if fact.files:
        doc["files"] = [file_to_doc(file) for file in fact.files]
    return doc


def from_doc(doc: Mapping[str, Any]) -> Fact:
    """The fact that `to_doc` wrote."""
    values = dict(doc)
    for name, words in _WORDS.items():
        if name in values:
            values[name] = words[values[name]]
    if "outcome" in values:
        values["outcome"] = outcome_from_doc(values["outcome"])
    if "output" in values:
        values["output"] = Output(url=values["output"]["url"], state=OutputState(values["output"]["state"]))
    if "files" in values:
        values["files"] = tuple(file_from_doc(file) for file in values["files"])
    return Fact(**values)


def file_from_doc(doc: Mapping[str, Any]) -> File:
    return File(**{**doc, "state": FileState(doc.get("state", FileState.KNOWN))})


def outcome_from_doc(doc: Mapping[str, Any]) -> Outcome:
    return Outcome(**{**doc, "state": State(doc["state"]), "reason": Reason(doc["reason"])})


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What is so for all tasks of a vendor and kind, or follows from a task's parameters. Times in s unless named otherwise."""

    #: The vendor mints ids, so a key has one run for ever.
    single_run: bool = False
    #: The task has one output url at a time; a new url replaces the old one.
    single_output: bool = False
    #: How far two tellings of one start may lie apart.
    start_tolerance_ms: int = 5_000
    #: The allowed life, where there is one.
    life_s: float | None = None
    #: An end this long before the allowed life's end still counts as its end.
    life_margin_s: float = 0
    #: How long nobody may publish before the vendor ends the task.
    idle_s: float | None = None
    #: How long files may take after the capture's end.
    finish_s: float = 24 * 3600
    #: The same where no upload event of the run was heard.
    finish_unheard_s: float | None = None
    #: From the start on, how long the vendor can be asked about the task or told to stop it.
    reach_s: float | None = None
    #: Whether a query call can settle questions about it.
    askable: bool = False
    #: The same before the vendor's id is known.
    askable_unnamed: bool = False
    #: Whether a start that may have happened can be repeated without running twice.
    repeatable: bool = False
    #: A repeated start throws out what the one before made.
    replaces: bool = False
    #: A start that may have happened is known again by what begins within this time of it; None: by its robot.
    meets_s: float | None = None
    #: After this much silence it is asked how it stands.
    silence_s: float = 900
    #: Whether the vendor can be called at all: an account is configured.
    callable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskKey:
    """What a vendor calls one task. `family` keeps apart what may share an id: a kind, or a group of events."""

    vendor: str
    app_id: str
    #: Empty where the vendor's ids are unique without it.
    room_id: str
    vendor_task_id: str
    family: str

    @property
    def pending(self) -> bool:
        """The vendor mints the id and has not told it yet: our own id stands in its place."""
        return self.family.startswith(_PENDING)

    @property
    def named_family(self) -> str:
        """The family once the vendor's id is known."""
        return self.family.removeprefix(_PENDING)

    def awaiting(self, task_id: str) -> "TaskKey":
        """The key of a task that has this id with us, until the vendor's own is known."""
        return replace(self, room_id="", vendor_task_id=task_id, family=_PENDING + self.named_family)


#: No family of a vendor begins so.
_PENDING = "~"
