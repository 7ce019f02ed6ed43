"""The table of events: the fields of a fact that each says (documents 54913, 54914, 45169 and 62717)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from adapters.vendors.json_fields import Fields, UnreadableError
from adapters.vendors.reading_builders import REFUSED, STARTED_WITH_MEDIA, FactFields, capture_ended, ended, fields_for
from adapters.vendors.tencent.files import mp4_files, playlist_files, slice_file, vod_file
from statemachine.facts import FactKind, FilesDelivered, Output
from statemachine.states import FileState, Kind, OutputState, Reason, State

RECORDING, RELAY, INGEST, PAGE = 3, 4, 7, 8

#: Groups of events that concern no task, with the reason of the verdict.
NO_TASK: Mapping[int, str] = {
    1: "room_event",
    2: "media_event",
    9: "ai_event",
    10: "slicing_event",
    11: "moderation_event",
    14: "transcription_event",
    15: "ai_event",
}
#: `TaskKey.family` by group. Pages and recordings share one: a page's files come as recording events of the same TaskId.
FAMILIES: Mapping[int, str] = {RECORDING: "recording", RELAY: "relay", INGEST: "ingest", PAGE: "recording"}

#: `TaskKey.family` by kind.
FAMILY_OF_KIND: Mapping[Kind, str] = {
    Kind.PUSH: FAMILIES[RELAY],
    Kind.INGEST: FAMILIES[INGEST],
    Kind.RECORD: FAMILIES[RECORDING],
    Kind.PAGE: FAMILIES[PAGE],
}

_NOTE: FactFields = {"kind": FactKind.NOTE}
_INTERRUPTED: FactFields = {"kind": FactKind.INTERRUPTED}
_CONNECTING: FactFields = {"kind": FactKind.CONNECTING}

_OUTPUT_STATES: Mapping[int, OutputState] = {
    0: OutputState.ENDED,
    1: OutputState.CONNECTING,
    2: OutputState.RUNNING,
    3: OutputState.RECOVERING,
    4: OutputState.FAILED,
    5: OutputState.DISCONNECTING,
}


def _relay_output(info: Fields) -> FactFields:
    """Reads 401, the only event of relays: the state of one url of a task."""
    payload = info.child("Payload")
    state, url = _OUTPUT_STATES.get(payload.required_integer("Status")), payload.text("Url")
    if state is None or url is None:
        raise UnreadableError("Url is missing, or Status is not one of 0 to 5")
    return {
        "kind": FactKind.OUTPUT,
        "output": Output(url=url, state=state),
        "code": payload.code("ErrorCode"),
        "message": payload.message("ErrorMsg"),
    }


_INGEST: Mapping[int, Mapping[int, FactFields]] = {
    # A failure is followed by more attempts, so it is not the end.
    701: {0: STARTED_WITH_MEDIA, 1: _CONNECTING, 2: _CONNECTING},
    702: {0: ended(State.COMPLETED, Reason.UNSTATED, stop_wins=True, life_wins=True)},
}


def _ingest_status(event_type: int) -> Callable[[Fields], FactFields]:
    """Returns the reader of an ingest event. It has no Payload: Status is a field of EventInfo."""
    return lambda info: fields_for(_INGEST[event_type], info.required_integer("Status"))


_PAGES: Mapping[int, Mapping[int, FactFields]] = {
    801: {
        1: STARTED_WITH_MEDIA,
        2: ended(State.FAILED, Reason.START_REFUSED, rank=1),
        3: _INTERRUPTED,
        4: _INTERRUPTED,
        5: ended(State.FAILED, Reason.VENDOR_ERROR),
    },
    803: {1: _NOTE, 2: _INTERRUPTED, 3: {"kind": FactKind.MEDIA}},
    804: {
        1: capture_ended(State.EXPIRED, Reason.MAX_LIFETIME, rank=3),
        2: capture_ended(State.FAILED, Reason.BAD_SOURCE, rank=3),
    },
}


def _page_status(event_type: int) -> Callable[[Fields], FactFields]:
    """Returns the reader of a page event."""

    def read_status(info: Fields) -> FactFields:
        payload = info.child("Payload")
        return {**fields_for(_PAGES[event_type], payload.required_integer("Status")), **_page_message(payload)}

    return read_status


def _page_stopped(info: Fields) -> FactFields:
    return {**capture_ended(State.COMPLETED, Reason.FILES_UNKNOWN), **_page_message(info.child("Payload"))}


def _page_message(payload: Fields) -> FactFields:
    """Reads EventMessage, which is always there; "Success" means no message."""
    message = payload.message("EventMessage")
    return {"message": None if message == "Success" else message}


_STARTED: Mapping[int, FactFields] = {0: STARTED_WITH_MEDIA, 1: {**REFUSED, "code": "1"}}


def _record_started(info: Fields) -> FactFields:
    return fields_for(_STARTED, info.child("Payload").required_integer("Status"))


_LEAVE_CODES: Mapping[int | None, FactFields] = {
    0: capture_ended(State.STOPPED, Reason.STOP_REQUESTED),
    1: capture_ended(State.STOPPED, Reason.REMOVED_FROM_ROOM),
    2: capture_ended(State.STOPPED, Reason.ROOM_DISMISSED),
    3: capture_ended(State.FAILED, Reason.VENDOR_ERROR),
    4: capture_ended(State.FAILED, Reason.VENDOR_ERROR),
    99: capture_ended(State.IDLE_TIMEOUT, Reason.MAX_IDLE_TIME),
    100: capture_ended(State.FAILED, Reason.VENDOR_ERROR),
    101: capture_ended(State.STOPPED, Reason.EVICTED),
}
_LEFT_UNKNOWN = capture_ended(State.COMPLETED, Reason.FILES_UNKNOWN)


def _record_stopped(info: Fields) -> FactFields:
    payload = info.child("Payload")
    left = _LEAVE_CODES.get(payload.integer("LeaveCode"), _LEFT_UNKNOWN)
    return {**left, "code": payload.message("LeaveCode")}


def _read_note(info: Fields) -> FactFields:
    """Reads 303, 306, 308 and 309: code and message, if any."""
    payload = info.child("Payload")
    return {**_NOTE, "code": payload.code("Code", "Status"), "message": payload.message("Message", "Url")}


def _playlist_named(info: Fields) -> FactFields:
    return {"kind": FactKind.FILES, "recording": True, "files": playlist_files(info.child("Payload"))}


def _slice_named(info: Fields) -> FactFields:
    return {"kind": FactKind.FILES, "recording": True, "files": slice_file(info.child("Payload"))}


_UPLOADED: FactFields = {"kind": FactKind.UPLOAD, "delivery": FilesDelivered.WITH_CAPTURE, "file_state": FileState.DELIVERED}
_UPLOADS: Mapping[int, FactFields] = {
    0: _UPLOADED,
    1: {"kind": FactKind.UPLOAD, "file_state": FileState.DELAYED},
    # The files that were delayed at 1 were uploaded later.
    2: _UPLOADED,
}


def _upload_stopped(info: Fields) -> FactFields:
    """Reads 305. The newest table names the field LeaveCode, all other pages Status."""
    return fields_for(_UPLOADS, info.child("Payload").required_integer("Status", "LeaveCode"))


_FILE_STATES: Mapping[int, FileState] = {0: FileState.DELIVERED, 1: FileState.DELAYED, 2: FileState.FAILED}


def _file_state(status: int) -> FileState:
    if status not in _FILE_STATES:
        raise UnreadableError("Status is not 0, 1 or 2")
    return _FILE_STATES[status]


def _mp4s_named(info: Fields) -> FactFields:
    payload = info.child("Payload")
    state = _file_state(payload.required_integer("Status"))
    delivery = FilesDelivered.SINCE_CAPTURE if state is FileState.DELIVERED else None
    return {"kind": FactKind.FILES, "files": mp4_files(payload, state), "delivery": delivery}


def _vod_file_named(info: Fields) -> FactFields:
    payload = info.child("Payload")
    state = _file_state(payload.required_integer("Status") if payload.raw.get("Status") is not None else 0)
    return {"kind": FactKind.FILES, "files": vod_file(payload, state)}


_VOD: Mapping[int, FactFields] = {
    0: {"kind": FactKind.UPLOAD, "delivery": FilesDelivered.OVER},
    1: {**ended(State.FAILED, Reason.VENDOR_ERROR), "code": "1"},
}


def _vod_stopped(info: Fields) -> FactFields:
    payload = info.child("Payload")
    return {**fields_for(_VOD, payload.required_integer("Status")), "message": payload.message("Errmsg")}


@dataclass(frozen=True, slots=True)
class TaskEvent:
    """A row of the table: the group of an event, and the reader of its EventInfo."""

    group: int
    read_fields: Callable[[Fields], FactFields]


TASK_EVENTS: Mapping[int, TaskEvent] = {
    301: TaskEvent(RECORDING, _record_started),
    302: TaskEvent(RECORDING, _record_stopped),
    303: TaskEvent(RECORDING, _read_note),
    304: TaskEvent(RECORDING, _playlist_named),
    305: TaskEvent(RECORDING, _upload_stopped),
    306: TaskEvent(RECORDING, _read_note),
    307: TaskEvent(RECORDING, _slice_named),
    308: TaskEvent(RECORDING, _read_note),
    309: TaskEvent(RECORDING, _read_note),
    310: TaskEvent(RECORDING, _mp4s_named),
    311: TaskEvent(RECORDING, _vod_file_named),
    312: TaskEvent(RECORDING, _vod_stopped),
    401: TaskEvent(RELAY, _relay_output),
    701: TaskEvent(INGEST, _ingest_status(701)),
    702: TaskEvent(INGEST, _ingest_status(702)),
    801: TaskEvent(PAGE, _page_status(801)),
    802: TaskEvent(PAGE, _page_stopped),
    803: TaskEvent(PAGE, _page_status(803)),
    804: TaskEvent(PAGE, _page_status(804)),
}
