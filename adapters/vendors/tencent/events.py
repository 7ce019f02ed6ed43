"""What each event says about a task (documents 54913, 54914, 45169 and 62717; the choices are those of mapping.md)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from adapters.vendors.json_fields import Fields, UnreadableError
from adapters.vendors.reading_builders import REFUSED, STARTED_WITH_MEDIA, Says, captured, ended, row
from adapters.vendors.tencent.files import mp4s, playlist, slice_of, vod_file
from statemachine.facts import FactKind, FilesDelivered, Output
from statemachine.states import FileState, Kind, OutputState, Reason, State

RECORDING, RELAY, INGEST, PAGE = 3, 4, 7, 8

#: Groups of events that concern no task, whatever the type.
NO_TASK: Mapping[int, str] = {
    1: "room_event",
    2: "media_event",
    9: "ai_event",
    10: "slicing_event",
    11: "moderation_event",
    14: "transcription_event",
    15: "ai_event",
}
#: `TaskKey.family` by group: a page's files come as recording events of the same TaskId.
FAMILIES: Mapping[int, str] = {RECORDING: "recording", RELAY: "relay", INGEST: "ingest", PAGE: "recording"}

#: `TaskKey.family` by kind.
FAMILY_OF_KIND: Mapping[Kind, str] = {
    Kind.PUSH: FAMILIES[RELAY],
    Kind.INGEST: FAMILIES[INGEST],
    Kind.RECORD: FAMILIES[RECORDING],
    Kind.PAGE: FAMILIES[PAGE],
}

_NOTE: Says = {"kind": FactKind.NOTE}
_INTERRUPTED: Says = {"kind": FactKind.INTERRUPTED}
_CONNECTING: Says = {"kind": FactKind.CONNECTING}

_OUTPUT_STATES: Mapping[int, OutputState] = {
    0: OutputState.ENDED,
    1: OutputState.CONNECTING,
    2: OutputState.RUNNING,
    3: OutputState.RECOVERING,
    4: OutputState.FAILED,
    5: OutputState.DISCONNECTING,
}


def _relay_output(info: Fields) -> Says:
    """401: one url of a task, and the only event that a relay has."""
    payload = info.child("Payload")
    state, url = _OUTPUT_STATES.get(payload.needed("Status")), payload.text("Url")
    if state is None or url is None:
        raise UnreadableError("Url is missing, or Status is not one of 0 to 5")
    return {
        "kind": FactKind.OUTPUT,
        "output": Output(url=url, state=state),
        "code": payload.code("ErrorCode"),
        "message": payload.message("ErrorMsg"),
    }


_INGEST: Mapping[int, Mapping[int, Says]] = {
    # A failure is followed by further attempts, so it is not the end.
    701: {0: STARTED_WITH_MEDIA, 1: _CONNECTING, 2: _CONNECTING},
    702: {0: ended(State.COMPLETED, Reason.UNSTATED, stop_wins=True, life_wins=True)},
}


def _ingest_status(event_type: int) -> Callable[[Fields], Says]:
    """Ingest events have no Payload: Status stands in EventInfo."""
    return lambda info: row(_INGEST[event_type], info.needed("Status"))


_PAGES: Mapping[int, Mapping[int, Says]] = {
    801: {
        1: STARTED_WITH_MEDIA,
        2: ended(State.FAILED, Reason.START_REFUSED, rank=1),
        3: _INTERRUPTED,
        4: _INTERRUPTED,
        5: ended(State.FAILED, Reason.VENDOR_ERROR),
    },
    803: {1: _NOTE, 2: _INTERRUPTED, 3: {"kind": FactKind.MEDIA}},
    804: {
        1: captured(State.EXPIRED, Reason.MAX_LIFETIME, rank=3),
        2: captured(State.FAILED, Reason.BAD_SOURCE, rank=3),
    },
}


def _page_status(event_type: int) -> Callable[[Fields], Says]:
    def says(info: Fields) -> Says:
        payload = info.child("Payload")
        return {**row(_PAGES[event_type], payload.needed("Status")), **_page_words(payload)}

    return says


def _page_stopped(info: Fields) -> Says:
    return {**captured(State.COMPLETED, Reason.FILES_UNKNOWN), **_page_words(info.child("Payload"))}


def _page_words(payload: Fields) -> Says:
    """EventMessage is always there; "Success" says nothing."""
    message = payload.message("EventMessage")
    return {"message": None if message == "Success" else message}


_STARTED: Mapping[int, Says] = {0: STARTED_WITH_MEDIA, 1: {**REFUSED, "code": "1"}}


def _record_started(info: Fields) -> Says:
    return row(_STARTED, info.child("Payload").needed("Status"))


_LEFT: Mapping[int | None, Says] = {
    0: captured(State.STOPPED, Reason.STOP_REQUESTED),
    1: captured(State.STOPPED, Reason.REMOVED_FROM_ROOM),
    2: captured(State.STOPPED, Reason.ROOM_DISMISSED),
    3: captured(State.FAILED, Reason.VENDOR_ERROR),
    4: captured(State.FAILED, Reason.VENDOR_ERROR),
    99: captured(State.IDLE_TIMEOUT, Reason.MAX_IDLE_TIME),
    100: captured(State.FAILED, Reason.VENDOR_ERROR),
    101: captured(State.STOPPED, Reason.EVICTED),
}
_LEFT_SOMEHOW = captured(State.COMPLETED, Reason.FILES_UNKNOWN)


def _record_stopped(info: Fields) -> Says:
    payload = info.child("Payload")
    left = _LEFT.get(payload.integer("LeaveCode"), _LEFT_SOMEHOW)
    return {**left, "code": payload.message("LeaveCode")}


def _note(info: Fields) -> Says:
    """303, 306, 308, 309: whatever words they carry."""
    payload = info.child("Payload")
    return {**_NOTE, "code": payload.code("Code", "Status"), "message": payload.message("Message", "Url")}


def _playlist_told(info: Fields) -> Says:
    return {"kind": FactKind.FILES, "recording": True, "files": playlist(info.child("Payload"))}


def _slice_told(info: Fields) -> Says:
    return {"kind": FactKind.FILES, "recording": True, "files": slice_of(info.child("Payload"))}


_UPLOADED: Says = {"kind": FactKind.UPLOAD, "delivery": FilesDelivered.WITH_CAPTURE, "file_state": FileState.DELIVERED}
_UPLOADS: Mapping[int, Says] = {
    0: _UPLOADED,
    1: {"kind": FactKind.UPLOAD, "file_state": FileState.DELAYED},
    # What had stayed behind at 1 was uploaded later.
    2: _UPLOADED,
}


def _upload_stopped(info: Fields) -> Says:
    """305: the newest table names the key LeaveCode, all else Status."""
    return row(_UPLOADS, info.child("Payload").needed("Status", "LeaveCode"))


_FILE_STATES: Mapping[int, FileState] = {0: FileState.DELIVERED, 1: FileState.DELAYED, 2: FileState.FAILED}


def _file_state(status: int) -> FileState:
    if status not in _FILE_STATES:
        raise UnreadableError("Status is not 0, 1 or 2")
    return _FILE_STATES[status]


def _mp4s_told(info: Fields) -> Says:
    payload = info.child("Payload")
    state = _file_state(payload.needed("Status"))
    delivery = FilesDelivered.SINCE_CAPTURE if state is FileState.DELIVERED else None
    return {"kind": FactKind.FILES, "files": mp4s(payload, state), "delivery": delivery}


def _vod_file_told(info: Fields) -> Says:
    payload = info.child("Payload")
    state = _file_state(payload.needed("Status") if payload.raw.get("Status") is not None else 0)
    return {"kind": FactKind.FILES, "files": vod_file(payload, state)}


_VOD: Mapping[int, Says] = {
    0: {"kind": FactKind.UPLOAD, "delivery": FilesDelivered.OVER},
    1: {**ended(State.FAILED, Reason.VENDOR_ERROR), "code": "1"},
}


def _vod_stopped(info: Fields) -> Says:
    payload = info.child("Payload")
    return {**row(_VOD, payload.needed("Status")), "message": payload.message("Errmsg")}


@dataclass(frozen=True, slots=True)
class TaskEvent:
    group: int
    says: Callable[[Fields], Says]


TASK_EVENTS: Mapping[int, TaskEvent] = {
    301: TaskEvent(RECORDING, _record_started),
    302: TaskEvent(RECORDING, _record_stopped),
    303: TaskEvent(RECORDING, _note),
    304: TaskEvent(RECORDING, _playlist_told),
    305: TaskEvent(RECORDING, _upload_stopped),
    306: TaskEvent(RECORDING, _note),
    307: TaskEvent(RECORDING, _slice_told),
    308: TaskEvent(RECORDING, _note),
    309: TaskEvent(RECORDING, _note),
    310: TaskEvent(RECORDING, _mp4s_told),
    311: TaskEvent(RECORDING, _vod_file_told),
    312: TaskEvent(RECORDING, _vod_stopped),
    401: TaskEvent(RELAY, _relay_output),
    701: TaskEvent(INGEST, _ingest_status(701)),
    702: TaskEvent(INGEST, _ingest_status(702)),
    801: TaskEvent(PAGE, _page_status(801)),
    802: TaskEvent(PAGE, _page_stopped),
    803: TaskEvent(PAGE, _page_status(803)),
    804: TaskEvent(PAGE, _page_status(804)),
}
