"""The words: states, reasons, anomalies, verdicts. One spelling for database, log, event and API."""

from enum import StrEnum


class State(StrEnum):
    #: The intent to start is recorded; the start call is not accepted yet. The vendor's answer, a callback, a give-up or a
    #: stop request moves it on.
    REQUESTED = "requested"
    #: The vendor accepted the start; nothing has shown media yet. A callback, an inspection or a deadline moves it on.
    ACCEPTED = "accepted"
    #: The vendor says that media flows. A callback, an inspection or a deadline moves it on.
    RUNNING = "running"
    #: The vendor says that it reconnects, retries or has no media. A callback, an inspection or a deadline moves it on.
    INTERRUPTED = "interrupted"
    #: A stop was asked for and is not confirmed. A callback, an inspection or a deadline moves it on.
    STOPPING = "stopping"
    #: Media ended; files are still on their way. A callback, an inspection or the `finish` deadline moves it on.
    FINISHING = "finishing"
    #: Final: ended because somebody asked.
    STOPPED = "stopped"
    #: Final: ended by itself; what it was to deliver is delivered, or told as over.
    COMPLETED = "completed"
    #: Final: refused, or broke for good.
    FAILED = "failed"
    #: Final: its allowed life was over.
    EXPIRED = "expired"
    #: Final: nobody published for MaxIdleTime.
    IDLE_TIMEOUT = "idle_timeout"
    #: Final: the vendor does not know the task any more, or was silent for 30 days and cannot be asked.
    LOST = "lost"


LIVE = frozenset({State.REQUESTED, State.ACCEPTED, State.RUNNING, State.INTERRUPTED, State.STOPPING, State.FINISHING})
FINAL = frozenset(State) - LIVE


class Kind(StrEnum):
    #: A room's streams go out to CDN urls.
    PUSH = "push"
    #: An online media url comes into a room.
    INGEST = "ingest"
    #: A room is recorded to files.
    RECORD = "record"
    #: A web page is recorded or pushed.
    PAGE = "page"


class Origin(StrEnum):
    #: We started it.
    MANAGED = "managed"
    #: Its first news was a callback: a console, a client SDK or another system started it.
    OBSERVED = "observed"


class Reason(StrEnum):
    """Why a task is in its state; DESIGN's A2 has the list."""

    STOP_REQUESTED = "stop_requested"
    SOURCE_FINISHED = "source_finished"
    FILES_DELIVERED = "files_delivered"
    NO_FILES = "no_files"
    FILES_UNKNOWN = "files_unknown"
    START_REFUSED = "start_refused"
    START_GAVE_UP = "start_gave_up"
    START_UNKNOWN = "start_unknown"
    VENDOR_ERROR = "vendor_error"
    BAD_SOURCE = "bad_source"
    UNSUPPORTED_CODEC = "unsupported_codec"
    TOKEN_ERROR = "token_error"  # noqa: S105 - a word of the contract
    NO_PERMISSION = "no_permission"
    REMOVED_FROM_ROOM = "removed_from_room"
    ROOM_DISMISSED = "room_dismissed"
    EVICTED = "evicted"
    MAX_IDLE_TIME = "max_idle_time"
    MAX_LIFETIME = "max_lifetime"
    UNKNOWN_TO_VENDOR = "unknown_to_vendor"
    SILENT = "silent"
    UNSTATED = "unstated"


class Anomaly(StrEnum):
    """A mark on a task that operators see, filter by and clear. It moves no state."""

    #: A sign of life after the vendor itself told the end: it may still cost money.
    ZOMBIE = "zombie"
    #: Nothing shows that the task lives, and nobody can be asked.
    UNHEARD = "unheard"
    #: The vendor said that a stop failed; the task lives on.
    STOP_FAILED = "stop_failed"
    #: Our stop calls fail, or are accepted without an end.
    STOP_UNCONFIRMED = "stop_unconfirmed"
    #: The vendor's window closes: soon the task can be neither asked nor stopped.
    OUT_OF_REACH = "out_of_reach"
    #: Alive after its allowed life.
    OVERDUE = "overdue"


class Verdict(StrEnum):
    """What a callback did."""

    #: It changed what is known.
    APPLIED = "applied"
    #: Recorded; what it tells was already superseded.
    STALE = "stale"
    #: Known, and concerns no task; the reason stands beside it.
    IGNORED = "ignored"
    #: Signed rightly, but of a type or shape that we cannot read; can be replayed.
    UNKNOWN = "unknown"
    #: It contradicts the task.
    ANOMALY = "anomaly"


class Deadline(StrEnum):
    """The kinds of deadlines; DESIGN's A5 has their table."""

    START_RETRY = "start_retry"
    CALL_RETRY = "call_retry"
    START_CONFIRM = "start_confirm"
    IDLE = "idle"
    RECOVERY = "recovery"
    EXPIRY = "expiry"
    RENEW = "renew"
    RESTART = "restart"
    STOP_CONFIRM = "stop_confirm"
    FINISH = "finish"
    SILENCE = "silence"
    REACH = "reach"


class OutputState(StrEnum):
    """How one output url of a task stands."""

    CONNECTING = "connecting"
    RECOVERING = "recovering"
    RUNNING = "running"
    FAILED = "failed"
    DISCONNECTING = "disconnecting"
    ENDED = "ended"


class FileState(StrEnum):
    """How one file of a task stands."""

    #: The vendor named it; whether it lies where it should is not told.
    KNOWN = "known"
    #: Where it should be.
    DELIVERED = "delivered"
    #: Not delivered yet; the vendor goes on trying.
    DELAYED = "delayed"
    #: In the vendor's backup storage.
    BACKED_UP = "backed_up"
    #: The vendor gave it up.
    FAILED = "failed"
