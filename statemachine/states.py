"""Vocabulary: states, reasons, anomalies, verdicts. The values are the same in database, log, events and API."""

from enum import StrEnum


class State(StrEnum):
    """The states of a task. A live state says what moves the task on."""

    #: The intent to start is recorded; the start call is not accepted yet. The vendor's answer, a callback, a give-up or a
    #: stop request moves it on.
    REQUESTED = "requested"
    #: The vendor accepted the start; nothing has shown media yet. A callback, an inspection or a deadline moves it on.
    ACCEPTED = "accepted"
    #: The vendor reports that media flows. A callback, an inspection or a deadline moves it on.
    RUNNING = "running"
    #: The vendor reports that the task reconnects, retries or has no media. A callback, an inspection or a deadline moves it on.
    INTERRUPTED = "interrupted"
    #: A stop was requested and is not confirmed. A callback, an inspection or a deadline moves it on.
    STOPPING = "stopping"
    #: Media ended; files are still on their way. A callback, an inspection or the `finish` deadline moves it on.
    FINISHING = "finishing"
    #: Final: ended on request.
    STOPPED = "stopped"
    #: Final: ended by itself; its files are delivered, or the vendor reported that delivery is over.
    COMPLETED = "completed"
    #: Final: rejected by the vendor, or broken for good.
    FAILED = "failed"
    #: Final: its maximum lifetime was over.
    EXPIRED = "expired"
    #: Final: there was no publisher for MaxIdleTime.
    IDLE_TIMEOUT = "idle_timeout"
    #: Final: the vendor does not know the task any more, or was silent for 30 days and cannot be asked.
    LOST = "lost"


LIVE = frozenset({State.REQUESTED, State.ACCEPTED, State.RUNNING, State.INTERRUPTED, State.STOPPING, State.FINISHING})
FINAL = frozenset(State) - LIVE


class Kind(StrEnum):
    """The kinds of tasks."""

    #: A room's streams are pushed to CDN urls.
    PUSH = "push"
    #: An online media url is pulled into a room.
    INGEST = "ingest"
    #: A room is recorded to files.
    RECORD = "record"
    #: A web page is recorded or pushed.
    PAGE = "page"


class Origin(StrEnum):
    """The origin of a task."""

    #: We started it.
    MANAGED = "managed"
    #: A callback reported it first: a console, a client SDK or another system started it.
    OBSERVED = "observed"


class Reason(StrEnum):
    """The reasons of states."""

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
    """A mark on a task that operators see, filter by and clear. It changes no state."""

    #: A sign of life after the vendor itself reported the end: the task may still cost money.
    ZOMBIE = "zombie"
    #: Nothing shows that the task lives, and the vendor cannot be queried.
    UNHEARD = "unheard"
    #: The vendor reported that a stop failed; the task lives on.
    STOP_FAILED = "stop_failed"
    #: Our stop calls fail, or are accepted without an end.
    STOP_UNCONFIRMED = "stop_unconfirmed"
    #: The vendor's window closes: soon the task can be neither queried nor stopped.
    OUT_OF_REACH = "out_of_reach"
    #: Alive after its maximum lifetime.
    OVERDUE = "overdue"


class Verdict(StrEnum):
    """The effect of a callback."""

    #: It changed a task.
    APPLIED = "applied"
    #: Recorded, but already superseded by newer facts.
    STALE = "stale"
    #: Understood, and concerns no task; the verdict's reason says why.
    IGNORED = "ignored"
    #: Its signature is right, but we cannot read its type or shape; it can be replayed.
    UNKNOWN = "unknown"
    #: It contradicts the task; the verdict's reason names the anomaly.
    ANOMALY = "anomaly"


class Deadline(StrEnum):
    """The kinds of deadlines; `deadlines` says when each passes."""

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
    """The state of one output url of a task."""

    CONNECTING = "connecting"
    RECOVERING = "recovering"
    RUNNING = "running"
    FAILED = "failed"
    DISCONNECTING = "disconnecting"
    ENDED = "ended"


class FileState(StrEnum):
    """The state of one file of a task."""

    #: The vendor named it, but did not report whether it is in its target storage.
    KNOWN = "known"
    #: In its target storage.
    DELIVERED = "delivered"
    #: Not delivered yet; the vendor keeps trying.
    DELAYED = "delayed"
    #: In the vendor's backup storage.
    BACKED_UP = "backed_up"
    #: The vendor gave up delivering it.
    FAILED = "failed"
