"""The table of events: the fields of a fact that each says (document 75125)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from adapters.vendors.json_fields import Fields, UnreadableError
from adapters.vendors.reading_builders import REFUSED, STARTED_WITH_MEDIA, FactFields, capture_ended, ended, fields_for
from adapters.vendors.volcengine.files import record_files
from statemachine.facts import FactKind, FilesDelivered, Output
from statemachine.states import FileState, Kind, OutputState, Reason, State

_S = 1000

#: Events that concern no task, with the reason of the verdict.
NO_TASK: Mapping[str, str] = {
    "RoomCreate": "room_event",
    "RoomDestroy": "room_event",
    "UserJoinRoom": "user_event",
    "UserLeaveRoom": "user_event",
    "InvisibleUserJoinRoom": "user_event",
    "InvisibleUserLeaveRoom": "user_event",
    "RoleChangeInvisible2Visible": "user_event",
    "RoleChangeVisible2Invisible": "user_event",
    "UserAudioStreamStart": "stream_event",
    "UserAudioStreamStop": "stream_event",
    "UserVideoStreamStart": "stream_event",
    "UserVideoStreamStop": "stream_event",
    "UserScreenAudioStreamStart": "stream_event",
    "UserScreenAudioStreamStop": "stream_event",
    "UserScreenVideoStreamStart": "stream_event",
    "UserScreenVideoStreamStop": "stream_event",
    "SegmentRealTimeData": "slicing_event",
    "SnapshotRealTimeData": "snapshot_event",
    "PushPublicStream": "public_stream_event",
    "MusicRemoved": "music_event",
    "WbTranscodeProgressChanged": "whiteboard_event",
    "WbTranscodeFinished": "whiteboard_event",
    # The page recording that came before Webcast; its tasks cannot be started any more.
    "WebRecordResult": "web_record_event",
    "VoiceChat": "ai_event",
}

#: `TaskKey.family` by kind. Callers choose the ids, so tasks of two kinds may share one: each kind is a family of its own.
FAMILY_OF_KIND: Mapping[Kind, str] = {kind: kind.value for kind in (Kind.PUSH, Kind.INGEST, Kind.RECORD, Kind.PAGE)}


def _transcode_started(data: Fields) -> FactFields:
    accepted: FactFields = {"kind": FactKind.START, "opens": True, "output": _output_of(data, OutputState.CONNECTING)}
    return fields_for({0: accepted, 1: REFUSED}, data.required_integer("Code"))


def _transcode_stopped(data: Fields) -> FactFields:
    stopped = ended(State.STOPPED, Reason.UNSTATED, rank=3, stop_wins=True)
    stopped["output"] = _output_of(data, OutputState.ENDED)
    return fields_for({0: stopped, 1: {"kind": FactKind.STOP_FAILED}}, data.required_integer("Code"))


def _transcode_updated(data: Fields) -> FactFields:
    return fields_for({0: _new_url(data), 1: {"kind": FactKind.NOTE}}, data.required_integer("Code"))


def _transcode_state(data: Fields) -> FactFields:
    task_state = data.required_integer("TaskState")
    return {**_OF_TASK_STATE.get(task_state, _reject_task_state)(data), "started_at": data.past_time("StartTime")}


def _reject_task_state(data: Fields) -> FactFields:
    raise UnreadableError("TaskState is not 1, 2, 3 or 4")


def _push_running(data: Fields) -> FactFields:
    return {"kind": FactKind.MEDIA, "output": _output_of(data, OutputState.RUNNING)}


def _push_reconnecting(data: Fields) -> FactFields:
    return {"kind": FactKind.INTERRUPTED, "output": _output_of(data, OutputState.RECOVERING)}


def _push_idle_or_ended(data: Fields) -> FactFields:
    """Reads TaskState 1: not yet pushing, or no longer if there is a FinishTime."""
    finished = data.required_integer("FinishTime") if data.raw.get("FinishTime") is not None else 0
    if finished > 0:
        return _push_ended(data)
    return {"kind": FactKind.NO_MEDIA, "idle": True, "output": _output_of(data, OutputState.CONNECTING)}


def _push_ended(data: Fields) -> FactFields:
    code = data.required_integer("Code")
    if code == 0:
        fields = ended(State.STOPPED, Reason.UNSTATED, rank=4, stop_wins=True)
    else:
        fields = ended(State.FAILED, Reason.BAD_SOURCE if code == 2 else Reason.VENDOR_ERROR, rank=1)
    output = _output_of(data, OutputState.FAILED if code else OutputState.ENDED)
    return {**fields, "output": output, "ended_at": data.past_time("FinishTime")}


def _url_switched(data: Fields) -> FactFields:
    # ErrorMessage contains the old and the new url with their stream keys, which not every reader of messages may see.
    return {**_new_url(data), "message": None}


def _new_url(data: Fields) -> FactFields:
    has_url = data.text("PushURL") is not None
    return {"kind": FactKind.NOTE, "output": _output_of(data, OutputState.RUNNING) if has_url else None}


def _output_of(data: Fields, state: OutputState) -> Output:
    return Output(url=data.text("PushURL"), state=state)


_OF_TASK_STATE: Mapping[int, Callable[[Fields], FactFields]] = {
    1: _push_idle_or_ended,
    2: _push_reconnecting,
    3: _push_running,
    4: _url_switched,
}

_RELAY: Mapping[int, FactFields] = {
    1: {"kind": FactKind.START, "opens": True, "idle": True},
    2: {"kind": FactKind.CONNECTING, "opens": True},
    3: {"kind": FactKind.MEDIA, "opens": True},
}
_RELAY_ENDS: Mapping[int | None, FactFields] = {
    1: ended(State.IDLE_TIMEOUT, Reason.MAX_IDLE_TIME, rank=1),
    2: ended(State.STOPPED, Reason.STOP_REQUESTED, rank=1),
    3: ended(State.COMPLETED, Reason.SOURCE_FINISHED, rank=1),
    4: ended(State.FAILED, Reason.VENDOR_ERROR, rank=1),
    5: ended(State.FAILED, Reason.BAD_SOURCE, rank=1),
    6: ended(State.FAILED, Reason.UNSUPPORTED_CODEC, rank=1),
    7: ended(State.FAILED, Reason.TOKEN_ERROR, rank=1),
    8: ended(State.FAILED, Reason.NO_PERMISSION, rank=1),
    9: ended(State.STOPPED, Reason.REMOVED_FROM_ROOM, rank=1),
}
# The end after 72 h has an event, but no documented Reason.
_RELAY_ENDED = ended(State.STOPPED, Reason.UNSTATED, rank=4, life_wins=True)


def _relay_state(data: Fields) -> FactFields:
    status = data.required_integer("Status")
    about = {"robot": data.text("UserId"), "scheduled_at": data.planned_time("StartTimeStamp", unit_ms=_S)}
    if status == 4:
        end = _RELAY_ENDS.get(data.integer("Reason"), _RELAY_ENDED)
        return {**end, **about, "code": data.message("Reason")}
    return {**fields_for(_RELAY, status), **about}


def _record_started(data: Fields) -> FactFields:
    return fields_for({0: STARTED_WITH_MEDIA, 1: REFUSED}, data.required_integer("Code"))


def _record_stopped(data: Fields) -> FactFields:
    failed = ended(State.FAILED, Reason.VENDOR_ERROR)
    return fields_for({0: _capture_ended(data), 1: failed}, data.required_integer("Code"))


def _capture_ended(data: Fields) -> FactFields:
    listed = data.raw.get("RecordFileList")
    if listed is not None and not isinstance(listed, list):
        raise UnreadableError("RecordFileList is not a list")
    if not listed:
        return {**capture_ended(State.COMPLETED, Reason.NO_FILES), "delivery": FilesDelivered.OVER}
    return {**capture_ended(State.COMPLETED, Reason.FILES_UNKNOWN), "files": record_files(data)}


_UPLOAD: FactFields = {"kind": FactKind.UPLOAD}
_UPLOAD_REMARK: FactFields = {**_UPLOAD, "remark": True}
_UPLOAD_DONE: Mapping[int, FactFields] = {
    0: {**_UPLOAD, "delivery": FilesDelivered.WITH_CAPTURE, "file_state": FileState.DELIVERED},
    1: _UPLOAD,
}


def _upload_done(data: Fields) -> FactFields:
    return fields_for(_UPLOAD_DONE, data.required_integer("Code"))


def _upload_failed(data: Fields) -> FactFields:
    return _UPLOAD


def _upload_started(data: Fields) -> FactFields:
    return _UPLOAD_REMARK


def _upload_progress(data: Fields) -> FactFields:
    return {**_UPLOAD_REMARK, "progress": data.integer("Progress")}


def _upload_backed_up(data: Fields) -> FactFields:
    return {**_UPLOAD, "file_state": FileState.BACKED_UP}


def _sync_upload_started(data: Fields) -> FactFields:
    return {**_UPLOAD_REMARK, "files": record_files(data)}


def _read_note(data: Fields) -> FactFields:
    return {"kind": FactKind.NOTE}


_WEBCAST: Mapping[int, FactFields] = {
    1: STARTED_WITH_MEDIA,
    2: ended(State.COMPLETED, Reason.SOURCE_FINISHED),
    3: ended(State.FAILED, Reason.VENDOR_ERROR),
    4: {"kind": FactKind.NOTE},
    5: {"kind": FactKind.INTERRUPTED},
}


def _webcast_state(data: Fields) -> FactFields:
    return {**fields_for(_WEBCAST, data.required_integer("Status")), "code": data.code("Reason")}


@dataclass(frozen=True, slots=True)
class TaskEvent:
    """A row of the table: the kind of task of an event, and the reader of its EventData."""

    kind: Kind
    read_fields: Callable[[Fields], FactFields]
    #: False: the event may come without a room (Webcast only).
    in_room: bool = True


TASK_EVENTS: Mapping[str, TaskEvent] = {
    "TranscodeStarted": TaskEvent(Kind.PUSH, _transcode_started),
    "TranscodeStopped": TaskEvent(Kind.PUSH, _transcode_stopped),
    "TranscodeUpdated": TaskEvent(Kind.PUSH, _transcode_updated),
    "TranscodeStateChanged": TaskEvent(Kind.PUSH, _transcode_state),
    "RelayStreamStateChanged": TaskEvent(Kind.INGEST, _relay_state),
    "RecordStarted": TaskEvent(Kind.RECORD, _record_started),
    "RecordStopped": TaskEvent(Kind.RECORD, _record_stopped),
    "RecordUploadStarted": TaskEvent(Kind.RECORD, _upload_started),
    "RecordUploadProcessing": TaskEvent(Kind.RECORD, _upload_progress),
    "RecordUploadDone": TaskEvent(Kind.RECORD, _upload_done),
    "RecordUploadBackuped": TaskEvent(Kind.RECORD, _upload_backed_up),
    "RecordSyncUploadStarted": TaskEvent(Kind.RECORD, _sync_upload_started),
    "RecordSyncUploadFailed": TaskEvent(Kind.RECORD, _upload_failed),
    "RecordAudioStreamStateChanged": TaskEvent(Kind.RECORD, _read_note),
    "RecordVideoStreamStateChanged": TaskEvent(Kind.RECORD, _read_note),
    "Webcast": TaskEvent(Kind.PAGE, _webcast_state, in_room=False),
}
